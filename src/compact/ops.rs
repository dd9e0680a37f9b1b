//! The ops of the segments in one fold, in the order of their ids.

use std::cmp::Ordering;
use std::sync::Arc;

use deltafold_format::{Effect, Segment};

use crate::shard::INDEX_BYTES;
use crate::snapshot::OpSum;

/// An embedding in one of the folded segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InSegment {
    segment: u32,
    row: u32,
}

/// The place of an op: its segment among those of the fold, and its number there.
#[derive(Debug, Clone, Copy)]
struct Spot {
    /// Eight bytes of its id behind the prefix that all ids share. They decide most comparisons.
    key: u64,
    segment: u32,
    op: u32,
}

const _: () = assert!(size_of::<Spot>() as u64 == INDEX_BYTES, "a fold counts the bytes that its index takes");

/// An index over the ops of segments, sorted by id. The ops stay encoded. It decodes and composes
/// those of one id at a time.
#[derive(Debug)]
pub(super) struct Ops {
    segments: Arc<[Arc<Segment>]>,
    /// By id, and the ops of one id in log order.
    spots: Vec<Spot>,
    consumed: OpSum,
}

impl Ops {
    /// Sorts the ops of adjacent segments. Hashes every op and takes O(n log n) time.
    pub(super) fn sorted(segments: Arc<[Arc<Segment>]>) -> Self {
        let shared = shared_bytes(&segments);
        let mut spots = Vec::with_capacity(segments.iter().map(|segment| segment.len()).sum());
        let mut consumed = OpSum::default();
        for (number, segment) in segments.iter().enumerate() {
            for op in 0..segment.len() {
                consumed.add(1, segment.op_digest(op).unwrap_or_default());
                spots.push(Spot { key: key(segment.id_bytes(op), shared), segment: count(number), op: count(op) });
            }
        }
        let mut ops = Self { segments, spots: Vec::new(), consumed };
        spots.sort_unstable_by(|a, b| ops.by_id(*a, *b).then_with(|| (a.segment, a.op).cmp(&(b.segment, b.op))));
        ops.spots = spots;
        ops
    }

    /// All its ops, by number and digest.
    pub(super) fn consumed(&self) -> OpSum {
        self.consumed
    }

    /// The segments.
    pub(super) fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// The ids in order, each with the composed effect of its ops, which is computed on demand.
    /// `None` stands for an op that does not decode, which no decoded segment holds.
    pub(super) fn by_record(&self) -> impl Iterator<Item = Option<(&str, Effect<InSegment>)>> {
        let same = |a: &Spot, b: &Spot| self.by_id(*a, *b).is_eq();
        self.spots.chunk_by(same).map(|spots| {
            let (first, later) = spots.split_first()?;
            let id = self.segments.get(first.segment as usize)?.id(first.op as usize)?;
            let effect =
                later.iter().try_fold(self.effect(*first)?, |older, spot| Some(older.then(self.effect(*spot)?)))?;
            Some((id, effect))
        })
    }

    /// The values of an embedding.
    pub(super) fn vector(&self, at: InSegment) -> &[f32] {
        self.segments.get(at.segment as usize).map_or(&[], |segment| segment.vector(at.row))
    }

    fn effect(&self, at: Spot) -> Option<Effect<InSegment>> {
        let segment = self.segments.get(at.segment as usize)?;
        let op = segment.op(at.op as usize)?.map_embedding(|row| InSegment { segment: at.segment, row });
        Some(Effect::from_op(op.action, segment.place(at.op as usize)))
    }

    fn by_id(&self, a: Spot, b: Spot) -> Ordering {
        a.key.cmp(&b.key).then_with(|| self.id_bytes(a).cmp(self.id_bytes(b)))
    }

    fn id_bytes(&self, at: Spot) -> &[u8] {
        self.segments.get(at.segment as usize).map_or(&[], |segment| segment.id_bytes(at.op as usize))
    }
}

/// The length of the prefix that all ids share.
fn shared_bytes(segments: &[Arc<Segment>]) -> usize {
    let mut ids = segments.iter().flat_map(|segment| (0..segment.len()).map(|op| segment.id_bytes(op)));
    let Some(first) = ids.next() else { return 0 };
    ids.fold(first.len(), |shared, id| first.iter().zip(id).take(shared).take_while(|(a, b)| a == b).count())
}

/// The eight bytes of an id behind the first `shared`, as a number that sorts as they do. Zeros pad
/// a shorter id. Where two keys are equal, the ids themselves decide.
fn key(id: &[u8], shared: usize) -> u64 {
    let mut bytes = [0; 8];
    for (byte, of_id) in bytes.iter_mut().zip(id.get(shared..).unwrap_or_default()) {
        *byte = *of_id;
    }
    u64::from_be_bytes(bytes)
}

/// A fold holds fewer segments, and a segment fewer ops, than 2^32: each takes more than a byte of
/// bounded memory.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use deltafold_format::{Digest, Op, Patch, Record, SegmentBody, SegmentStamp, Sequence, TimeRange, Uid, Value};
    use proptest::prelude::*;

    use super::*;

    fn segments(all: &[Vec<Op>]) -> Arc<[Arc<Segment>]> {
        let sealed = all.iter().zip(1..).map(|(ops, sequence)| {
            let stamp = SegmentStamp {
                collection: Uid::new(1),
                sequence: Sequence::new(sequence).unwrap(),
                writer: Uid::new(2),
                batch: sequence,
                times: TimeRange::default(),
                marks: Vec::new(),
                passed: 0,
            };
            let object = SegmentBody::encode(ops, 1).unwrap().seal(stamp).unwrap().to_bytes();
            Arc::new(Segment::decode(object).unwrap())
        });
        sealed.collect()
    }

    /// The effects of all ops, composed one after the other in a map.
    fn by_the_book(segments: &[Arc<Segment>]) -> BTreeMap<String, Effect<u32>> {
        let mut all = BTreeMap::<String, Effect<u32>>::new();
        for segment in segments {
            for (index, (_, op)) in segment.ops().enumerate() {
                let op = op.map_embedding(|row| segment.vector(row)[0].to_bits());
                let newer = Effect::from_op(op.action, segment.place(index));
                let composed = all.remove(&op.id).map_or(newer.clone(), |older| older.then(newer));
                all.insert(op.id, composed);
            }
        }
        all
    }

    fn op() -> impl Strategy<Value = Op> {
        // Ids with shared prefixes, with early ends, with zeros, and longer than the key of the
        // index.
        let id = prop_oneof!["(common/prefix/)?[ab]{1,12}", "common/prefix/[a\u{0}]{1,3}", "[ab]"];
        (id, 0..5u8, any::<i32>()).prop_map(|(id, action, number)| {
            let value = Value::I64(number.into());
            let metadata = BTreeMap::from([("k".to_owned(), value.clone())]);
            let embedding = (number % 2 == 0).then(|| vec![number as f32]);
            let record = Record { embedding, metadata, document: None };
            let patch = Patch { metadata: BTreeMap::from([("p".to_owned(), Some(value))]), ..Patch::default() };
            match action {
                0 => Op::put(id, record),
                1 => Op::add(id, record),
                2 => Op::patch(id, patch),
                3 => Op::upsert(id, patch),
                _ => Op::delete(id),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ops_come_by_id_and_composed_in_log_order(
            all in proptest::collection::vec(proptest::collection::vec(op(), 1..8), 1..6),
        ) {
            let segments = segments(&all);
            let ops = Ops::sorted(segments.clone());
            let found: Vec<(String, Effect<u32>)> = ops
                .by_record()
                .map(|record| {
                    let (id, effect) = record.unwrap();
                    (id.to_owned(), effect.map_embedding(&mut |at| ops.vector(at)[0].to_bits()))
                })
                .collect();
            prop_assert_eq!(found, by_the_book(&segments).into_iter().collect::<Vec<_>>());
            let digest = segments.iter().map(|segment| segment.header().digest).reduce(Digest::plus);
            prop_assert_eq!(ops.consumed().ops, all.iter().map(|ops| ops.len() as u64).sum::<u64>());
            prop_assert_eq!(Some(ops.consumed().digest), digest);
        }
    }

    #[test]
    fn no_segments_are_no_records() {
        let ops = Ops::sorted(segments(&[]));
        assert_eq!((ops.by_record().count(), ops.consumed()), (0, OpSum::default()));
    }
}
