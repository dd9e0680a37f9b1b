//! A store that counts the requests of one collection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold_format::{HeadPlace, Timestamp};

use crate::store::{
    HasResponse, Key, Listed, Object, Outcome, RequestCount, RequestKind, Requests, Response, Staged, Store,
    StoreError, Tag, Unless,
};

/// A store that counts what one collection asks of it. The store behind counts everything together,
/// and alone reports to metrics and traces. An upload in parts counts as one request.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    inner: Arc<dyn Store>,
    counts: Arc<Mutex<BTreeMap<RequestKind, RequestCount>>>,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, counts: Arc::default() }
    }

    /// The kind of a request to this key: heads may lie in a table.
    fn kind(&self, key: &Key, read: bool, kind: RequestKind) -> RequestKind {
        let in_table = self.inner.heads() != HeadPlace::Store && key.as_str().ends_with("/head");
        match (in_table, read) {
            (false, _) => kind,
            (true, true) => RequestKind::RegisterRead,
            (true, false) => RequestKind::RegisterWrite,
        }
    }

    async fn count<T: HasResponse>(
        &self,
        kind: RequestKind,
        bytes_out: u64,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let result = request.await;
        let (response, bytes_in) = match &result {
            Ok(value) => value.response(),
            Err(error) if error.is_conflict() => (Response::Conflict, 0),
            Err(_) => (Response::Failed, 0),
        };
        let mut one = RequestCount { calls: 1, bytes_out, bytes_in, ..RequestCount::default() };
        match response {
            Response::Done => {}
            Response::Absent => one.absent = 1,
            Response::Unchanged => one.unchanged = 1,
            Response::Refused => one.refused = 1,
            Response::Conflict => one.conflicts = 1,
            Response::Failed => one.failed = 1,
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = counts.entry(kind).or_default();
        *sum = *sum + one;
        drop(counts);
        result
    }
}

fn length(chunks: &[Bytes]) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

#[async_trait]
impl Store for Counted {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.count(self.kind(key, true, RequestKind::Get), 0, self.inner.get(key)).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        self.count(self.kind(key, true, RequestKind::Get), 0, self.inner.get_range(key, start, end)).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        self.count(self.kind(key, true, RequestKind::GetUnless), 0, self.inner.get_unless(key, tag)).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let kind = self.kind(key, false, RequestKind::Create);
        self.count(kind, length(&chunks), self.inner.create(key, chunks)).await
    }

    async fn stage(&self, key: &Key, chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        let Some(inner) = self.inner.stage(key, chunks).await? else { return Ok(None) };
        Ok(Some(Box::new(StagedHere { inner, store: self.clone(), bytes: length(chunks) })))
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let kind = self.kind(key, false, RequestKind::Replace);
        self.count(kind, length(&chunks), self.inner.replace(key, tag, chunks)).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.count(RequestKind::List, 0, self.inner.list_after(prefix, after, limit)).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.count(RequestKind::Delete, 0, self.inner.delete(keys)).await
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.settle(key).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.count(RequestKind::Clock, 0, self.inner.now()).await
    }

    fn requests(&self) -> Requests {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    fn heads(&self) -> HeadPlace {
        self.inner.heads()
    }

    fn uncached(&self) -> Option<Arc<dyn Store>> {
        let inner = self.inner.uncached()?;
        Some(Arc::new(Self { inner, counts: self.counts.clone() }))
    }

    fn maps_objects(&self) -> bool {
        self.inner.maps_objects()
    }

    fn proxies(&self) -> Vec<String> {
        self.inner.proxies()
    }

    fn is_to_be_probed(&self) -> bool {
        self.inner.is_to_be_probed()
    }

    async fn abort_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<u64, StoreError> {
        self.inner.abort_uploads(prefix, before, dry_run).await
    }
}

/// A staged object of this store.
#[derive(Debug)]
struct StagedHere {
    inner: Box<dyn Staged>,
    store: Counted,
    bytes: u64,
}

#[async_trait]
impl Staged for StagedHere {
    async fn create(self: Box<Self>) -> Result<Outcome, StoreError> {
        self.store.count(RequestKind::Create, self.bytes, self.inner.create()).await
    }

    async fn give_up(self: Box<Self>) {
        self.inner.give_up().await;
    }
}
