//! The log behind a snapshot: the newest ops in memory, older ones in the temporary file.

use std::mem;
use std::sync::Arc;

use deltafold_format::Sequence;

use super::layer::Layer;
use super::pools::{Budget, Pools};
use super::spilled::{Aside, Spilled};
use super::unread::Unread;
use crate::env;
use crate::error::Result;
use crate::log::WithObject;
use crate::shard::{Shard, Slot};

/// The log behind a snapshot: exactly the slots after `folded` up to `tail`. Cheap to clone.
///
/// Each batch of new segments becomes a small layer. A newer layer joins an older one once it is
/// half as large. So there are O(log n) layers, and each op moves O(log n) times. Layers beyond the
/// memory limit become a run in the temporary file. Older snapshots keep the layers that they had.
#[derive(Debug, Clone)]
pub(crate) struct Overlay {
    /// In the temporary file: oldest first, all older than the layers.
    aside: Vec<Aside>,
    /// Oldest first.
    layers: Vec<Arc<Layer>>,
    tail: Sequence,
}

impl Overlay {
    /// Nothing behind `folded`.
    pub(super) fn empty(folded: Sequence) -> Self {
        Self { aside: Vec::new(), layers: Vec::new(), tail: folded }
    }

    /// The last slot that it covers.
    pub(crate) fn tail(&self) -> Sequence {
        self.tail
    }

    /// Ops in the temporary file, oldest first.
    pub(super) fn aside(&self) -> &[Aside] {
        &self.aside
    }

    /// The last slot in the temporary file; 0 if there is none.
    pub(crate) fn aside_until(&self) -> Sequence {
        self.aside.last().map_or(Sequence::ZERO, |aside| aside.slots().1)
    }

    /// The layers in memory, oldest first, all newer than the runs.
    pub(crate) fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// Number of ops.
    pub(super) fn ops(&self) -> u64 {
        let aside = self.aside.iter().map(Aside::ops);
        aside.chain(self.layers.iter().map(|layer| layer.len() as u64)).sum()
    }

    /// Bytes of memory of the layers.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.memory_bytes()).sum()
    }

    /// Adds the next slots of the log.
    #[must_use]
    pub(super) fn extended(mut self, slots: &[(Sequence, Slot<WithObject>)], budget: &Arc<Budget>) -> Self {
        let Some((last, _)) = slots.last() else { return self };
        debug_assert_eq!(slots.first().map(|(first, _)| *first), Some(self.tail.next()), "the log has no gaps");
        let mut newest = Layer::new(slots, budget);
        while let Some(older) = self.layers.pop_if(|older| older.len() <= newest.len() * 2) {
            newest = older.then(&newest);
        }
        self.layers.push(Arc::new(newest));
        self.tail = *last;
        self
    }

    /// Moves its layers to the temporary file.
    pub(super) async fn spill(mut self, shard: &Shard, pools: &Pools) -> Result<Self> {
        let layers = mem::take(&mut self.layers);
        let joined = env::blocking(move || {
            let mut newest_first = layers.into_iter().rev();
            let newest = newest_first.next()?;
            Some(newest_first.fold(newest, |newer, older| Arc::new(older.then(&newer))))
        });
        if let Some(layer) = joined.await {
            let older = self.aside.last().and_then(Aside::unread);
            if let Some(unread) = Unread::write(shard, older, &layer, pools).await? {
                if older.is_some() {
                    self.aside.pop();
                }
                self.aside.push(Aside::Unread(Arc::new(unread)));
            } else {
                self.aside.push(Aside::Run(Arc::new(Spilled::write(shard, &layer, &pools.scratch).await?)));
            }
        }
        Ok(self)
    }

    /// The same without the ops that a newer snapshot has folded: covers the slots after `folded`.
    ///
    /// A run cannot be cut, because it does not tell its segments apart. If `folded` falls within
    /// one, the result is empty and ends at `folded`. The caller then reads those segments again.
    /// They still exist, because no sweep deletes segments before they are folded.
    #[must_use]
    pub(super) fn behind(&self, folded: Sequence) -> Self {
        if self.aside.iter().map(Aside::slots).any(|(first, last)| first <= folded && folded < last) {
            return Self::empty(folded);
        }
        let left = |layer: &Arc<Layer>| {
            if layer.slots().0 > folded { Some(layer.clone()) } else { layer.behind(folded).map(Arc::new) }
        };
        Self {
            aside: self.aside.iter().filter(|aside| aside.slots().0 > folded).cloned().collect(),
            layers: self.layers.iter().filter_map(left).collect(),
            tail: self.tail.max(folded),
        }
    }
}

#[cfg(test)]
mod tests {
    use deltafold_format::{Op, Place, Segment, SegmentBody, SegmentStamp, TimeRange, Uid};
    use proptest::prelude::*;

    use super::*;
    use crate::memory::MemoryLimit;

    fn segment(sequence: u64, ids: &[u8]) -> (Sequence, Slot<WithObject>) {
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
        let object = encoded.to_bytes();
        let segment = Arc::new(Segment::decode(object.clone()).unwrap());
        (sequence, Slot::Segment(WithObject::new(segment, object, u64::MAX)))
    }

    fn budget() -> Arc<Budget> {
        Pools::new(MemoryLimit::default(), 1).overlay.clone()
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
        fn an_overlay_holds_the_ops_behind_the_fold(
            segments in proptest::collection::vec(proptest::collection::vec(0..9u8, 0..5), 1..20),
            batches in proptest::collection::vec(1..4usize, 20),
            folded in 0..22u64,
        ) {
            // An empty list is a slot of a dropped collection.
            let slots: Vec<_> = segments.iter().zip(1..).map(|(ids, sequence)| match &ids[..] {
                [] => (Sequence::new(sequence).unwrap(), Slot::Void),
                ids => segment(sequence, ids),
            }).collect();
            let budget = budget();
            let mut overlay = Overlay::empty(Sequence::ZERO);
            let mut rest = &slots[..];
            for batch in batches {
                let (now, later) = rest.split_at(batch.min(rest.len()));
                overlay = overlay.extended(now, &budget);
                rest = later;
            }
            let left: Vec<_> = slots.iter().filter(|(sequence, _)| sequence.get() > folded).cloned().collect();
            let tail = Sequence::new(folded.max(slots.len() as u64)).unwrap();
            let folded = Sequence::new(folded).unwrap();
            let trimmed = overlay.behind(folded);
            prop_assert_eq!(trimmed.tail(), tail);
            let once = Overlay::empty(folded).extended(&left, &budget);
            prop_assert_eq!(content(&trimmed), content(&once));
            prop_assert_eq!(trimmed.ops(), once.ops());
            drop(overlay);
            prop_assert_eq!(trimmed.memory_bytes(), once.memory_bytes());
            prop_assert_eq!(budget.used(), trimmed.memory_bytes() + once.memory_bytes());
            for layer in trimmed.layers() {
                let (first, last) = layer.slots();
                prop_assert!(first > folded && last <= tail);
            }
        }
    }

    #[test]
    fn layers_stay_few_and_old_snapshots_keep_theirs() {
        let budget = budget();
        let mut overlay = Overlay::empty(Sequence::ZERO);
        let mut old = None;
        for sequence in 1..=500 {
            overlay = overlay.extended(&[segment(sequence, &[1, 2])], &budget);
            if sequence == 100 {
                old = Some(overlay.clone());
            }
            assert!(overlay.layers().len() <= 10, "{} layers", overlay.layers().len());
        }
        assert_eq!((overlay.ops(), old.unwrap().ops()), (1_000, 200));
    }
}
