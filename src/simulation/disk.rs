//! What a store in a folder asks of the operating system, told in its order: from it a test knows
//! what a power failure may leave.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A call that changed the folder, or that waits for others who do. Paths are whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskCall {
    /// A folder was made.
    MakeFolder(PathBuf),
    /// A file was made, of no bytes; without a name where there is no path.
    Create {
        /// What names it to the calls that follow: until it is gone nobody else has it.
        file: u64,
        /// Its name.
        path: Option<PathBuf>,
    },
    /// Bytes were added to a file.
    Write {
        /// The file.
        file: u64,
        /// Those bytes.
        bytes: Vec<u8>,
    },
    /// A file's bytes were flushed.
    SyncFile(u64),
    /// A file was given a name that was free.
    Link {
        /// The file.
        file: u64,
        /// The name.
        path: PathBuf,
    },
    /// A file was given another name, in the place of the file that had it.
    Rename {
        /// The name before.
        from: PathBuf,
        /// The name after.
        to: PathBuf,
    },
    /// A name was removed.
    Remove(PathBuf),
    /// The names in a folder were flushed.
    SyncFolder(PathBuf),
    /// A lock is about to be asked for. Tells of no change.
    WillLock(PathBuf),
    /// A lock was given. Tells of no change.
    Locked(PathBuf),
    /// A lock was given back. Tells of no change.
    Unlocked(PathBuf),
}

/// Hears of each call, on the thread that made it, before that goes on.
pub type DiskWatcher = Arc<dyn Fn(DiskCall) + Send + Sync>;

static WATCHERS: Mutex<Vec<(PathBuf, DiskWatcher)>> = Mutex::new(Vec::new());

/// Watches what happens in and to a folder until dropped.
#[derive(Debug)]
pub struct DiskWatch(PathBuf);

impl DiskWatch {
    /// Tells `watcher` of every call that changes what lies at or below `root`, which nobody else
    /// watches.
    pub fn begin(root: &Path, watcher: DiskWatcher) -> Self {
        watchers().push((root.to_owned(), watcher));
        Self(root.to_owned())
    }
}

impl Drop for DiskWatch {
    fn drop(&mut self) {
        watchers().retain(|(root, _)| *root != self.0);
    }
}

fn watchers() -> std::sync::MutexGuard<'static, Vec<(PathBuf, DiskWatcher)>> {
    // Every change of the list is a single push or retain.
    WATCHERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells whoever watches the folder that `path` lies in.
pub(crate) fn tell(path: &Path, call: impl FnOnce() -> DiskCall) {
    let watcher = watchers().iter().find(|(root, _)| path.starts_with(root)).map(|(_, watcher)| watcher.clone());
    if let Some(watcher) = watcher {
        watcher(call());
    }
}
