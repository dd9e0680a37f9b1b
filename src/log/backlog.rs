//! The part of a shard's log that is not folded: its limit, and a writer's knowledge of it.
//!
//! A writer counts the segments exactly, from the head that it reads before each acknowledgement.
//! It knows ops and bytes of the segments that it wrote, and of segments whose headers it read for
//! another reason. That costs no request.

use std::collections::VecDeque;

use crate::setters::setters;
use deltafold_format::{SegmentFront, Sequence, ShardId, Version};

/// Most entries kept. Beyond that, each two neighbours become one.
const MAX_ENTRIES: usize = 1_024;

/// The lag of folding in one shard, as a writer saw it with its last acknowledgement there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// The shard.
    pub shard: ShardId,
    /// Its version.
    pub version: Version,
    /// Segments that are not folded yet.
    pub segments: u64,
    /// Their ops, as far as the writer wrote the segments or read their headers.
    pub ops: u64,
    /// The bytes that these ops take decoded.
    pub bytes: u64,
}

/// The longest log that a shard may have before its writers act. A backlog exceeds the limit as
/// soon as it exceeds one of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BacklogLimit {
    /// Segments that are not folded.
    pub segments: u64,
    /// Their ops.
    pub ops: u64,
    /// The bytes that their ops take decoded.
    pub bytes: u64,
}

setters!(BacklogLimit { segments: u64, ops: u64, bytes: u64 });

impl BacklogLimit {
    /// No limit at all.
    pub const NONE: Self = Self { segments: u64::MAX, ops: u64::MAX, bytes: u64::MAX };

    /// Whether a backlog exceeds the limit.
    pub fn is_passed(&self, lag: &Lag) -> bool {
        lag.segments > self.segments || lag.ops > self.ops || lag.bytes > self.bytes
    }

    /// The numbers of a backlog that exceed the limit, and the limit.
    pub(crate) fn excess(&self, lag: &Lag) -> String {
        let numbers = [
            (lag.segments, self.segments, "segments"),
            (lag.ops, self.ops, "ops"),
            (lag.bytes, self.bytes, "decoded bytes"),
        ];
        let over = numbers.iter().filter(|(is, limit, _)| is > limit);
        let told = over.map(|(is, limit, of)| format!("{is} {of} are not folded, and the limit is {limit}"));
        told.collect::<Vec<_>>().join("; ")
    }

    /// The limit times a number.
    #[must_use]
    pub fn times(self, factor: u64) -> Self {
        let Self { segments, ops, bytes } = self;
        Self {
            segments: segments.saturating_mul(factor),
            ops: ops.saturating_mul(factor),
            bytes: bytes.saturating_mul(factor),
        }
    }
}

impl Default for BacklogLimit {
    /// Far beyond any log with an active compactor: 65,536 segments, 64 million ops, 64 GiB.
    fn default() -> Self {
        Self { segments: 1 << 16, ops: 64_000_000, bytes: 64 << 30 }
    }
}

/// The ops of some segments, and the bytes that they take decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) ops: u64,
    pub(super) bytes: u64,
}

impl Weight {
    pub(super) fn of(front: &SegmentFront) -> Self {
        Self { ops: front.header().ops.into(), bytes: front.decoded_bytes() }
    }

    fn and(self, other: Self) -> Self {
        Self { ops: self.ops.saturating_add(other.ops), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

/// The segments of a log whose weight a writer knows. Bounded, whatever the length of the log.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Sorted by their last segment, ascending.
    entries: VecDeque<(Sequence, Weight)>,
}

impl Known {
    /// Adds the weight of a segment. A segment at or before the last known one is known already.
    pub(super) fn add(&mut self, sequence: Sequence, weight: Weight) {
        if self.entries.back().is_some_and(|(last, _)| *last >= sequence) {
            return;
        }
        self.entries.push_back((sequence, weight));
        if self.entries.len() > MAX_ENTRIES {
            let mut entries = std::mem::take(&mut self.entries).into_iter();
            while let Some((first, weight)) = entries.next() {
                let pair = entries.next().map(|(last, other)| (last, weight.and(other)));
                self.entries.push_back(pair.unwrap_or((first, weight)));
            }
        }
    }

    /// The weight behind `folded`. Drops the entries before it.
    pub(super) fn behind(&mut self, folded: Sequence) -> Weight {
        while self.entries.front().is_some_and(|(last, _)| *last <= folded) {
            self.entries.pop_front();
        }
        self.entries.iter().fold(Weight::default(), |sum, (_, weight)| sum.and(*weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: u64) -> Sequence {
        Sequence::new(n).unwrap()
    }

    #[test]
    fn folded_segments_are_forgotten_and_known_ones_not_added_twice() {
        let mut known = Known::default();
        for n in [3, 4, 4, 2, 7] {
            known.add(slot(n), Weight { ops: n, bytes: 10 * n });
        }
        assert_eq!(known.behind(slot(2)), Weight { ops: 14, bytes: 140 });
        assert_eq!(known.behind(slot(3)), Weight { ops: 11, bytes: 110 });
        assert_eq!(known.behind(slot(7)), Weight::default());
    }

    #[test]
    fn a_long_log_is_known_in_bounded_memory() {
        let mut known = Known::default();
        for n in 1..=100_000 {
            known.add(slot(n), Weight { ops: 2, bytes: 3 });
            assert!(known.entries.len() <= MAX_ENTRIES);
        }
        assert_eq!(known.behind(Sequence::ZERO), Weight { ops: 200_000, bytes: 300_000 });
        // An entry folded in part counts in full.
        let rest = known.behind(slot(99_999)).ops;
        assert!((2..=400).contains(&rest), "{rest}");
    }

    #[test]
    fn a_backlog_is_over_its_limit_by_any_of_the_numbers() {
        let lag = Lag { shard: ShardId::all(1).next().unwrap(), version: Version::ZERO, segments: 4, ops: 5, bytes: 6 };
        let limit = BacklogLimit { segments: 4, ops: 5, bytes: 6 };
        assert!(!limit.is_passed(&lag));
        for over in [Lag { segments: 5, ..lag }, Lag { ops: 6, ..lag }, Lag { bytes: 7, ..lag }] {
            assert!(limit.is_passed(&over), "{over:?}");
            assert!(!limit.times(2).is_passed(&over));
            assert!(!BacklogLimit::NONE.is_passed(&over));
        }
    }

    /// The function that folds gives up far beyond the limit at which writers do.
    #[test]
    fn a_limit_times_a_number_is_that_of_each_part() {
        let limit = BacklogLimit { segments: 2, ops: 3, bytes: 1 << 60 };
        let expected = BacklogLimit { segments: 20, ops: 30, bytes: u64::MAX };
        assert_eq!(limit.times(10), BacklogLimit { bytes: (1 << 60) * 10, ..expected });
        assert_eq!(limit.times(100).bytes, u64::MAX);
    }
}
