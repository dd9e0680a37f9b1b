//! Stores that break their contract. Some mutants are such stores, so that the engine itself holds
//! no broken code.

use bytes::Bytes;
use deltafold::format::{Op, Segment, SegmentBody, SegmentStamp};

/// The way in which the store of a history is broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Broken {
    #[default]
    Sound,
    /// A replace of a head overwrites it, whatever tag its caller saw.
    Overwrites,
    /// Compactors get segments without their last op.
    ShortensSegments,
}

/// The segment without its last op: a sound object with fewer ops. Any other object, and a segment
/// of one op, is returned as it is.
pub(crate) fn shortened(object: &Bytes) -> Bytes {
    let Ok(segment) = Segment::decode(object.clone()) else { return object.clone() };
    let all = segment.ops().map(|(_, op)| op.map_embedding(|row| segment.vector(row).to_vec()));
    let ops: Vec<Op> = all.take(segment.len() - 1).collect();
    if ops.is_empty() {
        return object.clone();
    }
    let header = segment.header().clone();
    let stamp = SegmentStamp {
        collection: header.collection,
        sequence: header.sequence,
        writer: header.writer,
        batch: header.batch,
        times: header.times,
        marks: header.marks,
        passed: header.passed,
    };
    SegmentBody::encode(&ops, header.dimension).unwrap().seal(stamp).unwrap().to_bytes()
}
