//! The directory of a part: the place of each metadata column and each block of documents, and a
//! summary of each column.

use super::DIRECTORY;
use super::column_summary::ColumnSummary;
use super::numbers::number;
use super::values::{BOOLS, REMOVED, STRINGS};
use crate::codec::{Cursor, Writer};
use crate::envelope::{Encoding, PieceSum, Section};
use crate::error::FormatError;
use crate::limits::MAX_KEY_BYTES;

/// Fewest bytes of each kind of entry, to refuse a count before allocating for it.
const COLUMN_BYTES: usize = 27;
const BLOCK_BYTES: usize = 16;

/// The pieces of a part, in the order in which they lie.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Ascending by key and type.
    pub(super) columns: Vec<ColumnEntry>,
    /// In the order of their documents.
    pub(super) blocks: Vec<BlockEntry>,
}

/// A metadata column.
#[derive(Debug)]
pub(super) struct ColumnEntry {
    pub(super) key: String,
    /// The type of the values, see `values`.
    pub(super) kind: u32,
    /// Payloads with a value.
    pub(super) present: u32,
    /// Values, or elements of lists.
    pub(super) elements: u32,
    pub(super) summary: Option<ColumnSummary>,
    pub(super) sum: PieceSum,
    /// Its offset in the object.
    pub(super) at: u64,
}

/// A block of documents.
#[derive(Debug)]
pub(super) struct BlockEntry {
    /// The rank of its first document among the documents of the part.
    pub(super) first: u32,
    pub(super) documents: u32,
    pub(super) sum: PieceSum,
    /// Its offset in the object.
    pub(super) at: u64,
}

fn refuse(rule: impl Into<std::borrow::Cow<'static, str>>) -> FormatError {
    FormatError::invalid(DIRECTORY.name, rule)
}

fn require(holds: bool, rule: &'static str) -> Result<(), FormatError> {
    if holds { Ok(()) } else { Err(refuse(rule)) }
}

impl Directory {
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64 * self.columns.len() + BLOCK_BYTES * self.blocks.len() + 8);
        out.count(self.columns.len());
        for column in &self.columns {
            out.string(&column.key);
            out.u8(u8::try_from(column.kind).unwrap_or(u8::MAX));
            out.u32(column.present);
            out.u32(column.elements);
            write_sum(&mut out, column.sum);
            out.bytes(&ColumnSummary::encoded(column.summary.as_ref()));
        }
        out.count(self.blocks.len());
        for block in &self.blocks {
            out.u32(block.documents);
            write_sum(&mut out, block.sum);
        }
        out.into_vec()
    }

    /// Reads a directory whose pieces fill these two sections. The caller must call
    /// [`check`](Self::check) next.
    pub(super) fn decode(
        bytes: &[u8],
        values: Option<&Section>,
        documents: Option<&Section>,
    ) -> Result<Self, FormatError> {
        let mut from = Cursor::new(bytes, DIRECTORY.name);
        let columns = from.list(COLUMN_BYTES, column)?;
        let blocks = from.list(BLOCK_BYTES, |from| {
            Ok(BlockEntry { first: 0, documents: from.u32()?, sum: read_sum(from)?, at: 0 })
        })?;
        from.finish()?;
        let mut directory = Self { columns, blocks };
        directory.place(values, documents)?;
        Ok(directory)
    }

    /// Computes the places of the pieces.
    pub(super) fn place(&mut self, values: Option<&Section>, documents: Option<&Section>) -> Result<(), FormatError> {
        lay_out(self.columns.iter_mut().map(|column| (column.sum, &mut column.at)), values)?;
        lay_out(self.blocks.iter_mut().map(|block| (block.sum, &mut block.at)), documents)?;
        let mut first = 0_u32;
        for block in &mut self.blocks {
            block.first = first;
            first = first.checked_add(block.documents).ok_or_else(|| refuse("it has too many documents"))?;
        }
        Ok(())
    }

    /// Checks the rules of the listed columns and blocks.
    pub(super) fn check(&self) -> Result<(), FormatError> {
        let sorted = self.columns.is_sorted_by(|a, b| (&a.key, a.kind) < (&b.key, b.kind));
        require(sorted, "metadata columns do not ascend by key and type")?;
        for column in &self.columns {
            require((1..=MAX_KEY_BYTES).contains(&column.key.len()), "a key is too short or too long")?;
            require(column.kind <= BOOLS, "a metadata column has an unknown type")?;
            require(column.present > 0, "a metadata column is empty")?;
            let scalars = if column.kind == REMOVED { 0 } else { column.present };
            require(column.kind >= STRINGS || column.elements == scalars, "a metadata column has too many elements")?;
        }
        require(self.blocks.iter().all(|block| block.documents > 0), "a block of documents is empty")
    }

    /// Bytes of all pieces in memory.
    pub(super) fn raw(&self) -> u64 {
        let columns = self.columns.iter().map(|column| u64::from(column.sum.raw));
        columns.chain(self.blocks.iter().map(|block| u64::from(block.sum.raw))).sum()
    }

    /// Number of documents.
    pub(super) fn documents(&self) -> usize {
        self.blocks.last().map_or(0, |last| last.first as usize + last.documents as usize)
    }

    /// The columns of a key.
    pub(super) fn columns_of(&self, key: &str) -> std::ops::Range<usize> {
        let start = self.columns.partition_point(|column| column.key.as_str() < key);
        let same = self.columns.get(start..).unwrap_or_default();
        start..start + same.partition_point(|column| column.key == key)
    }

    /// The block that holds the document of this rank, and the document's place in it.
    pub(super) fn block_of(&self, rank: usize) -> Option<(usize, usize)> {
        let number = self.blocks.partition_point(|block| block.first as usize <= rank).checked_sub(1)?;
        let within = rank - self.blocks.get(number)?.first as usize;
        (within < self.blocks.get(number)?.documents as usize).then_some((number, within))
    }

    /// Estimated bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let columns = self.columns.iter().map(|column| {
            let summary = column.summary.as_ref().map_or(0, |summary| ColumnSummary::encoded(Some(summary)).len());
            size_of::<ColumnEntry>() + column.key.len() + 3 * summary
        });
        columns.sum::<usize>() + self.blocks.len() * size_of::<BlockEntry>()
    }
}

fn column(from: &mut Cursor<'_>) -> Result<ColumnEntry, FormatError> {
    let (key, kind) = (from.string()?.to_owned(), u32::from(from.u8()?));
    let (present, elements, sum) = (from.u32()?, from.u32()?, read_sum(from)?);
    let summary = ColumnSummary::read(from, kind, elements as usize)?;
    Ok(ColumnEntry { key, kind, present, elements, summary, sum, at: 0 })
}

fn write_sum(out: &mut Writer, sum: PieceSum) {
    out.u32(sum.stored);
    out.u32(sum.raw);
    out.u32(sum.crc32);
}

fn read_sum(from: &mut Cursor<'_>) -> Result<PieceSum, FormatError> {
    let sum = PieceSum { stored: from.u32()?, raw: from.u32()?, crc32: from.u32()? };
    if sum.stored == 0 || sum.stored > sum.raw {
        return Err(from.invalid("a piece has no bytes, or more stored bytes than decoded ones"));
    }
    Ok(sum)
}

/// Lays out pieces one behind the other. They fill their section, which is absent without pieces.
fn lay_out<'a>(
    pieces: impl ExactSizeIterator<Item = (PieceSum, &'a mut u64)>,
    section: Option<&Section>,
) -> Result<(), FormatError> {
    require(
        (pieces.len() > 0) == section.is_some(),
        "it lists pieces of a section that is absent, or none of one that is present",
    )?;
    let Some(section) = section else { return Ok(()) };
    require(section.encoding == Encoding::Raw, "a section of pieces is compressed and must not be")?;
    let mut end = section.offset;
    for (sum, at) in pieces {
        *at = end;
        end = end.saturating_add(sum.stored.into());
    }
    require(end == section.offset.saturating_add(section.stored), "its pieces do not fill their section")
}

/// An entry for a new column.
pub(super) fn column_entry(
    key: String,
    kind: u32,
    [present, elements]: [usize; 2],
    summary: Option<ColumnSummary>,
    sum: PieceSum,
) -> ColumnEntry {
    ColumnEntry { key, kind, present: number(present), elements: number(elements), summary, sum, at: 0 }
}
