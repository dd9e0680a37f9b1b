//! The latest state of a collection, read once for all requests that wait for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::collection::Collection;
use crate::env::Stopwatch;
use crate::error::{ErrorKind, Result};
use crate::reader::Reader;

/// The reader of a collection, refreshed for the requests that need it.
///
/// A request gets a snapshot of a refresh that began after the request arrived. So it sees every
/// write that was answered before, by any server. Requests that arrive during a refresh share the
/// next one.
#[derive(Debug)]
pub(super) struct Latest {
    collection: Collection,
    staleness: Duration,
    /// Number of refreshes begun.
    begun: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reader: Option<Reader>,
    /// Number of the last refresh that succeeded, and when it began.
    done: u64,
    began: Option<Stopwatch>,
}

impl Latest {
    pub(super) fn new(collection: Collection, staleness: Duration) -> Self {
        Self { collection, staleness, begun: AtomicU64::new(0), state: Mutex::default() }
    }

    /// A reader of the latest state.
    pub(super) async fn reader(&self) -> Result<Reader> {
        let arrived = self.begun.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        let is_fresh = state.done > arrived || state.began.is_some_and(|began| began.elapsed() < self.staleness);
        if let Some(reader) = state.reader.as_ref().filter(|_| is_fresh) {
            return Ok(reader.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let began = Stopwatch::start();
        let refreshed = match state.reader.as_mut() {
            Some(reader) => reader.refresh().await.map(drop),
            None => Ok(()),
        };
        let superseded = matches!(&refreshed, Err(error) if error.kind() == ErrorKind::Superseded);
        if superseded {
            state.reader = None;
        } else {
            refreshed?;
        }
        let reader = match &state.reader {
            Some(reader) => reader.clone(),
            None => self.collection.reader().await?,
        };
        *state = State { reader: Some(reader.clone()), done: number, began: Some(began) };
        Ok(reader)
    }

    /// Gives the snapshot up, after a read of it found that it was swept.
    pub(super) async fn give_up(&self) {
        *self.state.lock().await = State::default();
    }
}
