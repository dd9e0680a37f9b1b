//! Makes a segment.

use bytes::Bytes;

use super::header::{SegmentHeader, SourceMark};
use super::ids::{HASHED_FROM, hash_of};
use super::{row, section};
use crate::codec::Writer;
use crate::digest::{Digest, OpHash};
use crate::envelope::{Compress, Encoded, EnvelopeWriter, ObjectKind, SealedSection};
use crate::input_error::{InputError, InputErrorKind};
use crate::limits::{MAX_DIMENSION, MAX_SEGMENT_MARKS, MAX_SEGMENT_OPS, MAX_SEGMENT_SECTION_BYTES};
use crate::name::{Position, Sequence, TimeRange, Uid};
use crate::op::Op;
use crate::validate::{OpRules, validate_source};

/// Shorter rows are stored as they are. Compressing them would delay every acknowledgement by more
/// than any store takes for the bytes saved.
const COMPRESS_FROM: usize = 16 << 10;

/// The ops of a segment, encoded, compressed and checksummed. Work that does not depend on the
/// place in the log is done once here. After losing a slot, only [`SegmentBody::seal`] runs again.
#[derive(Debug, Clone)]
pub struct SegmentBody {
    ops: SealedSection,
    embeddings: Option<SealedSection>,
    /// The hashes of the ids, if the segment is large.
    ids: Option<SealedSection>,
    hashes: Vec<OpHash>,
    dimension: u32,
    vectors: u32,
}

/// The place and origin of a segment: the fields of [`SegmentHeader`] that do not follow from its
/// ops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentStamp {
    /// The collection.
    pub collection: Uid,
    /// Its place in the log, at least 1.
    pub sequence: Sequence,
    /// The writer.
    pub writer: Uid,
    /// The writer's batch.
    pub batch: u64,
    /// When its ops were accepted.
    pub times: TimeRange,
    /// The highest position of each source of its ops.
    pub marks: Vec<SourceMark>,
    /// Number of slots directly in front of it that hold segments of other collections.
    pub passed: u32,
}

impl SegmentBody {
    /// Encodes ops of a collection of this dimension, in this order. Either all of them have
    /// revisions or none has.
    ///
    /// # Errors
    /// An op that [`Op::validate`] refuses; no ops, more than [`MAX_SEGMENT_OPS`], or more than
    /// [`MAX_SEGMENT_SECTION_BYTES`] of rows or of embeddings; a dimension out of range.
    pub fn encode(ops: &[Op], dimension: u32) -> Result<Self, InputError> {
        let count_error = |kind| Err(InputError::new("segment", kind));
        if ops.is_empty() {
            return count_error(InputErrorKind::Empty);
        }
        if ops.len() > MAX_SEGMENT_OPS {
            return count_error(InputErrorKind::TooMany { found: ops.len(), limit: MAX_SEGMENT_OPS });
        }
        if dimension == 0 || dimension as usize > MAX_DIMENSION {
            let kind = InputErrorKind::TooMany { found: dimension as usize, limit: MAX_DIMENSION };
            return Err(InputError::new("dimension", kind));
        }
        let rules = OpRules { dimension, revisions: ops.first().is_some_and(|op| op.revision.is_some()) };
        for op in ops {
            op.validate(rules)?;
        }
        let vectors = ops.iter().filter(|op| op.action.embedding().is_some()).count();
        let embedding_bytes = vectors.saturating_mul(dimension as usize * 4);
        let limit = MAX_SEGMENT_SECTION_BYTES;
        if embedding_bytes > limit {
            return count_error(InputErrorKind::TooLong { found: embedding_bytes, limit });
        }
        let mut rows = Writer::with_capacity(ops.len().saturating_mul(192).min(1 << 20));
        let mut embeddings = Vec::with_capacity(embedding_bytes);
        let mut hashes = Vec::with_capacity(ops.len());
        for op in ops {
            let start = rows.len();
            rows.count(0);
            row::write(&mut rows, op);
            rows.set_count(start, rows.len() - start - 4);
            let vector = embeddings.len();
            if let Some(embedding) = op.action.embedding() {
                append_le(&mut embeddings, embedding);
            }
            hashes.push(OpHash::of(rows.since(start + 4), embeddings.get(vector..).unwrap_or_default()));
            if rows.len() > limit {
                return count_error(InputErrorKind::TooLong { found: rows.len(), limit });
            }
        }
        let compress = if rows.len() < COMPRESS_FROM { Compress::Never } else { Compress::WhenSmaller };
        let sealed = |bytes: Vec<u8>, compress| SealedSection::new(vec![Bytes::from(bytes)], compress);
        let mut body = Self {
            ops: sealed(rows.into_vec(), compress),
            embeddings: (vectors > 0).then(|| sealed(embeddings, Compress::Never)),
            ids: None,
            hashes,
            dimension,
            vectors: u32::try_from(vectors).unwrap_or(u32::MAX),
        };
        if body.stored_bytes() > HASHED_FROM {
            let ids: Vec<u8> = ops.iter().flat_map(|op| hash_of(&op.id)).collect();
            body.ids = Some(sealed(ids, Compress::Never));
        }
        Ok(body)
    }

    /// Number of ops.
    pub fn ops(&self) -> usize {
        self.hashes.len()
    }

    /// Bytes of its ops and embeddings in the object. The header and the envelope add a few
    /// hundred, and the hashes of ids 4 an op.
    pub fn stored_bytes(&self) -> u64 {
        self.ops.stored() + self.embeddings.as_ref().map_or(0, SealedSection::stored)
    }

    /// The digest of its ops at place `sequence` of the log.
    pub fn digest(&self, sequence: Sequence) -> Digest {
        digest(&self.hashes, sequence)
    }

    /// The object at this place of the log. Costs a hash of 24 bytes an op and copies no large
    /// section.
    ///
    /// # Errors
    /// - sequence 0;
    /// - more slots passed than lie in front of it;
    /// - more than [`MAX_SEGMENT_MARKS`] marks;
    /// - a source name that is empty or longer than
    ///   [`MAX_SOURCE_BYTES`](crate::limits::MAX_SOURCE_BYTES).
    pub fn seal(&self, stamp: SegmentStamp) -> Result<Encoded, InputError> {
        if stamp.sequence == Sequence::ZERO {
            return Err(InputError::new("sequence number", InputErrorKind::Empty));
        }
        if u64::from(stamp.passed) >= stamp.sequence.get() {
            let limit = usize::try_from(stamp.sequence.get() - 1).unwrap_or(usize::MAX);
            let kind = InputErrorKind::TooMany { found: stamp.passed as usize, limit };
            return Err(InputError::new("slots passed", kind));
        }
        if stamp.marks.len() > MAX_SEGMENT_MARKS {
            let kind = InputErrorKind::TooMany { found: stamp.marks.len(), limit: MAX_SEGMENT_MARKS };
            return Err(InputError::new("source marks", kind));
        }
        for mark in &stamp.marks {
            validate_source(&mark.source)?;
        }
        let SegmentStamp { collection, sequence, writer, batch, times, marks, passed } = stamp;
        let header = SegmentHeader {
            collection,
            sequence,
            writer,
            batch,
            times,
            marks,
            ops: u32::try_from(self.hashes.len()).unwrap_or(u32::MAX),
            digest: self.digest(sequence),
            dimension: self.dimension,
            vectors: self.vectors,
            passed,
        };
        let mut out = EnvelopeWriter::new(ObjectKind::Segment);
        out.section(section::HEADER, header.encode(), Compress::Never);
        // Behind the header, so that one range read of the first bytes finds both.
        if let Some(ids) = &self.ids {
            out.sealed(section::IDS, ids.clone());
        }
        out.sealed(section::OPS, self.ops.clone());
        if let Some(embeddings) = &self.embeddings {
            out.sealed(section::EMBEDDINGS, embeddings.clone());
        }
        Ok(out.finish())
    }
}

/// The digest of ops at positions `sequence`.0, .1, ….
pub(super) fn digest(hashes: &[OpHash], sequence: Sequence) -> Digest {
    hashes.iter().enumerate().fold(Digest::default(), |sum, (index, hash)| {
        // Both encoder and decoder cap the count at what a position can hold.
        let position = Position::new(sequence, index).unwrap_or_default();
        sum.plus(Digest::of_op(*hash, position))
    })
}

fn append_le(out: &mut Vec<u8>, numbers: &[f32]) {
    if cfg!(target_endian = "little") {
        out.extend_from_slice(bytemuck::cast_slice(numbers));
    } else {
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
}
