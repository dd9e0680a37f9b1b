//! Writing: create, replace, delete.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::folders::flush;
use super::{Inner, fault, found, read, tag_of};
use crate::env::{Env, System};
use crate::store::{Key, Outcome, StoreError, Tag};

/// Where files are written before they have a name.
const TEMPORARY: &str = ".tmp";
/// Where the files lie that are locked for replacing and deleting.
const LOCKS: &str = ".lock";
/// How many such files there are: keys share them, so that none is ever left over.
const LOCK_FILES: u64 = 64;
/// How often a write begins anew because somebody removed its temporary file or its folder.
const ATTEMPTS: usize = 8;

/// A file that has no name yet. Dropping it removes it.
struct Temporary {
    path: PathBuf,
    /// Open, and locked, so that nobody takes it for a leftover.
    file: File,
    tag: Tag,
}

impl Temporary {
    /// The outcome now that it has its name in `folder`.
    fn landed(self, verb: &'static str, key: &Key, folder: &Path) -> Outcome {
        let tag = self.tag.clone();
        drop(self);
        match flush(folder) {
            Ok(()) => Outcome::Done(tag),
            Err(error) => Outcome::Unknown(fault::of(verb, key, &error)),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename it is gone already; what stays behind after a failure is removed when the store is next opened.
        drop(fs::remove_file(&self.path));
    }
}

impl Inner {
    pub(super) fn create(&self, key: &Key, path: &Path, chunks: &[Bytes]) -> io::Result<Outcome> {
        let folder = path.parent().unwrap_or(&self.root);
        let mut attempts = 0..ATTEMPTS;
        loop {
            self.folders.ensure(folder)?;
            let temporary = self.temporary(chunks)?;
            match fs::hard_link(&temporary.path, path) {
                Ok(()) => return Ok(temporary.landed("create", key, folder)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    flush(folder)?;
                    return Ok(Outcome::Refused);
                }
                // Somebody took our file for a leftover before it was locked, or removed the folder.
                Err(error) if error.kind() == ErrorKind::NotFound && attempts.next().is_some() => {
                    self.folders.forget(folder);
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
            let temporary = self.temporary(chunks)?;
            match fs::rename(&temporary.path, path) {
                Ok(()) => return Ok(temporary.landed("replace", key, folder)),
                Err(error) if error.kind() == ErrorKind::NotFound && attempts.next().is_some() => {
                    self.folders.forget(folder);
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
                found(fs::remove_file(&path)).map(|removed| removed.is_some())
            };
            if remove().map_err(|error| fault::of("delete", key, &error))? {
                folders.extend(path.parent().map(Path::to_owned));
            }
        }
        for folder in folders {
            flush(&folder).map_err(|error| fault::of("delete in", folder.display(), &error))?;
        }
        Ok(())
    }

    /// A file of these bytes, flushed.
    fn temporary(&self, chunks: &[Bytes]) -> io::Result<Temporary> {
        let folder = self.root.join(TEMPORARY);
        self.folders.ensure(&folder)?;
        let path = folder.join(format!("{:016x}", System.random()));
        let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.folders.forget(&folder);
                self.folders.ensure(&folder)?;
                OpenOptions::new().write(true).create_new(true).open(&path)?
            }
            opened => opened?,
        };
        let mut temporary = Temporary { path, file, tag: Tag::new("") };
        match temporary.file.try_lock() {
            // Somebody holds it who takes it for a leftover; linking it will find out.
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        for chunk in chunks {
            temporary.file.write_all(chunk)?;
        }
        temporary.file.sync_all()?;
        temporary.tag = tag_of(chunks, &temporary.file.metadata()?);
        Ok(temporary)
    }

    /// Waits for the lock that replacing and deleting `key` need.
    fn lock(&self, key: &Key) -> io::Result<File> {
        let folder = self.root.join(LOCKS);
        self.folders.ensure(&folder)?;
        let path = folder.join(format!("{:02x}", xxh3_64(key.as_str().as_bytes()) % LOCK_FILES));
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        Ok(file)
    }
}

/// Removes temporary files whose writers are gone.
pub(super) fn sweep_temporary(root: &Path) -> io::Result<()> {
    let Some(entries) = found(fs::read_dir(root.join(TEMPORARY)))? else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        // One that cannot be opened or locked belongs to somebody; it does no harm.
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            drop(fs::remove_file(&path));
        }
    }
    Ok(())
}
