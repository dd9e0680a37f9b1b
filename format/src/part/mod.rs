//! A part: the columns of a slice of a run. `format/SPEC.md`, section "Part", has the bytes.

mod archive;
mod builder;
mod check;
mod check_columns;
mod check_revisions;
mod column_summary;
mod directory;
mod draft;
mod front;
mod load;
mod mask;
mod meta;
mod metadata;
mod piece;
mod presence;
mod records;
mod revisions;
mod rows;
mod summary;
mod values;
mod view;

pub use builder::PartBuilder;
pub use check_revisions::Absent;
pub use column_summary::{BoolSummary, NumberSummary, TextSummary};
pub use draft::EncodedPart;
pub use meta::PartMeta;
pub use piece::PartPiece;
pub use records::PartFields;
pub use summary::{KeySummary, PartSummary, TypeSummaries};
pub use view::{Elements, Floats, Integers, Lists, MetadataColumn, PresentRows, Texts};

use crate::name::ObjectName;

/// A section of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartSection {
    /// Its number in the section table.
    pub(crate) id: u16,
    /// The name that errors use.
    pub(crate) name: &'static str,
}

/// The columns that every row has.
const ROWS: PartSection = PartSection { id: 1, name: "rows" };
/// Their revisions; only in a collection that is ordered by them.
const REVISIONS: PartSection = PartSection { id: 2, name: "revisions" };
/// Where the pieces of the two sections behind it lie.
const DIRECTORY: PartSection = PartSection { id: 3, name: "directory" };
/// The metadata columns.
const VALUES: PartSection = PartSection { id: 4, name: "metadata columns" };
/// The documents in blocks.
const DOCUMENTS: PartSection = PartSection { id: 5, name: "documents" };

/// All sections, in the order in which they lie.
pub(crate) const SECTIONS: [PartSection; 5] = [ROWS, REVISIONS, DIRECTORY, VALUES, DOCUMENTS];

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
    /// An absent id becomes a record, a present one is patched, and neither follows from the other:
    /// two payloads.
    Split = 5,
    /// What ops with revisions come to: fields set or removed, each at its revision. The only form
    /// in a collection that is ordered by revision, and in no other.
    Revised = 6,
}

impl Form {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte & !rows::RENEWED {
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
mod load_tests;
#[cfg(test)]
mod revisions_tests;
#[cfg(test)]
mod tests;
