//! The columns that every row of a part has. `format/SPEC.md`, section "Part", describes each.

use rkyv::{Archive, Serialize};

use super::numbers::{u32_at, u64_at};
use super::presence::Presence;
use crate::name::{Nonce, ObjectName, Version};

/// All columns of the rows except metadata, documents and revisions.
///
/// A *payload* is a record or a patch. Row `i` has payload `i`, and the k-th `Split` row has
/// payload `rows + k`, too. There are only vectors and 32-bit numbers, so the archive has no
/// padding within its structures.
#[derive(Debug, Default, Archive, Serialize)]
pub(super) struct Rows {
    /// Ascending, one a row.
    pub(super) ids: Texts,
    /// One a row: a [`Form`](super::Form), plus [`RENEWED`] if it applies.
    pub(super) forms: Vec<u8>,
    /// The `Split` rows, ascending.
    pub(super) splits: Vec<u32>,
    /// Packed positions, one a payload; 0 for none.
    pub(super) inserted: Vec<u64>,
    /// Packed positions, one a payload; 0 for none.
    pub(super) changed: Vec<u64>,
    /// Payloads that set a document.
    pub(super) documents: Presence,
    /// Payloads that clear the document, ascending.
    pub(super) documents_cleared: Vec<u32>,
    /// Versions of the embedding objects of the part. They ascend together with their nonces.
    pub(super) object_versions: Vec<u64>,
    /// Nonces of the same objects.
    pub(super) object_nonces: Vec<u64>,
    /// One a payload: [`KEEP`], [`CLEAR`], or the number of an object plus [`FIRST_OBJECT`].
    pub(super) embedding_objects: Vec<u32>,
    /// One a payload: the row in the object, 0 without one.
    pub(super) embedding_rows: Vec<u32>,
}

/// A bit of a form: the record of a `Put` row was inserted after a delete.
pub(super) const RENEWED: u8 = 0x80;
/// No embedding in a record, no change of it in a patch.
pub(super) const KEEP: u32 = 0;
/// The patch removes the embedding.
pub(super) const CLEAR: u32 = 1;
/// The number of the first embedding object.
pub(super) const FIRST_OBJECT: u32 = 2;

/// Texts one behind the other. Text `i` lies between offsets `i` and `i + 1`. Without offsets it is
/// not a column of texts.
#[derive(Debug, Default, Archive, Serialize)]
pub(super) struct Texts {
    pub(super) offsets: Vec<u32>,
    pub(super) bytes: Vec<u8>,
}

impl Texts {
    pub(super) fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        // A builder refuses rows long before 4 GiB, and refuses to finish if one row exceeded that.
        self.offsets.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub(super) fn get(&self, i: usize) -> &[u8] {
        let offset = |i: usize| self.offsets.get(i).map_or(0, |offset| *offset as usize);
        self.bytes.get(offset(i)..offset(i + 1)).unwrap_or_default()
    }
}

/// Accessors of checked columns. None fails; an absent value is empty or 0.
impl ArchivedTexts {
    /// Number of texts.
    pub(super) fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub(super) fn get(&self, i: usize) -> &str {
        // Decoding checked that all bytes are UTF-8, and that all offsets lie on its boundaries.
        str::from_utf8(self.bytes_of(i)).unwrap_or_default()
    }

    pub(super) fn bytes_of(&self, i: usize) -> &[u8] {
        let (start, end) = (u32_at(&self.offsets, i) as usize, u32_at(&self.offsets, i + 1) as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }
}

/// The name of embedding object `i` of a part.
pub(super) fn object_name(rows: &ArchivedRows, i: usize) -> ObjectName {
    ObjectName {
        version: Version::new(u64_at(&rows.object_versions, i)),
        nonce: Nonce::new(u64_at(&rows.object_nonces, i)),
    }
}
