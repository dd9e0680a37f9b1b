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
mod numbers;
mod piece;
mod presence;
mod records;
mod revisions;
mod rows;
mod rules;
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
    /// Its name in errors.
    pub(crate) name: &'static str,
}

/// The columns of every row.
const ROWS: PartSection = PartSection { id: 1, name: "rows" };
/// The rows' revisions, only in a collection ordered by revision.
const REVISIONS: PartSection = PartSection { id: 2, name: "revisions" };
/// The places of the pieces in the two sections behind it.
const DIRECTORY: PartSection = PartSection { id: 3, name: "directory" };
/// The metadata columns.
const VALUES: PartSection = PartSection { id: 4, name: "metadata columns" };
/// The documents in blocks.
const DOCUMENTS: PartSection = PartSection { id: 5, name: "documents" };

/// All sections, in the order in which they lie.
pub(crate) const SECTIONS: [PartSection; 5] = [ROWS, REVISIONS, DIRECTORY, VALUES, DOCUMENTS];

/// The place of an embedding: a row of an embedding object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmbeddingRef {
    /// The object.
    pub object: ObjectName,
    /// The row.
    pub row: u32,
}

/// The form in which a row stores the effect of ops on its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Sets the record, whatever the id held before. The only form of the base.
    Put = 0,
    /// Removes the record.
    Delete = 1,
    /// Patches a present record.
    Patch = 2,
    /// Patches a present record. An absent one becomes the patch applied to an empty record.
    Upsert = 3,
    /// Inserts this record if the id is absent. A present one stays.
    Add = 4,
    /// Inserts a record if the id is absent, and patches a present one. Neither follows from the
    /// other, so the row has two payloads.
    Split = 5,
    /// The result of ops with revisions: fields set or removed, each at its revision. The only form
    /// in a collection ordered by revision, and absent from all others.
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
mod directory_tests;
#[cfg(test)]
mod forged_directory_tests;
#[cfg(test)]
mod forged_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod revisions_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod view_tests;
