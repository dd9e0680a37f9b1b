//! Folders that outlast a power failure.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::calls;

/// The folders that this process knows to be durable.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, durable: Mutex::default() }
    }

    /// Makes `folder` and those above it, and flushes each in the one above it once. It also
    /// flushes one that exists: another process may have made it and not have flushed it yet.
    pub(super) fn ensure(&self, folder: &Path) -> io::Result<()> {
        if self.known().contains(folder) {
            return Ok(());
        }
        let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
        match calls::make_folder(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && above.is_some() => {
                self.ensure(above.unwrap_or(folder))?;
                ignore_exists(calls::make_folder(folder))?;
            }
            made => ignore_exists(made)?,
        }
        if folder.starts_with(&self.root) && folder != self.root {
            self.ensure(above.unwrap_or(folder))?;
        }
        // The process may lack the permission to read above the user's folder.
        match calls::sync_folder(above.unwrap_or(Path::new("."))) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !above_in(&self.root, folder) => {}
            flushed => flushed?,
        }
        self.known().insert(folder.to_owned());
        Ok(())
    }

    /// Forgets all folders, after one of them turned out to be missing.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        // A panic elsewhere leaves the set whole: every change of it is a single insert or clear.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the folder above `folder` is in the store.
fn above_in(root: &Path, folder: &Path) -> bool {
    folder != root && folder.starts_with(root)
}

fn ignore_exists(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
