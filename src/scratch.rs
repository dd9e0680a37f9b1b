//! A temporary file without a name, for data beyond the memory limit. It ends with its last user.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold_format::{HeadPlace, Timestamp};

use crate::env::{self, Env, System};
use crate::error::{Error, Repr, Result};
use crate::store::{Key, Listed, Object, Outcome, Requests, Store, StoreError, StoreErrorKind, Tag, Unless, map_range};

/// Extents begin at a multiple of this, so that each can return its space to the file system.
const PAGE: u64 = 4_096;
/// Longer extents are mapped rather than read.
const MAP_FROM_BYTES: u64 = 64 << 10;

/// A temporary file. Clones share it. The first write makes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<File>>,
    end: u64,
}

impl Scratch {
    /// Appends some bytes. Blocks.
    pub(crate) fn put(&self, chunks: &[Bytes]) -> io::Result<Extent> {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let extent = self.reserve(len)?;
        let mut at = extent.at;
        for chunk in chunks {
            extent.file.write_all_at(chunk, at)?;
            at += chunk.len() as u64;
        }
        Ok(extent)
    }

    fn reserve(&self, len: u64) -> io::Result<Extent> {
        // A panic elsewhere leaves the state whole: each change is a single assignment.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &state.file {
            Some(file) => file.clone(),
            None => Arc::new(tempfile::tempfile()?),
        };
        state.file = Some(file.clone());
        let at = state.end;
        state.end += len.next_multiple_of(PAGE);
        Ok(Extent { file, at, len })
    }

    /// The total of bytes ever written.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().unwrap().end
    }

    /// Flips a bit of every page.
    #[cfg(test)]
    pub(crate) fn damage(&self) {
        let state = self.0.lock().unwrap();
        for at in (0..state.end).step_by(64) {
            let mut byte = [0];
            let file = state.file.as_ref().unwrap();
            if file.read_exact_at(&mut byte, at).is_ok() {
                file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            }
        }
    }
}

/// Bytes in a [`Scratch`]. Dropping them frees their space.
#[derive(Debug)]
pub(crate) struct Extent {
    file: Arc<File>,
    at: u64,
    len: u64,
}

impl Extent {
    /// Number of its bytes.
    #[cfg(feature = "serve")]
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes `start..end` of the extent. Blocks.
    pub(crate) fn read(&self, start: u64, end: u64) -> io::Result<Bytes> {
        let end = end.min(self.len);
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, self.at + start)?;
        Ok(bytes.into())
    }

    /// All its bytes; a mapping if they are many.
    pub(crate) fn get(self: &Arc<Self>) -> io::Result<Bytes> {
        if self.len < MAP_FROM_BYTES {
            return self.read(0, self.len);
        }
        map_range(&self.file, self.at, self.len, self.clone())
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        // A file system without holes keeps the bytes until the file goes.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fallocate(
            &*self.file,
            rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
            self.at,
            self.len.next_multiple_of(PAGE),
        );
    }
}

/// The error of a failed temporary file.
pub(crate) fn failed(error: impl Borrow<io::Error>) -> StoreError {
    let error = error.borrow();
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { StoreErrorKind::Full } else { StoreErrorKind::Permanent };
    let reason = format!("{error}; free space there, name another folder in TMPDIR, or give more memory");
    StoreError::new(kind, "use a temporary file in", std::env::temp_dir().display(), reason)
}

/// The error of bytes in the temporary file that changed since they were written.
pub(crate) fn damaged(error: &Error) -> Error {
    let reason = format!("its bytes read back differently ({error}); check that disk, then try again");
    let folder = std::env::temp_dir();
    Repr::Store(StoreError::new(StoreErrorKind::Permanent, "use a temporary file in", folder.display(), reason)).into()
}

/// Objects of a store that does not map them: in memory up to a limit, in the temporary file beyond
/// it.
#[derive(Debug)]
pub(crate) struct Overflow {
    scratch: Scratch,
    limit: u64,
    used: AtomicU64,
}

impl Overflow {
    pub(crate) fn new(scratch: Scratch, limit: u64) -> Self {
        Self { scratch, limit, used: AtomicU64::new(0) }
    }

    /// The same bytes, moved to the temporary file where the limit is reached.
    pub(crate) async fn place(&self, store: &dyn Store, object: Bytes) -> Result<Bytes> {
        let len = object.len() as u64;
        if store.maps_objects() || self.used.fetch_add(len, Ordering::Relaxed) + len <= self.limit {
            return Ok(object);
        }
        let scratch = self.scratch.clone();
        let moved = env::blocking(move || Arc::new(scratch.put(&[object])?).get()).await;
        Ok(moved.map_err(failed)?)
    }
}

/// A store in a temporary file, for objects that one reader makes for itself. No one else sees it.
#[derive(Debug)]
pub(crate) struct ScratchStore {
    scratch: Scratch,
    objects: Mutex<HashMap<Key, Arc<Extent>>>,
}

impl ScratchStore {
    pub(crate) fn new(scratch: Scratch) -> Self {
        Self { scratch, objects: Mutex::default() }
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<Key, Arc<Extent>>> {
        // A panic elsewhere leaves the map whole: each change is a single insert or remove.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Key) -> Option<Arc<Extent>> {
        self.objects().get(key).cloned()
    }
}

#[async_trait]
impl Store for ScratchStore {
    fn location(&self) -> String {
        format!("a temporary file in {}", std::env::temp_dir().display())
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let Some(extent) = self.find(key) else { return Ok(None) };
        let bytes = env::blocking(move || extent.get()).await.map_err(failed)?;
        Ok(Some(Object { bytes, tag: Tag::new("scratch") }))
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(extent) = self.find(key) else { return Ok(None) };
        env::blocking(move || extent.read(start, end)).await.map(Some).map_err(failed)
    }

    async fn get_unless(&self, key: &Key, _tag: &Tag) -> Result<Unless, StoreError> {
        Ok(if self.find(key).is_some() { Unless::Unchanged } else { Unless::Absent })
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        if self.find(key).is_some() {
            return Ok(Outcome::Refused);
        }
        let scratch = self.scratch.clone();
        let extent = env::blocking(move || scratch.put(&chunks)).await.map_err(failed)?;
        self.objects().insert(key.clone(), Arc::new(extent));
        Ok(Outcome::Done(Tag::new("scratch")))
    }

    async fn replace(&self, _key: &Key, _tag: &Tag, _chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        Err(failed(io::Error::other("it holds no registers")))
    }

    async fn list_after(&self, _: &str, _: Option<&Key>, _: usize) -> Result<Vec<Listed>, StoreError> {
        Err(failed(io::Error::other("it has no list of its objects")))
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        let mut objects = self.objects();
        for key in keys {
            objects.remove(key);
        }
        Ok(())
    }

    async fn settle(&self, _: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(System.now())
    }

    fn requests(&self) -> Requests {
        Requests::default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_read_back_and_outlive_their_neighbours() {
        let scratch = Scratch::default();
        let long = Bytes::from(vec![7; 100_000]);
        let short = Arc::new(scratch.put(&[Bytes::from_static(b"ab"), Bytes::from_static(b"c")]).unwrap());
        let mapped = Arc::new(scratch.put(std::slice::from_ref(&long)).unwrap()).get().unwrap();
        let later = Arc::new(scratch.put(&[Bytes::from_static(b"later")]).unwrap());
        assert_eq!(short.get().unwrap(), "abc");
        drop(short);
        assert_eq!((mapped, later.get().unwrap()), (long, Bytes::from_static(b"later")));
    }
}
