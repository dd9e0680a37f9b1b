//! A writer: it drives the engine's commit machine, one batch of one op after the other.
//!
//! It does the machine's actions on the abstract store, one request a step.

use std::collections::BTreeMap;

use deltafold_format::Sequence;

use super::bounds::{Bounds, Guards, Sources};
use super::store::{GAPS, NEXT, OpId, Outcome, Segment, Store, Truth, Write, uid};
use crate::log::commit::{
    Action, Answer, Content, Created, End, LearnMode, NewBatch, Observation, OwnMark, Reason, Search, SlotRead,
    Snapshot, State, Tail, Turn, next,
};
use crate::log::{Held, writer_source};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Writer {
    source: u8,
    sourced: bool,
    ops: u8,
    /// The uid of this life.
    life: u8,
    /// The position being appended.
    position: u8,
    /// The number of the batch.
    number: u8,
    /// `None` once everything is appended.
    commit: Option<State>,
    /// The highest position known of each source, and the slot where it was seen.
    marks: BTreeMap<u8, (u8, u64)>,
    condition: Condition,
    /// The segment read in the slot under examination.
    taker: Option<Segment>,
    part: Part,
}

/// The place of the op that is being appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Condition {
    /// Any.
    Free,
    /// Directly behind the end of the log. The caller reads it next; the writer knows this tail.
    Reading(Option<Tail>),
    /// Directly behind this slot.
    Behind(u64),
}

/// The finished part of an action that takes more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Nothing,
    /// The head was read, with this log start.
    Head(Sequence),
    /// The log was listed. The slots from the first to the second remain to be read.
    Listed(u64, u64),
}

fn sequence(slot: u64) -> Sequence {
    Sequence::new(slot).unwrap()
}

fn source_name(source: u8) -> String {
    format!("source/{source}")
}

fn search_at(slot: u64) -> Search {
    Search::At(End { slot: sequence(slot), foreign: 0 })
}

impl Writer {
    pub(super) fn new(index: u8, bounds: &Bounds) -> Self {
        let Bounds { ops, sources, .. } = *bounds;
        let source = if sources == Sources::Shared && index < 2 { 0 } else { index };
        let mut writer = Self {
            source,
            sourced: sources != Sources::None,
            ops,
            life: index * 16,
            position: 1,
            number: 1,
            commit: None,
            marks: BTreeMap::new(),
            condition: if index < bounds.conditional { Condition::Reading(None) } else { Condition::Free },
            taker: None,
            part: Part::Nothing,
        };
        if ops > 0 {
            writer.begin(None, &mut Truth::default());
        }
        writer
    }

    pub(super) fn ended(&self) -> bool {
        self.commit.is_none() && !matches!(self.condition, Condition::Reading(_))
    }

    /// The writer dies. A source delivers its ops again.
    pub(super) fn crash(&mut self) {
        let fresh = Self { life: self.life + 1, position: 1, number: 1, marks: BTreeMap::new(), ..self.clone() };
        *self = Self { commit: None, condition: Condition::Free, taker: None, part: Part::Nothing, ..fresh };
        if self.sourced {
            self.begin(None, &mut Truth::default());
        }
    }

    fn op(&self) -> OpId {
        OpId { source: self.source, position: self.position }
    }

    /// Begins with the next op.
    fn begin(&mut self, tail: Option<Tail>, truth: &mut Truth) {
        if self.condition == Condition::Free {
            return self.place(tail, None, truth);
        }
        self.condition = Condition::Reading(tail);
        self.commit = None;
    }

    /// Begins the commit of an op.
    fn place(&mut self, tail: Option<Tail>, behind: Option<Sequence>, truth: &mut Truth) {
        let batch = NewBatch { number: u64::from(self.number), sourced: self.sourced, left: true, behind };
        let (state, _) = State::begin(tail, batch);
        self.go_to(state, truth);
    }

    /// The action to do next. In front of a slot, it is to try the slot.
    fn action(&self) -> (Option<State>, Action) {
        let Some(state) = self.commit else { return (None, Action::Answer(Answer::Known)) };
        match state.action() {
            Action::AwaitTurn { .. } => {
                let (state, action) = next(state, Observation::Turn(Turn::Try));
                (Some(state), action)
            }
            action => (Some(state), action),
        }
    }

    /// Whether the fairness policy may answer something other than "try".
    pub(super) fn awaits_turn(&self) -> bool {
        self.commit.is_some_and(|state| matches!(state.action(), Action::AwaitTurn { .. }))
    }

    /// The fairness policy answers something other than "try".
    pub(super) fn turn(&mut self, turn: Turn, truth: &mut Truth) {
        if let Some(state) = self.commit {
            self.go_to(next(state, Observation::Turn(turn)).0, truth);
        }
    }

    /// The next request, if it is a write.
    pub(super) fn write(&self) -> Option<Write> {
        let (_, Action::Create { slot, .. }) = self.action() else { return None };
        Some(Write::Segment(slot.get(), Segment { writer: self.life, batch: self.number, op: self.op() }))
    }

    pub(super) fn answered(&mut self, outcome: Outcome, truth: &mut Truth, guards: &Guards) {
        let created = match outcome {
            Outcome::Done => Created::Done,
            Outcome::Refused => Created::Refused,
            Outcome::Unknown => Created::Unknown,
        };
        self.observe(Observation::Created(created), truth, guards);
    }

    pub(super) fn read(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) {
        if let Condition::Reading(tail) = self.condition {
            let end = truth.log.len() as u64;
            self.condition = Condition::Behind(end);
            return self.place(tail, guards.condition.then(|| sequence(end)), truth);
        }
        let (state, action) = self.action();
        self.commit = state;
        if let Some(observation) = self.request(action, store, truth) {
            self.part = Part::Nothing;
            self.observe(observation, truth, guards);
        }
    }

    /// Does one request of an action. `None` if another one follows.
    fn request(&mut self, action: Action, store: &Store, truth: &mut Truth) -> Option<Observation> {
        let head = &store.head;
        let Snapshot { applied, .. } = self.snapshot(store);
        match action {
            Action::ReadHead | Action::CheckHead | Action::Confirm { .. } => {
                Some(Observation::Head { applied, log_start: head.truncated })
            }
            Action::ReadSnapshot => {
                let marks = Held::of(head);
                let known = (0..3).filter_map(|source| {
                    let held = (1..=self.ops).rev().find(|p| marks.hold(&source_name(source), u128::from(*p)))?;
                    Some((source, (held, applied.get())))
                });
                self.marks = known.collect();
                Some(Observation::Snapshot(self.snapshot(store)))
            }
            Action::FindEnd { after, check_head } => {
                let log_start = self.beside(check_head, store)?;
                let (slots, whole) = store.list(after.get());
                let search = self.listed(after.get() + slots.len() as u64, whole, store, truth);
                Some(Observation::Found { search, log_start })
            }
            Action::LearnMarks { after, mode: LearnMode::FromSnapshot } => self.learn_listed(after.get(), store, truth),
            Action::LearnMarks { after, mode: LearnMode::FromTail } => {
                let slot = if let Part::Listed(slot, _) = self.part { slot } else { after.get() + 1 };
                let Some(segment) = store.log.get(&slot) else { return Some(Observation::Learned(search_at(slot))) };
                self.learn(slot, segment);
                self.part = Part::Listed(slot + 1, slot + 1);
                None
            }
            Action::ReadSlot { slot, check_head } => {
                let log_start = self.beside(check_head, store)?;
                self.taker = store.log.get(&slot.get()).copied();
                let content = match self.taker {
                    None => Content::Absent,
                    Some(segment) if segment.writer == self.life && segment.batch == self.number => Content::Own,
                    Some(_) => Content::Other,
                };
                Some(Observation::Slot(SlotRead { content, log_start }))
            }
            local => unreachable!("{local:?} is not a request that reads"),
        }
    }

    /// The head, for an action that reads it beside an object. The object is read in the next step.
    /// `None` if the head comes next.
    fn beside(&mut self, check_head: bool, store: &Store) -> Option<Option<Sequence>> {
        match self.part {
            _ if !check_head => Some(None),
            Part::Head(log_start) => Some(Some(log_start)),
            _ => {
                self.part = Part::Head(store.head.truncated);
                None
            }
        }
    }

    /// The end of a log that was listed up to `last`.
    fn listed(&self, last: u64, whole: bool, store: &Store, truth: &mut Truth) -> Search {
        if whole {
            return search_at(last + 1);
        }
        // The slots between were swept, or the log is damaged.
        if store.head.truncated.get() <= last + 1 && !store.log.contains_key(&(last + 1)) {
            truth.breaks(GAPS);
        }
        Search::Swept
    }

    fn learn_listed(&mut self, after: u64, store: &Store, truth: &mut Truth) -> Option<Observation> {
        let (slot, last) = match self.part {
            Part::Listed(slot, last) => {
                let Some(segment) = store.log.get(&slot) else { return Some(Observation::Learned(Search::Swept)) };
                self.learn(slot, segment);
                (slot + 1, last)
            }
            _ => {
                let (slots, whole) = store.list(after);
                let last = after + slots.len() as u64;
                if !whole {
                    return Some(Observation::Learned(self.listed(last, whole, store, truth)));
                }
                (after + 1, last)
            }
        };
        if slot > last {
            return Some(Observation::Learned(search_at(slot)));
        }
        self.part = Part::Listed(slot, last);
        None
    }

    fn snapshot(&self, store: &Store) -> Snapshot {
        let manifest = &store.head;
        let source = writer_source(uid(self.life));
        let own = manifest.marks.iter().find(|mark| mark.source == source);
        let own = own.map(|mark| OwnMark { number: u64::try_from(mark.position).unwrap(), slot: mark.sequence });
        Snapshot { applied: manifest.folded, own, eviction_watermark: manifest.marks_floor }
    }

    fn observe(&mut self, observation: Observation, truth: &mut Truth, guards: &Guards) {
        let (Some(state), _) = self.action() else { return };
        let (state, _) = next(state, guards.without().distort(&state, observation));
        self.go_to(state, truth);
    }

    /// Does everything that takes no request, up to the next request.
    fn go_to(&mut self, state: State, truth: &mut Truth) {
        let mut state = state;
        loop {
            self.commit = Some(state);
            let observation = match state.action() {
                Action::Deduplicate => Observation::Left(self.is_left()),
                Action::Absorb { slot } => {
                    let knows_marks = state.tail.is_some_and(|tail| tail.marks);
                    if let Some(segment) = self.taker.filter(|_| knows_marks) {
                        self.learn(slot.get(), &segment);
                    }
                    Observation::Left(!knows_marks || self.is_left())
                }
                Action::Pause => Observation::Paused,
                Action::Settle | Action::SettleHead => Observation::Settled,
                Action::Confirm { slot } => {
                    if state.tail.is_some_and(|tail| tail.marks) {
                        let own = Segment { writer: self.life, batch: 0, op: self.op() };
                        self.learn(slot.get(), &own);
                    }
                    break;
                }
                Action::Answer(answer) => {
                    self.answer(answer, state.tail, truth);
                    return;
                }
                _ => break,
            };
            state = next(state, observation).0;
        }
        // Its memory makes no difference any more.
        if !matches!(state.action(), Action::CheckHead) {
            self.taker = None;
        }
        if state.tail.is_none() && matches!(state.action(), Action::ReadHead) {
            self.marks.clear();
        }
    }

    fn answer(&mut self, answer: Answer, tail: Option<Tail>, truth: &mut Truth) {
        match answer {
            Answer::At(slot) => {
                if matches!(self.condition, Condition::Behind(end) if slot.get() != end + 1) {
                    truth.breaks(NEXT);
                }
                truth.acknowledge(self.op(), Some(slot.get()));
            }
            Answer::Moved => {
                if truth.log.contains(&self.op()) {
                    truth.breaks(NEXT);
                }
                self.number += 1;
                return self.begin(tail, truth);
            }
            // The caller must read whether the op took effect.
            Answer::Unknown(Reason::Moved) => {}
            Answer::Known => truth.acknowledge(self.op(), None),
            Answer::NotAppended | Answer::Unknown(_) => truth.breaks("no request fails, and nothing is forgotten"),
        }
        self.taker = None;
        if self.position == self.ops {
            let ended = Self { life: 0, number: 0, commit: None, marks: BTreeMap::new(), ..self.clone() };
            *self = Self { condition: Condition::Free, ..ended };
            return;
        }
        self.position += 1;
        self.number += 1;
        self.begin(tail, truth);
    }

    fn learn(&mut self, slot: u64, segment: &Segment) {
        let known = self.marks.entry(segment.op.source).or_insert((segment.op.position, slot));
        *known = (known.0.max(segment.op.position), known.1.max(slot));
    }

    /// Whether the log does not hold the op yet.
    fn is_left(&self) -> bool {
        let mut held = Held::default();
        for (source, (position, slot)) in &self.marks {
            held.add(&source_name(*source), u128::from(*position), sequence(*slot));
        }
        !self.sourced || !held.hold(&source_name(self.source), u128::from(self.position))
    }
}
