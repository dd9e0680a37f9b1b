//! The latest state of a collection, read once for all callers that wait for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::Collection;
use crate::env::Stopwatch;
use crate::error::{ErrorKind, Result};
use crate::reader::Reader;

/// One reader of a collection for many callers at once, refreshed for those that need it.
///
/// A caller gets a snapshot of a refresh that began after its call. So it sees every write that was
/// acknowledged before, by any process. Calls that arrive during a refresh share the next one.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use deltafold::format::{Op, Record};
/// use deltafold::store::Memory;
/// use deltafold::{Collection, CreateOptions, Latest, WriterOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(Memory::new());
/// let collection = Collection::create(store, &"articles".parse()?, &CreateOptions::new(2)).await?;
/// let latest = Latest::new(collection.clone(), Duration::ZERO);
/// assert_eq!(latest.reader().await?.count().await?, 0);
///
/// collection.writer(WriterOptions::default())?.append(vec![Op::put("a", Record::default())]).await?;
/// assert_eq!(latest.reader().await?.count().await?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Latest {
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
    /// Readers of this collection.
    ///
    /// A snapshot whose refresh began less than `staleness` ago serves without another request. It
    /// may miss the writes of that time. With zero, reads miss none.
    pub fn new(collection: Collection, staleness: Duration) -> Self {
        Self { collection, staleness, begun: AtomicU64::new(0), state: Mutex::default() }
    }

    /// A reader of the latest state.
    ///
    /// Costs, for each shard, one conditional GET and a GET for each new segment. Callers that wait
    /// together share them.
    ///
    /// # Errors
    ///
    /// Those of [`Collection::reader`]. After an error the next call tries again.
    pub async fn reader(&self) -> Result<Reader> {
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

    /// Gives the snapshot up, after a read of it ended with `Superseded`. The next call of
    /// [`reader`](Self::reader) opens another one.
    pub async fn give_up(&self) {
        *self.state.lock().await = State::default();
    }
}
