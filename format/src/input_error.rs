//! Errors about data that a collection cannot hold.

use std::fmt;

/// Data that a collection cannot hold. It names the record, the field and the limit; fix the input
/// and try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputError {
    id: Option<String>,
    field: String,
    kind: InputErrorKind,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputErrorKind {
    /// It is empty and must not be.
    Empty,
    /// It has more bytes than it may.
    TooLong {
        /// Bytes it has.
        found: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// It has more elements than it may.
    TooMany {
        /// Elements it has.
        found: usize,
        /// Elements it may have.
        limit: usize,
    },
    /// An embedding is not as long as the collection's dimension.
    WrongDimension {
        /// Numbers it has.
        found: usize,
        /// The collection's dimension.
        expected: u32,
    },
    /// A number is infinite or not a number.
    NotFinite {
        /// Which element, counted from 0; 0 for a single number.
        index: usize,
    },
    /// An op without a revision, for a collection that is ordered by them.
    NoRevision,
    /// An op with a revision, for a collection that is ordered by its log.
    NotByRevision,
    /// An `add`, for a collection that is ordered by revision.
    AddByRevision,
}

/// Characters of an id or key that a message shows.
const SHOWN: usize = 64;

/// `text` as a message shows it: control characters escaped, the rest of a long one left out.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

impl InputError {
    /// An error about `field`, of no record yet.
    pub(crate) fn new(field: impl Into<String>, kind: InputErrorKind) -> Self {
        Self { id: None, field: field.into(), kind }
    }

    pub(crate) fn of_record(mut self, id: &str) -> Self {
        self.id = Some(shown(id));
        self
    }

    /// The record's id as messages show it; none where no record is to blame.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The field.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with it.
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
