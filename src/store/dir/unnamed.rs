//! Files without a name, as Linux offers them. A writer that dies leaves nothing behind, and one
//! name less needs a flush.

use std::fs::File;
use std::io;
use std::path::Path;

/// Whether a file without a name can get one later: that needs `/proc`.
pub(super) fn is_usable() -> bool {
    cfg!(target_os = "linux") && Path::new("/proc/self/fd").exists()
}

/// A file without a name on the file system of `folder`.
#[cfg(target_os = "linux")]
pub(super) fn create(folder: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::TMPFILE.bits();
    let flags = i32::try_from(flags).map_err(|_| io::ErrorKind::Unsupported)?;
    std::fs::OpenOptions::new().write(true).custom_flags(flags).mode(0o666).open(folder)
}

/// Gives the file its name, which must be free.
#[cfg(target_os = "linux")]
pub(super) fn link(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    Ok(rustix::fs::linkat(rustix::fs::CWD, own, rustix::fs::CWD, path, flags)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn create(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether [`create`] failed because the system has no such files: an old kernel, or a file
/// system without them.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput)
}
