//! Reads a segment.

use std::borrow::Cow;

use bytes::Bytes;

use super::front::SegmentFront;
use super::header::SegmentHeader;
use super::ids::{check_hash, hashes_of};
use super::row::{MIN_ROW_BYTES, OpRow};
use super::section;
use crate::codec::Cursor;
use crate::digest::Digest;
use crate::effect::Effect;
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_SEGMENT_SECTION_BYTES;
use crate::name::{Position, Uid};
use crate::op::Op;
use crate::stamp::Place;
use crate::validate::finite_embedding;

/// A whole segment with every check passed. No later access can fail.
///
/// It holds its ops as stored rows of bytes, and makes an [`Op`] of one on request. Besides the
/// rows and the embeddings it takes 4 bytes an op. If only some ops carry an embedding, it takes 4
/// more for each of them.
#[derive(Debug, Clone)]
pub struct Segment {
    header: SegmentHeader,
    bytes: u64,
    decoded_bytes: u64,
    /// The ops section: the length of each op's row, and the row.
    rows: Bytes,
    /// The start of each row, behind its length.
    starts: Vec<u32>,
    /// The ops that carry an embedding, ascending; empty if all of them do, or none.
    carriers: Vec<u32>,
    /// At a 4-byte boundary, in this machine's byte order. Part of the object if possible,
    /// otherwise a copy.
    embeddings: Bytes,
}

impl Segment {
    /// Decodes and validates a whole object: checksums, lengths, limits, counts, finite numbers,
    /// the digest.
    ///
    /// The caller must check that the header matches the object's name and the caller's collection:
    /// [`Segment::header`], [`Segment::expect_collection`].
    ///
    /// # Errors
    /// Any [`FormatErrorKind`](crate::FormatErrorKind).
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        let bytes = object.len() as u64;
        let reader = EnvelopeReader::open(object, ObjectKind::Segment)?;
        let front = SegmentFront::of(&reader)?;
        let decoded_bytes = front.decoded_bytes();
        let header = front.into_header();
        let hashes = hashes_of(&reader, &header)?;
        let rows = reader.unaligned_section(section::OPS, "ops", MAX_SEGMENT_SECTION_BYTES)?;
        let vectors = if header.vectors == 0 {
            if reader.envelope().section(section::EMBEDDINGS).is_some() {
                return Err(FormatError::invalid(
                    "embeddings",
                    "the section is present, and the header counts no embedding",
                ));
            }
            Bytes::new()
        } else {
            reader.verified_raw_section(section::EMBEDDINGS, "embeddings", MAX_SEGMENT_SECTION_BYTES)?
        };
        let stride = header.dimension as usize * 4;
        if stride.checked_mul(header.vectors as usize) != Some(vectors.len()) {
            return Err(FormatError::invalid("embeddings", "their length differs from the header"));
        }
        let Index { starts, carriers } = check_rows(&header, &rows, &vectors, hashes.as_deref())?;
        let embeddings = native(vectors);
        let segment = Self { header, bytes, decoded_bytes, rows, starts, carriers, embeddings };
        let numbers = segment.vectors();
        if numbers.len() * 4 != segment.embeddings.len() || finite_embedding(numbers).is_err() {
            return Err(FormatError::invalid("embeddings", "a number is not finite"));
        }
        Ok(segment)
    }

    /// The header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Length of the object in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Estimated bytes of memory: [`SegmentFront::decoded_bytes`].
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes
    }

    /// Number of ops, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "no segment is empty")]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// The row of op `index`.
    pub fn row(&self, index: usize) -> Option<OpRow<'_>> {
        OpRow::checked(self.row_bytes(index)?)
    }

    /// The id of the record that op `index` changes.
    pub fn id(&self, index: usize) -> Option<&str> {
        str::from_utf8(self.id_bytes(index)).ok().filter(|id| !id.is_empty())
    }

    /// The bytes of that id: cheaper to sort by, and in the same order. Empty if there is no such
    /// op.
    pub fn id_bytes(&self, index: usize) -> &[u8] {
        // An action, the length of the id, the id.
        let id = self.row_bytes(index).and_then(|row| {
            let (len, rest) = row.get(1..)?.split_first_chunk()?;
            rest.get(..u32::from_le_bytes(*len) as usize)
        });
        id.unwrap_or_default()
    }

    /// Op `index`, made of its row. Its embedding is a row number, for [`Segment::vector`].
    pub fn op(&self, index: usize) -> Option<Op<u32>> {
        self.row(index)?.op(self.vector_of(index).unwrap_or_default()).ok()
    }

    /// The effect of op `index` on presence and insertion, without its record. Allocates nothing.
    pub fn outline(&self, index: usize) -> Option<Effect<()>> {
        Some(self.row(index)?.outline(self.place(index)))
    }

    /// The position of op `index`.
    pub fn position(&self, index: usize) -> Position {
        // A segment never has more ops than a position can count.
        Position::new(self.header.sequence, index).unwrap_or_default()
    }

    /// Whether its ops have revisions. Either all have them or none has.
    pub fn has_revisions(&self) -> bool {
        self.row(0).is_some_and(|row| row.revision().is_some())
    }

    /// The place of op `index` among the ops of its record: its stamp if it has a revision,
    /// otherwise its position.
    pub fn place(&self, index: usize) -> Place {
        let row = self.row(index).filter(|row| row.revision().is_some());
        let stamp = row.and_then(|row| row.stamp(&self.vector_bytes(index)));
        stamp.map_or(Place::Log(self.position(index)), Place::Revision)
    }

    /// The ops in log order with their positions. The iterator makes each op when it reaches it.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = (Position, Op<u32>)> {
        let op = |index| self.op(index).unwrap_or_else(|| Op::delete(String::new()));
        (0..self.len()).map(move |index| (self.position(index), op(index)))
    }

    /// The embedding row of op `index`; `None` if the op carries no embedding.
    pub fn vector_of(&self, index: usize) -> Option<u32> {
        let index = u32::try_from(index).ok()?;
        if self.header.vectors == self.header.ops {
            return (index < self.header.ops).then_some(index);
        }
        self.carriers.binary_search(&index).ok().and_then(|row| u32::try_from(row).ok())
    }

    /// Embedding row `row`: as many numbers as the header's dimension, all finite. Empty if no op
    /// has this row.
    pub fn vector(&self, row: u32) -> &[f32] {
        let dimension = self.header.dimension as usize;
        let start = dimension.saturating_mul(row as usize);
        self.vectors().get(start..).and_then(|rest| rest.get(..dimension)).unwrap_or_default()
    }

    /// All embedding rows one after the other.
    pub fn vectors(&self) -> &[f32] {
        // `EnvelopeReader::section` returns aligned bytes.
        bytemuck::try_cast_slice(&self.embeddings).unwrap_or_default()
    }

    /// The digest of op `index` alone at its position: hashes its row and its embedding.
    pub fn op_digest(&self, index: usize) -> Option<Digest> {
        let hash = self.row(index)?.hash(&self.vector_bytes(index));
        Some(Digest::of_op(hash, self.position(index)))
    }

    /// Checks that the segment belongs to this collection.
    ///
    /// # Errors
    /// `Invalid` if the uid or the dimension differs.
    pub fn expect_collection(&self, collection: Uid, dimension: u32) -> Result<(), FormatError> {
        let reason = if self.header.collection != collection {
            format!("it belongs to collection {}, not to {collection}", self.header.collection)
        } else if self.header.dimension != dimension {
            format!("its dimension is {}, and the collection's is {dimension}", self.header.dimension)
        } else {
            return Ok(());
        };
        Err(FormatError::invalid("segment header", reason))
    }

    fn row_bytes(&self, index: usize) -> Option<&[u8]> {
        let start = *self.starts.get(index)? as usize;
        let len = self.rows.get(start.checked_sub(4)?..start)?.first_chunk()?;
        self.rows.get(start..)?.get(..u32::from_le_bytes(*len) as usize)
    }

    /// The embedding of op `index` as stored, little-endian; empty if it carries none.
    fn vector_bytes(&self, index: usize) -> Cow<'_, [u8]> {
        let numbers = self.vector_of(index).map_or(&[][..], |row| self.vector(row));
        if cfg!(target_endian = "little") {
            Cow::Borrowed(bytemuck::cast_slice(numbers))
        } else {
            Cow::Owned(numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
        }
    }
}

/// The places of the ops of a segment.
struct Index {
    starts: Vec<u32>,
    carriers: Vec<u32>,
}

/// Checks every row, their number against the header, their digest against the header, and the
/// hashes of their ids where the segment has them.
fn check_rows(
    header: &SegmentHeader,
    rows: &Bytes,
    vectors: &[u8],
    hashes: Option<&[u8]>,
) -> Result<Index, FormatError> {
    let invalid = |reason: &'static str| Err(FormatError::invalid("ops", reason));
    let count = header.ops as usize;
    if count > rows.len() / (4 + MIN_ROW_BYTES) {
        return invalid("the header counts more than a segment can hold");
    }
    let all_carry = header.vectors == header.ops;
    let mut index = Index {
        starts: Vec::with_capacity(count),
        carriers: Vec::with_capacity(if all_carry { 0 } else { header.vectors as usize }),
    };
    let mut vectors = vectors.chunks_exact(header.dimension as usize * 4);
    let (mut digest, mut used, mut revised) = (Digest::default(), 0u32, None);
    let mut from = Cursor::new(rows, "ops");
    for op in 0..header.ops {
        let bytes = from.nested()?.rest();
        // The section is shorter than 2^32 bytes.
        let start = rows.len() - from.rest().len() - bytes.len();
        index.starts.push(u32::try_from(start).unwrap_or(u32::MAX));
        let row = OpRow::check(bytes)?;
        if let Some(hashes) = hashes {
            check_hash(hashes, op as usize, row.id())?;
        }
        let mut vector: &[u8] = &[];
        if row.carries_embedding() {
            let Some(next) = vectors.next() else {
                return invalid("more of them have an embedding than the header counts");
            };
            vector = next;
            used = used.saturating_add(1);
            if !all_carry {
                index.carriers.push(op);
            }
        }
        if *revised.get_or_insert(row.revision().is_some()) != row.revision().is_some() {
            return invalid("some of them have a revision and others do not");
        }
        // A header may count at most as many ops as a position can.
        let position = Position::new(header.sequence, op as usize).unwrap_or_default();
        digest = digest.plus(Digest::of_op(row.hash(vector), position));
    }
    from.finish()?;
    if used != header.vectors {
        return invalid("fewer of them have an embedding than the header counts");
    }
    if digest != header.digest {
        return invalid("their digest differs from the header");
    }
    Ok(index)
}

/// Little-endian numbers in the byte order of this machine. On nearly every machine these are the
/// same bytes.
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
