//! The piece of each segment that a scan reads: all, all with its object, or the header.

use std::sync::Arc;

use bytes::Bytes;
use deltafold_format::{Segment, SegmentFront, SegmentHeader, Sequence, SourceMark};

use crate::error::Result;
use crate::shard::{Shard, Slot};

/// The piece of each segment to read.
pub(super) trait Piece {
    /// The segment as far as it is read.
    type Segment: Send;
    /// The result of a request.
    type Fetched: Send;

    /// Fetches slot `sequence`. One GET.
    fn fetch(shard: Shard, sequence: Sequence) -> impl Future<Output = Result<Self::Fetched>> + Send;

    /// The fetched slot, and the memory that it takes.
    fn open(shard: &Shard, sequence: Sequence, fetched: Self::Fetched) -> Result<(Slot<Self::Segment>, u64)>;

    /// The header of a segment.
    fn header(segment: &Self::Segment) -> &SegmentHeader;

    /// Bytes in flight for an object of this length.
    fn under_way(stored: u64) -> u64;
}

/// Whole segments.
pub(super) struct Whole;

impl Piece for Whole {
    type Segment = Arc<Segment>;
    type Fetched = Option<Bytes>;

    async fn fetch(shard: Shard, sequence: Sequence) -> Result<Option<Bytes>> {
        shard.stored_slot(sequence).await
    }

    fn open(shard: &Shard, sequence: Sequence, fetched: Option<Bytes>) -> Result<(Slot, u64)> {
        let slot = fetched.map_or(Ok(Slot::Absent), |object| shard.decode_slot(sequence, object))?;
        let bytes = slot.bytes();
        Ok((slot, bytes))
    }

    fn header(segment: &Arc<Segment>) -> &SegmentHeader {
        segment.header()
    }

    fn under_way(stored: u64) -> u64 {
        stored
    }
}

/// A segment, and the object that it was read from if its ops are large or few.
#[derive(Debug, Clone)]
pub(crate) struct WithObject {
    pub(crate) segment: Arc<Segment>,
    /// Empty if the ops are small and many.
    pub(crate) object: Bytes,
}

/// Sections below this length are not compressed.
const SMALL_OBJECT_BYTES: u64 = 16 << 10;

impl WithObject {
    /// Drops the object unless the ops take `large` bytes on average. An object so small that it
    /// was not compressed stays, too: the segment keeps it in memory anyway.
    pub(crate) fn new(segment: Arc<Segment>, object: Bytes, large: u64) -> Self {
        let is_large = segment.decoded_bytes() / segment.len().max(1) as u64 >= large;
        let is_small = object.len() as u64 <= large.min(SMALL_OBJECT_BYTES);
        Self { segment, object: if is_large || is_small { object } else { Bytes::new() } }
    }

    /// Memory of the object beside the segment.
    pub(crate) fn extra_bytes(&self) -> u64 {
        Some(self.object.len() as u64).filter(|bytes| *bytes > SMALL_OBJECT_BYTES).unwrap_or(0)
    }
}

impl Piece for WithObject {
    type Segment = Self;
    type Fetched = Option<Bytes>;

    async fn fetch(shard: Shard, sequence: Sequence) -> Result<Option<Bytes>> {
        Whole::fetch(shard, sequence).await
    }

    fn open(shard: &Shard, sequence: Sequence, fetched: Option<Bytes>) -> Result<(Slot<Self>, u64)> {
        let (slot, bytes) = Whole::open(shard, sequence, fetched.clone())?;
        Ok(match (slot, fetched) {
            (Slot::Segment(segment), Some(object)) => {
                let segment = Self::new(segment, object, shard.memory().large_op());
                let bytes = bytes + segment.extra_bytes();
                (Slot::Segment(segment), bytes)
            }
            (Slot::Void, _) => (Slot::Void, bytes),
            _ => (Slot::Absent, bytes),
        })
    }

    fn header(segment: &Self) -> &SegmentHeader {
        segment.segment.header()
    }

    fn under_way(stored: u64) -> u64 {
        stored
    }
}

/// Headers alone.
pub(super) struct Header;

impl Piece for Header {
    type Segment = SegmentFront;
    type Fetched = Slot<SegmentFront>;

    async fn fetch(shard: Shard, sequence: Sequence) -> Result<Slot<SegmentFront>> {
        shard.slot_header(sequence).await
    }

    fn open(_: &Shard, _: Sequence, slot: Slot<SegmentFront>) -> Result<(Slot<SegmentFront>, u64)> {
        let marks = if let Slot::Segment(front) = &slot { &front.header().marks[..] } else { &[] };
        let of_mark = |mark: &SourceMark| (size_of::<SourceMark>() + mark.source.len()) as u64;
        let bytes = size_of::<Slot<SegmentFront>>() as u64 + marks.iter().map(of_mark).sum::<u64>();
        Ok((slot, bytes))
    }

    fn header(front: &SegmentFront) -> &SegmentHeader {
        front.header()
    }

    fn under_way(_: u64) -> u64 {
        0
    }
}
