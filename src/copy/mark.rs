//! The positions of a copy: how far a target holds its origin, as the marks of the target tell it.
//!
//! Each shard of the origin is a source of the target, `copy/UID/SHARD`. Its positions have three
//! parts, the highest bits first:
//!
//! | bits | part | meaning |
//! |---|---|---|
//! | 24 | generation | the number of the transfer of a whole state |
//! | 64 | place | the position in the origin's log; 0 while the state is on its way |
//! | 40 | ordinal | the number within the place |
//!
//! A transfer begins with a *fence*: an op without effect at the start of its generation, in every
//! shard of the target. From then on the target takes ops of older generations for repetitions.
//! So a copy that was thought dead, and goes on, changes nothing.

use deltafold_format::limits::MAX_SEGMENT_OPS;
use deltafold_format::{Position, Sequence, Uid};

const PLACE_BITS: u32 = 64;
const ORDINAL_BITS: u32 = 40;
const MAX_GENERATION: u32 = (1 << 24) - 1;

/// A position of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) generation: u32,
    /// In the log of the origin.
    pub(super) place: Position,
    pub(super) ordinal: u64,
}

impl Mark {
    pub(super) fn of(bits: u128) -> Self {
        Self {
            generation: (bits >> (PLACE_BITS + ORDINAL_BITS)) as u32,
            place: Position::from_bits((bits >> ORDINAL_BITS) as u64),
            ordinal: bits as u64 & ((1 << ORDINAL_BITS) - 1),
        }
    }

    pub(super) fn bits(self) -> u128 {
        u128::from(self.generation) << (PLACE_BITS + ORDINAL_BITS)
            | u128::from(self.place.to_bits()) << ORDINAL_BITS
            | u128::from(self.ordinal)
    }

    /// The fence of a generation.
    pub(super) fn fence(generation: u32) -> Self {
        Self { generation, place: Position::ZERO, ordinal: 0 }
    }

    /// An op of the origin's log.
    pub(super) fn op(generation: u32, place: Position) -> Self {
        Self { generation, place, ordinal: 0 }
    }

    /// A note that everything up to `place` has been applied.
    pub(super) fn applied(generation: u32, place: Position) -> Self {
        Self { generation, place, ordinal: 1 }
    }
}

/// The last place that a segment has.
pub(super) fn end_of(segment: Sequence) -> Position {
    Position::new(segment, MAX_SEGMENT_OPS - 1).unwrap_or_default()
}

/// The name under which a shard of the origin is known in the target.
pub(super) fn source(origin: Uid, shard: u16) -> String {
    format!("copy/{origin}/{shard}")
}

/// The marks of all shards of the origin, in all shards of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks {
    /// For each shard of the target, the marks of the shards of the origin.
    of: Vec<Vec<Option<Mark>>>,
}

impl Marks {
    pub(super) fn new(of: Vec<Vec<Option<u128>>>) -> Self {
        Self { of: of.into_iter().map(|marks| marks.into_iter().map(|mark| mark.map(Mark::of)).collect()).collect() }
    }

    fn all(&self) -> impl Iterator<Item = Option<Mark>> {
        self.of.iter().flatten().copied()
    }

    /// Whether no copy of this origin was ever begun here, as far as the marks remember.
    pub(super) fn are_none(&self) -> bool {
        self.all().all(|mark| mark.is_none())
    }

    /// The generation after all that the marks know.
    pub(super) fn next_generation(&self) -> Option<u32> {
        let last = self.all().flatten().map(|mark| mark.generation).max();
        let next = last.map_or(1, |last| last + 1);
        (next <= MAX_GENERATION).then_some(next)
    }

    /// The generation whose state the target holds whole, if it holds one.
    pub(super) fn complete(&self) -> Option<u32> {
        let first = self.all().next().flatten()?;
        let is_whole = |mark: Option<Mark>| {
            mark.is_some_and(|mark| mark.generation == first.generation && mark.place > Position::ZERO)
        };
        self.all().all(is_whole).then_some(first.generation)
    }

    /// The lowest and the highest place of a shard of the origin.
    pub(super) fn places(&self, shard: usize) -> (Position, Position) {
        let places = || self.of.iter().filter_map(move |marks| Some((*marks.get(shard)?)?.place));
        (places().min().unwrap_or_default(), places().max().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_bits() {
        let place = Position::from_bits(u64::MAX - 5);
        for mark in [Mark::fence(1), Mark::op(MAX_GENERATION, place), Mark { ordinal: (1 << 40) - 1, ..Mark::fence(7) }]
        {
            assert_eq!(Mark::of(mark.bits()), mark);
        }
    }

    #[test]
    fn a_later_generation_and_a_later_place_are_higher() {
        let place = |segment: u64| end_of(Sequence::new(segment).unwrap());
        let ascending = [
            Mark::fence(1),
            Mark { ordinal: 1, ..Mark::fence(1) },
            Mark::op(1, Position::new(Sequence::FIRST, 0).unwrap()),
            Mark::op(1, place(1)),
            Mark::applied(1, place(1)),
            Mark::op(1, Position::new(Sequence::new(2).unwrap(), 0).unwrap()),
            Mark::fence(2),
        ];
        assert!(ascending.is_sorted_by(|a, b| a.bits() < b.bits() && a < b), "{ascending:?}");
    }

    #[test]
    fn only_one_generation_everywhere_is_complete() {
        let op = |generation, segment: u64| Some(Mark::op(generation, end_of(Sequence::new(segment).unwrap())).bits());
        let fence = |generation| Some(Mark::fence(generation).bits());
        for (marks, complete, next) in [
            (vec![vec![None, None]], None, 1),
            (vec![vec![op(1, 0), op(1, 9)], vec![op(1, 4), op(1, 9)]], Some(1), 2),
            (vec![vec![op(1, 0), None]], None, 2),
            (vec![vec![op(1, 0), fence(1)]], None, 2),
            (vec![vec![op(1, 5), op(2, 5)]], None, 3),
            (vec![vec![op(1, 5)], vec![fence(2)]], None, 3),
        ] {
            let marks = Marks::new(marks);
            assert_eq!((marks.complete(), marks.next_generation()), (complete, Some(next)), "{marks:?}");
        }
        let marks = Marks::new(vec![vec![op(1, 3)], vec![op(1, 8)]]);
        assert_eq!(marks.places(0), (end_of(Sequence::new(3).unwrap()), end_of(Sequence::new(8).unwrap())));
    }
}
