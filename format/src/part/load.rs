//! Loads a part: all of it at once, or its front and then piece by piece.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::archive::AllColumns;
use super::check_columns::one_value_each;
use super::front::Front;
use super::numbers::number;
use super::piece::{Loaded, PartPiece, split};
use super::{DOCUMENTS, PartMeta, REVISIONS, VALUES, check_revisions};
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_PART_META_BYTES;

impl PartMeta {
    /// Validates a whole object and takes it over, with all of its pieces.
    ///
    /// # Errors
    ///
    /// Any byte is wrong. No part of such an object can be used.
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        Self::open_whole(object.clone())?.with_all(object)
    }

    /// Opens a part from its whole object. No piece is loaded; [`with_all`](Self::with_all) does
    /// that.
    ///
    /// # Errors
    ///
    /// Envelope, padding, rows, revisions or directory are wrong, or the object has another length.
    pub fn open_whole(object: Bytes) -> Result<Self, FormatError> {
        let reader = EnvelopeReader::open(object, ObjectKind::PartMeta)?;
        Self::of_front(Front::read(&reader)?)
    }

    /// The same part with all of its pieces, from its whole object.
    ///
    /// # Errors
    ///
    /// Any byte of the pieces is wrong, alone or together.
    pub fn with_all(&self, object: Bytes) -> Result<Self, FormatError> {
        let reader = EnvelopeReader::open(object, ObjectKind::PartMeta)?;
        let directory = &self.front.directory;
        let mut pieces: Vec<(PartPiece, Bytes)> = Vec::new();
        if !directory.columns.is_empty() {
            let section = raw_section(&reader, VALUES.id, VALUES.name)?;
            let stored = split(&section, directory.columns.iter().map(|column| column.sum));
            pieces.extend(stored.zip(0..).map(|(stored, number)| (PartPiece::Column(number), stored)));
        }
        if !directory.blocks.is_empty() {
            let section = raw_section(&reader, DOCUMENTS.id, DOCUMENTS.name)?;
            let stored = split(&section, directory.blocks.iter().map(|block| block.sum));
            pieces.extend(stored.zip(0..).map(|(stored, number)| (PartPiece::Documents(number), stored)));
        }
        self.with(pieces)
    }

    /// Opens a part from the first bytes of its object: at least
    /// [`front_bytes`](Self::front_bytes), a number that the manifest holds. No piece is loaded.
    ///
    /// # Errors
    ///
    /// Envelope, rows, revisions or directory are wrong. `Truncated` if the bytes do not hold them.
    pub fn open(prefix: Bytes) -> Result<Self, FormatError> {
        let reader = EnvelopeReader::open_front(prefix, ObjectKind::PartMeta)?;
        Self::of_front(Front::read(&reader)?)
    }

    pub(super) fn of_front(front: Front) -> Result<Self, FormatError> {
        let (columns, blocks) = (front.directory.columns.len(), front.directory.blocks.len());
        let part = Self {
            columns: vec![None; columns],
            blocks: vec![None; blocks],
            front: Arc::new(front),
            all: AllColumns::of(&vec![None; columns]).map(Arc::new),
        };
        // A part without metadata has all of its columns.
        part.check_together(&[])?;
        Ok(part)
    }

    /// The same part with more pieces. Each comes with the bytes of its [`range`](Self::range). The
    /// new part shares the pieces of the old one.
    ///
    /// # Errors
    ///
    /// A piece is wrong, alone or together with the loaded ones.
    pub fn with(&self, pieces: impl IntoIterator<Item = (PartPiece, Bytes)>) -> Result<Self, FormatError> {
        let loaded = pieces.into_iter().map(|(piece, stored)| piece.load(&self.front, stored));
        self.with_loaded(loaded)
    }

    pub(super) fn with_loaded(
        &self,
        pieces: impl Iterator<Item = Result<Loaded, FormatError>>,
    ) -> Result<Self, FormatError> {
        let mut part = self.clone();
        let mut new = Vec::new();
        for piece in pieces {
            match piece? {
                Loaded::Column(number, column) => {
                    if let Some(slot @ None) = part.columns.get_mut(number) {
                        *slot = Some(column);
                        new.push(number);
                    }
                }
                Loaded::Documents(number, block) => {
                    if let Some(slot) = part.blocks.get_mut(number) {
                        *slot = Some(block);
                    }
                }
            }
        }
        if !new.is_empty() {
            new.sort_unstable();
            part.all = AllColumns::of(&part.columns).map(Arc::new);
            part.check_together(&new)?;
        }
        Ok(part)
    }

    /// Checks the rules between pieces, after these columns were loaded.
    fn check_together(&self, new: &[usize]) -> Result<(), FormatError> {
        let mut done = 0;
        for number in new.iter().copied() {
            let Some(entry) = self.front.directory.columns.get(number).filter(|_| number >= done) else { continue };
            let of_key = self.front.directory.columns_of(&entry.key);
            done = of_key.end;
            let columns = self.columns.get(of_key).unwrap_or_default().iter().flatten();
            if columns.clone().count() > 1 {
                let checked = one_value_each(columns.map(|column| column.get()), &self.front.checked.payloads);
                checked.map_err(|error| error.of(VALUES.name))?;
            }
        }
        if let Some(revisions) = &self.front.revisions
            && let Some(columns) = &self.all
        {
            let columns = columns.get().iter().copied();
            let checked = check_revisions::fields(self.front.rows.get(), revisions.get(), columns);
            checked.map_err(|error| error.of(REVISIONS.name))?;
        }
        Ok(())
    }

    /// The length of the object's front: [`open`](Self::open) needs this many bytes.
    pub fn front_bytes(&self) -> u64 {
        self.front.extent.front
    }

    /// The length of the object's front with all metadata columns, which lie right behind it.
    pub fn columns_end(&self) -> u64 {
        self.front.extent.columns
    }

    /// The range of the object that holds a piece.
    pub fn range(&self, piece: PartPiece) -> Range<u64> {
        piece.range(&self.front)
    }

    /// The metadata columns that are not loaded, in their order.
    pub fn unloaded_columns(&self) -> impl Iterator<Item = PartPiece> {
        unloaded(&self.columns, 0..self.columns.len()).map(PartPiece::Column)
    }

    /// The columns of a metadata key that are not loaded, in their order.
    pub fn unloaded_columns_of(&self, key: &str) -> impl Iterator<Item = PartPiece> {
        unloaded(&self.columns, self.front.directory.columns_of(key)).map(PartPiece::Column)
    }

    /// The blocks of documents that are not loaded, in their order.
    pub fn unloaded_documents(&self) -> impl Iterator<Item = PartPiece> {
        unloaded(&self.blocks, 0..self.blocks.len()).map(PartPiece::Documents)
    }

    /// The block of the document that a row sets, if it is not loaded. A row of the form `Split`
    /// sets up to two.
    pub fn unloaded_documents_of(&self, row: usize) -> impl Iterator<Item = PartPiece> {
        let of_patch = self.patch_of_split(row).filter(|payload| *payload != row);
        let payloads = [Some(row).filter(|row| *row < self.rows()), of_patch];
        payloads.into_iter().flatten().filter_map(|payload| {
            let rank = self.front.rows.get().documents.rank(payload)?;
            let (block, _) = self.front.directory.block_of(rank)?;
            self.blocks.get(block)?.is_none().then(|| PartPiece::Documents(number(block)))
        })
    }

    /// Estimated bytes of the document that a row sets, loaded or not.
    pub fn document_bytes(&self, row: usize) -> usize {
        let rank = self.front.rows.get().documents.rank(row).filter(|_| row < self.rows());
        let block = rank.and_then(|rank| self.front.directory.block_of(rank));
        let entry = block.and_then(|(number, _)| self.front.directory.blocks.get(number));
        entry.map_or(0, |entry| entry.sum.raw as usize / (entry.documents as usize).max(1))
    }

    /// Whether all metadata columns are loaded.
    pub fn has_all_columns(&self) -> bool {
        self.all.is_some()
    }

    /// Whether all documents are loaded.
    pub fn has_all_documents(&self) -> bool {
        self.blocks.iter().all(Option::is_some)
    }

    /// Whether some documents are loaded.
    pub fn has_documents(&self) -> bool {
        self.blocks.iter().any(Option::is_some)
    }

    /// The same part without its documents.
    #[must_use]
    pub fn without_documents(&self) -> Self {
        Self { blocks: vec![None; self.blocks.len()], ..self.clone() }
    }

    /// The same part with the pieces of both. `other` must be the same object.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut part = self.clone();
        if self.front.serial == other.front.serial {
            join(&mut part.columns, &other.columns);
            join(&mut part.blocks, &other.blocks);
            if part.all.is_none() {
                part.all = AllColumns::of(&part.columns).map(Arc::new);
            }
        }
        part
    }
}

fn join<T>(pieces: &mut [Option<Arc<T>>], others: &[Option<Arc<T>>]) {
    for (piece, other) in pieces.iter_mut().zip(others) {
        if piece.is_none() {
            piece.clone_from(other);
        }
    }
}

fn unloaded<T>(pieces: &[Option<Arc<T>>], range: Range<usize>) -> impl Iterator<Item = u32> {
    let start = number(range.start);
    let pieces = pieces.get(range).unwrap_or_default();
    pieces.iter().zip(start..).filter(|(piece, _)| piece.is_none()).map(|(_, number)| number)
}

/// A section of pieces, with its checksum verified.
fn raw_section(reader: &EnvelopeReader, id: u16, what: &'static str) -> Result<Bytes, FormatError> {
    let section = reader.raw_section(id, what, MAX_PART_META_BYTES)?;
    reader.check(id, what)?;
    Ok(section)
}
