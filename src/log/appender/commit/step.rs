//! The transitions of the machine.

use deltafold_format::Sequence;

use super::fate::{Fate, fate};
use super::{
    Action, AfterLookUp, AfterRefusal, Answer, Attempt, Content, Created, End, Failure, LearnMode, NewBatch,
    Observation, Phase, Reason, Search, SlotRead, State, Status, Tail, Taker, Turn,
};

/// The step after an observation.
///
/// An observation that does not belong to the phase puts the batch in doubt and ends the commit.
pub(crate) fn next(state: State, observation: Observation) -> (State, Action) {
    let next = state.after(observation);
    (next, next.action())
}

impl State {
    /// The first step of a batch.
    pub(crate) fn begin(tail: Option<Tail>, batch: NewBatch) -> (Self, Action) {
        let NewBatch { number, sourced, left, behind } = batch;
        let batch = Status { number, sourced, left, in_doubt: false, refused: None, written: false, behind };
        // A tail in front of the slot to follow is out of date. A sweep may have passed it.
        let tail = tail.filter(|tail| behind.is_none_or(|behind| tail.slot > behind));
        let state = Self { tail, batch, phase: Phase::ReadHead };
        let state = match tail {
            Some(tail) if tail.marks && sourced && left => state.at(Phase::Deduplicate),
            _ => state.go_on(),
        };
        (state, state.action())
    }

    /// The same, with the tail as a batch committed meanwhile left it.
    pub(crate) fn with_tail(self, tail: Option<Tail>) -> Self {
        Self { tail, ..self }
    }

    /// An attempt may have landed, or may still land.
    pub(crate) fn in_doubt(&self) -> bool {
        self.batch.in_doubt
    }

    /// A refusal is undecided. Any head read from now on decides it.
    pub(crate) fn has_refusal(&self) -> bool {
        self.batch.refused.is_some()
    }

    /// The action that the phase waits for.
    pub(crate) fn action(&self) -> Action {
        let check_head = self.has_refusal();
        match self.phase {
            Phase::ReadHead => Action::ReadHead,
            Phase::FindEnd { after } => Action::FindEnd { after, check_head: false },
            Phase::CatchUp { after } => Action::FindEnd { after, check_head },
            Phase::ReadSnapshot | Phase::LookUp { .. } => Action::ReadSnapshot,
            Phase::LearnMarks { after } => Action::LearnMarks { after, mode: LearnMode::FromSnapshot },
            Phase::CatchUpMarks { after, .. } => Action::LearnMarks { after, mode: LearnMode::FromTail },
            Phase::Deduplicate => Action::Deduplicate,
            Phase::Ready { slot } => Action::AwaitTurn { slot },
            Phase::Create { slot } => Action::Create { slot, foreign: self.tail.map_or(0, |tail| tail.foreign) },
            Phase::Pause => Action::Pause,
            Phase::ReadTaken { slot } | Phase::Look { slot } => Action::ReadSlot { slot, check_head },
            Phase::RecheckMarks { .. }
            | Phase::RecheckCaughtUp { .. }
            | Phase::CheckVanished { .. }
            | Phase::CheckTaker { .. }
            | Phase::DecideRefusal { .. } => Action::CheckHead,
            Phase::Absorb { slot, .. } => Action::Absorb { slot },
            Phase::Confirm { slot } => Action::Confirm { slot },
            Phase::SettleFolded { .. } => Action::SettleHead,
            Phase::Settle => Action::Settle,
            Phase::Answered(answer) => Action::Answer(answer),
        }
    }

    fn after(self, observation: Observation) -> Self {
        use Observation as Seen;
        match (self.phase, observation) {
            (_, Seen::Failed(failure)) => self.fail(failure),
            (Phase::ReadHead, Seen::Head { applied, .. }) => self.at(Phase::FindEnd { after: applied }),
            (Phase::FindEnd { .. }, Seen::Found { search: Search::At(end), .. }) => self.ends(end, false).go_on(),
            (Phase::FindEnd { .. }, Seen::Found { search: Search::Swept, .. }) => self.at(Phase::ReadHead),
            (Phase::ReadSnapshot, Seen::Snapshot(snapshot)) => self.at(Phase::LearnMarks { after: snapshot.applied }),
            (Phase::LearnMarks { after }, Seen::Learned(Search::At(end))) => {
                self.at(Phase::RecheckMarks { after, end })
            }
            (Phase::LearnMarks { .. }, Seen::Learned(Search::Swept)) => self.at(Phase::ReadSnapshot),
            (Phase::RecheckMarks { after, end }, Seen::Head { log_start, .. }) => {
                // The list may have missed a segment that was swept meanwhile.
                if log_start > after.next() {
                    return self.at(Phase::ReadSnapshot);
                }
                self.ends(end, true).at(Phase::Deduplicate)
            }
            (Phase::Deduplicate, Seen::Left(left)) => self.left(left).go_on(),
            (Phase::Ready { slot }, Seen::Turn(turn)) => self.take_turn(slot, turn),
            (Phase::Create { slot }, Seen::Created(created)) => self.created(slot, created),
            (Phase::Pause, Seen::Paused) => self.go_on(),
            (Phase::ReadTaken { slot }, Seen::Slot(read)) => self.read(slot, read, Attempt::Refused),
            (Phase::Look { slot }, Seen::Slot(read)) => self.read(slot, read, Attempt::Looked),
            (Phase::CheckVanished { slot }, Seen::Head { log_start, .. }) => {
                if slot < log_start {
                    self.look_up(slot, AfterLookUp::Retry)
                } else {
                    self.at(Phase::Pause)
                }
            }
            (Phase::CheckTaker { slot, taker, attempt }, Seen::Head { log_start, .. }) => {
                if slot >= log_start {
                    // Another's segment is in the slot, so no attempt is or will be in it.
                    return self.doubt(false).absorb(slot, taker);
                }
                if attempt == Attempt::Refused || self.batch.in_doubt {
                    return self.look_up(slot, AfterLookUp::Retry);
                }
                self.with_tail(None).go_on()
            }
            (Phase::Absorb { slot, taker }, Seen::Left(left)) => self.pass(slot, taker).left(left).go_on(),
            (Phase::DecideRefusal { then }, Seen::Head { log_start, .. }) => self.decide(log_start, then),
            (Phase::CatchUp { .. }, Seen::Found { search, log_start }) => self.caught_up(search, log_start),
            (Phase::CatchUpMarks { first, .. }, Seen::Learned(Search::At(end))) => {
                self.at(Phase::RecheckCaughtUp { end, first })
            }
            (Phase::CatchUpMarks { .. }, Seen::Learned(Search::Swept)) => self.with_tail(None).go_on(),
            (Phase::RecheckCaughtUp { end, first }, Seen::Head { log_start, .. }) => {
                if first < log_start {
                    return self.with_tail(None).go_on();
                }
                self.ends(end, true).at(Phase::Deduplicate)
            }
            (Phase::Confirm { slot }, Seen::Head { log_start, .. }) => {
                // Only a segment that still exists refuses a create: a swept slot can be created
                // again.
                if slot >= log_start {
                    return self.at(Phase::Answered(Answer::At(slot)));
                }
                let batch = Status { written: true, ..self.batch };
                Self { batch, ..self }.look_up(slot, AfterLookUp::PlaceAnew)
            }
            (Phase::LookUp { slot, then }, Seen::Snapshot(snapshot)) => {
                match fate(&snapshot, self.batch.number, slot, self.batch.refused) {
                    Fate::Folded(slot) => self.at(Phase::SettleFolded { slot }),
                    Fate::Unknown(reason) => self.at(Phase::Answered(Answer::Unknown(reason))),
                    Fate::Nowhere => self.nowhere(slot, then),
                }
            }
            (Phase::SettleFolded { slot }, Seen::Settled) => self.at(Phase::Answered(Answer::At(slot))),
            (Phase::Settle, Seen::Settled) => self.at(Phase::Answered(Answer::Known)),
            _ => {
                debug_assert!(false, "{observation:?} in {:?}", self.phase);
                self.with_tail(None).at(Phase::Answered(Answer::Unknown(Reason::Failed)))
            }
        }
    }

    fn at(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    fn doubt(self, in_doubt: bool) -> Self {
        Self { batch: Status { in_doubt, ..self.batch }, ..self }
    }

    fn refused(self, refused: Option<Sequence>) -> Self {
        Self { batch: Status { refused, ..self.batch }, ..self }
    }

    fn left(self, left: bool) -> Self {
        Self { batch: Status { left, ..self.batch }, ..self }
    }

    fn ends(self, end: End, marks: bool) -> Self {
        let End { slot, foreign } = end;
        self.with_tail(Some(Tail { slot, foreign, marks }))
    }

    /// Continues to the next attempt, as far as the log is known.
    fn go_on(self) -> Self {
        let Status { sourced, left, .. } = self.batch;
        if left && self.is_passed() {
            return self.moved();
        }
        self.at(match self.tail {
            _ if !left && sourced => Phase::Settle,
            _ if !left => Phase::Answered(Answer::Known),
            None => Phase::ReadHead,
            Some(tail) if sourced && !tail.marks => Phase::ReadSnapshot,
            Some(tail) => Phase::Ready { slot: tail.slot },
        })
    }

    /// Whether another segment of the collection follows the slot that the batch must follow.
    fn is_passed(&self) -> bool {
        let (Some(behind), Some(tail)) = (self.batch.behind, self.tail) else { return false };
        tail.slot.get().saturating_sub(1 + u64::from(tail.foreign)) > behind.get()
    }

    /// Answers that the log has moved on, once no refusal is open.
    fn moved(self) -> Self {
        let Status { in_doubt, written, refused, .. } = self.batch;
        self.at(match refused {
            Some(_) => Phase::DecideRefusal { then: AfterRefusal::Move },
            None if in_doubt || written => Phase::Answered(Answer::Unknown(Reason::Moved)),
            None => Phase::Answered(Answer::Moved),
        })
    }

    fn take_turn(self, slot: Sequence, turn: Turn) -> Self {
        match (turn, self.tail) {
            (Turn::Look, _) => return self.at(Phase::Look { slot }),
            // A slot in doubt is decided before any other is tried.
            (Turn::CatchUp, Some(tail)) if !self.batch.in_doubt => {
                let after = slot.get().saturating_sub(1 + u64::from(tail.foreign));
                let after = Sequence::new(after).unwrap_or_default();
                if !tail.marks {
                    return self.at(Phase::CatchUp { after });
                }
                // They are complete again when the end is found.
                let incomplete = self.with_tail(Some(Tail { marks: false, ..tail }));
                return incomplete.at(Phase::CatchUpMarks { after, first: slot });
            }
            (Turn::Try | Turn::CatchUp, _) => {}
        }
        self.at(match self.batch.refused {
            Some(refused) if refused.next() != slot => Phase::DecideRefusal { then: AfterRefusal::Create },
            _ => Phase::Create { slot },
        })
    }

    fn created(self, slot: Sequence, created: Created) -> Self {
        match created {
            Created::Done => self.landed(slot),
            Created::RefusedBy(read @ SlotRead { content: Content::Own | Content::Other, .. }) => {
                self.read(slot, read, Attempt::Refused)
            }
            Created::Refused | Created::RefusedBy(_) => self.at(Phase::ReadTaken { slot }),
            Created::Unknown => self.doubt(true).at(Phase::Pause),
            Created::Failed => self.at(Phase::Pause),
        }
    }

    /// Decides by the content of a slot that still exists or was swept.
    fn read(self, slot: Sequence, read: SlotRead, attempt: Attempt) -> Self {
        let mut state = self;
        if let (Some(refused), Some(log_start)) = (self.batch.refused, read.log_start) {
            if refused < log_start {
                return match attempt {
                    Attempt::Refused => self.look_up(slot, AfterLookUp::Reread),
                    Attempt::Looked => self.look_up_refused(refused, AfterLookUp::Retry),
                };
            }
            state = self.refused(None);
        }
        let taker = match read.content {
            Content::Own => return state.landed(slot),
            Content::Absent if attempt == Attempt::Refused => return state.at(Phase::CheckVanished { slot }),
            Content::Absent => return state.go_on(),
            Content::Other => Taker::Other,
            Content::Foreign => Taker::Foreign,
        };
        if state.batch.in_doubt || state.tail.is_some_and(|tail| tail.marks) {
            return state.at(Phase::CheckTaker { slot, taker, attempt });
        }
        match attempt {
            Attempt::Refused => state.refused(Some(slot)).absorb(slot, taker),
            Attempt::Looked => state.absorb(slot, taker),
        }
    }

    fn absorb(self, slot: Sequence, taker: Taker) -> Self {
        self.at(Phase::Absorb { slot, taker })
    }

    fn landed(self, slot: Sequence) -> Self {
        self.pass(slot, Taker::Other).at(Phase::Confirm { slot })
    }

    /// Moves the tail behind a taken slot.
    fn pass(self, slot: Sequence, taker: Taker) -> Self {
        let Some(tail) = self.tail else { return self };
        let next = slot.next();
        match taker {
            Taker::Other if slot >= tail.slot => self.with_tail(Some(Tail { slot: next, foreign: 0, ..tail })),
            Taker::Foreign if slot == tail.slot => {
                self.with_tail(Some(Tail { slot: next, foreign: tail.foreign + 1, ..tail }))
            }
            // The slots between were not seen.
            Taker::Foreign if slot > tail.slot => self.with_tail(None),
            _ => self,
        }
    }

    fn decide(self, log_start: Sequence, then: AfterRefusal) -> Self {
        if let Some(refused) = self.batch.refused.filter(|refused| *refused < log_start) {
            return match then {
                AfterRefusal::Create | AfterRefusal::Move => self.look_up_refused(refused, AfterLookUp::Retry),
                AfterRefusal::Fail => self.look_up_refused(refused, AfterLookUp::Fail),
            };
        }
        let decided = self.refused(None);
        match (then, self.tail) {
            (AfterRefusal::Fail, _) => decided.failed(),
            (AfterRefusal::Move, _) => decided.moved(),
            (AfterRefusal::Create, Some(tail)) => decided.at(Phase::Create { slot: tail.slot }),
            (AfterRefusal::Create, None) => decided.go_on(),
        }
    }

    fn caught_up(self, search: Search, log_start: Option<Sequence>) -> Self {
        let mut state = self;
        if let (Some(refused), Some(log_start)) = (self.batch.refused, log_start) {
            if refused < log_start {
                return self.look_up_refused(refused, AfterLookUp::Retry);
            }
            state = self.refused(None);
        }
        match search {
            Search::At(end) => state.ends(end, false).go_on(),
            Search::Swept => state.go_on(),
        }
    }

    /// Looks a swept slot up in the manifest. The view of the tail is out of date.
    fn look_up(self, slot: Sequence, then: AfterLookUp) -> Self {
        self.with_tail(None).at(Phase::LookUp { slot, then })
    }

    /// The same for the slot refused last. A batch in doubt has tried the slot behind it, too. It
    /// may have been folded from there, because a sweep keeps the last segment folded.
    fn look_up_refused(self, refused: Sequence, then: AfterLookUp) -> Self {
        let slot = if self.batch.in_doubt { refused.next() } else { refused };
        self.look_up(slot, then)
    }

    fn nowhere(self, slot: Sequence, then: AfterLookUp) -> Self {
        let decided = self.refused(None);
        match then {
            AfterLookUp::Reread => decided.at(Phase::ReadTaken { slot }),
            AfterLookUp::Retry | AfterLookUp::PlaceAnew => decided.go_on(),
            AfterLookUp::Fail => decided.failed(),
        }
    }

    /// Ends after a failure, and decides an undecided refusal first if possible.
    fn fail(self, failure: Failure) -> Self {
        let refused = self.batch.refused;
        match self.phase {
            Phase::Confirm { .. } => {
                let answer = match failure {
                    Failure::Dropped => Answer::NotAppended,
                    Failure::Other => Answer::Unknown(Reason::Failed),
                };
                self.with_tail(None).at(Phase::Answered(answer))
            }
            Phase::DecideRefusal { then: AfterRefusal::Fail } | Phase::LookUp { then: AfterLookUp::Fail, .. } => {
                match failure {
                    Failure::Dropped => self.failed(),
                    Failure::Other => self.doubt(true).failed(),
                }
            }
            // An attempt may have been folded from either of two slots.
            Phase::LookUp { slot, .. } if refused != Some(slot) => self.doubt(true).failed(),
            Phase::SettleFolded { .. } => self.doubt(true).failed(),
            // The slot was refused, and the refusal may still be a self-conflict.
            Phase::ReadTaken { .. }
            | Phase::CheckVanished { .. }
            | Phase::CheckTaker { attempt: Attempt::Refused, .. } => self.doubt(true).decide_and_fail(),
            _ => self.decide_and_fail(),
        }
    }

    fn decide_and_fail(self) -> Self {
        match self.batch.refused {
            Some(_) => self.at(Phase::DecideRefusal { then: AfterRefusal::Fail }),
            None => self.failed(),
        }
    }

    fn failed(self) -> Self {
        let Status { in_doubt, written, .. } = self.batch;
        let answer = if in_doubt || written { Answer::Unknown(Reason::Failed) } else { Answer::NotAppended };
        let state = if written { self.with_tail(None) } else { self };
        state.at(Phase::Answered(answer))
    }
}
