//! Hashes of the ids that the ops of a segment are about. One range read of the object's first
//! bytes returns them.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::front::SegmentFront;
use super::header::SegmentHeader;
use super::section;
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_SEGMENT_OPS;

/// Segments with at most this many bytes of ops and embeddings have no hashes. To read one whole
/// takes no longer.
pub(super) const HASHED_FROM: u64 = 64 << 10;

/// The section in errors.
const WHAT: &str = "hashes of ids";

/// Bytes of a hash.
const HASH_BYTES: usize = 4;

/// The hash of an id: the upper half of its xxh3_64. The lower half decides the shard, so the ids
/// of one shard share some of its bits.
pub(super) fn hash_of(id: &str) -> [u8; HASH_BYTES] {
    let [.., a, b, c, d] = xxh3_64(id.as_bytes()).to_le_bytes();
    [a, b, c, d]
}

/// The verified hashes of an object that has them: as many as its header counts ops.
pub(super) fn hashes_of(reader: &EnvelopeReader, header: &SegmentHeader) -> Result<Option<Bytes>, FormatError> {
    if reader.envelope().section(section::IDS).is_none() {
        return Ok(None);
    }
    let hashes = reader.verified_raw_section(section::IDS, WHAT, MAX_SEGMENT_OPS * HASH_BYTES)?;
    if hashes.len() as u64 != u64::from(header.ops) * HASH_BYTES as u64 {
        return Err(FormatError::invalid(WHAT, "their number differs from the ops that the header counts"));
    }
    Ok(Some(hashes))
}

/// Checks that the hash of op `index` is that of its id.
pub(super) fn check_hash(hashes: &[u8], index: usize, id: &str) -> Result<(), FormatError> {
    match hashes.as_chunks::<HASH_BYTES>().0.get(index) {
        Some(hash) if *hash == hash_of(id) => Ok(()),
        _ => Err(FormatError::invalid(WHAT, format!("the hash of op {index} is not of its id"))),
    }
}

/// The header of a segment and the hashes of the ids that its ops are about, both verified by their
/// checksums.
///
/// Only [`Segment::decode`](super::Segment::decode) checks that the hashes are those of the ids.
#[derive(Debug, Clone)]
pub struct SegmentIds {
    header: SegmentHeader,
    hashes: Bytes,
}

impl SegmentIds {
    /// Bytes from the start of the object that [`SegmentIds::decode`] needs; `None` if the segment
    /// has no hashes, because it is small. `prefix` must hold the envelope.
    ///
    /// # Errors
    /// Those of [`SegmentFront::bytes_needed`].
    pub fn bytes_needed(prefix: Bytes) -> Result<Option<u64>, FormatError> {
        let header = SegmentFront::bytes_needed(prefix.clone())?;
        let reader = EnvelopeReader::open_front(prefix, ObjectKind::Segment)?;
        let hashes = reader.envelope().section(section::IDS);
        Ok(hashes.map(|hashes| header.max(hashes.offset.saturating_add(hashes.stored))))
    }

    /// Decodes header and hashes from the first bytes of an object: at least
    /// [`SegmentIds::bytes_needed`].
    ///
    /// # Errors
    /// A fault of either; `Truncated` if the prefix is too short; `Invalid` if there are no hashes.
    pub fn decode(prefix: Bytes) -> Result<Self, FormatError> {
        let reader = EnvelopeReader::open_front(prefix, ObjectKind::Segment)?;
        let header = SegmentFront::of(&reader)?.into_header();
        let hashes = hashes_of(&reader, &header)?;
        let hashes = hashes.ok_or_else(|| FormatError::invalid(WHAT, "the segment has no such section"))?;
        Ok(Self { header, hashes })
    }

    /// The header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Whether an op may be about this record. It is for one id in 2^32 where no op is.
    pub fn may_concern(&self, id: &str) -> bool {
        self.hashes.as_chunks::<HASH_BYTES>().0.contains(&hash_of(id))
    }
}
