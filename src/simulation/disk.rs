//! Reports the calls that a store in a folder makes to the operating system, in order. From them a
//! test derives the states that a power failure may leave.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A call that changes the folder, or one that waits for a lock. Paths are whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskCall {
    /// A folder was made.
    MakeFolder(PathBuf),
    /// An empty file was made; without a name where `path` is `None`.
    Create {
        /// Its identity in the calls that follow. No other file has it until this one is gone.
        file: u64,
        /// Its name.
        path: Option<PathBuf>,
    },
    /// Bytes were added to a file.
    Write {
        /// The file.
        file: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A file's bytes were flushed.
    SyncFile(u64),
    /// A file got a name that was free.
    Link {
        /// The file.
        file: u64,
        /// The name.
        path: PathBuf,
    },
    /// A file was renamed, over the file that had the name.
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new name.
        to: PathBuf,
    },
    /// A name was removed.
    Remove(PathBuf),
    /// The names in a folder were flushed.
    SyncFolder(PathBuf),
    /// The process is about to ask for a lock. No change.
    WillLock(PathBuf),
    /// The process got a lock. No change.
    Locked(PathBuf),
    /// The process released a lock. No change.
    Unlocked(PathBuf),
}

/// Receives each call, on the thread that made it, before that continues.
pub type DiskWatcher = Arc<dyn Fn(DiskCall) + Send + Sync>;

static WATCHERS: Mutex<Vec<(PathBuf, DiskWatcher)>> = Mutex::new(Vec::new());

/// Watches a folder until dropped.
#[derive(Debug)]
pub struct DiskWatch(PathBuf);

impl DiskWatch {
    /// Reports to `watcher` every call that changes anything at or below `root`. No other watch may
    /// cover that.
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

/// Reports to the watcher of the folder that contains `path`.
pub(crate) fn tell(path: &Path, call: impl FnOnce() -> DiskCall) {
    let watcher = watchers().iter().find(|(root, _)| path.starts_with(root)).map(|(_, watcher)| watcher.clone());
    if let Some(watcher) = watcher {
        watcher(call());
    }
}

static WITHOUT_LINKS: Mutex<Vec<(PathBuf, i32)>> = Mutex::new(Vec::new());

/// While this lives, every hard link at or below a folder fails with an error number of the system,
/// as on a file system without hard links.
#[derive(Debug)]
pub struct WithoutLinks(PathBuf);

impl WithoutLinks {
    /// Makes hard links at or below `root` fail with `errno`.
    pub fn begin(root: &Path, errno: i32) -> Self {
        without_links().push((root.to_owned(), errno));
        Self(root.to_owned())
    }
}

impl Drop for WithoutLinks {
    fn drop(&mut self) {
        without_links().retain(|(root, _)| *root != self.0);
    }
}

fn without_links() -> std::sync::MutexGuard<'static, Vec<(PathBuf, i32)>> {
    // Every change of the list is a single push or retain.
    WITHOUT_LINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails if a test has taken the hard links away.
pub(crate) fn may_link(path: &Path) -> std::io::Result<()> {
    let errno = without_links().iter().find(|(root, _)| path.starts_with(root)).map(|(_, errno)| *errno);
    errno.map_or(Ok(()), |errno| Err(std::io::Error::from_raw_os_error(errno)))
}
