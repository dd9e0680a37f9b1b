//! The conformance suite notices each broken promise: one store for each, over one in memory.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold::format::{HeadPlace, Timestamp};
use deltafold::store::{
    Key, Listed, Memory, Object, Outcome, Requests, Staged, Store, StoreError, StoreErrorKind, Tag, Unless,
};

/// The promise that a store breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    CreateOverwrites,
    ReplaceIgnoresTheTag,
    ReplaceCreates,
    RangesStartTooEarly,
    UnchangedIsSent,
    ListsAreShort,
    DeleteFailsForAbsentKeys,
    SettleFailsForAbsentFolders,
    RequestsAreNotCounted,
    ClockIsAnHourLate,
    StagedIsVisible,
    StagedOverwrites,
    GivenUpAppears,
    AbortLeavesUploads,
    AbortIgnoresThePrefix,
    AbortIgnoresTheDate,
    AbortedAppears,
    HeadsChange,
    ProbingChanges,
    TheCacheIsStale,
}

const FAULTS: [Fault; 20] = [
    Fault::CreateOverwrites,
    Fault::ReplaceIgnoresTheTag,
    Fault::ReplaceCreates,
    Fault::RangesStartTooEarly,
    Fault::UnchangedIsSent,
    Fault::ListsAreShort,
    Fault::DeleteFailsForAbsentKeys,
    Fault::SettleFailsForAbsentFolders,
    Fault::RequestsAreNotCounted,
    Fault::ClockIsAnHourLate,
    Fault::StagedIsVisible,
    Fault::StagedOverwrites,
    Fault::GivenUpAppears,
    Fault::AbortLeavesUploads,
    Fault::AbortIgnoresThePrefix,
    Fault::AbortIgnoresTheDate,
    Fault::AbortedAppears,
    Fault::HeadsChange,
    Fault::ProbingChanges,
    Fault::TheCacheIsStale,
];

/// A store with uploads. Clones are one store.
#[derive(Debug, Clone)]
struct Faulty {
    inner: Memory,
    fault: Fault,
    /// The uploads that are neither created nor given up.
    uploads: Arc<Mutex<BTreeSet<(Key, u64)>>>,
    calls: Arc<AtomicU64>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self { inner: Memory::new(), fault, uploads: Arc::default(), calls: Arc::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// The number of this call.
    fn call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    fn failed<T>(verb: &'static str, key: &Key) -> Result<T, StoreError> {
        Err(StoreError::new(StoreErrorKind::Permanent, verb, key, "as the test says"))
    }

    async fn overwrite(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.inner.delete(std::slice::from_ref(key)).await?;
        self.inner.create(key, chunks).await
    }
}

#[derive(Debug)]
struct Upload {
    store: Faulty,
    key: Key,
    id: u64,
    chunks: Vec<Bytes>,
}

#[async_trait]
impl Staged for Upload {
    async fn create(self: Box<Self>) -> Result<Outcome, StoreError> {
        let Self { store, key, id, chunks } = *self;
        let is_there = store.uploads.lock().unwrap().remove(&(key.clone(), id));
        if store.has(Fault::StagedOverwrites) {
            return store.overwrite(&key, chunks).await;
        }
        if !is_there && !store.has(Fault::AbortedAppears) {
            return Self::gone(&key);
        }
        store.inner.create(&key, chunks).await
    }

    async fn give_up(self: Box<Self>) {
        self.store.uploads.lock().unwrap().remove(&(self.key.clone(), self.id));
        if self.store.has(Fault::GivenUpAppears) {
            self.store.inner.create(&self.key, self.chunks).await.unwrap();
        }
    }
}

impl Upload {
    fn gone(key: &Key) -> Result<Outcome, StoreError> {
        Ok(Outcome::Unknown(StoreError::new(StoreErrorKind::Transient, "create", key, "the upload is gone")))
    }
}

#[async_trait]
impl Store for Faulty {
    fn location(&self) -> String {
        "faulty:".to_owned()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let start = if self.has(Fault::RangesStartTooEarly) { start.saturating_sub(1) } else { start };
        self.inner.get_range(key, start, end).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        let tag = if self.has(Fault::UnchangedIsSent) { &Tag::new("other") } else { tag };
        self.inner.get_unless(key, tag).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        if self.has(Fault::CreateOverwrites) {
            return self.overwrite(key, chunks).await;
        }
        self.inner.create(key, chunks).await
    }

    async fn stage(&self, key: &Key, chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        let (id, chunks) = (self.call(), chunks.to_vec());
        self.uploads.lock().unwrap().insert((key.clone(), id));
        if self.has(Fault::StagedIsVisible) {
            self.inner.create(key, chunks.clone()).await?;
        }
        Ok(Some(Box::new(Upload { store: self.clone(), key: key.clone(), id, chunks })))
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let current = self.inner.get(key).await?.map(|object| object.tag);
        match (self.fault, current) {
            (Fault::ReplaceIgnoresTheTag, Some(current)) => self.inner.replace(key, &current, chunks).await,
            (Fault::ReplaceCreates, None) => self.inner.create(key, chunks).await,
            _ => self.inner.replace(key, tag, chunks).await,
        }
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let mut listed = self.inner.list_after(prefix, after, limit).await?;
        if self.has(Fault::ListsAreShort) && listed.len() > 9 {
            listed.pop();
        }
        Ok(listed)
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        if self.has(Fault::DeleteFailsForAbsentKeys) {
            for key in keys {
                if self.inner.get(key).await?.is_none() {
                    return Self::failed("delete", key);
                }
            }
        }
        self.inner.delete(keys).await
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        let folder = key.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
        if self.has(Fault::SettleFailsForAbsentFolders) && self.inner.list_after(folder, None, 1).await?.is_empty() {
            return Self::failed("settle", key);
        }
        self.inner.settle(key).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        let late = if self.has(Fault::ClockIsAnHourLate) { 3_600_000 } else { 0 };
        Ok(Timestamp::from_millis(self.inner.now().await?.as_millis() - late))
    }

    fn requests(&self) -> Requests {
        if self.has(Fault::RequestsAreNotCounted) { Requests::default() } else { self.inner.requests() }
    }

    fn heads(&self) -> HeadPlace {
        if self.has(Fault::HeadsChange) && self.call() % 2 == 1 {
            return HeadPlace::DynamoDb { table: "t".to_owned(), region: "r".to_owned() };
        }
        HeadPlace::Store
    }

    fn is_to_be_probed(&self) -> bool {
        self.has(Fault::ProbingChanges) && self.call() % 2 == 1
    }

    fn uncached(&self) -> Option<Arc<dyn Store>> {
        let other = if self.has(Fault::TheCacheIsStale) { Memory::new() } else { self.inner.clone() };
        Some(Arc::new(other))
    }

    async fn abort_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<u64, StoreError> {
        if before <= Timestamp::default() && !self.has(Fault::AbortIgnoresTheDate) {
            return Ok(0);
        }
        let prefix = if self.has(Fault::AbortIgnoresThePrefix) { "" } else { prefix };
        let mut uploads = self.uploads.lock().unwrap();
        let found = uploads.iter().filter(|(key, _)| key.as_str().starts_with(prefix)).count();
        if !dry_run && !self.has(Fault::AbortLeavesUploads) {
            uploads.retain(|(key, _)| !key.as_str().starts_with(prefix));
        }
        Ok(found as u64)
    }
}

/// The end of the suite over a store with this fault: the message of its panic, if it panics.
async fn verdict(fault: Fault) -> Result<(), String> {
    let suite = deltafold::conformance::suite(move || async move { Arc::new(Faulty::new(fault)) as Arc<dyn Store> });
    tokio::spawn(suite).await.map_err(|error| {
        let panic = error.into_panic();
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_a_store_with_uploads() {
    verdict(Fault::None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_fails_each_store_that_breaks_a_promise() {
    let mut passed = Vec::new();
    for fault in FAULTS {
        match verdict(fault).await {
            Ok(()) => passed.push(fault),
            Err(message) => println!("{fault:?}: {message}"),
        }
    }
    assert!(passed.is_empty(), "the suite noticed nothing of {passed:?}");
}
