//! Writing: create, replace, delete.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::calls::{self, Lock, sync_folder};
use super::{Inner, fault, found, object, read, tag_of, unnamed};
use crate::env::{Env, System};
use crate::simulation::Guard;
use crate::store::{Key, Outcome, StoreError, Tag};

/// The folder for files that have no final name yet.
const TEMPORARY: &str = ".tmp";
/// The folder of the lock files for replace and delete.
const LOCKS: &str = ".lock";
/// The number of lock files. Keys share them, so none is ever left over.
const LOCK_FILES: u64 = 64;
/// Retries of a write whose temporary file or folder another process removed.
const ATTEMPTS: usize = 8;

/// A file without a name yet, or one in the folder of temporary files. Dropping it removes it.
struct Temporary {
    file: File,
    /// Its path in the folder of temporary files; `None` for a file without a name.
    path: Option<PathBuf>,
    tag: Tag,
}

impl Temporary {
    /// Gives the file its name, which must be free.
    fn link(&self, path: &Path) -> io::Result<()> {
        calls::link(&self.file, self.path.as_deref(), path)
    }

    /// Renames the file over the one at `path`.
    fn rename(&self, path: &Path) -> io::Result<()> {
        match &self.path {
            Some(own) => calls::rename(own, path),
            None => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// The outcome, now that the file has its name in `folder`.
    fn landed(self, verb: &'static str, key: &Key, folder: &Path) -> Outcome {
        let tag = self.tag.clone();
        drop(self);
        match sync_folder(folder) {
            Ok(()) => Outcome::Done(tag),
            Err(error) => Outcome::Unknown(fault::of(verb, key, &error)),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename it is already gone. The next open of the store removes one that stays
        // behind after a failure.
        if let Some(path) = &self.path {
            drop(calls::remove(path));
        }
    }
}

impl Inner {
    pub(super) fn create(&self, key: &Key, path: &Path, chunks: &[Bytes]) -> io::Result<Outcome> {
        let folder = path.parent().unwrap_or(&self.root);
        let mut attempts = 0..ATTEMPTS;
        loop {
            self.folders.ensure(folder)?;
            let temporary = self.unnamed(folder, chunks);
            match temporary.and_then(|temporary| temporary.link(path).map(|()| temporary)) {
                Ok(temporary) => return Ok(temporary.landed("create", key, folder)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    object::check(path)?;
                    sync_folder(folder)?;
                    return Ok(Outcome::Refused);
                }
                // Another process took our file for a leftover before it was locked, or removed the
                // folder.
                Err(error) if error.kind() == ErrorKind::NotFound && attempts.next().is_some() => {
                    self.folders.forget();
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn replace(&self, key: &Key, path: &Path, tag: &Tag, chunks: &[Bytes]) -> io::Result<Outcome> {
        let folder = path.parent().unwrap_or(&self.root);
        let _lock = self.lock(key)?;
        if read(path)?.is_none_or(|object| object.tag != *tag) {
            return Ok(Outcome::Refused);
        }
        let mut attempts = 0..ATTEMPTS;
        loop {
            self.folders.ensure(folder)?;
            let temporary = self.temporary(chunks);
            match temporary.and_then(|temporary| temporary.rename(path).map(|()| temporary)) {
                Ok(temporary) => return Ok(temporary.landed("replace", key, folder)),
                Err(error) if error.kind() == ErrorKind::NotFound && attempts.next().is_some() => {
                    self.folders.forget();
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
        for key in keys {
            let path = self.path(key);
            let remove = || {
                if found(fs::symlink_metadata(&path))?.is_none() {
                    return Ok(false);
                }
                let _lock = self.lock(key)?;
                found(calls::remove(&path)).map(|removed| removed.is_some())
            };
            if remove().map_err(|error| fault::of("delete", key, &error))? {
                folders.extend(path.parent().map(Path::to_owned));
            }
        }
        for folder in folders {
            sync_folder(&folder).map_err(|error| fault::of("delete in", folder.display(), &error))?;
        }
        Ok(())
    }

    /// Flushes the names in the folder of `path`, and those of the folders above.
    pub(super) fn settle(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        if !Guard::SettledFirst.holds() || found(fs::symlink_metadata(folder))?.is_none() {
            return Ok(());
        }
        self.folders.ensure(folder)?;
        sync_folder(folder)
    }

    /// A flushed file of these bytes, without a name where the file system of `folder` allows that.
    fn unnamed(&self, folder: &Path, chunks: &[Bytes]) -> io::Result<Temporary> {
        if self.unnamed.load(Ordering::Relaxed) {
            match calls::create_unnamed(folder) {
                Ok(file) => return written(Temporary { file, path: None, tag: Tag::new("") }, folder, chunks),
                Err(error) if unnamed::is_unsupported(&error) => self.unnamed.store(false, Ordering::Relaxed),
                Err(error) => return Err(error),
            }
        }
        self.temporary(chunks)
    }

    /// A flushed file of these bytes, in the folder of temporary files.
    fn temporary(&self, chunks: &[Bytes]) -> io::Result<Temporary> {
        let folder = self.root.join(TEMPORARY);
        self.folders.ensure(&folder)?;
        let path = folder.join(format!("{:016x}", System.random()));
        let file = calls::create(&path)?;
        let temporary = Temporary { file, path: Some(path), tag: Tag::new("") };
        match temporary.file.try_lock() {
            // Another process holds it and takes it for a leftover. The link will find out.
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        written(temporary, &folder, chunks)
    }

    /// Waits for the lock that a replace or delete of `key` needs.
    fn lock(&self, key: &Key) -> io::Result<Lock> {
        let folder = self.root.join(LOCKS);
        self.folders.ensure(&folder)?;
        let path = folder.join(format!("{:02x}", xxh3_64(key.as_str().as_bytes()) % LOCK_FILES));
        let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.folders.forget();
                self.folders.ensure(&folder)?;
                open()?
            }
            opened => opened?,
        };
        Lock::acquire(file, path)
    }
}

/// Writes the bytes and flushes them.
fn written(mut temporary: Temporary, folder: &Path, chunks: &[Bytes]) -> io::Result<Temporary> {
    calls::write(&temporary.file, folder, chunks)?;
    temporary.tag = tag_of(chunks, &temporary.file.metadata()?);
    Ok(temporary)
}

/// Removes temporary files whose writers are gone.
pub(super) fn sweep_temporary(root: &Path) -> io::Result<()> {
    let Some(entries) = found(fs::read_dir(root.join(TEMPORARY)))? else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        // Another process owns a file that cannot be opened or locked. It does no harm.
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            drop(calls::remove(&path));
        }
    }
    Ok(())
}
