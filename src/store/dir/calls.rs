//! All calls of the operating system that change the folder. A test may watch them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::unnamed;
use crate::simulation::Guard;

/// Reports a call to a test.
macro_rules! tell {
    ($path:expr, $call:expr) => {
        let _at: &Path = $path;
        #[cfg(feature = "simulation")]
        {
            use crate::simulation::DiskCall::*;
            crate::simulation::tell(_at, || $call);
        }
    };
}

/// The identity of a file for the watcher.
#[cfg(feature = "simulation")]
fn number(file: &File) -> u64 {
    use std::os::unix::fs::MetadataExt;
    file.metadata().map_or(0, |metadata| metadata.ino())
}

/// Makes a folder.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    tell!(folder, MakeFolder(folder.to_owned()));
    Ok(())
}

/// Flushes the names in a folder to the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if Guard::FolderSync.holds() {
        File::open(folder)?.sync_all()?;
        tell!(folder, SyncFolder(folder.to_owned()));
    }
    Ok(())
}

/// A new file of this name.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    tell!(path, Create { file: number(&file), path: Some(path.to_owned()) });
    Ok(file)
}

/// A new file without a name, on the file system of `folder`.
pub(super) fn create_unnamed(folder: &Path) -> io::Result<File> {
    let file = unnamed::create(folder)?;
    tell!(folder, Create { file: number(&file), path: None });
    Ok(file)
}

/// Writes all bytes of a file that will get a name in `folder`, and flushes them.
pub(super) fn write(mut file: &File, folder: &Path, chunks: &[Bytes]) -> io::Result<()> {
    for chunk in chunks {
        file.write_all(chunk)?;
        tell!(folder, Write { file: number(file), bytes: chunk.to_vec() });
    }
    if Guard::FileSync.holds() {
        file.sync_all()?;
        tell!(folder, SyncFile(number(file)));
    }
    Ok(())
}

/// Gives a file a name that must be free. `from` is its present name, if any.
pub(super) fn link(file: &File, from: Option<&Path>, path: &Path) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    crate::simulation::may_link(path).map_err(NoLinks::told_by)?;
    match from {
        Some(from) => fs::hard_link(from, path),
        None => unnamed::link(file, path),
    }
    .map_err(NoLinks::told_by)?;
    tell!(path, Link { file: number(file), path: path.to_owned() });
    Ok(())
}

/// The file system has no hard links.
#[derive(Debug, thiserror::Error)]
#[error("the file system makes no hard links: {0}")]
pub(super) struct NoLinks(io::Error);

impl NoLinks {
    /// Wraps an error of a link if it tells that the file system has none. FAT and exFAT answer
    /// EPERM, which elsewhere tells of missing rights. This writer made the file in that folder a
    /// moment before, so it lacks none.
    fn told_by(error: io::Error) -> io::Error {
        use rustix::io::Errno;
        let tells = [Errno::PERM, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::MLINK, Errno::XDEV];
        match Errno::from_io_error(&error) {
            Some(number) if tells.contains(&number) => io::Error::new(io::ErrorKind::Unsupported, Self(error)),
            _ => error,
        }
    }
}

/// Renames a file over the one that has the new name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    tell!(to, Rename { from: from.to_owned(), to: to.to_owned() });
    Ok(())
}

/// Removes a name.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    tell!(path, Remove(path.to_owned()));
    Ok(())
}

/// A lock of the operating system. Dropping it releases it.
pub(super) struct Lock {
    /// Closing the file releases the lock.
    file: Option<File>,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock on `file`, which is the file at `path`. The file is empty, so its
    /// durability does not matter.
    pub(super) fn acquire(file: File, path: PathBuf) -> io::Result<Self> {
        tell!(&path, WillLock(path.clone()));
        file.lock()?;
        tell!(&path, Locked(path.clone()));
        Ok(Self { file: Some(file), path })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.file.take());
        tell!(&self.path, Unlocked(self.path.clone()));
    }
}
