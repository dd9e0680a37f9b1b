//! A part before it is encoded, and the encoding.

use std::sync::Arc;

use bytes::Bytes;

use super::archive::{ValuesArchive, archived};
use super::column_summary::ColumnSummary;
use super::directory::{BlockEntry, Directory, column_entry};
use super::front::{Extent, Front};
use super::numbers::number;
use super::piece::{Loaded, checked_column, checked_documents};
use super::revisions::Revisions;
use super::rows::{Rows, Texts};
use super::values::Values;
use super::{Absent, DIRECTORY, DOCUMENTS, PartMeta, REVISIONS, ROWS, VALUES};
use crate::envelope::{Compress, Encoded, Envelope, EnvelopeWriter, ObjectKind, SealedPiece};
use crate::error::FormatError;
use crate::limits::MAX_PART_META_BYTES;
use crate::name::ObjectName;

/// Bytes of documents at which a block ends. A longer document is a block of its own.
const BLOCK_BYTES: usize = 64 << 10;
/// Most bytes of summaries in a directory. Columns beyond that have none.
const SUMMARY_BYTES: usize = 64 << 10;

/// A part before it is encoded.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) rows: Rows,
    pub(super) revisions: Option<Revisions>,
    /// Sorted by key and type.
    pub(super) columns: Vec<(String, Values)>,
    /// One for each payload that sets a document.
    pub(super) documents: Texts,
}

/// A finished part.
#[derive(Debug)]
#[non_exhaustive]
pub struct EncodedPart {
    /// Its bytes.
    pub object: Encoded,
    /// The length of its front: [`PartMeta::front_bytes`].
    pub front_bytes: u64,
    /// The length of its front with all metadata columns: [`PartMeta::columns_end`].
    pub columns_end: u64,
    /// Its rows, at least 1.
    pub rows: u32,
    /// Its first id.
    pub min_id: String,
    /// Its last id.
    pub max_id: String,
    /// The references to each embedding object, sorted by name: [`PartMeta::references`].
    pub references: Vec<(ObjectName, u32)>,
    /// Its rows with revisions and without a record.
    pub absent: Absent,
}

/// The encoded object, and its archives.
pub(super) struct Sealed {
    pub(super) object: Encoded,
    extent: Extent,
    rows: Bytes,
    revisions: Option<Bytes>,
    directory: Directory,
    columns: Vec<ValuesArchive>,
    blocks: Vec<Bytes>,
}

#[cfg(test)]
impl Sealed {
    /// Bytes of all archives.
    pub(super) fn raw_bytes(&self) -> usize {
        let pieces = usize::try_from(self.directory.raw()).unwrap();
        self.rows.len() + self.revisions.as_ref().map_or(0, Bytes::len) + pieces
    }
}

impl Draft {
    /// The finished part. A reader's validation has passed on it, so no unreadable part is written.
    pub(super) fn finish(&self) -> Result<EncodedPart, FormatError> {
        let sealed = self.seal()?;
        let front = Front::check(sealed.rows, sealed.revisions, sealed.directory, sealed.extent)?;
        let part = PartMeta::of_front(front)?;
        let columns = sealed.columns.into_iter().enumerate().map(|(number, column)| {
            checked_column(&part.front, number, column).map(|column| Loaded::Column(number, Arc::new(column)))
        });
        let blocks = sealed.blocks.into_iter().enumerate().map(|(number, block)| {
            checked_documents(&part.front, number, block).map(|block| Loaded::Documents(number, Arc::new(block)))
        });
        let part = part.with_loaded(columns.chain(blocks))?;
        Ok(EncodedPart {
            object: sealed.object,
            front_bytes: part.front_bytes(),
            columns_end: part.columns_end(),
            rows: number(part.rows()),
            min_id: part.id(0).to_owned(),
            max_id: part.id(part.rows().saturating_sub(1)).to_owned(),
            references: part.references().collect(),
            absent: part.absent(),
        })
    }

    /// Encodes the part without checking its content.
    pub(super) fn seal(&self) -> Result<Sealed, FormatError> {
        let rows = bounded(Bytes::from_owner(archived(&self.rows, 64 * self.rows.forms.len(), ROWS.name)?))?;
        let revisions = match &self.revisions {
            Some(revisions) => {
                let estimate = revisions.estimated_bytes();
                Some(bounded(Bytes::from_owner(archived(revisions, estimate, REVISIONS.name)?))?)
            }
            None => None,
        };
        let mut directory = Directory::default();
        let (columns, values) = self.seal_columns(&mut directory)?;
        let (blocks, documents) = self.seal_documents(&mut directory)?;
        let mut out = EnvelopeWriter::new(ObjectKind::PartMeta);
        out.section(ROWS.id, rows.clone(), Compress::WhenSmaller);
        if let Some(revisions) = &revisions {
            out.section(REVISIONS.id, revisions.clone(), Compress::WhenSmaller);
        }
        out.section(DIRECTORY.id, bounded(directory.encoded().into())?, Compress::WhenSmaller);
        for (section, pieces) in [(VALUES, values), (DOCUMENTS, documents)] {
            if !pieces.is_empty() {
                out.section(section.id, pieces, Compress::Never);
            }
        }
        let object = out.finish();
        // The envelope is never cut: it lies in the first chunk.
        let envelope = Envelope::parse(object.chunks.first().map_or(&[][..], |first| first))?;
        directory.place(envelope.section(VALUES.id), envelope.section(DOCUMENTS.id))?;
        let extent = Extent::of(&envelope)?;
        Ok(Sealed { object, extent, rows, revisions, directory, columns, blocks })
    }

    /// The archives of the metadata columns, and their stored bytes.
    fn seal_columns(&self, directory: &mut Directory) -> Result<(Vec<ValuesArchive>, Vec<Bytes>), FormatError> {
        let mut archives = Vec::with_capacity(self.columns.len());
        let mut stored = Vec::with_capacity(self.columns.len());
        let mut summaries = 0;
        for (key, values) in &self.columns {
            let raw = bounded(Bytes::from_owner(archived(values, values.estimated_bytes(), VALUES.name)?))?;
            let piece = SealedPiece::new(raw.clone(), VALUES.name)?;
            let archive = ValuesArchive::access(raw)?;
            let column = archive.get();
            let counts = [column.presence.count(self.rows.embedding_objects.len()), column.elements()];
            let mut summary = ColumnSummary::of(column);
            let bytes = ColumnSummary::encoded(summary.as_ref()).len();
            if summaries + bytes > SUMMARY_BYTES {
                summary = None;
            } else {
                summaries += bytes;
            }
            directory.columns.push(column_entry(key.clone(), values.kind, counts, summary, piece.sum));
            stored.push(piece.stored);
            archives.push(archive);
        }
        Ok((archives, stored))
    }

    /// The archives of the blocks of documents, and their stored bytes.
    fn seal_documents(&self, directory: &mut Directory) -> Result<(Vec<Bytes>, Vec<Bytes>), FormatError> {
        let (mut archives, mut stored) = (Vec::new(), Vec::new());
        let mut next = 0;
        while next < self.documents.len() {
            let first = next;
            let mut block = Texts::new();
            while next < self.documents.len() {
                let text = self.documents.get(next);
                if next > first && block.bytes.len() + text.len() > BLOCK_BYTES {
                    break;
                }
                block.push(text);
                next += 1;
            }
            let raw = bounded(Bytes::from_owner(archived(&block, block.bytes.len() + 64, DOCUMENTS.name)?))?;
            let piece = SealedPiece::new(raw.clone(), DOCUMENTS.name)?;
            let documents = number(block.len());
            directory.blocks.push(BlockEntry { first: number(first), documents, sum: piece.sum, at: 0 });
            stored.push(piece.stored);
            archives.push(raw);
        }
        Ok((archives, stored))
    }
}

/// The bytes of an archive, or an error if it exceeds its limit.
fn bounded(raw: Bytes) -> Result<Bytes, FormatError> {
    if raw.len() > MAX_PART_META_BYTES {
        return Err(FormatError::too_large("part", raw.len() as u64, MAX_PART_META_BYTES as u64));
    }
    Ok(raw)
}
