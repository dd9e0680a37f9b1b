//! A distant store: it maps no objects, each read takes a second of virtual time, and it notes all
//! reads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deltafold::format::Timestamp;
use deltafold::store::{Key, Listed, Memory, Object, Outcome, Store, StoreError, Tag, Unless};
use tokio::time::Instant;

/// A read request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub key: String,
    /// The range, unless the read was of the whole object.
    pub range: Option<(u64, u64)>,
    /// Bytes in the answer.
    pub bytes: u64,
    /// The second of its start, counted from [`Far::slow_down`]: its round of requests.
    pub round: u64,
}

#[derive(Debug, Default)]
struct State {
    reads: Vec<Read>,
    /// A text, and how many of the next ranges of keys with that text are damaged.
    damage: Option<(String, usize)>,
    slow_since: Option<Instant>,
}

/// See the module. Clones are one store.
#[derive(Debug, Clone, Default)]
pub struct Far {
    pub inner: Memory,
    state: Arc<Mutex<State>>,
}

impl Far {
    /// The reads since the last call.
    pub fn reads(&self) -> Vec<Read> {
        std::mem::take(&mut self.state.lock().unwrap().reads)
    }

    /// From now on each read takes a second. A test with a paused clock counts rounds of requests
    /// by it.
    pub fn slow_down(&self) {
        self.state.lock().unwrap().slow_since = Some(Instant::now());
    }

    /// Flips a bit in the next `times` ranges read from keys that contain this text.
    pub fn damage(&self, key: &str, times: usize) {
        self.state.lock().unwrap().damage = Some((key.to_owned(), times));
    }

    async fn note(&self, key: &str, range: Option<(u64, u64)>, bytes: u64) {
        let is_slow = {
            let mut state = self.state.lock().unwrap();
            let round = state.slow_since.map_or(0, |since| since.elapsed().as_secs());
            state.reads.push(Read { key: key.to_owned(), range, bytes, round });
            state.slow_since.is_some()
        };
        if is_slow {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn damaged(&self, key: &Key, bytes: Bytes) -> Bytes {
        let mut state = self.state.lock().unwrap();
        match &mut state.damage {
            Some((part, times)) if key.as_str().contains(part.as_str()) && *times > 0 => {
                *times -= 1;
                let mut twin = bytes.to_vec();
                if let Some(last) = twin.last_mut() {
                    *last ^= 1;
                }
                twin.into()
            }
            _ => bytes,
        }
    }
}

#[async_trait]
impl Store for Far {
    fn location(&self) -> String {
        "far".to_owned()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let object = self.inner.get(key).await?;
        self.note(key.as_str(), None, object.as_ref().map_or(0, |object| object.bytes.len() as u64)).await;
        Ok(object)
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let bytes = self.inner.get_range(key, start, end).await?;
        self.note(key.as_str(), Some((start, end)), bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)).await;
        Ok(bytes.map(|bytes| self.damaged(key, bytes)))
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        self.note(key.as_str(), None, 0).await;
        self.inner.get_unless(key, tag).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.inner.create(key, chunks).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.inner.replace(key, tag, chunks).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.note(prefix, None, 0).await;
        self.inner.list_after(prefix, after, limit).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.inner.delete(keys).await
    }

    crate::pass_on_to!(inner);

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }
}
