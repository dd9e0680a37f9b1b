//! Slots that hold segments of other collections.
//!
//! A writer that slept through the drop of its collection may create a segment in the log of a new
//! collection of the same name. It is never acknowledged. It lands in an empty slot, so at the end
//! of the log or behind it.
//!
//! A writer of this collection that finds the slot taken passes over it. Its segment counts such
//! slots directly in front of it. A foreign segment in the middle that the next segment does not
//! count is damage.

use deltafold_format::{SegmentHeader, Sequence};

use crate::error::Error;
use crate::shard::Shard;

/// Compares slots, read in order, with the counts in the segments behind them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foreign {
    /// Number of foreign slots directly in front of the next slot.
    seen: u32,
    /// Whether `seen` counts all of them. Not known if the reading began among them.
    all: bool,
}

/// A slot that contradicts the segment behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The damaged slot.
    pub(crate) slot: Sequence,
    /// The next segment of this collection.
    behind: Sequence,
    passed: u32,
}

impl Foreign {
    /// For a reading that begins behind a segment of this collection, or with the first slot.
    pub(crate) const BEHIND_OWN: Self = Self { seen: 0, all: true };

    /// For a reading that begins with slot `first`, behind a slot of unknown content.
    pub(crate) fn from_slot(first: Sequence) -> Self {
        Self { seen: 0, all: first <= Sequence::FIRST }
    }

    /// Number of foreign slots directly in front of the next slot.
    pub(crate) fn seen(self) -> u32 {
        self.seen
    }

    /// Advances over a taken slot, which holds a segment of this collection with that header, or
    /// another's.
    pub(crate) fn step(&mut self, sequence: Sequence, own: Option<&SegmentHeader>) -> Result<(), Misfit> {
        match own {
            Some(header) => self.own(sequence, header),
            None => {
                self.seen = self.seen.saturating_add(1);
                Ok(())
            }
        }
    }

    fn own(&mut self, sequence: Sequence, header: &SegmentHeader) -> Result<(), Misfit> {
        let (seen, passed) = (self.seen, header.passed);
        let fits = if self.all { passed == seen } else { passed >= seen };
        if !fits {
            // The first slot in front that is not counted; or the segment itself, if it counts one
            // of this collection.
            let back = if passed < seen { u64::from(passed) + 1 } else { 0 };
            let slot = Sequence::new(sequence.get().saturating_sub(back)).unwrap_or_default();
            return Err(Misfit { slot, behind: sequence, passed });
        }
        *self = Self::BEHIND_OWN;
        Ok(())
    }

    /// Whether the last segment folded is among the slots directly in front of `next` with
    /// another's uid. That segment is always one of this collection.
    pub(crate) fn hide(self, folded: Sequence, next: Sequence) -> bool {
        folded < next && folded.get() + u64::from(self.seen) >= next.get()
    }
}

impl Misfit {
    pub(crate) fn error(self, shard: &Shard) -> Error {
        let Self { slot, behind, passed } = self;
        let reason = if slot == behind {
            format!("it counts {passed} foreign segments directly before it, and the log has fewer")
        } else {
            format!("it has the uid of another collection, and segment {} behind it does not count it", behind.get())
        };
        Error::corrupt(&shard.layout().segment(slot), reason)
    }
}

/// The error if the last segment folded has the uid of another collection.
pub(crate) fn folded_is_foreign(shard: &Shard, folded: Sequence) -> Error {
    let reason = "it has the uid of another collection, though it is the last segment folded";
    Error::corrupt(&shard.layout().segment(folded), reason)
}

#[cfg(test)]
mod tests {
    use deltafold_format::{Digest, TimeRange, Uid};

    use super::*;

    fn header(sequence: u64, passed: u32) -> SegmentHeader {
        SegmentHeader {
            collection: Uid::new(1),
            sequence: Sequence::new(sequence).unwrap(),
            writer: Uid::new(2),
            batch: 1,
            times: TimeRange::default(),
            marks: Vec::new(),
            ops: 1,
            digest: Digest::default(),
            dimension: 2,
            vectors: 0,
            passed,
        }
    }

    /// The slot found damaged when slot 9 holds a segment of this collection, behind `seen` foreign
    /// ones.
    fn misfit(from: Foreign, seen: u32, passed: u32) -> Option<u64> {
        let mut foreign = from;
        for slot in 9 - u64::from(seen)..9 {
            foreign.step(Sequence::new(slot).unwrap(), None).unwrap();
        }
        let nine = header(9, passed);
        foreign.own(nine.sequence, &nine).err().map(|misfit| misfit.slot.get())
    }

    #[test]
    fn a_segment_counts_the_foreign_slots_in_front() {
        let anywhere = Foreign::from_slot(Sequence::new(5).unwrap());
        for (from, seen, passed, damaged) in [
            (Foreign::BEHIND_OWN, 0, 0, None),
            (Foreign::BEHIND_OWN, 2, 2, None),
            (Foreign::BEHIND_OWN, 1, 0, Some(8)),
            (Foreign::BEHIND_OWN, 2, 1, Some(7)),
            (Foreign::BEHIND_OWN, 1, 2, Some(9)),
            (anywhere, 1, 2, None),
            (anywhere, 1, 0, Some(8)),
        ] {
            assert_eq!(misfit(from, seen, passed), damaged, "{from:?}, {seen} seen, {passed} counted");
        }
    }

    #[test]
    fn the_last_segment_folded_is_not_foreign() {
        let slot = |number| Sequence::new(number).unwrap();
        let foreign = Foreign { seen: 2, all: true };
        let hidden = (1..=9).filter(|folded| foreign.hide(slot(*folded), slot(7)));
        assert_eq!(hidden.collect::<Vec<_>>(), [5, 6]);
    }
}
