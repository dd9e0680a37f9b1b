//! A store in a local folder: durable, and shared by any number of processes.
//!
//! An object is a file of its key's name. How the [contract](crate::store) is kept:
//!
//! - **Create**: the bytes go to a temporary file, which is flushed to the disk (`fsync`, on macOS
//!   `F_FULLFSYNC`); then a hard link gives it its name, which fails where the name is taken; then
//!   the folder is flushed. At every instruction the object is there whole or not at all, also
//!   after the power fails. On Linux the temporary file has no name (`O_TMPFILE`).
//! - **A name that is taken** is answered only after its folder was flushed: whoever goes on behind
//!   an object that somebody else is just writing would otherwise leave a gap if the power failed
//!   between the two. What is written behind an object that was only read lies in the same folder,
//!   and flushing that flushes both names.
//! - **What rests on reading alone** (an acknowledgement that the log holds it already, a deletion,
//!   an op that is passed on) comes after [`settle`](Store::settle), which flushes the folder: a
//!   name is seen before it is flushed.
//! - **Replace**: under a lock of the operating system (`flock`: it ends with the process that
//!   holds it and never expires) the register is read and compared; then a temporary file is
//!   flushed, renamed over it, and the folder is flushed. Deleting takes the same lock, so that
//!   nobody replaces what is being deleted.
//! - **A failure after the link or the rename** is an unknown outcome; before it, nothing landed.
//! - **Temporary files** lie in `.tmp` and are locked by the process that writes them. One that can
//!   be locked has lost its writer; [`Dir::open`] removes it. No clock and no process number is
//!   asked.
//! - Folders are made with the folder above them flushed, and never removed, not even empty: a
//!   folder that went away and came back could take a name with it that had been flushed.
//!
//! Files of 1 MiB and more are mapped, not read. That relies on nobody but Deltafold changing files
//! in the folder: an object never changes once it is there, and a deleted one stays as long as it
//! is mapped.

mod calls;
mod fault;
mod folders;
mod object;
mod unnamed;
mod walk;
mod write;

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use bytes::Bytes;
use deltafold_format::{HeadPlace, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use self::folders::Folders;
use super::{
    Answer, Key, Listed, Meter, Object, Outcome, RequestKind, Requests, Store, StoreError, Tag, Unless, bytes_of,
    read_answer,
};
use crate::env::{self, Env, System};

/// Files from this size on are mapped instead of read.
const MAP_FROM_BYTES: u64 = 1 << 20;

/// A store in a local folder. Clones share it; see the [module](self) for how it keeps its
/// promises.
#[derive(Debug, Clone)]
pub struct Dir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    folders: Folders,
    /// Files can be made without a name here, as far as is known.
    unnamed: AtomicBool,
    meter: Meter,
}

impl Dir {
    /// The store in the folder `root`, which the first write makes if it is not there. Removes
    /// temporary files that a crash left.
    ///
    /// # Errors
    ///
    /// The path is not a folder, or may not be read.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_as(root.into(), unnamed::is_usable())
    }

    /// As [`open`](Self::open), without files that have no name: as it is everywhere but on Linux.
    /// Processes may share the folder either way.
    ///
    /// # Errors
    ///
    /// Those of `open`.
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
            inner: Arc::new(Inner { root, folders, unnamed: AtomicBool::new(unnamed), meter: Meter::default() }),
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Does `work` off the tasks that wait, and says of a failure which verb on which key it was.
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

/// The object at `path`.
fn read(path: &Path) -> io::Result<Option<Object>> {
    let Some((file, metadata)) = object::open(path)? else { return Ok(None) };
    if metadata.len() >= MAP_FROM_BYTES {
        return Ok(Some(Object { bytes: super::map::map(&file)?, tag: tag_of(&[], &metadata) }));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    io::Read::read_to_end(&mut &file, &mut bytes)?;
    let bytes = Bytes::from(bytes);
    Ok(Some(Object { tag: tag_of(std::slice::from_ref(&bytes), &metadata), bytes }))
}

/// The tag of a file with this content: of a small one the content, of one that is mapped which
/// file it is.
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
        let get = self.run("read", key, |_, path| read(path));
        let answer = |found: &Option<Object>| read_answer(found.as_ref().map(|object| &object.bytes));
        self.inner.meter.request(RequestKind::Get, key, 0, get, answer).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let get = self.run("read", key, move |_, path| read_range(path, start, end));
        self.inner.meter.request(RequestKind::Get, key, 0, get, |found| read_answer(found.as_ref())).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        // Asked of registers: a few hundred bytes that were written or read a moment ago. Handing
        // that to another thread and waiting for the answer takes ten times as long as doing it.
        let get = async {
            let object = read(&self.inner.path(key)).map_err(|error| fault::of("read", key, &error))?;
            Ok(match object {
                None => Unless::Absent,
                Some(object) if object.tag == *tag => Unless::Unchanged,
                Some(object) => Unless::Changed(object),
            })
        };
        self.inner.meter.request(RequestKind::GetUnless, key, 0, get, Unless::answer).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let (name, bytes) = (key.clone(), bytes_of(&chunks));
        let create = self.run("create", key, move |inner, path| inner.create(&name, path, &chunks));
        self.inner.meter.request(RequestKind::Create, key, bytes, create, Outcome::answer).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let (name, tag, bytes) = (key.clone(), tag.clone(), bytes_of(&chunks));
        let replace = self.run("replace", key, move |inner, path| inner.replace(&name, path, &tag, &chunks));
        self.inner.meter.request(RequestKind::Replace, key, bytes, replace, Outcome::answer).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let (inner, wanted, after) = (self.inner.clone(), prefix.to_owned(), after.cloned());
        let list = async {
            let listed = env::blocking(move || walk::list(&inner.root, &wanted, after.as_ref(), limit)).await;
            listed.map_err(|error| fault::of("list", prefix, &error))
        };
        self.inner.meter.request(RequestKind::List, prefix, 0, list, |_| (Answer::Done, 0)).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        let (inner, first) = (self.inner.clone(), keys.first().map_or("", Key::as_str));
        let keys = keys.to_vec();
        let delete = env::blocking(move || inner.delete(&keys));
        self.inner.meter.request(RequestKind::Delete, first, 0, delete, |()| (Answer::Done, 0)).await
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        self.run("flush the folder of", key, |inner, path| inner.settle(path)).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.meter.request(RequestKind::Clock, "", 0, async { Ok(System.now()) }, |_| (Answer::Done, 0)).await
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
