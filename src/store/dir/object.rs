//! Opening the file of an object: a regular file, and nothing that only looks like one.
//!
//! Somebody may have put a link, a pipe or a device where an object belongs. Reading it would
//! follow the link out of the store or wait for ever. It is damage, and the error names it.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::found;

/// A file that is no object stands under the name of one.
#[derive(Debug, thiserror::Error)]
#[error("it is a {0} and no file; remove it, then restore the object from a copy if there was one")]
pub(super) struct NoObject(&'static str);

impl NoObject {
    fn of(kind: FileType) -> Option<Self> {
        Some(Self(match kind {
            kind if kind.is_file() => return None,
            kind if kind.is_symlink() => "symbolic link",
            kind if kind.is_dir() => "folder",
            kind if kind.is_fifo() => "named pipe",
            kind if kind.is_socket() => "socket",
            _ => "device",
        }))
    }

    /// Whether an error says so.
    pub(super) fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl From<NoObject> for io::Error {
    fn from(error: NoObject) -> Self {
        Self::new(ErrorKind::InvalidData, error)
    }
}

/// Opens the object at `path`; `None` where there is none. A folder is none: its name is a prefix
/// of keys.
pub(super) fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    // Opening a pipe must not wait for somebody to write into it.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).map_err(|_| ErrorKind::Unsupported)?;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // A link, a socket or a device without a driver: the name tells more than the error.
        Err(error) => return check(path).and(Err(error)),
    };
    let metadata = file.metadata()?;
    match NoObject::of(metadata.file_type()) {
        None => Ok(Some((file, metadata))),
        Some(_) if metadata.is_dir() => Ok(None),
        Some(error) => Err(error.into()),
    }
}

/// An error where something else than an object has the name `path`.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match found(fs::symlink_metadata(path))?.and_then(|metadata| NoObject::of(metadata.file_type())) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}
