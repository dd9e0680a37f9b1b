//! The fairness policy decides when an appender tries for a slot.
//!
//! Many writers that append to one shard at full speed all try for the same slot, and one wins. By
//! chance alone some could starve. So a writer that has just won gives way to writers that have
//! waited longer.
//!
//! The order needs no agreement, because it is in the log. A writer reads every slot on its way, so
//! it learns the winners. Writers whose last slot lies before its own have waited longer. While
//! there are any, it does not try for a slot, but reads it until another writer has taken it. A
//! read costs a twelfth of a refused write. The backoff is bounded, because the others may have
//! nothing more to append.
//!
//! The policy delays and never decides: the machine ([`commit`](super::commit)) is safe with each
//! of its answers.

use std::collections::HashMap;
use std::time::Duration;

use deltafold_format::{Sequence, Uid};

use super::commit::Turn;
use crate::env::Stopwatch;

/// Looks that must find the slot empty before this writer tries for it, with one writer ahead. That
/// writer needs one write time from the moment when all saw the previous slot taken.
const LOOKS: usize = 3;
/// Each further writer ahead adds one look, up to this many.
const MOST_AHEAD: usize = 4;
/// A writer not seen for this many rounds of all writers is gone.
const ROUNDS: u64 = 2;
/// After losing this many slots in a row, an appender catches up with the tail.
const LOST_BEFORE_CATCH_UP: u32 = 3;
/// Also after seeing this many slots in a row taken by others.
const PASSED_BEFORE_CATCH_UP: usize = 8;
/// A writer that appends again within this many write times counts as contended.
const CONTENDED: u32 = 4;
/// After losing this many slots in a row, an appender reads the slot while it tries for it.
const LOST_BEFORE_READ: u32 = 2;
/// A speculative read comes this fraction of a write time after the write began.
const READ_AFTER: u32 = 8;

/// The order of the writers that append to the same shard, as one of them knows it.
#[derive(Debug, Default)]
pub(super) struct Fairness {
    /// The last slot of this writer.
    mine: Option<Sequence>,
    /// The last slot seen of each other writer.
    others: HashMap<Uid, Sequence>,
    /// Duration of the last write.
    write: Duration,
    /// Time since the last batch landed.
    since: Option<Stopwatch>,
}

/// The backoff of one batch.
#[derive(Debug)]
pub(super) struct Backoff {
    contended: bool,
    /// Slots lost to others.
    lost: u32,
    /// Looks in a row that found the slot empty.
    empty: usize,
    /// Looks in a row that found slots taken.
    passed: usize,
    catches_up: bool,
    /// The last answer was to look.
    looks: bool,
    /// The rest of the time between two looks.
    rest: Option<Duration>,
}

impl Backoff {
    /// The time to sleep before the next answer.
    pub(super) fn take_rest(&mut self) -> Option<Duration> {
        self.rest.take()
    }

    /// Another writer has taken the slot, and the tail moves behind it.
    pub(super) fn passed(&mut self) {
        if self.looks {
            (self.empty, self.passed) = (0, self.passed + 1);
            self.catches_up = self.passed.is_multiple_of(PASSED_BEFORE_CATCH_UP);
        } else {
            (self.contended, self.lost) = (true, self.lost + 1);
            self.catches_up = self.lost.is_multiple_of(LOST_BEFORE_CATCH_UP);
        }
    }

    /// The end of the log was just found.
    pub(super) fn caught_up(&mut self) {
        self.catches_up = false;
    }
}

impl Fairness {
    /// The backoff of a batch whose commit is about to begin.
    pub(super) fn backoff(&self) -> Backoff {
        let contended = self.since.is_some_and(|since| since.elapsed() < self.write * CONTENDED);
        Backoff { contended, lost: 0, empty: 0, passed: 0, catches_up: false, looks: false, rest: None }
    }

    /// Whether to try for the next slot now. A batch in doubt never waits.
    pub(super) fn turn(&mut self, backoff: &mut Backoff, in_doubt: bool) -> Turn {
        if std::mem::take(&mut backoff.catches_up) {
            return Turn::CatchUp;
        }
        backoff.looks = backoff.contended && !in_doubt && backoff.empty < self.looks();
        if backoff.looks {
            return Turn::Look;
        }
        if backoff.contended && !in_doubt {
            self.waited();
        }
        (backoff.empty, backoff.passed) = (0, 0);
        Turn::Try
    }

    /// A look that began at `started` found the slot empty.
    pub(super) fn found_empty(&self, backoff: &mut Backoff, started: Stopwatch) {
        if backoff.looks {
            (backoff.empty, backoff.passed) = (backoff.empty + 1, 0);
            backoff.rest = Some((self.write * self.spacing()).saturating_sub(started.elapsed()));
        }
    }

    /// The pause before a speculative read of the slot being created; `None` without such a read.
    /// It brings a writer to the next slot one request earlier than a read after the refusal. New
    /// writers read, because no others wait for them yet. Writers that lost repeatedly read, too.
    pub(super) fn speculative_read(&self, backoff: &Backoff) -> Option<Duration> {
        let reads = backoff.contended && (self.mine.is_none() || backoff.lost >= LOST_BEFORE_READ);
        reads.then(|| self.write / READ_AFTER)
    }

    /// A write took this long.
    pub(super) fn wrote(&mut self, took: Duration) {
        self.write = took;
    }

    /// Another writer has slot `n`.
    pub(super) fn taken(&mut self, writer: Uid, n: Sequence) {
        let last = self.others.entry(writer).or_insert(n);
        *last = n.max(*last);
    }

    /// This writer has slot `n`. It no longer waits for writers for which it waited in vain.
    pub(super) fn won(&mut self, n: Sequence) {
        self.since = Some(Stopwatch::start());
        let round = self.others.len() as u64 + 1;
        let gone = n.get().saturating_sub(ROUNDS * round);
        let before = self.mine.replace(n);
        self.others.retain(|_, last| last.get() >= gone && before.is_none_or(|before| *last > before));
    }

    /// Whether no other writer was seen since this writer's last slot but one.
    pub(super) fn is_alone(&self) -> bool {
        self.others.is_empty()
    }

    /// The writers that have waited longer.
    fn ahead(&self) -> usize {
        self.mine.map_or(0, |mine| self.others.values().filter(|last| **last < mine).count())
    }

    /// Writers that have waited longer did not come within the backoff. This writer no longer waits
    /// for them.
    fn waited(&mut self) {
        let mine = self.mine;
        self.others.retain(|_, last| mine.is_none_or(|mine| *last > mine));
    }

    /// Looks that must find the next slot empty before this writer tries for it.
    fn looks(&self) -> usize {
        match self.ahead() {
            0 => 0,
            ahead => LOOKS - 1 + ahead.min(MOST_AHEAD),
        }
    }

    /// Write times between two looks at an empty slot. The writer whose turn it is has to write. A
    /// writer with many ahead need not see every slot at once.
    fn spacing(&self) -> u32 {
        match self.ahead() {
            0..6 => 1,
            _ => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: u64) -> Sequence {
        Sequence::new(n).unwrap()
    }

    #[test]
    fn a_new_writer_does_not_wait() {
        let mut fairness = Fairness::default();
        assert_eq!(fairness.looks(), 0);
        fairness.taken(Uid::new(1), slot(1));
        fairness.taken(Uid::new(2), slot(2));
        assert_eq!(fairness.ahead(), 0);
    }

    #[test]
    fn a_winner_waits_for_all_others() {
        let mut fairness = Fairness::default();
        for other in 1..4 {
            fairness.taken(Uid::new(other), slot(other as u64));
        }
        fairness.won(slot(4));
        assert_eq!((fairness.ahead(), fairness.looks(), fairness.spacing()), (3, 5, 1));
        // Each winner goes to the end of the queue.
        fairness.taken(Uid::new(2), slot(5));
        fairness.taken(Uid::new(1), slot(6));
        assert_eq!(fairness.ahead(), 1);
        fairness.taken(Uid::new(3), slot(7));
        assert_eq!(fairness.looks(), 0, "it is this writer's turn");
    }

    #[test]
    fn an_absent_writer_is_not_waited_for_twice() {
        let mut fairness = Fairness::default();
        fairness.taken(Uid::new(1), slot(1));
        fairness.taken(Uid::new(2), slot(2));
        fairness.won(slot(3));
        fairness.taken(Uid::new(2), slot(4));
        assert_eq!(fairness.ahead(), 1);
        fairness.won(slot(5));
        assert_eq!(fairness.ahead(), 1, "only of the one that came");
        fairness.won(slot(6));
        assert_eq!(fairness.ahead(), 0);
    }

    #[test]
    fn a_writer_waited_for_in_vain_is_forgotten() {
        let mut fairness = Fairness::default();
        fairness.taken(Uid::new(1), slot(1));
        fairness.taken(Uid::new(2), slot(2));
        fairness.won(slot(3));
        fairness.taken(Uid::new(2), slot(4));
        fairness.waited();
        assert_eq!((fairness.ahead(), fairness.is_alone()), (0, false), "the other has a slot behind this writer's");
        fairness.won(slot(5));
        assert_eq!(fairness.ahead(), 1, "so that its turn is next");
        fairness.waited();
        assert!(fairness.is_alone());
    }
}
