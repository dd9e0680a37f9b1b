//! A part in memory: its rows, and the loaded pieces.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::archive::{AllColumns, TextsArchive, ValuesArchive};
use super::directory::Directory;
use super::front::Front;
use super::numbers::{number, u32_at, u64_at};
use super::revisions::ArchivedRevisions;
use super::rows::{ArchivedRows, CLEAR, FIRST_OBJECT, KEEP, RENEWED, object_name};
use super::{Absent, EmbeddingRef, Form, PartSummary};
use crate::name::{ObjectName, Position};
use crate::record::Change;

/// A checked part, read in place. Rows are numbered from 0 in the order of their ids.
///
/// Rows are always loaded. Metadata columns and documents are loaded piece by piece; accessors that
/// need a missing piece return `NotLoaded`. Everything else was validated on loading, so no other
/// accessor fails. For a row number out of range they answer as for a tombstone without an id.
/// Clones share everything.
#[derive(Clone)]
pub struct PartMeta {
    pub(super) front: Arc<Front>,
    pub(super) columns: Vec<Option<Arc<ValuesArchive>>>,
    pub(super) blocks: Vec<Option<Arc<TextsArchive>>>,
    /// The same as `columns`, if all are loaded.
    pub(super) all: Option<Arc<AllColumns>>,
}

impl fmt::Debug for PartMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartMeta").field("rows", &self.rows()).field("bytes", &self.memory_bytes()).finish()
    }
}

impl PartMeta {
    pub(super) fn archive(&self) -> &ArchivedRows {
        self.front.rows.get()
    }

    pub(super) fn revisions(&self) -> Option<&ArchivedRevisions> {
        self.front.revisions.as_ref().map(|archive| archive.get())
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.front.directory
    }

    /// The summary of its columns, made at its first use.
    pub fn summary(&self) -> &PartSummary {
        self.front.summary.get_or_init(|| PartSummary::of(self))
    }

    /// Whether its rows hold the result of ops with revisions.
    pub fn has_revisions(&self) -> bool {
        self.front.revisions.is_some()
    }

    /// Its rows without a record, if they have revisions. Without revisions the count is 0.
    pub fn absent(&self) -> Absent {
        self.front.absent
    }

    /// Distinguishes it from every other part opened in this process. The same part with other
    /// pieces has the same serial.
    pub(super) fn serial(&self) -> u64 {
        self.front.serial
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> usize {
        self.archive().forms.len()
    }

    /// The crc32 of the object's envelope, to compare with the one in the manifest.
    pub fn crc32(&self) -> u32 {
        self.front.extent.crc32
    }

    /// Estimated bytes of memory, with the loaded pieces.
    pub fn memory_bytes(&self) -> usize {
        let places = size_of_val(&self.columns[..]) + size_of_val(&self.blocks[..]);
        self.front.memory_bytes() + places + pieces_bytes(&self.columns, &self.blocks)
    }

    /// Estimated bytes of memory with all pieces, loaded or not.
    pub fn decoded_bytes(&self) -> usize {
        let pieces = usize::try_from(self.directory().raw()).unwrap_or(usize::MAX);
        self.front.memory_bytes().saturating_add(pieces)
    }

    /// Whether every row is a whole record, as in the base.
    pub fn resolved(&self) -> bool {
        self.front.checked.resolved
    }

    /// The references to each embedding object, sorted by name. A `Split` row whose two cases name
    /// the same place refers to it once.
    pub fn references(&self) -> impl ExactSizeIterator<Item = (ObjectName, u32)> {
        self.front.checked.references.iter().copied()
    }

    /// The places of all embeddings of the part, in the order of its payloads.
    pub fn embedding_refs(&self) -> impl Iterator<Item = EmbeddingRef> {
        let payloads = self.archive().embedding_objects.len();
        (0..payloads).filter_map(|payload| self.embedding(payload).value().copied())
    }

    /// The id of a row.
    pub fn id(&self, row: usize) -> &str {
        self.archive().ids.get(row)
    }

    /// The bytes of that id: cheaper to compare, and in the same order.
    pub fn id_bytes(&self, row: usize) -> &[u8] {
        self.archive().ids.bytes_of(row)
    }

    /// The row of an id.
    ///
    /// # Errors
    ///
    /// If the id has no row: the first row with a greater id, or [`rows`](Self::rows).
    pub fn find(&self, id: &str) -> Result<usize, usize> {
        let ids = &self.archive().ids;
        let (mut low, mut high) = (0, self.rows());
        while low < high {
            let middle = low.midpoint(high);
            match ids.bytes_of(middle).cmp(id.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// The form of a row.
    pub fn form(&self, row: usize) -> Form {
        Form::from_byte(self.form_byte(row)).unwrap_or(Form::Delete)
    }

    /// Whether the row is a tombstone.
    pub fn is_tombstone(&self, row: usize) -> bool {
        self.form(row) == Form::Delete
    }

    /// Whether the record of a `Put` row was inserted after a delete.
    pub fn renewed(&self, row: usize) -> bool {
        self.form_byte(row) & RENEWED != 0
    }

    pub(super) fn form_byte(&self, row: usize) -> u8 {
        self.archive().forms.get(row).copied().unwrap_or(Form::Delete as u8)
    }

    /// The position where the record of a row was inserted. [`Position::ZERO`] for a row without a
    /// record, of the forms `Delete` and `Patch`, and for one with revisions.
    pub fn inserted(&self, row: usize) -> Position {
        Position::from_bits(u64_at(&self.archive().inserted, row))
    }

    /// The last change of a row's record or patch (of a `Split` row: of its record).
    /// [`Position::ZERO`] for a tombstone, and for a row with revisions.
    pub fn changed(&self, row: usize) -> Position {
        Position::from_bits(u64_at(&self.archive().changed, row))
    }

    /// The place of the embedding of a row's record or patch (of a `Split` row: of its record).
    pub fn embedding_ref(&self, row: usize) -> Option<EmbeddingRef> {
        self.embedding(row).value().copied()
    }

    /// The payload that holds the patch of a `Split` row.
    pub(super) fn patch_of_split(&self, row: usize) -> Option<usize> {
        let split = self.archive().splits.binary_search_by_key(&number(row), |split| split.to_native()).ok()?;
        Some(self.rows() + split)
    }

    pub(super) fn embedding(&self, payload: usize) -> Change<EmbeddingRef> {
        let rows = self.archive();
        match u32_at(&rows.embedding_objects, payload) {
            KEEP => Change::Keep,
            CLEAR => Change::Clear,
            object => {
                let object = object_name(rows, (object - FIRST_OBJECT) as usize);
                Change::Set(EmbeddingRef { object, row: u32_at(&rows.embedding_rows, payload) })
            }
        }
    }
}

/// Bytes of memory of the loaded pieces.
fn pieces_bytes(columns: &[Option<Arc<ValuesArchive>>], blocks: &[Option<Arc<TextsArchive>>]) -> usize {
    let columns = columns.iter().flatten().map(|column| column.bytes());
    columns.chain(blocks.iter().flatten().map(|block| block.bytes())).sum()
}
