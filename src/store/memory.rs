//! A store in memory, for tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use deltafold_format::{HeadPlace, Timestamp};

use super::{Key, Listed, Meter, Object, Outcome, RequestKind, Requests, Store, StoreError, Tag, Unless, bytes_of};

/// A store in memory. Clones share their objects. Its clock begins in 2020, and moves one
/// millisecond with every write, and by hand.
///
/// ```
/// use bytes::Bytes;
/// use deltafold::store::{Key, Memory, Outcome, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Memory::new();
/// let key = Key::new("c/0000/head").expect("a valid key");
/// let created = store.create(&key, vec![Bytes::from_static(b"1")]).await?;
/// assert!(matches!(created, Outcome::Done(_)));
/// let again = store.create(&key, vec![Bytes::from_static(b"2")]).await?;
/// assert!(matches!(again, Outcome::Refused), "a key is created once");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    meter: Meter,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Key, Stored>,
    /// Writes so far. The number names the state of an object.
    writes: u64,
    advanced: Duration,
}

#[derive(Debug)]
struct Stored {
    bytes: Bytes,
    write: u64,
    modified: Timestamp,
}

/// 2020-01-01 UTC.
const EPOCH_MILLIS: i64 = 1_577_836_800_000;

impl State {
    fn now(&self) -> Timestamp {
        let passed = u128::from(self.writes) + self.advanced.as_millis();
        Timestamp::from_millis(EPOCH_MILLIS.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX)))
    }

    fn write(&mut self, key: &Key, chunks: &[Bytes]) -> Outcome {
        self.writes += 1;
        let stored = Stored { bytes: concat(chunks), write: self.writes, modified: self.now() };
        let tag = stored.tag();
        self.objects.insert(key.clone(), stored);
        Outcome::Done(tag)
    }

    fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Vec<Listed> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        let listed = self.objects.range((from, Bound::Unbounded));
        let listed = listed.skip_while(|(key, _)| key.as_str() < prefix);
        let listed = listed.take_while(|(key, _)| key.as_str().starts_with(prefix));
        let listed = listed.take(limit).map(|(key, stored)| Listed {
            key: key.clone(),
            bytes: stored.bytes.len() as u64,
            modified: stored.modified,
        });
        listed.collect()
    }
}

impl Stored {
    fn range(&self, start: u64, end: u64) -> Bytes {
        let length = self.bytes.len();
        let within = |at: u64| usize::try_from(at).unwrap_or(length).min(length);
        self.bytes.slice(within(start)..within(end).max(within(start)))
    }

    fn tag(&self) -> Tag {
        Tag::new(self.write.to_string())
    }

    fn object(&self) -> Object {
        Object { bytes: self.bytes.clone(), tag: self.tag() }
    }
}

pub(super) fn concat(chunks: &[Bytes]) -> Bytes {
    if let [only] = chunks {
        return only.clone();
    }
    let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
    all.freeze()
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the store's clock forward.
    pub fn advance(&self, by: Duration) {
        self.state().advanced += by;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the map whole: every change of it is a single insert or remove.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    fn location(&self) -> String {
        "memory:".to_owned()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let get = async { Ok(self.state().objects.get(key).map(Stored::object)) };
        self.meter.request(RequestKind::Get, key, 0, get).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let get = async { Ok(self.state().objects.get(key).map(|stored| stored.range(start, end))) };
        self.meter.request(RequestKind::Get, key, 0, get).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        let get = async {
            Ok(match self.state().objects.get(key) {
                None => Unless::Absent,
                Some(stored) if stored.tag() == *tag => Unless::Unchanged,
                Some(stored) => Unless::Changed(stored.object()),
            })
        };
        self.meter.request(RequestKind::GetUnless, key, 0, get).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let create = async {
            let mut state = self.state();
            Ok(if state.objects.contains_key(key) { Outcome::Refused } else { state.write(key, &chunks) })
        };
        self.meter.request(RequestKind::Create, key, bytes_of(&chunks), create).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let replace = async {
            let mut state = self.state();
            let same = state.objects.get(key).is_some_and(|stored| stored.tag() == *tag);
            Ok(if same { state.write(key, &chunks) } else { Outcome::Refused })
        };
        self.meter.request(RequestKind::Replace, key, bytes_of(&chunks), replace).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let list = async { Ok(self.state().list(prefix, after, limit)) };
        self.meter.request(RequestKind::List, prefix, 0, list).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        let delete = async {
            let mut state = self.state();
            for key in keys {
                state.objects.remove(key);
            }
            Ok(())
        };
        let first = keys.first().map_or("", Key::as_str);
        self.meter.request(RequestKind::Delete, first, 0, delete).await
    }

    async fn settle(&self, _: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.meter.request(RequestKind::Clock, "", 0, async { Ok(self.state().now()) }).await
    }

    fn requests(&self) -> Requests {
        self.meter.requests()
    }

    fn heads(&self) -> HeadPlace {
        HeadPlace::Store
    }

    fn is_to_be_probed(&self) -> bool {
        false
    }

    fn maps_objects(&self) -> bool {
        true
    }
}
