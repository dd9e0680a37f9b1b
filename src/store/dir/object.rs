//! Opens the file of an object: a regular file, and nothing that only looks like one.
//!
//! A link, a pipe or a device may stand where an object belongs. A read would follow the link out
//! of the store, or wait for ever. This is damage, and the error names the file.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::found;

/// Something other than a regular file stands under the name of an object.
#[derive(Debug, thiserror::Error)]
#[error("it is a {0}, not a file; remove it, then restore the object from a copy if there was one")]
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

    /// Whether an error says this.
    pub(super) fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl From<NoObject> for io::Error {
    fn from(error: NoObject) -> Self {
        Self::new(ErrorKind::InvalidData, error)
    }
}

/// Opens the object at `path`; `None` where there is none. A folder is not an object: its name is a
/// prefix of keys.
pub(super) fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    // The open must not wait for a writer at the other end of a pipe.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).map_err(|_| ErrorKind::Unsupported)?;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // A link, a socket or a device without a driver. The check names it better than the error
        // does.
        Err(error) => return check(path).and(Err(error)),
    };
    let metadata = file.metadata()?;
    match NoObject::of(metadata.file_type()) {
        None => Ok(Some((file, metadata))),
        Some(_) if metadata.is_dir() => Ok(None),
        Some(error) => Err(error.into()),
    }
}

/// Returns an error where something other than an object has the name `path`.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match found(fs::symlink_metadata(path))?.and_then(|metadata| NoObject::of(metadata.file_type())) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}
