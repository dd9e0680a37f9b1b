//! The latest state of a collection, read once for all calls that wait for it.

use std::sync::atomic::{AtomicU64, Ordering};

use deltafold::{Collection, Error, ErrorKind, Reader};
use tokio::sync::Mutex;

/// The reader of a collection, refreshed for the calls that need it.
///
/// A call gets a snapshot of a refresh that began after the call. So it sees every write that was
/// acknowledged before, by any process. Calls that arrive during a refresh share the next one.
pub(crate) struct Latest {
    collection: Collection,
    /// Number of refreshes begun.
    begun: AtomicU64,
    /// The reader, and the number of the refresh that made it.
    state: Mutex<Option<(u64, Reader)>>,
}

impl Latest {
    pub(crate) fn new(collection: Collection) -> Self {
        Self { collection, begun: AtomicU64::new(0), state: Mutex::new(None) }
    }

    /// A reader of everything acknowledged before the call.
    pub(crate) async fn reader(&self) -> Result<Reader, Error> {
        let arrived = self.begun.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if let Some((number, reader)) = &*state
            && *number > arrived
        {
            return Ok(reader.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let refreshed = match state.as_mut() {
            Some((_, reader)) => reader.refresh().await.map(|_| Some(reader.clone())),
            None => Ok(None),
        };
        let reader = match refreshed {
            Ok(Some(reader)) => reader,
            Ok(None) => self.collection.reader().await?,
            Err(error) if error.kind() == ErrorKind::Superseded => self.collection.reader().await?,
            Err(error) => return Err(error),
        };
        *state = Some((number, reader.clone()));
        Ok(reader)
    }

    /// Gives the snapshot up, after a read of it found that it was swept.
    pub(crate) async fn give_up(&self) {
        *self.state.lock().await = None;
    }
}
