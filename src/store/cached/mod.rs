//! Copies of parts in a local folder, in front of a remote store.
//!
//! Parts never change under their names, so a whole copy is as good as the object: a hit makes no
//! request. A copy of the whole object serves any range. A copy of a range has a file of its own
//! and serves that very range. Each use checks the blocks that it takes. The cache drops a damaged
//! copy and reads the object anew.
//!
//! Processes share a folder. A copy appears whole, by a rename. The least recently used ones go
//! first. A mapped copy that is dropped lives on until its last use ends.
//!
//! A copy may outlive its object. [`Store::uncached`] is the store behind, which shows the stored
//! objects.

mod copy;
mod folder;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold_format::{HeadPlace, Timestamp};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{Key, Listed, Object, Outcome, Requests, Staged, Store, StoreError, StoreErrorKind, Tag, Unless};
use crate::env;
use copy::Copy;
use folder::{BYTES_A_FILE, evict, forget};

/// A scan of the folder follows each time that this fraction of its bound was added.
const LOOK_EVERY: u64 = 16;

/// A store with copies of its parts in a local folder. Parts never change, so no copy is stale.
///
/// The second reader here finds the part in the folder and asks the store for less:
///
/// ```
/// use std::sync::Arc;
/// use deltafold::format::{Op, Record};
/// use deltafold::store::{Cached, Memory, RequestKind, Store};
/// use deltafold::{Collection, CompactorOptions, CreateOptions, WriterOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bucket = Memory::new(); // a bucket in S3, if there is one
/// let folder = tempfile::tempdir()?;
/// let store = Arc::new(Cached::open(Arc::new(bucket.clone()), folder.path(), 1 << 30)?);
/// let collection = Collection::create(store, &"articles".parse()?, &CreateOptions::new(2)).await?;
/// let record = Record { embedding: Some(vec![0.5, 0.5]), ..Record::default() };
/// collection.writer(WriterOptions::default())?.append(vec![Op::put("a", record)]).await?;
/// collection.compactor(CompactorOptions::default()).run_once().await?;
///
/// let mut gets = Vec::new();
/// for _ in 0..2 {
///     let before = bucket.requests();
///     assert!(collection.reader().await?.get("a").await?.is_some());
///     gets.push(bucket.requests().since(&before).of(RequestKind::Get).calls);
/// }
/// assert!(gets[1] < gets[0], "{gets:?}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Cached {
    inner: Arc<dyn Store>,
    folder: Arc<PathBuf>,
    max_bytes: u64,
    /// Bytes added since the last scan of the folder. It starts at the bound.
    added: Arc<AtomicU64>,
}

impl Cached {
    /// Keeps copies of the parts of `inner` in `folder`, which it makes if need be. They take at
    /// most `max_bytes`, and a sixteenth more for each process that uses the folder.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or written.
    pub fn open(inner: Arc<dyn Store>, folder: impl Into<PathBuf>, max_bytes: u64) -> Result<Self, StoreError> {
        let folder = folder.into();
        let usable = fs::create_dir_all(&folder).and_then(|()| tempfile::tempfile_in(&folder));
        usable.map_err(|error| StoreError::new(StoreErrorKind::Permanent, "use the cache", folder.display(), error))?;
        Ok(Self { inner, folder: Arc::new(folder), max_bytes, added: Arc::new(AtomicU64::new(max_bytes)) })
    }

    /// The file for the copy of an object; `None` for objects that are not cached.
    fn copy(&self, key: &Key) -> Option<Copy> {
        let is_part = key.as_str().split('/').nth(2) == Some("part");
        is_part.then(|| {
            let name = format!("{}/{key}", self.inner.location());
            let digest = format!("{:032x}", xxh3_128(name.as_bytes()));
            Copy { path: self.folder.join(digest), name: xxh3_64(name.as_bytes()) }
        })
    }

    /// Counts a lookup as a hit or a miss.
    fn count(found: bool) {
        let outcome = if found { "hit" } else { "miss" };
        metrics::counter!("deltafold_cache_reads_total", "outcome" => outcome).increment(1);
    }

    /// Keeps a copy. A failure to keep it is not an error.
    async fn keep(&self, copy: Copy, bytes: Bytes) {
        let length = Copy::file_bytes(bytes.len());
        if length > self.max_bytes {
            return;
        }
        let (folder, max_bytes) = (self.folder.clone(), self.max_bytes);
        let counted = length.max(BYTES_A_FILE);
        let added = self.added.fetch_add(counted, Ordering::Relaxed) + counted;
        let look = added >= max_bytes / LOOK_EVERY;
        if look {
            self.added.store(0, Ordering::Relaxed);
        }
        let kept = env::blocking(move || {
            copy.write(&folder, &bytes)?;
            if look { evict(&folder, max_bytes) } else { Ok(()) }
        });
        if let Err(error) = kept.await {
            tracing::warn!(%error, folder = %self.folder.display(), "a copy cannot be kept");
        }
    }
}

#[async_trait]
impl Store for Cached {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let Some(copy) = self.copy(key) else { return self.inner.get(key).await };
        let (copy, found) = env::blocking(move || {
            let found = copy.read(0..u64::MAX);
            (copy, found)
        })
        .await;
        Self::count(found.is_some());
        if let Some(bytes) = found {
            return Ok(Some(Object { bytes, tag: Tag::new("copy") }));
        }
        let object = self.inner.get(key).await?;
        if let Some(object) = &object {
            self.keep(copy, object.bytes.clone()).await;
        }
        Ok(object)
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(copy) = self.copy(key).filter(|_| start < end) else {
            return self.inner.get_range(key, start, end).await;
        };
        let (piece, found) = env::blocking(move || {
            let piece = copy.range(start, end);
            let found = copy.read(start..end).or_else(|| piece.read(0..u64::MAX));
            (piece, found)
        })
        .await;
        Self::count(found.is_some());
        if found.is_some() {
            return Ok(found);
        }
        let bytes = self.inner.get_range(key, start, end).await?;
        if let Some(bytes) = &bytes {
            self.keep(piece, bytes.clone()).await;
        }
        Ok(bytes)
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        self.inner.get_unless(key, tag).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.inner.create(key, chunks).await
    }

    async fn stage(&self, key: &Key, chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        self.inner.stage(key, chunks).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.inner.replace(key, tag, chunks).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.inner.list_after(prefix, after, limit).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.inner.delete(keys).await?;
        let copies: HashSet<PathBuf> = keys.iter().filter_map(|key| self.copy(key)).map(|copy| copy.path).collect();
        if !copies.is_empty() {
            let folder = self.folder.clone();
            env::blocking(move || forget(&folder, &copies)).await;
        }
        Ok(())
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.settle(key).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }

    fn requests(&self) -> Requests {
        self.inner.requests()
    }

    fn heads(&self) -> HeadPlace {
        self.inner.heads()
    }

    fn uncached(&self) -> Option<Arc<dyn Store>> {
        Some(self.inner.uncached().unwrap_or_else(|| self.inner.clone()))
    }

    async fn abort_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<u64, StoreError> {
        self.inner.abort_uploads(prefix, before, dry_run).await
    }

    fn proxies(&self) -> Vec<String> {
        self.inner.proxies()
    }

    fn is_to_be_probed(&self) -> bool {
        self.inner.is_to_be_probed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder is a store that needs no probe. Copies of it do not change that.
    #[test]
    fn a_cache_is_probed_if_its_store_is() {
        let folder = tempfile::tempdir().unwrap();
        let cached = Cached::open(Arc::new(crate::store::Memory::new()), folder.path(), 1 << 20).unwrap();
        assert!(!cached.is_to_be_probed());
    }
}
