//! Reads a slot of the log: its segment, or only the segment's header.

use std::sync::Arc;

use bytes::Bytes;
use deltafold_format::{Segment, SegmentFront, SegmentHeader, SegmentIds, Sequence};

use super::Shard;
use crate::error::{Error, Result};
use crate::retry;
use crate::simulation::Guard;

/// Bytes of a fold's index for each op of a segment. A reader's index takes less.
pub(crate) const INDEX_BYTES: u64 = 16;

/// First bytes of a segment to read for its header and the hashes of its ids: enough for some 250
/// marks, or for 4,000 ops. More of either cost a second request.
const FRONT_BYTES: u64 = 16 << 10;

/// Segments of at most this size are read whole where only one record matters. They have no hashes
/// of ids.
const WHOLE_BYTES: u64 = 64 << 10;

/// The content of a log slot.
#[derive(Debug, Clone)]
pub(crate) enum Slot<S = Arc<Segment>> {
    /// Nothing yet, or swept.
    Absent,
    /// A segment that a writer of a dropped collection of the same name left. It counts as an empty
    /// one if the next segment says so: see `log::read::foreign`.
    Void,
    /// A segment of this collection.
    Segment(S),
}

impl Slot {
    /// Memory for the decoded segment, with an index over its ops.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Segment(segment) => segment.decoded_bytes() + INDEX_BYTES * segment.len() as u64,
            Self::Absent | Self::Void => 0,
        }
    }
}

impl Shard {
    /// The content of a log slot. One GET.
    pub(crate) async fn slot(&self, sequence: Sequence) -> Result<Slot> {
        match self.stored_slot(sequence).await? {
            None => Ok(Slot::Absent),
            Some(object) => self.decode_slot(sequence, object),
        }
    }

    /// The stored object in a log slot; `None` where there is none. One GET.
    pub(crate) async fn stored_slot(&self, sequence: Sequence) -> Result<Option<Bytes>> {
        Ok(self.get(&self.layout().segment(sequence)).await?.map(|object| object.bytes))
    }

    /// Decodes the object in a log slot.
    pub(crate) fn decode_slot(&self, sequence: Sequence, object: Bytes) -> Result<Slot> {
        let key = self.layout().segment(sequence);
        let segment = Segment::decode(object).map_err(|error| Error::format(&key, error))?;
        if !self.is_own(sequence, segment.header())? {
            return Ok(Slot::Void);
        }
        if segment.has_revisions() != self.config().ordering.is_revision() {
            return Err(Error::corrupt(&key, "its ops are not ordered as the collection is"));
        }
        Ok(Slot::Segment(Arc::new(segment)))
    }

    /// The header of the segment in a log slot: its writer and its marks. It proves nothing about
    /// the ops, which may be damaged. One GET of the object's first bytes, and a second one if the
    /// header has more than about 250 marks.
    pub(crate) async fn slot_header(&self, sequence: Sequence) -> Result<Slot<SegmentFront>> {
        let key = self.layout().segment(sequence);
        let damaged = |error| Error::format(&key, error);
        let mut bytes = FRONT_BYTES;
        loop {
            let range = retry::transient(|| self.store().get_range(&key, 0, bytes)).await?;
            let Some(front) = range else { return Ok(Slot::Absent) };
            let needed = SegmentFront::bytes_needed(front.clone()).map_err(damaged)?;
            // The object may end before; then decoding reports the fault. Each further read asks
            // for more, up to the longest header.
            if needed > bytes && front.len() as u64 == bytes {
                bytes = needed;
                continue;
            }
            let front = SegmentFront::decode(front).map_err(damaged)?;
            return Ok(if self.is_own(sequence, front.header())? { Slot::Segment(front) } else { Slot::Void });
        }
    }

    /// A slot of the log, reduced to one record: its segment if an op is about the record, else
    /// `Void`. `None` where the slots beside it decide whether it counts, or it is gone.
    ///
    /// `stored` is the length of the object. Of a large one it reads the header and the hashes of
    /// the ids, and the rest only if an op is about the record. One GET; one more where an op is,
    /// and one for more than 4,000 ops.
    pub(crate) async fn slot_about(&self, sequence: Sequence, stored: u64, id: &str) -> Result<Option<Slot>> {
        if stored > WHOLE_BYTES {
            match self.slot_ids(sequence).await? {
                Slot::Absent => return Ok(None),
                Slot::Segment(ids) if !self.is_own(sequence, ids.header())? || ids.header().passed > 0 => {
                    return Ok(None);
                }
                Slot::Segment(ids) if !ids.may_concern(id) => return Ok(Some(Slot::Void)),
                // Other writers may leave the hashes out.
                Slot::Segment(_) | Slot::Void => {}
            }
        }
        Ok(match self.slot(sequence).await? {
            Slot::Segment(segment) if segment.header().passed > 0 => None,
            // A few stored bytes may hold long documents of other records.
            Slot::Segment(segment) if !concerns(&segment, id) => Some(Slot::Void),
            Slot::Segment(segment) => Some(Slot::Segment(segment)),
            Slot::Absent | Slot::Void => None,
        })
    }

    /// The hashes of the ids of a segment; `Void` where it has none.
    async fn slot_ids(&self, sequence: Sequence) -> Result<Slot<SegmentIds>> {
        let key = self.layout().segment(sequence);
        let damaged = |error| Error::format(&key, error);
        let mut bytes = FRONT_BYTES;
        loop {
            let Some(front) = self.range(&key, 0..bytes).await? else { return Ok(Slot::Absent) };
            let Some(needed) = SegmentIds::bytes_needed(front.clone()).map_err(damaged)? else {
                return Ok(Slot::Void);
            };
            // The object may end before; then decoding reports the fault.
            if needed > bytes && front.len() as u64 == bytes {
                bytes = needed;
                continue;
            }
            return SegmentIds::decode(front).map(Slot::Segment).map_err(damaged);
        }
    }

    /// Whether a segment is of this collection, and not of a dropped one of the same name. An error
    /// where it does not belong in the slot.
    fn is_own(&self, sequence: Sequence, header: &SegmentHeader) -> Result<bool> {
        let corrupt = |reason: &str| Err(Error::corrupt(&self.layout().segment(sequence), reason));
        if header.sequence != sequence {
            return corrupt("its content belongs into another slot");
        }
        if header.collection != self.config().uid && Guard::Identity.holds() {
            return Ok(false);
        }
        if header.dimension != self.config().dimension {
            return corrupt("its embeddings have another dimension than the collection");
        }
        Ok(true)
    }
}

/// Whether an op of a segment is about a record.
fn concerns(segment: &Segment, id: &str) -> bool {
    (0..segment.len()).any(|op| segment.id_bytes(op) == id.as_bytes())
}
