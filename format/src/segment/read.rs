//! Reading a segment.

use bytes::Bytes;

use super::body::digest;
use super::header::{MAX_HEADER_BYTES, SegmentHeader};
use super::row::{self, MIN_ROW_BYTES};
use super::section;
use crate::codec::Cursor;
use crate::digest::{Digest, OpHash};
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_SEGMENT_SECTION_BYTES;
use crate::name::{Position, Uid};
use crate::op::Op;
use crate::revision::{Place, Stamp};
use crate::validate::finite_embedding;

/// A segment, read whole, every check passed: nothing in it can fail afterwards.
#[derive(Debug, Clone)]
pub struct Segment {
    header: SegmentHeader,
    bytes: u64,
    ops: Vec<Op<u32>>,
    hashes: Vec<OpHash>,
    /// At a 4-byte boundary, in this machine's byte order; part of the object, not a copy, where that can be.
    embeddings: Bytes,
}

impl Segment {
    /// Decodes and validates a whole object: checksums, lengths, limits, counts, finite numbers, the digest.
    ///
    /// That its header says the place of its name and the caller's collection is for the caller to check: [`Segment::header`],
    /// [`Segment::expect_collection`].
    ///
    /// # Errors
    /// Any [`FormatErrorKind`](crate::FormatErrorKind).
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        let bytes = object.len() as u64;
        let reader = EnvelopeReader::open(object, ObjectKind::Segment)?;
        let header = SegmentHeader::decode(&reader.section(section::HEADER, "segment header", MAX_HEADER_BYTES)?)?;
        let rows = reader.section(section::OPS, "ops", MAX_SEGMENT_SECTION_BYTES)?;
        let vectors = if header.vectors == 0 && reader.envelope().section(section::EMBEDDINGS).is_none() {
            Bytes::new()
        } else {
            reader.section(section::EMBEDDINGS, "embeddings", MAX_SEGMENT_SECTION_BYTES)?
        };
        let invalid = |what, reason: &'static str| Err(FormatError::invalid(what, reason));
        let stride = header.dimension as usize * 4;
        if stride.checked_mul(header.vectors as usize) != Some(vectors.len()) {
            return invalid("embeddings", "their length is not what the header counts");
        }
        let count = header.ops as usize;
        if count > rows.len() / (4 + MIN_ROW_BYTES) {
            return invalid("ops", "the header counts more than there can be");
        }
        let mut vector_rows = vectors.chunks_exact(stride.max(1));
        let mut ops = Vec::with_capacity(count);
        let mut hashes = Vec::with_capacity(count);
        let mut from = Cursor::new(&rows, "ops");
        let mut used = 0u32;
        for _ in 0..count {
            let row = from.nested()?;
            let row_bytes = row.rest();
            let op = row::read(row, used)?;
            let mut vector: &[u8] = &[];
            if op.action.embedding().is_some() {
                let Some(next) = vector_rows.next() else {
                    return invalid("ops", "more of them carry an embedding than the header counts");
                };
                vector = next;
                used = used.saturating_add(1);
            }
            hashes.push(OpHash::of(row_bytes, vector));
            ops.push(op);
        }
        from.finish()?;
        if ops.windows(2).any(|pair| matches!(pair, [a, b] if a.revision.is_some() != b.revision.is_some())) {
            return invalid("ops", "some of them bear a revision and others do not");
        }
        if used != header.vectors {
            return invalid("ops", "fewer of them carry an embedding than the header counts");
        }
        if digest(&hashes, header.sequence) != header.digest {
            return invalid("ops", "their digest is not the header's");
        }
        let segment = Self { header, bytes, ops, hashes, embeddings: native(vectors) };
        let numbers = segment.vectors();
        if numbers.len() * 4 != segment.embeddings.len() || finite_embedding(numbers).is_err() {
            return invalid("embeddings", "a number is not finite");
        }
        Ok(segment)
    }

    /// What it says of itself.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Length of the object in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many ops it holds, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "no segment is empty")]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Op `index`. An embedding stands as its row number, for [`Segment::vector`].
    pub fn op(&self, index: usize) -> Option<&Op<u32>> {
        self.ops.get(index)
    }

    /// The position of op `index`.
    pub fn position(&self, index: usize) -> Position {
        // `ops` is never longer than a position can count.
        Position::new(self.header.sequence, index).unwrap_or_default()
    }

    /// Whether its ops bear revisions: all of them, or none.
    pub fn has_revisions(&self) -> bool {
        self.ops.first().is_some_and(|op| op.revision.is_some())
    }

    /// The place of op `index` among the ops of its record: its stamp where it bears a revision, else its position.
    pub fn place(&self, index: usize) -> Place {
        let stamp = self.ops.get(index).zip(self.hashes.get(index)).and_then(|(op, hash)| Stamp::of(op, *hash));
        stamp.map_or(Place::Log(self.position(index)), Place::Revision)
    }

    /// The ops in log order with their positions.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = (Position, &Op<u32>)> {
        self.ops.iter().enumerate().map(|(index, op)| (self.position(index), op))
    }

    /// Takes the ops out, to be moved rather than cloned; the segment keeps its header and embeddings and has no ops any more.
    pub fn take_ops(&mut self) -> Vec<Op<u32>> {
        std::mem::take(&mut self.ops)
    }

    /// Embedding row `row`: as many numbers as the header's dimension, all finite. Empty for a row that no op names.
    pub fn vector(&self, row: u32) -> &[f32] {
        let dimension = self.header.dimension as usize;
        let start = dimension.saturating_mul(row as usize);
        self.vectors().get(start..).and_then(|rest| rest.get(..dimension)).unwrap_or_default()
    }

    /// All embedding rows one after the other.
    pub fn vectors(&self) -> &[f32] {
        // `EnvelopeReader::section` hands out aligned bytes.
        bytemuck::try_cast_slice(&self.embeddings).unwrap_or_default()
    }

    /// The digest of op `index` alone at its position.
    pub fn op_digest(&self, index: usize) -> Option<Digest> {
        self.hashes.get(index).map(|hash| Digest::of_op(*hash, self.position(index)))
    }

    /// Checks that it belongs to this collection.
    ///
    /// # Errors
    /// `Invalid` where the uid or the dimension is another's.
    pub fn expect_collection(&self, collection: Uid, dimension: u32) -> Result<(), FormatError> {
        let reason = if self.header.collection != collection {
            format!("it belongs to collection {} and not to {collection}", self.header.collection)
        } else if self.header.dimension != dimension {
            format!("its dimension is {} and the collection's is {dimension}", self.header.dimension)
        } else {
            return Ok(());
        };
        Err(FormatError::invalid("segment header", reason))
    }
}

/// Little-endian numbers in the order of this machine: the same bytes on nearly every machine there is.
fn native(little_endian: Bytes) -> Bytes {
    if cfg!(target_endian = "little") {
        return little_endian;
    }
    let swapped: Vec<u32> =
        little_endian.as_chunks().0.iter().map(|number: &[u8; 4]| u32::from_le_bytes(*number)).collect();
    Bytes::from_owner(Numbers(swapped))
}

struct Numbers(Vec<u32>);

impl AsRef<[u8]> for Numbers {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
