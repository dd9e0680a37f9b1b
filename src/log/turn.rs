//! Taking turns. Many writers that append to one shard as fast as they can all try for the same slot, and one wins: by luck alone some would wait for ever. So whoever has
//! just won lets those go first who have waited longer.
//!
//! The order needs no agreement: it is in the log. A writer that has to wait reads every slot on its way, and so knows who won when; those whose last slot lies before
//! its own have waited longer than it has. It does not try for a slot then, but reads it until somebody has taken it: a read costs a twelfth of a refused write. It waits only
//! so long, as those it waits for may have nothing to append any more: politeness delays, and never decides anything.

use std::collections::HashMap;

use deltafold_format::{Sequence, Uid};

/// How often a slot is read and found empty before it is tried for, with one writer ahead. The one whose turn it is needs one write from the moment when all saw the slot
/// before it taken; reads of the others that are answered meanwhile find nothing.
const PATIENCE: usize = 3;
/// Each further writer ahead adds one, up to so many.
const MOST_AHEAD: usize = 4;
/// A writer that has not been seen for so many rounds of all writers has gone.
const ROUNDS: u64 = 2;

/// What a writer knows of those who append to the same shard.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The last slot of this writer.
    mine: Option<Sequence>,
    /// The last slot of each other that was seen.
    others: HashMap<Uid, Sequence>,
}

impl Turns {
    /// Somebody else has slot `n`.
    pub(super) fn taken(&mut self, writer: Uid, n: Sequence) {
        let last = self.others.entry(writer).or_insert(n);
        *last = n.max(*last);
    }

    /// This writer has slot `n`; those it waited for and who did not come are not waited for again.
    pub(super) fn won(&mut self, n: Sequence) {
        let round = self.others.len() as u64 + 1;
        let gone = n.get().saturating_sub(ROUNDS * round);
        let before = self.mine.replace(n);
        self.others.retain(|_, last| last.get() >= gone && before.is_none_or(|before| *last > before));
    }

    /// This writer has had no slot yet, so that nobody lets it go first.
    pub(super) fn is_new(&self) -> bool {
        self.mine.is_none()
    }

    /// Nobody else was seen to append since this writer's last slot but one.
    pub(super) fn is_alone(&self) -> bool {
        self.others.is_empty()
    }

    /// How many have waited longer.
    pub(super) fn ahead(&self) -> usize {
        self.mine.map_or(0, |mine| self.others.values().filter(|last| **last < mine).count())
    }

    /// Those who have waited longer did not come in all the time that they were waited for: they are not waited for again.
    pub(super) fn waited(&mut self) {
        let mine = self.mine;
        self.others.retain(|_, last| mine.is_none_or(|mine| *last > mine));
    }

    /// How often the next slot is to be found empty before this writer tries for it.
    pub(super) fn patience(&self) -> usize {
        match self.ahead() {
            0 => 0,
            ahead => PATIENCE - 1 + ahead.min(MOST_AHEAD),
        }
    }

    /// How far apart two reads of an empty slot are, in times that a write takes: whoever's turn it is has to write, and who has many ahead need not see every slot at once.
    pub(super) fn spacing(&self) -> u32 {
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
    fn who_never_won_waits_for_nobody() {
        let mut turns = Turns::default();
        assert_eq!(turns.patience(), 0);
        turns.taken(Uid::new(1), slot(1));
        turns.taken(Uid::new(2), slot(2));
        assert_eq!(turns.ahead(), 0);
    }

    #[test]
    fn who_has_just_won_waits_for_all_others() {
        let mut turns = Turns::default();
        for other in 1..4 {
            turns.taken(Uid::new(other), slot(other as u64));
        }
        turns.won(slot(4));
        assert_eq!((turns.ahead(), turns.patience(), turns.spacing()), (3, 5, 1));
        // Each that wins goes to the end of the queue.
        turns.taken(Uid::new(2), slot(5));
        turns.taken(Uid::new(1), slot(6));
        assert_eq!(turns.ahead(), 1);
        turns.taken(Uid::new(3), slot(7));
        assert_eq!(turns.patience(), 0, "it is this writer's turn");
    }

    #[test]
    fn who_does_not_come_is_not_waited_for_twice() {
        let mut turns = Turns::default();
        turns.taken(Uid::new(1), slot(1));
        turns.taken(Uid::new(2), slot(2));
        turns.won(slot(3));
        turns.taken(Uid::new(2), slot(4));
        assert_eq!(turns.ahead(), 1);
        turns.won(slot(5));
        assert_eq!(turns.ahead(), 1, "only of the one that came");
        turns.won(slot(6));
        assert_eq!(turns.ahead(), 0);
    }

    #[test]
    fn who_did_not_come_while_it_was_waited_for_is_not_waited_for_again() {
        let mut turns = Turns::default();
        turns.taken(Uid::new(1), slot(1));
        turns.taken(Uid::new(2), slot(2));
        turns.won(slot(3));
        turns.taken(Uid::new(2), slot(4));
        turns.waited();
        assert_eq!((turns.ahead(), turns.is_alone()), (0, false), "the other has a slot behind this writer's");
        turns.won(slot(5));
        assert_eq!(turns.ahead(), 1, "so that its turn is next");
        turns.waited();
        assert!(turns.is_alone());
    }
}
