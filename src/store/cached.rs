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

use std::collections::HashSet;
use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::ops::Range;
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

/// The magic in the trailer of a copy. Before it stand the CRC32 of each block. Behind it stand the
/// hash of the name (u64), the length (u64) and the CRC32 (u32) of the block CRCs. All numbers are
/// little-endian.
const MAGIC: &[u8; 8] = b"DFcopy02";
const TRAILER_BYTES: usize = 8 + 8 + 8 + 4;
/// Bytes that one CRC32 covers.
const BLOCK: usize = 16 << 10;
/// The folder holds at most one file for this many bytes of its bound, so that a scan of it stays
/// cheap.
const BYTES_A_FILE: u64 = 64 << 10;
/// The folder may hold this many files in any case.
const FILES: u64 = 1 << 10;
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
        let length = (bytes.len() + bytes.len().div_ceil(BLOCK) * size_of::<u32>() + TRAILER_BYTES) as u64;
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

/// The file of a copy.
struct Copy {
    path: PathBuf,
    name: u64,
}

impl Copy {
    /// The file for the copy of a range of the object.
    fn range(&self, start: u64, end: u64) -> Self {
        let range = format!("-{start}-{end}");
        let mut path = self.path.clone().into_os_string();
        path.push(&range);
        Self { path: path.into(), name: self.name ^ xxh3_64(range.as_bytes()) }
    }

    /// The CRC32 of each block.
    fn table(bytes: &[u8]) -> Vec<u8> {
        bytes.chunks(BLOCK).flat_map(|block| crc32fast::hash(block).to_le_bytes()).collect()
    }

    fn trailer(&self, length: usize, table: &[u8]) -> Vec<u8> {
        let mut trailer = MAGIC.to_vec();
        trailer.extend_from_slice(&self.name.to_le_bytes());
        trailer.extend_from_slice(&(length as u64).to_le_bytes());
        trailer.extend_from_slice(&crc32fast::hash(table).to_le_bytes());
        trailer
    }

    /// The bytes `wanted` of the copy, fewer where it ends before; `None` where it is absent or
    /// damaged.
    fn read(&self, wanted: Range<u64>) -> Option<Bytes> {
        let file = File::open(&self.path).ok()?;
        let Some(bytes) = map::map(&file).ok().and_then(|all| self.sound(&all, wanted)) else {
            tracing::warn!(copy = %self.path.display(), "a copy is damaged: it is read anew");
            let _ = fs::remove_file(&self.path);
            return None;
        };
        // Marks it as just used. Where that fails, the copy goes sooner.
        let _ = file.set_times(FileTimes::new().set_modified(time(System.now())));
        Some(bytes)
    }

    fn sound(&self, all: &Bytes, wanted: Range<u64>) -> Option<Bytes> {
        let rest = all.len().checked_sub(TRAILER_BYTES)?;
        let length = all.get(rest + 16..rest + 24)?.try_into().ok().map(u64::from_le_bytes)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= rest)?;
        let table = all.get(length..rest)?;
        let is_whole = table.len() == length.div_ceil(BLOCK) * size_of::<u32>();
        if !is_whole || all.get(rest..)? != self.trailer(length, table) {
            return None;
        }
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(length);
        let (start, end) = (at(wanted.start), at(wanted.end));
        let first = start / BLOCK;
        let blocks = all.get(first * BLOCK..end.next_multiple_of(BLOCK).min(length)).unwrap_or_default();
        let checksums = table.as_chunks::<4>().0.iter().skip(first);
        let is_sound = |(block, checksum): (&[u8], &[u8; 4])| crc32fast::hash(block).to_le_bytes() == *checksum;
        blocks.chunks(BLOCK).zip(checksums).all(is_sound).then(|| all.slice(start..end.max(start)))
    }

    fn write(&self, folder: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let table = Self::table(bytes);
        file.write_all(bytes)?;
        file.write_all(&table)?;
        file.write_all(&self.trailer(bytes.len(), &table))?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Removes copies of whole objects, and those of their ranges.
fn forget(folder: &Path, copies: &HashSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let whole = name.to_str().and_then(|name| name.split('-').next());
        if whole.is_some_and(|whole| copies.contains(&folder.join(whole))) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn time(timestamp: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(timestamp.as_millis()).unwrap_or_default())
}

/// Where the folder exceeds its bound, removes the least recently used copies until an eighth of
/// bytes and files is free. Temporary files of dead processes go too.
fn evict(folder: &Path, max_bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Another process may have removed it meanwhile.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    let (mut number, max_files) = (files.len() as u64, (max_bytes / BYTES_A_FILE).max(FILES));
    if total <= max_bytes && number <= max_files {
        return Ok(());
    }
    files.sort_unstable();
    for (_, bytes, path) in files {
        if total <= max_bytes - max_bytes / 8 && number <= max_files - max_files / 8 {
            break;
        }
        let _ = fs::remove_file(path);
        total -= bytes;
        number -= 1;
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

    fn is_to_be_probed(&self) -> bool {
        self.inner.is_to_be_probed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies of 100 bytes each, the least recently used first.
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
    fn eviction_bounds_the_number_of_files() {
        let folder = folder_of(FILES + 1);
        evict(folder.path(), FILES * 100 + 100).unwrap();
        assert_eq!(left(folder.path()).len() as u64, FILES / 8 * 7);
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

    /// A folder is a store that needs no probe. Copies of it do not change that.
    #[test]
    fn a_cache_is_probed_if_its_store_is() {
        let folder = tempfile::tempdir().unwrap();
        let cached = Cached::open(Arc::new(crate::store::Memory::new()), folder.path(), 1 << 20).unwrap();
        assert!(!cached.is_to_be_probed());
    }
}
