//! Translates a failure of the operating system for the caller.

use std::fmt;
use std::io::{self, ErrorKind};

use rustix::io::Errno;

use super::object::NoObject;
use crate::store::{StoreError, StoreErrorKind};

/// The remedy for a file system without hard links, such as FAT and exFAT, or without locks.
const NO_LINKS_OR_LOCKS: &str = "; choose a folder on a file system with hard links and locks";

/// `error` of `verb` on `what`, with the remedy.
pub(super) fn of(verb: &'static str, what: impl fmt::Display, error: &io::Error) -> StoreError {
    use StoreErrorKind::{Damaged, Full, Permanent, Transient};
    let (kind, remedy) = match error.kind() {
        _ if NoObject::is_in(error) => (Damaged, ""),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (Full, "; free some space, or sweep the collection"),
        ErrorKind::PermissionDenied => (Permanent, "; give this user the right to read and write the folder"),
        ErrorKind::ReadOnlyFilesystem => (Permanent, "; mount it writable, or choose another folder"),
        ErrorKind::NotADirectory => (Permanent, "; a file stands where a folder is needed, choose another folder"),
        ErrorKind::Unsupported => (Permanent, NO_LINKS_OR_LOCKS),
        ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::ResourceBusy | ErrorKind::StaleNetworkFileHandle => {
            (Transient, "")
        }
        // A network file system without locks.
        _ if Errno::from_io_error(error) == Some(Errno::NOLCK) => (Permanent, NO_LINKS_OR_LOCKS),
        _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => (Transient, "; raise the limit of open files"),
        _ => (Permanent, ""),
    };
    StoreError::new(kind, verb, what, format_args!("{error}{remedy}"))
}

/// Too many open files, in the process and in the system. Linux and macOS have the same numbers.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
