//! The error of a decoder: bytes that are not the object they should be.

use std::borrow::Cow;
use std::fmt;

use crate::envelope::ObjectKind;

/// Bytes that are not the object they should be. The error names the section and the fault. The
/// caller that reads the object adds its key.
///
/// No decoder returns part of an object. After an error, use nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    kind: FormatErrorKind,
    what: &'static str,
    reason: Cow<'static, str>,
}

/// The fault of an object, which decides the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// The object does not begin with the magic bytes. Another program wrote it, or its first bytes
    /// are damaged. Check the prefix of the store, or restore the object from a copy.
    NotDeltafold,
    /// A sound object of another kind, under a wrong name. Report it.
    WrongKind {
        /// The kind that the name promised.
        expected: ObjectKind,
        /// The kind of the object.
        found: ObjectKind,
    },
    /// A newer program wrote it. Upgrade this one.
    NewerFormat {
        /// The version of the object's format.
        found: u16,
    },
    /// The object ends before its envelope says so. Restore it from a copy.
    Truncated,
    /// A checksum does not match. Restore the object from a copy.
    Checksum,
    /// Bytes that no checksum covers are wrong. A gap is not zero, bytes follow the end, or the
    /// envelope counts too many sections. Restore the object from a copy.
    Damaged,
    /// A value exceeds a limit of the format; nothing was allocated for it.
    TooLarge,
    /// There is no memory for a value within the limits; nothing was allocated for it. Run with
    /// more free memory.
    OutOfMemory,
    /// The checksum matches, and the section's rkyv archive does not validate: a broken writer.
    /// Report it.
    Archive,
    /// Checksums match, and the content contradicts itself: a broken writer. Report it.
    Invalid,
    /// The caller asked for a piece of a part that it has not loaded. Load it first.
    NotLoaded,
}

impl FormatError {
    pub(crate) fn new(kind: FormatErrorKind, what: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, what, reason: reason.into() }
    }

    pub(crate) fn truncated(what: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FormatErrorKind::Truncated, what, reason)
    }

    pub(crate) fn checksum(what: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FormatErrorKind::Checksum, what, reason)
    }

    pub(crate) fn damaged(what: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FormatErrorKind::Damaged, what, reason)
    }

    pub(crate) fn too_large(what: &'static str, value: u64, limit: u64) -> Self {
        Self::new(FormatErrorKind::TooLarge, what, format!("it holds {value}, the limit is {limit}"))
    }

    pub(crate) fn out_of_memory(what: &'static str, bytes: u64) -> Self {
        Self::new(FormatErrorKind::OutOfMemory, what, format!("memory for its {bytes} bytes is not available"))
    }

    pub(crate) fn archive(what: &'static str, reason: impl fmt::Display) -> Self {
        // rkyv's messages have several lines; the first one names the fault.
        let reason = reason.to_string();
        let first = reason.lines().next().unwrap_or_default();
        Self::new(FormatErrorKind::Archive, what, format!("its archive does not validate: {first}"))
    }

    pub(crate) fn invalid(what: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FormatErrorKind::Invalid, what, reason)
    }

    pub(crate) fn not_loaded(what: &'static str) -> Self {
        Self::new(FormatErrorKind::NotLoaded, what, "they are needed, and they are not loaded")
    }

    /// The same error, about another section.
    pub(crate) fn of(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    /// The kind of fault, which decides the remedy.
    pub fn kind(&self) -> FormatErrorKind {
        self.kind
    }

    /// The section or field that is wrong.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The fault alone. [`Display`](fmt::Display) adds the section and the remedy.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = match self.kind {
            FormatErrorKind::NotDeltafold => {
                "another program wrote it, or it is damaged; check the store's path, or restore the object from a copy"
            }
            FormatErrorKind::WrongKind { .. } => {
                "it lies under another object's name; restore the right one from a copy"
            }
            FormatErrorKind::NewerFormat { .. } => "use a newer version of this program",
            FormatErrorKind::Truncated | FormatErrorKind::Checksum | FormatErrorKind::Damaged => {
                "restore the object from a copy"
            }
            FormatErrorKind::OutOfMemory => "run this where more memory is free",
            FormatErrorKind::NotLoaded => "the object may be sound; report this defect of the program",
            FormatErrorKind::TooLarge | FormatErrorKind::Archive | FormatErrorKind::Invalid => {
                "its writer was broken; restore the object from a copy and report this"
            }
        };
        write!(f, "{}: {}; {remedy}", self.what, self.reason)
    }
}

impl std::error::Error for FormatError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_sentence_with_a_remedy() {
        let error = FormatError::too_large("manifest", 9, 8);
        assert_eq!(
            error.to_string(),
            "manifest: it holds 9, the limit is 8; its writer was broken; restore the object from a copy and report this"
        );
        assert_eq!((error.kind(), error.what()), (FormatErrorKind::TooLarge, "manifest"));
        assert_eq!(error.reason(), "it holds 9, the limit is 8");
        let error = FormatError::archive("head", "pointer out of bounds\n  at line 3");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
