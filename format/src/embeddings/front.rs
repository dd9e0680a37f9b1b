//! The front of an embedding object: everything that range reads of the rest need.

use std::ops::{Range, RangeInclusive};

use bytes::Bytes;

use super::{BLOCK, CHECKSUMS, EmbeddingSection, HEADER};
use crate::codec::Cursor;
use crate::envelope::{Encoding, EnvelopeReader, MAX_ENVELOPE_BYTES, ObjectKind, SECTION_ALIGN};
use crate::error::FormatError;
use crate::limits::{MAX_DIMENSION, MAX_EMBEDDING_OBJECT_BYTES, MAX_PART_ROWS};

/// The name of the header in errors.
const HEADER_WHAT: &str = "embeddings header";
const CHECKSUMS_WHAT: &str = "checksum table";

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 2 * size_of::<u32>() + size_of::<u64>();

/// Envelope, header and checksum table of an embedding object, verified.
///
/// A cold reader knows dimension and rows from register and manifest. It can therefore fetch the
/// front together with the sections behind it in one range. [`bytes_through`](Self::bytes_through)
/// gives the length of that range.
#[derive(Debug)]
pub struct EmbeddingsFront {
    reader: EnvelopeReader,
    dimension: u32,
    rows: u32,
    rotation: u64,
    sections: [Span; EmbeddingSection::ALL.len()],
    checksums: Vec<u32>,
}

/// The bytes of a section.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    offset: u64,
    len: usize,
    /// Its first block, among those of all sections.
    block: usize,
}

impl EmbeddingsFront {
    /// Bytes of the front of an object, as this program writes it.
    pub fn bytes(dimension: u32, rows: u32) -> u64 {
        end_of(dimension, rows, None)
    }

    /// Bytes of an object's front and all sections up to this one, as this program writes it.
    pub fn bytes_through(dimension: u32, rows: u32, last: EmbeddingSection) -> u64 {
        end_of(dimension, rows, Some(last))
    }

    /// The range of some adjoining sections in an object, as this program writes it.
    pub fn written_range(dimension: u32, rows: u32, sections: RangeInclusive<EmbeddingSection>) -> Range<u64> {
        let first = end_of(dimension, rows, Some(*sections.start()));
        let start = first.saturating_sub(u64::from(rows) * sections.start().stride(dimension) as u64);
        start..end_of(dimension, rows, Some(*sections.end())).max(start)
    }

    /// The range to fetch for some of an object's `total` rows in f32, as this program writes it.
    pub fn written_rows(dimension: u32, total: u32, rows: Range<u32>) -> Range<u64> {
        let section = Self::written_range(dimension, total, EmbeddingSection::Rows..=EmbeddingSection::Rows);
        let stride = EmbeddingSection::Rows.stride(dimension) as u64;
        let at = |row: u32| u64::from(row.min(total)) * stride;
        let block = BLOCK as u64;
        let end = (section.start + at(rows.end).next_multiple_of(block)).min(section.end);
        (section.start + at(rows.start) / block * block).min(end)..end
    }

    /// Reads the front from the first bytes of an object: at least [`bytes`](Self::bytes) of them.
    ///
    /// # Errors
    ///
    /// A fault of envelope, header or checksum table; a section with another number of rows than
    /// the header says. `Truncated` if the bytes do not hold the front: another program may have
    /// written more sections before it.
    pub fn open(prefix: Bytes) -> Result<Self, FormatError> {
        Self::read(EnvelopeReader::open_front(prefix, ObjectKind::Embeddings)?)
    }

    pub(super) fn read(reader: EnvelopeReader) -> Result<Self, FormatError> {
        let header = reader.verified_raw_section(HEADER, HEADER_WHAT, HEADER_BYTES)?;
        let mut cursor = Cursor::new(&header, HEADER_WHAT);
        let (dimension, rows, rotation) = (cursor.u32()?, cursor.u32()?, cursor.u64()?);
        cursor.finish()?;
        let in_limits =
            (1..=MAX_DIMENSION).contains(&(dimension as usize)) && (1..=MAX_PART_ROWS).contains(&(rows as usize));
        if !in_limits {
            return Err(FormatError::invalid(HEADER_WHAT, "its dimension or number of rows is out of bounds"));
        }
        let mut sections = [Span::default(); EmbeddingSection::ALL.len()];
        let mut blocks = 0;
        for (span, section) in sections.iter_mut().zip(EmbeddingSection::ALL) {
            *span = span_of(&reader, section, dimension, rows, blocks)?;
            blocks += span.len.div_ceil(BLOCK);
        }
        let table = reader.verified_raw_section(CHECKSUMS, CHECKSUMS_WHAT, blocks * size_of::<u32>())?;
        let (checksums, rest) = table.as_chunks::<4>();
        if checksums.len() != blocks || !rest.is_empty() {
            return Err(FormatError::invalid(CHECKSUMS_WHAT, "it does not have one for each block of the sections"));
        }
        let checksums = checksums.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        Ok(Self { reader, dimension, rows, rotation, sections, checksums })
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The length of a row.
    pub fn dimension(&self) -> u32 {
        self.dimension
    }

    /// The seed of the rotation of its codes.
    pub fn rotation(&self) -> u64 {
        self.rotation
    }

    /// The crc32 of the object's envelope, to compare with the one in the manifest.
    pub fn crc32(&self) -> u32 {
        self.reader.envelope().crc32()
    }

    /// The range to fetch for these rows of a section: the blocks that they touch. It is empty if
    /// there are no such rows.
    pub fn range(&self, section: EmbeddingSection, rows: Range<u32>) -> Range<u64> {
        let span = self.span(section);
        let range = self.bytes_of(section, rows).map_or(0..0, |bytes| blocks_around(&bytes, span.len));
        span.offset + range.start as u64..span.offset + range.end as u64
    }

    /// The range of some adjoining sections in the object.
    pub fn sections_range(&self, sections: RangeInclusive<EmbeddingSection>) -> Range<u64> {
        let (first, last) = (self.span(*sections.start()), self.span(*sections.end()));
        first.offset..last.offset.saturating_add(last.len as u64).max(first.offset)
    }

    /// The rows of a section, cut from the bytes fetched for them, with each block verified.
    ///
    /// # Errors
    ///
    /// `Checksum` if a block is damaged; `Truncated` if the bytes are not those of
    /// [`range`](Self::range); `Invalid` for a forbidden value, or if there are no such rows.
    pub fn verified(&self, section: EmbeddingSection, rows: Range<u32>, fetched: &Bytes) -> Result<Bytes, FormatError> {
        let wanted = self.wanted(section, rows)?;
        let span = self.span(section);
        let around = blocks_around(&wanted, span.len);
        if fetched.len() != around.len() {
            let reason = format!("{} of its bytes were requested, and {} arrived", around.len(), fetched.len());
            return Err(FormatError::truncated(section.name(), reason));
        }
        let first = around.start / BLOCK;
        for (number, block) in fetched.chunks(BLOCK).enumerate() {
            self.check(section, first + number, block)?;
        }
        Ok(fetched.slice(wanted.start - around.start..wanted.end - around.start))
    }

    /// The bytes of these rows within the section.
    pub(super) fn wanted(&self, section: EmbeddingSection, rows: Range<u32>) -> Result<Range<usize>, FormatError> {
        let (start, end) = (rows.start, rows.end);
        self.bytes_of(section, rows).ok_or_else(|| {
            let reason = format!("rows {start} to {end} were requested, and it has {}", self.rows);
            FormatError::invalid(section.name(), reason)
        })
    }

    fn bytes_of(&self, section: EmbeddingSection, rows: Range<u32>) -> Option<Range<usize>> {
        let stride = section.stride(self.dimension);
        let inside = rows.start <= rows.end && rows.end <= self.rows;
        inside.then(|| rows.start as usize * stride..rows.end as usize * stride)
    }

    /// Checks one block of a section, counted from its first.
    pub(super) fn check(&self, section: EmbeddingSection, block: usize, bytes: &[u8]) -> Result<(), FormatError> {
        let damaged = || FormatError::checksum(section.name(), format!("the crc32 of block {block} does not match"));
        let span = self.span(section);
        let crc32 = self.checksums.get(span.block + block).ok_or_else(damaged)?;
        if !crate::envelope::matches(bytes, *crc32) {
            return Err(damaged());
        }
        match section.refusal(bytes) {
            Some(reason) => Err(FormatError::invalid(section.name(), format!("{reason} in block {block}"))),
            None => Ok(()),
        }
    }

    pub(super) fn reader(&self) -> &EnvelopeReader {
        &self.reader
    }

    fn span(&self, section: EmbeddingSection) -> Span {
        self.sections.get(section.place()).copied().unwrap_or_default()
    }
}

/// The whole blocks around some bytes of a section of this length.
fn blocks_around(bytes: &Range<usize>, len: usize) -> Range<usize> {
    if bytes.is_empty() {
        return bytes.clone();
    }
    bytes.start / BLOCK * BLOCK..bytes.end.next_multiple_of(BLOCK).min(len)
}

fn span_of(
    reader: &EnvelopeReader,
    section: EmbeddingSection,
    dimension: u32,
    rows: u32,
    block: usize,
) -> Result<Span, FormatError> {
    let what = section.name();
    let entry = reader.envelope().section(section.id());
    let entry =
        entry.ok_or_else(|| FormatError::invalid(what, format!("the object has no section {}", section.id())))?;
    if entry.encoding != Encoding::Raw {
        return Err(FormatError::invalid(what, "it is compressed and must not be"));
    }
    if entry.raw > MAX_EMBEDDING_OBJECT_BYTES as u64 {
        return Err(FormatError::too_large(what, entry.raw, MAX_EMBEDDING_OBJECT_BYTES as u64));
    }
    let len = u64::from(rows) * section.stride(dimension) as u64;
    if entry.raw != len {
        return Err(FormatError::invalid(what, "their number differs from the header"));
    }
    let len = usize::try_from(len).map_err(|_| FormatError::too_large(what, len, usize::MAX as u64))?;
    Ok(Span { offset: entry.offset, len, block })
}

/// The end of the front, or of the last section wanted.
fn end_of(dimension: u32, rows: u32, last: Option<EmbeddingSection>) -> u64 {
    let len = |section: EmbeddingSection| u64::from(rows) * section.stride(dimension) as u64;
    let blocks: u64 = EmbeddingSection::ALL.iter().map(|section| len(*section).div_ceil(BLOCK as u64)).sum();
    let wanted = EmbeddingSection::ALL.iter().filter(|section| last.is_some_and(|last| **section <= last));
    let lengths = [HEADER_BYTES as u64, blocks * size_of::<u32>() as u64];
    let start = MAX_ENVELOPE_BYTES as u64;
    let start = start.min(crate::envelope::envelope_len(2 + EmbeddingSection::ALL.len()) as u64);
    lengths
        .into_iter()
        .chain(wanted.map(|section| len(*section)))
        .fold(start, |end, len| end.next_multiple_of(SECTION_ALIGN) + len)
}
