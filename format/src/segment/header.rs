//! The header of a segment.

use crate::codec::{Cursor, Writer};
use crate::digest::Digest;
use crate::error::FormatError;
use crate::limits::{MAX_DIMENSION, MAX_SEGMENT_MARKS, MAX_SEGMENT_OPS, MAX_SOURCE_BYTES};
use crate::name::{Sequence, TimeRange, Uid};

/// The header of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The collection it belongs to.
    pub collection: Uid,
    /// Its place in the log, at least 1; the number in its name.
    pub sequence: Sequence,
    /// The writer.
    pub writer: Uid,
    /// The writer's batch. With `writer` it identifies an attempt to append.
    pub batch: u64,
    /// When its ops were accepted, by the writer's clock; for people.
    pub times: TimeRange,
    /// The highest position of each source of its ops.
    pub marks: Vec<SourceMark>,
    /// Number of ops, at least 1.
    pub ops: u32,
    /// The digest of its ops at their positions.
    pub digest: Digest,
    /// The collection's dimension.
    pub dimension: u32,
    /// Number of ops with an embedding.
    pub vectors: u32,
    /// Number of slots directly in front of it that hold segments of other collections. Its writer
    /// passed over them.
    pub passed: u32,
}

/// The highest position of a source (a queue, a stream) that a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceMark {
    /// The source's name, 1 to 256 bytes.
    pub source: String,
    /// The position.
    pub position: u128,
}

/// The longest header.
pub(super) const MAX_HEADER_BYTES: usize = 256 + MAX_SEGMENT_MARKS * (MAX_SOURCE_BYTES + 20);

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(128);
        out.uid(self.collection);
        out.sequence(self.sequence);
        out.uid(self.writer);
        out.u64(self.batch);
        out.times(self.times);
        out.u32(self.ops);
        out.u32(self.dimension);
        out.u32(self.vectors);
        out.u128(self.digest.to_bits());
        out.u32(self.passed);
        out.count(self.marks.len());
        for mark in &self.marks {
            out.string(&mark.source);
            out.u128(mark.position);
        }
        out.into_vec()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut from = Cursor::new(bytes, "segment header");
        let header = Self {
            collection: from.uid()?,
            sequence: from.sequence()?,
            writer: from.uid()?,
            batch: from.u64()?,
            times: from.times()?,
            ops: from.u32()?,
            dimension: from.u32()?,
            vectors: from.u32()?,
            digest: Digest::from_bits(from.u128()?),
            passed: from.u32()?,
            marks: from.list(20, |from| {
                let source = from.string()?.to_owned();
                Ok(SourceMark { source, position: from.u128()? })
            })?,
        };
        let invalid = |reason| Err(from.invalid(reason));
        if header.sequence == Sequence::ZERO {
            return invalid("its sequence number is 0");
        }
        if u64::from(header.passed) >= header.sequence.get() {
            return invalid("it states more slots before it than its sequence number allows");
        }
        if header.ops == 0 || header.ops as usize > MAX_SEGMENT_OPS || header.vectors > header.ops {
            return invalid("it counts no ops, too many, or more embeddings than ops");
        }
        if header.dimension == 0 || header.dimension as usize > MAX_DIMENSION {
            return invalid("its dimension is out of range");
        }
        let sound = |mark: &SourceMark| (1..=MAX_SOURCE_BYTES).contains(&mark.source.len());
        if header.marks.len() > MAX_SEGMENT_MARKS || !header.marks.iter().all(sound) {
            return invalid("it has too many source marks or one whose name is empty or too long");
        }
        from.finish()?;
        Ok(header)
    }
}
