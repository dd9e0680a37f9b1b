//! The pieces of a part that can be loaded one by one.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::archive::{TextsArchive, ValuesArchive};
use super::directory::{BlockEntry, ColumnEntry};
use super::front::Front;
use super::{DOCUMENTS, VALUES, check_columns};
use crate::envelope::PieceSum;
use crate::error::FormatError;
use crate::limits::{MAX_DOCUMENT_BLOCK_BYTES, MAX_PART_META_BYTES};

/// A piece of a part behind its front. Pieces sort in the order in which they lie in the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartPiece {
    /// A metadata column: the values of one type under one key, by its number.
    Column(u32),
    /// A block of documents, by its number.
    Documents(u32),
}

/// A piece that was read and checked.
pub(super) enum Loaded {
    Column(usize, Arc<ValuesArchive>),
    Documents(usize, Arc<TextsArchive>),
}

impl PartPiece {
    /// The range of the piece in the object; empty if the part has no such piece.
    pub(super) fn range(self, front: &Front) -> Range<u64> {
        let (at, sum) = match self {
            Self::Column(number) => match front.directory.columns.get(number as usize) {
                Some(ColumnEntry { at, sum, .. }) => (*at, *sum),
                None => return 0..0,
            },
            Self::Documents(number) => match front.directory.blocks.get(number as usize) {
                Some(BlockEntry { at, sum, .. }) => (*at, *sum),
                None => return 0..0,
            },
        };
        at..at.saturating_add(sum.stored.into())
    }

    /// Reads the piece from the bytes of its range, and checks every rule of a piece alone.
    pub(super) fn load(self, front: &Front, stored: Bytes) -> Result<Loaded, FormatError> {
        match self {
            Self::Column(number) => {
                let number = number as usize;
                let entry = front.directory.columns.get(number).ok_or_else(|| no_such_piece(VALUES.name))?;
                column(front, number, entry.sum.unseal(stored, VALUES.name, MAX_PART_META_BYTES)?)
            }
            Self::Documents(number) => {
                let number = number as usize;
                let entry = front.directory.blocks.get(number).ok_or_else(|| no_such_piece(DOCUMENTS.name))?;
                documents(front, number, entry.sum.unseal(stored, DOCUMENTS.name, MAX_DOCUMENT_BLOCK_BYTES)?)
            }
        }
    }
}

fn no_such_piece(what: &'static str) -> FormatError {
    FormatError::invalid(what, "the part has no such piece")
}

fn column(front: &Front, number: usize, raw: Bytes) -> Result<Loaded, FormatError> {
    checked_column(front, number, ValuesArchive::access(raw)?).map(|column| Loaded::Column(number, Arc::new(column)))
}

/// A checked column.
pub(super) fn checked_column(
    front: &Front,
    number: usize,
    column: ValuesArchive,
) -> Result<ValuesArchive, FormatError> {
    let entry = front.directory.columns.get(number).ok_or_else(|| no_such_piece(VALUES.name))?;
    let checked = check_columns::metadata_column(column.get(), entry, &front.checked.payloads);
    checked.map(|()| column).map_err(|error| error.of(VALUES.name))
}

fn documents(front: &Front, number: usize, raw: Bytes) -> Result<Loaded, FormatError> {
    checked_documents(front, number, raw).map(|block| Loaded::Documents(number, Arc::new(block)))
}

/// A checked block of documents.
pub(super) fn checked_documents(front: &Front, number: usize, raw: Bytes) -> Result<TextsArchive, FormatError> {
    let entry = front.directory.blocks.get(number).ok_or_else(|| no_such_piece(DOCUMENTS.name))?;
    let block = TextsArchive::access(raw)?;
    let checked = check_columns::documents(block.get(), entry);
    checked.map(|()| block).map_err(|error| error.of(DOCUMENTS.name))
}

/// The stored bytes of a section's pieces, one after the other.
pub(super) fn split(section: &Bytes, sums: impl Iterator<Item = PieceSum>) -> impl Iterator<Item = Bytes> {
    let mut end = 0;
    sums.map(move |sum| {
        let start = end;
        end = start + sum.stored as usize;
        // The directory was checked against the section, so its pieces fill it.
        if end <= section.len() && start < end { section.slice(start..end) } else { Bytes::new() }
    })
}
