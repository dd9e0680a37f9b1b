//! A run: ops that follow each other in the sequence of a producer, each at a position of its own.
//!
//! The positions ascend. So the log holds a first part of them, earlier entries of the batch cover
//! a second part, and the batch writes the rest.

use deltafold_format::Op;

use super::group::{ChangeGroup, DedupStatus};

/// The lengths of the first two parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) held: usize,
    pub(super) covered: usize,
}

/// Splits a run. `hold` tells whether the log holds a position; `covered` is the highest position
/// of earlier entries of the batch.
pub(super) fn split(positions: &[u128], hold: impl Fn(u128) -> bool, covered: Option<u128>) -> Split {
    let held = positions.partition_point(|position| hold(*position));
    let known = positions.partition_point(|position| covered.is_some_and(|covered| *position <= covered));
    Split { held, covered: known.saturating_sub(held) }
}

/// Forms the groups of a run anew. The ops of its covered group come first, then `own`, which are
/// those of its new one. Drops the held part with its positions, and moves the new part to
/// `written`. Returns whether the ops to write have changed.
pub(super) fn regroup(
    groups: &mut Vec<ChangeGroup>,
    positions: &mut Vec<u128>,
    split: Split,
    own: &mut impl Iterator<Item = Op>,
    written: &mut Vec<Op>,
) -> bool {
    let kept = groups.drain(..).find_map(|group| match group.status {
        DedupStatus::Covered(kept) => Some(kept),
        DedupStatus::New | DedupStatus::Held => None,
    });
    let kept = kept.unwrap_or_default();
    let changed = kept.len() != split.held + split.covered;
    let mut all = kept.into_iter().chain(own);
    all.by_ref().take(split.held).for_each(drop);
    positions.drain(..split.held);
    let covered: Vec<Op> = all.by_ref().take(split.covered).collect();
    let new = positions.len().saturating_sub(covered.len());
    written.extend(all);
    let ops = covered.len();
    if ops > 0 {
        groups.push(ChangeGroup { ops, key: None, status: DedupStatus::Covered(covered) });
    }
    if new > 0 {
        groups.push(ChangeGroup::new(new, None));
    }
    changed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_run_splits_at_the_two_high_water_marks() {
        let at = |held: u128, covered| split(&[2, 4, 6, 8], |position| position <= held, covered);
        let parts = |held, covered| Split { held, covered };
        assert_eq!(at(0, None), parts(0, 0));
        assert_eq!(at(4, None), parts(2, 0));
        assert_eq!(at(0, Some(6)), parts(0, 3));
        assert_eq!(at(5, Some(7)), parts(2, 1));
        assert_eq!(at(6, Some(3)), parts(3, 0), "the log holds more than the batch covers");
        assert_eq!(at(9, Some(9)), parts(4, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Marks rise and fall from one decision to the next: an entry that covered positions may
        /// fail. Each time the batch writes exactly the positions above both marks.
        #[test]
        fn each_decision_writes_the_positions_above_both_marks(
            marks in proptest::collection::vec((0..12_u128, proptest::option::of(0..12_u128)), 1..6),
        ) {
            let op = |position: u128| Op::delete(position.to_string());
            let mut positions: Vec<u128> = (1..=10).collect();
            let mut groups = vec![ChangeGroup::new(10, None)];
            let mut written: Vec<Op> = positions.iter().map(|position| op(*position)).collect();
            let (mut held, mut dropped) = (0, 0);
            for (mark, covered) in marks {
                held = held.max(mark);
                let old = std::mem::take(&mut written);
                let parts = split(&positions, |position| position <= held, covered);
                let changed = regroup(&mut groups, &mut positions, parts, &mut old.clone().into_iter(), &mut written);
                dropped += parts.held;
                let from = held.max(covered.unwrap_or(0));
                prop_assert_eq!(&written, &(from + 1..=10).map(op).collect::<Vec<_>>());
                prop_assert_eq!(changed, written != old);
                prop_assert_eq!(dropped as u128, held.min(10));
                let grouped: usize = groups.iter().map(|group| group.ops).sum();
                prop_assert_eq!(grouped + dropped, 10);
            }
        }
    }
}
