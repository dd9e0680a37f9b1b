//! The log in memory: segments as they were read, and an index of their ops by id.

use std::sync::Arc;

use deltafold_format::{Segment, Sequence};

use crate::shard::Slot;

/// Where an op stands: which of a layer's segments, which of its ops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    segment: u32,
    op: u32,
}

/// Consecutive segments and their ops sorted by id, those of one id in log order. Never changes; 8 bytes an op beside the segments.
#[derive(Debug)]
pub(super) struct Layer {
    first: Sequence,
    last: Sequence,
    segments: Vec<Arc<Segment>>,
    index: Vec<Spot>,
}

impl Layer {
    /// The slots must follow one another; there must be one.
    fn new(slots: &[(Sequence, Slot)]) -> Self {
        let first = slots.first().map_or(Sequence::ZERO, |(sequence, _)| *sequence);
        let last = slots.last().map_or(first, |(sequence, _)| *sequence);
        let segment = |(_, slot): &(Sequence, Slot)| if let Slot::Segment(s) = slot { Some(s.clone()) } else { None };
        let segments: Vec<Arc<Segment>> = slots.iter().filter_map(segment).collect();
        let places = segments.iter().enumerate().flat_map(|(segment, s)| {
            let place = move |op| Spot { segment: number(segment), op: number(op) };
            (0..s.len()).map(place)
        });
        let mut layer = Self { first, last, index: places.collect(), segments };
        let mut index = std::mem::take(&mut layer.index);
        // Stable, so that the ops of one id stay in log order.
        index.sort_by(|a, b| layer.id_bytes_at(*a).cmp(layer.id_bytes_at(*b)));
        layer.index = index;
        layer
    }

    /// Two layers of which `newer` follows `self` in the log.
    fn then(&self, newer: &Self) -> Self {
        let shift = number(self.segments.len());
        let moved = |place: &Spot| Spot { segment: place.segment + shift, op: place.op };
        let mut index = Vec::with_capacity(self.index.len() + newer.index.len());
        let (mut old, mut new) = (&self.index[..], &newer.index[..]);
        while let (Some(a), Some(b)) = (old.first(), new.first()) {
            if self.id_bytes_at(*a) <= newer.id_bytes_at(*b) {
                index.push(*a);
                old = &old[1..];
            } else {
                index.push(moved(b));
                new = &new[1..];
            }
        }
        index.extend_from_slice(old);
        index.extend(new.iter().map(moved));
        let segments = self.segments.iter().chain(&newer.segments).cloned().collect();
        Self { first: self.first, last: newer.last, segments, index }
    }

    /// What is left when the segments up to `folded` are taken away, where something is.
    fn behind(&self, folded: Sequence) -> Option<Self> {
        if self.last <= folded {
            return None;
        }
        let gone = self.segments.partition_point(|segment| segment.header().sequence <= folded);
        let left = |place: &Spot| Some(Spot { segment: place.segment.checked_sub(number(gone))?, op: place.op });
        Some(Self {
            first: folded.next().max(self.first),
            last: self.last,
            segments: self.segments[gone..].to_vec(),
            index: self.index.iter().filter_map(left).collect(),
        })
    }

    /// How many ops it holds; they are numbered in the order of their ids.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The id of op `at`.
    pub(super) fn id(&self, at: usize) -> &str {
        self.index.get(at).map_or("", |place| self.id_at(*place))
    }

    /// The first op from `from` on whose id is not `id`.
    pub(super) fn end_of(&self, id: &str, from: usize) -> usize {
        let same = self
            .index
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|place| self.id_bytes_at(**place) == id.as_bytes());
        from + same.count()
    }

    /// The ops of an id.
    pub(super) fn find(&self, id: &str) -> std::ops::Range<usize> {
        let start = self.index.partition_point(|place| self.id_bytes_at(*place) < id.as_bytes());
        start..self.end_of(id, start)
    }

    /// Ops `range`: the segment that holds each, and its number there.
    pub(super) fn ops(
        &self,
        range: std::ops::Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&Arc<Segment>, usize)> + Clone {
        self.index
            .get(range)
            .unwrap_or_default()
            .iter()
            .filter_map(|place| Some((self.segments.get(place.segment as usize)?, place.op as usize)))
    }

    fn id_bytes_at(&self, place: Spot) -> &[u8] {
        self.segments.get(place.segment as usize).map_or(&[], |segment| segment.id_bytes(place.op as usize))
    }

    fn id_at(&self, place: Spot) -> &str {
        self.segments.get(place.segment as usize).and_then(|segment| segment.id(place.op as usize)).unwrap_or_default()
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("the segments of a log tail that fits in memory, and the ops of one, count below 2^32")
}

/// What the log holds behind a snapshot: exactly the slots after `folded` up to `tail`. Cheap to clone.
///
/// Each batch of new segments becomes a small layer; layers are joined when the newer is half as large as the older, so there are
/// O(log n) of them and each op is moved O(log n) times. Older snapshots keep the layers that they had.
#[derive(Debug, Clone)]
pub(super) struct Overlay {
    /// Oldest first.
    layers: Vec<Arc<Layer>>,
    tail: Sequence,
}

impl Overlay {
    /// Nothing behind `folded`.
    pub(super) fn empty(folded: Sequence) -> Self {
        Self { layers: Vec::new(), tail: folded }
    }

    /// The last slot that is covered.
    pub(super) fn tail(&self) -> Sequence {
        self.tail
    }

    /// The layers, oldest first.
    pub(super) fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// How many ops it holds.
    pub(super) fn ops(&self) -> u64 {
        self.layers.iter().map(|layer| layer.len() as u64).sum()
    }

    /// With the slots that follow in the log.
    #[must_use]
    pub(super) fn extended(mut self, slots: &[(Sequence, Slot)]) -> Self {
        let Some((last, _)) = slots.last() else { return self };
        debug_assert_eq!(slots.first().map(|(first, _)| *first), Some(self.tail.next()), "the log has no gaps");
        let mut newest = Layer::new(slots);
        while let Some(older) = self.layers.pop_if(|older| older.len() <= newest.len() * 2) {
            newest = older.then(&newest);
        }
        self.layers.push(Arc::new(newest));
        self.tail = *last;
        self
    }

    /// Without what a newer snapshot has folded: what is left covers the slots after `folded`.
    #[must_use]
    pub(super) fn behind(&self, folded: Sequence) -> Self {
        let left = |layer: &Arc<Layer>| {
            if layer.first > folded { Some(layer.clone()) } else { layer.behind(folded).map(Arc::new) }
        };
        Self { layers: self.layers.iter().filter_map(left).collect(), tail: self.tail.max(folded) }
    }
}

#[cfg(test)]
mod tests {
    use deltafold_format::{Op, Place, SegmentBody, SegmentStamp, TimeRange, Uid};
    use proptest::prelude::*;

    use super::*;

    fn segment(sequence: u64, ids: &[u8]) -> (Sequence, Slot) {
        let sequence = Sequence::new(sequence).unwrap();
        let ops: Vec<Op> = ids.iter().map(|id| Op::delete(id.to_string())).collect();
        let stamp = SegmentStamp {
            collection: Uid::new(1),
            sequence,
            writer: Uid::new(2),
            batch: 1,
            times: TimeRange::default(),
            marks: Vec::new(),
            passed: 0,
        };
        let encoded = SegmentBody::encode(&ops, 3).unwrap().seal(stamp).unwrap();
        let bytes: Vec<u8> = encoded.chunks.iter().flatten().copied().collect();
        (sequence, Slot::Segment(Arc::new(Segment::decode(bytes.into()).unwrap())))
    }

    /// Every op with its id, in log order for each id.
    fn content(overlay: &Overlay) -> Vec<(String, Place)> {
        let mut all = Vec::new();
        for layer in overlay.layers() {
            assert!((1..layer.len()).all(|at| layer.id(at - 1) <= layer.id(at)));
            for at in 0..layer.len() {
                let found = layer.find(layer.id(at));
                assert!(found.contains(&at));
                assert!(layer.ops(found.clone()).map(|(segment, op)| segment.place(op)).is_sorted());
                let (segment, op) = layer.ops(at..at + 1).next().unwrap();
                all.push((segment.id(op).unwrap().to_owned(), segment.place(op)));
            }
            assert_eq!(layer.find("zz"), layer.len()..layer.len());
        }
        all.sort();
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_overlay_holds_the_ops_behind_what_is_folded(
            segments in proptest::collection::vec(proptest::collection::vec(0..9u8, 0..5), 1..20),
            batches in proptest::collection::vec(1..4usize, 20),
            folded in 0..22u64,
        ) {
            // An empty list stands for a slot of a dropped collection.
            let slots: Vec<_> = segments.iter().zip(1..).map(|(ids, sequence)| match &ids[..] {
                [] => (Sequence::new(sequence).unwrap(), Slot::Void),
                ids => segment(sequence, ids),
            }).collect();
            let mut overlay = Overlay::empty(Sequence::ZERO);
            let mut rest = &slots[..];
            for batch in batches {
                let (now, later) = rest.split_at(batch.min(rest.len()));
                overlay = overlay.extended(now);
                rest = later;
            }
            let left: Vec<_> = slots.iter().filter(|(sequence, _)| sequence.get() > folded).cloned().collect();
            let tail = Sequence::new(folded.max(slots.len() as u64)).unwrap();
            let folded = Sequence::new(folded).unwrap();
            let trimmed = overlay.behind(folded);
            prop_assert_eq!(trimmed.tail(), tail);
            let once = Overlay::empty(folded).extended(&left);
            prop_assert_eq!(content(&trimmed), content(&once));
            prop_assert_eq!(trimmed.ops(), once.ops());
            for layer in trimmed.layers() {
                prop_assert!(layer.first > folded && layer.last <= tail);
            }
        }
    }

    #[test]
    fn layers_stay_few_and_old_snapshots_keep_theirs() {
        let mut overlay = Overlay::empty(Sequence::ZERO);
        let mut old = None;
        for sequence in 1..=500 {
            overlay = overlay.extended(&[segment(sequence, &[1, 2])]);
            if sequence == 100 {
                old = Some(overlay.clone());
            }
            assert!(overlay.layers().len() <= 10, "{} layers", overlay.layers().len());
        }
        assert_eq!((overlay.ops(), old.unwrap().ops()), (1_000, 200));
    }
}
