//! A part: the columns of a slice of a run. `format/SPEC.md`, section "Part", has the bytes.

mod builder;
mod check;
mod check_columns;
mod check_revisions;
mod columns;
mod mask;
mod meta;
mod metadata;
mod presence;
mod revisions;
mod summary;
mod values;
mod view;

pub use builder::{EncodedPart, PartBuilder};
pub use check_revisions::Absent;
pub use meta::PartMeta;
pub use summary::{BoolSummary, KeySummary, NumberSummary, PartSummary, TextSummary, TypeSummaries};
pub use view::{Elements, Floats, Integers, Lists, MetadataColumn, PresentRows, Texts};

use crate::name::ObjectName;

/// What each row holds.
const COLUMNS: u16 = 1;
/// The revisions of what it holds; only in a collection that is ordered by them.
const REVISIONS: u16 = 2;

/// Where an embedding lies: a row of an embedding object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmbeddingRef {
    /// The object.
    pub object: ObjectName,
    /// The row.
    pub row: u32,
}

/// How a row of a part stores what ops do to its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The id holds this record, whatever it held before. The only form of the base.
    Put = 0,
    /// The id is gone.
    Delete = 1,
    /// A present record is patched.
    Patch = 2,
    /// A present record is patched; an absent one becomes what the patch makes of an empty record.
    Upsert = 3,
    /// An absent id becomes this record; a present one stays.
    Add = 4,
    /// An absent id becomes a record, a present one is patched, and neither follows from the other: two payloads.
    Split = 5,
    /// What ops with revisions come to: fields set or removed, each at its revision. The only form in a collection that is ordered by revision, and in no
    /// other.
    Revised = 6,
}

impl Form {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte & !columns::RENEWED {
            0 => Self::Put,
            1 => Self::Delete,
            2 => Self::Patch,
            3 => Self::Upsert,
            4 => Self::Add,
            5 => Self::Split,
            6 => Self::Revised,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod forged_tests;
#[cfg(test)]
mod revisions_tests;
#[cfg(test)]
mod tests;
