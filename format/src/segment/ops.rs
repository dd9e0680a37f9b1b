//! The ops of a segment without their embeddings, which one range read of the object's first bytes
//! returns.

use bytes::Bytes;

use super::front::SegmentFront;
use super::header::SegmentHeader;
use super::row::{MIN_ROW_BYTES, OpRow};
use super::section;
use crate::codec::Cursor;
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_SEGMENT_SECTION_BYTES;

/// The header of a segment and the rows of its ops, both verified by their checksums. The
/// embeddings are unknown. The digest of the ops covers embeddings, too, so it is not compared.
#[derive(Debug, Clone)]
pub struct SegmentOps {
    header: SegmentHeader,
    rows: Bytes,
    /// The place of each row.
    places: Vec<(u32, u32)>,
}

impl SegmentOps {
    /// Bytes from the start of the object that [`SegmentOps::decode`] needs. `prefix` must hold the
    /// envelope.
    ///
    /// # Errors
    /// Those of [`SegmentFront::bytes_needed`]; `Invalid` if the segment has no ops.
    pub fn bytes_needed(prefix: Bytes) -> Result<u64, FormatError> {
        let header = SegmentFront::bytes_needed(prefix.clone())?;
        let reader = EnvelopeReader::open_front(prefix, ObjectKind::Segment)?;
        let ops = reader.envelope().section(section::OPS);
        let ops = ops.ok_or_else(|| FormatError::invalid("ops", "the segment has no such section"))?;
        Ok(header.max(ops.offset.saturating_add(ops.stored)))
    }

    /// Decodes header and ops from the first bytes of an object: at least
    /// [`SegmentOps::bytes_needed`].
    ///
    /// # Errors
    /// A fault of the header or a row; `Truncated` if the prefix is too short.
    pub fn decode(prefix: Bytes) -> Result<Self, FormatError> {
        let reader = EnvelopeReader::open_front(prefix, ObjectKind::Segment)?;
        let header = SegmentFront::of(&reader)?.into_header();
        let rows = reader.unaligned_section(section::OPS, "ops", MAX_SEGMENT_SECTION_BYTES)?;
        let count = header.ops as usize;
        if count > rows.len() / (4 + MIN_ROW_BYTES) {
            return Err(FormatError::invalid("ops", "the header counts more than there can be"));
        }
        let mut places = Vec::with_capacity(count);
        let mut from = Cursor::new(&rows, "ops");
        for _ in 0..count {
            let row = from.nested()?.rest();
            OpRow::check(row)?;
            // The section is shorter than 2^32 bytes.
            let start = rows.len() - from.rest().len() - row.len();
            let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            places.push((place(start), place(start + row.len())));
        }
        from.finish()?;
        Ok(Self { header, rows, places })
    }

    /// The header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Whether an op changes this record.
    pub fn concern(&self, id: &str) -> bool {
        self.places.iter().any(|(start, end)| {
            let row = self.rows.get(*start as usize..*end as usize).and_then(OpRow::checked);
            row.is_some_and(|row| row.id() == id)
        })
    }
}
