//! A store in a local folder: durable, and shared by any number of processes.
//!
//! Each object is a file with the name of its key. The store keeps the [contract](crate::store) as
//! follows:
//!
//! - **Create** writes the bytes to a temporary file and flushes it to the disk (`fsync`, on macOS
//!   `F_FULLFSYNC`). Then a hard link gives the file its name, and fails where the name is taken.
//!   Then the folder is flushed. At every instruction the object is there whole or not at all, also
//!   after a power failure. On Linux the temporary file has no name (`O_TMPFILE`).
//! - **A name that is taken** is refused only after a flush of its folder. Otherwise a writer could
//!   go on behind an object that another process is just writing. A power failure between the two
//!   would leave a gap. An object written behind one that was only read lies in the same folder, so
//!   the flush of that folder covers both names.
//! - **Actions that rest on reading alone** come after [`settle`](Store::settle), which flushes the
//!   folder: an acknowledgement of an op already in the log, a deletion, passing an op on. A name
//!   is visible before it is flushed.
//! - **Replace** takes a lock of the operating system (`flock`), which ends with its process and
//!   never expires. Under the lock it reads and compares the register, flushes a temporary file,
//!   renames it over the register and flushes the folder. Delete takes the same lock, so that no
//!   replace meets a delete.
//! - **A failure after the link or the rename** is an unknown outcome; before it, nothing landed.
//! - **Temporary files** lie in `.tmp`, locked by the process that writes them. A file that can be
//!   locked has lost its writer; [`Dir::open`] removes it. No decision rests on a clock or a
//!   process number.
//! - **Folders** are never removed, not even empty ones: a folder that went away and came back
//!   could lose a name that had been flushed. Each new folder is made durable by a flush of the
//!   folder above it.
//!
//! The store maps files of 1 MiB and more instead of reading them. That relies on Deltafold alone
//! changing files in the folder: an object never changes once it is there, and a deleted one stays
//! while it is mapped.

mod calls;
mod fault;
mod folders;
mod object;
mod unnamed;
mod walk;
mod write;

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold_format::{HeadPlace, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use self::folders::Folders;
use super::{
    Key, Listed, Meter, Object, Outcome, RequestKind, Requests, Store, StoreError, Tag, Unless, bytes_of, map,
};
use crate::env::{self, Env, System};

/// Files of this size and more are mapped instead of read.
const MAP_FROM_BYTES: u64 = 1 << 20;

/// A store in a local folder. Clones share it; the [module](self) says how it keeps its promises.
///
/// ```
/// use std::sync::Arc;
/// use deltafold::store::Dir;
/// use deltafold::{Collection, CreateOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temporary = tempfile::tempdir()?;
/// # let folder = temporary.path().join("data");
/// let store = Arc::new(Dir::open(folder)?);
/// let name = "articles".parse()?;
/// Collection::create(store.clone(), &name, &CreateOptions::new(384)).await?;
/// assert_eq!(Collection::list(&*store).await?, [name]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Dir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    folders: Folders,
    /// Files without a name work here, as far as is known.
    unnamed: AtomicBool,
    /// Rows of mapped files are copied from the files.
    spares_memory: bool,
    meter: Meter,
}

impl Dir {
    /// The store in the folder `root`. The first write makes the folder if need be. Removes
    /// temporary files that a crash left.
    ///
    /// # Errors
    ///
    /// The path is not a folder, or cannot be read.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_as(root.into(), unnamed::is_usable())
    }

    /// As [`open`](Self::open), but without files that have no name, as on every system but Linux.
    /// Processes may share the folder either way.
    ///
    /// # Errors
    ///
    /// The errors of `open`.
    pub fn open_portable(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_as(root.into(), false)
    }

    fn open_as(root: PathBuf, unnamed: bool) -> Result<Self, StoreError> {
        let failed = |error| fault::of("open", root.display(), &error);
        match std::fs::read_dir(&root) {
            Ok(_) => write::sweep_temporary(&root).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let folders = Folders::new(root.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                folders,
                unnamed: AtomicBool::new(unnamed),
                spares_memory: false,
                meter: Meter::default(),
            }),
        })
    }

    /// The same folder, whose readers keep the resident memory of the process small. They copy
    /// single rows of embedding objects from their files, 0.5 us each, where they would otherwise
    /// read them in place. All readers of an object share its pages. Objects that were read before
    /// stay as they are. Up to 256 files are kept open.
    #[must_use]
    pub fn sparing_memory(&self) -> Self {
        let Inner { root, folders: _, unnamed, spares_memory: _, meter: _ } = &*self.inner;
        let unnamed = AtomicBool::new(unnamed.load(Ordering::Relaxed));
        let folders = Folders::new(root.clone());
        let inner = Inner { root: root.clone(), folders, unnamed, spares_memory: true, meter: Meter::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Runs `work` on a thread that may block, and adds the verb and the key to a failure.
    async fn run<T: Send + 'static>(
        &self,
        verb: &'static str,
        key: &Key,
        work: impl FnOnce(&Inner, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (inner, path) = (self.inner.clone(), self.inner.path(key));
        let done = env::blocking(move || work(&inner, &path)).await;
        done.map_err(|error| fault::of(verb, key, &error))
    }
}

impl Inner {
    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }
}

/// `None` for a file that is not there.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The register at `path`, or another object of which few rows are read.
fn read(path: &Path) -> io::Result<Option<Object>> {
    object::open(path)?.map(|(file, metadata)| read_open(&file, &metadata, false)).transpose()
}

/// The object in an open file.
fn read_open(file: &File, metadata: &Metadata, spares_memory: bool) -> io::Result<Object> {
    if metadata.len() >= MAP_FROM_BYTES {
        let bytes = if spares_memory { map::map_sparing(file, metadata)? } else { map::map(file)? };
        return Ok(Object { bytes, tag: tag_of(&[], metadata) });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    io::Read::read_to_end(&mut &*file, &mut bytes)?;
    let bytes = Bytes::from(bytes);
    Ok(Object { tag: tag_of(std::slice::from_ref(&bytes), metadata), bytes })
}

/// The tag of a file: a digest of the content of a small one; length, inode and modification time
/// of a mapped one.
fn tag_of(chunks: &[Bytes], metadata: &Metadata) -> Tag {
    if metadata.len() >= MAP_FROM_BYTES {
        let (time, nanos) = (metadata.mtime(), metadata.mtime_nsec());
        return Tag::new(format!("{:x}-{:x}-{time:x}-{nanos:x}", metadata.len(), metadata.ino()));
    }
    let mut hash = Xxh3::new();
    chunks.iter().for_each(|chunk| hash.update(chunk));
    Tag::new(format!("{:032x}", hash.digest128()))
}

fn read_range(path: &Path, start: u64, end: u64) -> io::Result<Option<Bytes>> {
    let Some((file, metadata)) = object::open(path)? else { return Ok(None) };
    let end = end.min(metadata.len());
    let wanted = usize::try_from(end.saturating_sub(start)).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; wanted];
    file.read_exact_at(&mut bytes, start)?;
    Ok(Some(bytes.into()))
}

#[async_trait]
impl Store for Dir {
    fn location(&self) -> String {
        format!("dir:{}", self.inner.root.display())
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        // Readers look at the slot behind a log before each read, and as a rule it is free. A call
        // on another thread, with the wait for it, takes ten times as long as that look.
        let get = async {
            let failed = |error| fault::of("read", key, &error);
            match object::open(&self.inner.path(key)).map_err(failed)? {
                None => Ok(None),
                Some((file, metadata)) => {
                    let spares_memory = self.inner.spares_memory;
                    let read = env::blocking(move || read_open(&file, &metadata, spares_memory)).await;
                    read.map(Some).map_err(failed)
                }
            }
        };
        self.inner.meter.request(RequestKind::Get, key, 0, get).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let get = self.run("read", key, move |_, path| read_range(path, start, end));
        self.inner.meter.request(RequestKind::Get, key, 0, get).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        // Callers read registers this way: a few hundred bytes that were written or read a moment
        // ago. A call on another thread, with the wait for it, takes ten times as long as the read.
        let get = async {
            let object = read(&self.inner.path(key)).map_err(|error| fault::of("read", key, &error))?;
            Ok(match object {
                None => Unless::Absent,
                Some(object) if object.tag == *tag => Unless::Unchanged,
                Some(object) => Unless::Changed(object),
            })
        };
        self.inner.meter.request(RequestKind::GetUnless, key, 0, get).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let (name, bytes) = (key.clone(), bytes_of(&chunks));
        let create = self.run("create", key, move |inner, path| inner.create(&name, path, &chunks));
        self.inner.meter.request(RequestKind::Create, key, bytes, create).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let (name, tag, bytes) = (key.clone(), tag.clone(), bytes_of(&chunks));
        let replace = self.run("replace", key, move |inner, path| inner.replace(&name, path, &tag, &chunks));
        self.inner.meter.request(RequestKind::Replace, key, bytes, replace).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let (inner, wanted, after) = (self.inner.clone(), prefix.to_owned(), after.cloned());
        let list = async {
            let listed = env::blocking(move || walk::list(&inner.root, &wanted, after.as_ref(), limit)).await;
            listed.map_err(|error| fault::of("list", prefix, &error))
        };
        self.inner.meter.request(RequestKind::List, prefix, 0, list).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        let (inner, first) = (self.inner.clone(), keys.first().map_or("", Key::as_str));
        let keys = keys.to_vec();
        let delete = env::blocking(move || inner.delete(&keys));
        self.inner.meter.request(RequestKind::Delete, first, 0, delete).await
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        self.run("flush the folder of", key, |inner, path| inner.settle(path)).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.meter.request(RequestKind::Clock, "", 0, async { Ok(System.now()) }).await
    }

    fn requests(&self) -> Requests {
        self.inner.meter.requests()
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
