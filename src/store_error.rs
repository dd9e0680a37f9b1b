//! The errors of a store. They lie below the stores, because the clients of AWS and the retries use
//! them, too.

use std::fmt;

/// A failure of the store. For a write it says that nothing landed, unless it comes inside
/// [`Outcome::Unknown`](crate::store::Outcome::Unknown).
#[derive(Debug, Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    verb: &'static str,
    key: String,
    reason: String,
    conflict: bool,
}

/// The way to handle a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Try again with backoff: the store is busy, or the network broke.
    Transient,
    /// Another try changes nothing: no permission, no such folder or bucket, a read-only disk.
    Permanent,
    /// There is no space left. Free some, then try again.
    Full,
    /// The store does not know the request at all.
    Unsupported,
    /// The bytes are not those that were written. Find the extent with `verify --deep`, and restore
    /// the object.
    Damaged,
}

impl StoreError {
    /// A failure of `verb` on `key`.
    pub fn new(kind: StoreErrorKind, verb: &'static str, key: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { kind, verb, key: key.to_string(), reason: reason.to_string(), conflict: false }
    }

    /// Nothing landed, because another caller was writing at the same moment; try again.
    pub fn conflict(verb: &'static str, key: impl fmt::Display) -> Self {
        let reason = "another caller was writing it at the same moment";
        Self { conflict: true, ..Self::new(StoreErrorKind::Transient, verb, key, reason) }
    }

    /// Whether another caller was writing at the same moment.
    pub fn is_conflict(&self) -> bool {
        self.conflict
    }

    /// The way to handle it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The key of the object.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} `{}`: {}", self.verb, self.key, self.reason)
    }
}

impl std::error::Error for StoreError {}
