//! The log in memory: segments, and an index of their ops by id.

use std::sync::Arc;

use bytes::Bytes;
use deltafold_format::{Segment, Sequence};

use super::pools::{Budget, Charge};
use crate::log::WithObject;
use crate::shard::Slot;

/// The place of an op: the index of its segment in the layer, and its index there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    segment: u32,
    op: u32,
}

/// Consecutive segments and their ops sorted by id, those of one id in log order. Immutable. It
/// takes 8 bytes an op besides the segments.
#[derive(Debug)]
pub(crate) struct Layer {
    first: Sequence,
    last: Sequence,
    segments: Vec<Arc<Segment>>,
    /// The object of each segment; empty if its ops are small and many.
    objects: Vec<Bytes>,
    index: Vec<Spot>,
    /// The memory of each segment and of its places in the index.
    charges: Vec<Arc<Charge>>,
}

impl Layer {
    /// The slots must be consecutive, and at least one.
    pub(super) fn new(slots: &[(Sequence, Slot<WithObject>)], budget: &Arc<Budget>) -> Self {
        let first = slots.first().map_or(Sequence::ZERO, |(sequence, _)| *sequence);
        let last = slots.last().map_or(first, |(sequence, _)| *sequence);
        let read = slots.iter().filter_map(|(_, slot)| match slot {
            Slot::Segment(read) => Some((read.segment.clone(), read.object.clone())),
            Slot::Void | Slot::Absent => None,
        });
        let (segments, objects): (Vec<Arc<Segment>>, Vec<Bytes>) = read.unzip();
        let places = segments.iter().enumerate().flat_map(|(segment, s)| {
            let place = move |op| Spot { segment: number(segment), op: number(op) };
            (0..s.len()).map(place)
        });
        let index: Vec<Spot> = places.collect();
        let charges = slots.iter().filter_map(|(_, slot)| match slot {
            Slot::Segment(read) => {
                let places = (read.segment.len() * size_of::<Spot>()) as u64;
                Some(budget.take(read.segment.decoded_bytes() + read.extra_bytes() + places))
            }
            Slot::Void | Slot::Absent => None,
        });
        let charges = charges.collect();
        let mut layer = Self { first, last, index, segments, objects, charges };
        let mut index = std::mem::take(&mut layer.index);
        // Stable, so that the ops of one id stay in log order.
        index.sort_by(|a, b| layer.id_bytes_at(*a).cmp(layer.id_bytes_at(*b)));
        layer.index = index;
        layer
    }

    /// Joins two layers; `newer` follows `self` in the log.
    pub(super) fn then(&self, newer: &Self) -> Self {
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
        let objects = self.objects.iter().chain(&newer.objects).cloned().collect();
        let charges = self.charges.iter().chain(&newer.charges).cloned().collect();
        Self { first: self.first, last: newer.last, segments, objects, index, charges }
    }

    /// The layer without the segments up to `folded`; `None` if none are left.
    pub(super) fn behind(&self, folded: Sequence) -> Option<Self> {
        if self.last <= folded {
            return None;
        }
        let gone = self.segments.partition_point(|segment| segment.header().sequence <= folded);
        let left = |place: &Spot| Some(Spot { segment: place.segment.checked_sub(number(gone))?, op: place.op });
        Some(Self {
            first: folded.next().max(self.first),
            last: self.last,
            segments: self.segments[gone..].to_vec(),
            objects: self.objects[gone..].to_vec(),
            index: self.index.iter().filter_map(left).collect(),
            charges: self.charges[gone..].to_vec(),
        })
    }

    /// Its first and its last slot.
    pub(crate) fn slots(&self) -> (Sequence, Sequence) {
        (self.first, self.last)
    }

    /// Its segments behind a slot.
    pub(crate) fn segments_behind(&self, slot: Sequence) -> &[Arc<Segment>] {
        let first = self.segments.partition_point(|segment| segment.header().sequence <= slot);
        self.segments.get(first..).unwrap_or_default()
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.charges.iter().map(|charge| charge.bytes()).sum()
    }

    /// Its segments in log order, each with its object. The object is empty if the ops are small
    /// and many.
    pub(super) fn segments(&self) -> impl ExactSizeIterator<Item = (&Arc<Segment>, &Bytes)> {
        self.segments.iter().zip(&self.objects)
    }

    /// The place of each op, by id: the index of its segment, and its index there.
    pub(super) fn places(&self) -> impl ExactSizeIterator<Item = (usize, usize)> {
        self.index.iter().map(|spot| (spot.segment as usize, spot.op as usize))
    }

    /// Number of ops, which are numbered in the order of their ids.
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

    /// Ops `range`: the segment of each, and its index there.
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
