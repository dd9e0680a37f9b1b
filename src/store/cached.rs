//! Copies of parts in a local folder, in front of a store that is far away.
//!
//! Parts never change under their names, so a copy that is whole is as good as the object: a hit makes no request. A copy is checked against its
//! checksum each time it is used; one that is damaged is thrown away and read anew. Processes share a folder: copies appear whole, by a rename, and those that were
//! not used for the longest time go first. Mapped copies that are thrown away live on until nobody uses them.
//!
//! A copy may outlive its object. Whoever wants to know what is really there asks the store behind: [`Store::uncached`].

use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold_format::{HeadPlace, Timestamp};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{Key, Listed, Object, Outcome, Requests, Staged, Store, StoreError, StoreErrorKind, Tag, Unless, map};
use crate::env::{self, Env, System};

/// What a copy ends with: this, the hash of its name (u64), its length (u64) and the CRC32 (u32) of what comes before, little-endian.
const MAGIC: &[u8; 8] = b"DFcopy01";
const TRAILER_BYTES: usize = 8 + 8 + 8 + 4;
/// The folder is looked through each time this part of its bound was added.
const LOOK_EVERY: u64 = 16;

/// A store with copies of its parts in a local folder. See the [module](self).
#[derive(Debug, Clone)]
pub struct Cached {
    inner: Arc<dyn Store>,
    folder: Arc<PathBuf>,
    max_bytes: u64,
    /// Bytes added since the folder was looked through; as many as there may be, to begin with.
    added: Arc<AtomicU64>,
}

impl Cached {
    /// Keeps copies of the parts of `inner` in `folder`, which is made if it is not there: at most `max_bytes`, and a sixteenth more for each process
    /// that uses the folder.
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

    /// Where the copy of an object is; `None` for objects of which none is kept.
    fn copy(&self, key: &Key) -> Option<Copy> {
        let is_part = key.as_str().split('/').nth(2) == Some("part");
        is_part.then(|| {
            let name = format!("{}/{key}", self.inner.location());
            let digest = format!("{:032x}", xxh3_128(name.as_bytes()));
            Copy { path: self.folder.join(digest), name: xxh3_64(name.as_bytes()) }
        })
    }

    /// Keeps a copy. That it cannot be kept is no reason to fail.
    async fn keep(&self, copy: Copy, bytes: Bytes) {
        let length = bytes.len() as u64 + TRAILER_BYTES as u64;
        if length > self.max_bytes {
            return;
        }
        let (folder, max_bytes) = (self.folder.clone(), self.max_bytes);
        let added = self.added.fetch_add(length, Ordering::Relaxed) + length;
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

/// The file of a copy.
struct Copy {
    path: PathBuf,
    name: u64,
}

impl Copy {
    fn trailer(&self, bytes: &[u8]) -> Vec<u8> {
        let mut trailer = MAGIC.to_vec();
        trailer.extend_from_slice(&self.name.to_le_bytes());
        trailer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        trailer.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        trailer
    }

    /// The copy, if it is there and whole.
    fn read(&self) -> Option<Bytes> {
        let file = File::open(&self.path).ok()?;
        let all = map::map(&file).ok()?;
        let length = all.len().checked_sub(TRAILER_BYTES)?;
        let bytes = all.slice(..length);
        if all.slice(length..) != self.trailer(&bytes) {
            tracing::warn!(copy = %self.path.display(), "a copy is damaged: it is read anew");
            let _ = fs::remove_file(&self.path);
            return None;
        }
        // Used just now. Where that cannot be written down, it goes sooner.
        let _ = file.set_times(FileTimes::new().set_modified(time(System.now())));
        Some(bytes)
    }

    fn write(&self, folder: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.write_all(&self.trailer(bytes))?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn time(timestamp: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(timestamp.as_millis()).unwrap_or_default())
}

/// Removes what was not used for the longest time, until there is an eighth of room: temporary files of processes that died, too.
fn evict(folder: &Path, max_bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Somebody else may have removed it meanwhile.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    if total <= max_bytes {
        return Ok(());
    }
    files.sort_unstable();
    for (_, bytes, path) in files {
        if total <= max_bytes - max_bytes / 8 {
            break;
        }
        let _ = fs::remove_file(path);
        total -= bytes;
    }
    Ok(())
}

#[async_trait]
impl Store for Cached {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let Some(copy) = self.copy(key) else { return self.inner.get(key).await };
        let (copy, found) = env::blocking(move || {
            let found = copy.read();
            (copy, found)
        })
        .await;
        let outcome = if found.is_some() { "hit" } else { "miss" };
        metrics::counter!("deltafold_cache_reads_total", "outcome" => outcome).increment(1);
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
        self.inner.get_range(key, start, end).await
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
        let copies: Vec<PathBuf> = keys.iter().filter_map(|key| self.copy(key)).map(|copy| copy.path).collect();
        env::blocking(move || copies.iter().for_each(|copy| drop(fs::remove_file(copy)))).await;
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

    fn is_to_be_probed(&self) -> bool {
        self.inner.is_to_be_probed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies of 100 bytes each, in the order of their last use: the first was not used for the longest time.
    fn folder_of(copies: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        // The names are in the opposite order.
        for number in 0..copies {
            let file = File::create(folder.path().join(format!("{:02}", copies - number))).unwrap();
            file.set_len(100).unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + number);
            file.set_times(FileTimes::new().set_modified(used)).unwrap();
        }
        fs::create_dir(folder.path().join("folder")).unwrap();
        folder
    }

    fn left(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "folder").collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn eviction_frees_an_eighth_and_begins_with_the_oldest() {
        let folder = folder_of(10);
        evict(folder.path(), 800).unwrap();
        assert_eq!(left(folder.path()), ["01", "02", "03", "04", "05", "06", "07"]);
    }

    #[test]
    fn nothing_is_evicted_up_to_the_bound() {
        let folder = folder_of(10);
        evict(folder.path(), 1_000).unwrap();
        assert_eq!(left(folder.path()).len(), 10);
        evict(folder.path(), 999).unwrap();
        // An eighth of 999 is 124: 875 bytes may stay.
        assert_eq!(left(folder.path()).len(), 8);
    }

    /// A folder is a store that needs no probe, and copies of it change nothing about that.
    #[test]
    fn a_cache_is_probed_if_its_store_is() {
        let folder = tempfile::tempdir().unwrap();
        let cached = Cached::open(Arc::new(crate::store::Memory::new()), folder.path(), 1 << 20).unwrap();
        assert!(!cached.is_to_be_probed());
    }
}
