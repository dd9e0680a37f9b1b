//! Errors about data that a collection cannot hold.

use std::fmt;

/// Data that a collection cannot hold. It names the record, the field and the limit. Fix the input
/// and try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputError {
    id: Option<String>,
    field: String,
    kind: InputErrorKind,
}

/// The fault of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputErrorKind {
    /// The field is empty and must not be.
    Empty,
    /// The field has too many bytes.
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The field has too many elements.
    TooMany {
        /// Number of its elements.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The length of an embedding differs from the collection's dimension.
    WrongDimension {
        /// Its length.
        found: usize,
        /// The collection's dimension.
        expected: u32,
    },
    /// A number is infinite or not a number.
    NotFinite {
        /// Index of the element, from 0; 0 for a single number.
        index: usize,
    },
    /// An op without a revision in a collection ordered by revision.
    NoRevision,
    /// An op with a revision in a collection ordered by its log.
    NotByRevision,
    /// An `add` in a collection ordered by revision.
    AddByRevision,
}

/// Characters of an id or key that a message displays.
const SHOWN: usize = 64;

/// `text` for a message: control characters escaped, a long text cut.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

impl InputError {
    /// An error about `field`, without a record.
    pub(crate) fn new(field: impl Into<String>, kind: InputErrorKind) -> Self {
        Self { id: None, field: field.into(), kind }
    }

    pub(crate) fn of_record(mut self, id: &str) -> Self {
        self.id = Some(shown(id));
        self
    }

    /// The record's id as messages display it; `None` if no record is at fault.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The field.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The fault.
    pub fn kind(&self) -> InputErrorKind {
        self.kind
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            write!(f, "record `{id}`: ")?;
        }
        write!(f, "{} ", self.field)?;
        match self.kind {
            InputErrorKind::Empty => write!(f, "is empty; give it at least one byte"),
            InputErrorKind::TooLong { found, limit } => write!(f, "has {found} bytes, the limit is {limit}"),
            InputErrorKind::TooMany { found, limit } => write!(f, "has {found} elements, the limit is {limit}"),
            InputErrorKind::WrongDimension { found, expected } => {
                write!(f, "has {found} numbers, the collection's dimension is {expected}")
            }
            InputErrorKind::NotFinite { index } => write!(f, "has a number at index {index} that is not finite"),
            InputErrorKind::NoRevision => {
                write!(
                    f,
                    "is missing; this collection is ordered by revision, so give every op one: a number of up to 39 digits"
                )
            }
            InputErrorKind::NotByRevision => {
                write!(
                    f,
                    "must not be there: this collection is ordered by its log; leave it out, or create one with the ordering `revision`"
                )
            }
            InputErrorKind::AddByRevision => {
                write!(f, "is `add`, which has no meaning in a collection ordered by revision; use `put` or `upsert`")
            }
        }
    }
}

impl std::error::Error for InputError {}
