//! The state of all processes and the store, and the actions possible from it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use stateright::{Model, Property};

use super::bounds::{Bounds, Guards};
use super::compactor::Compactor;
use super::pinner::Pinner;
use super::properties;
use super::reader::{Follower, Reader};
use super::store::{Outcome, Store, Truth, Write};
use super::sweeper::Sweeper;
use super::writer::Writer;
use crate::log::commit::Turn;

#[derive(Debug)]
pub(super) struct Protocol {
    pub(super) bounds: Bounds,
    pub(super) guards: Guards,
    /// Checks this property alone, if it is set.
    only: Option<&'static str>,
    /// States from which every process is known to end when faults stop.
    ending: Mutex<HashSet<u64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) truth: Truth,
    pub(super) processes: Vec<Process>,
    /// Writes whose answer was lost and which have not arrived.
    late: Vec<Write>,
    lost: u8,
    echoes: u8,
    turns: u8,
    crashes: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Process {
    Writer(Writer),
    Compactor(Compactor),
    Sweeper(Sweeper),
    Pinner(Pinner),
    Reader(Reader),
    Follower(Follower),
    /// A process that has ended. Its memory makes no difference any more.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A process does its next request and has the answer.
    Request(usize),
    /// A process sends its next write, and the answer is lost.
    Lose(usize),
    /// A process sends its next write, which succeeds, and hears that it was refused.
    Echo(usize),
    /// A writer looks at the next slot, or catches up with the tail, before it tries.
    Turn(usize, Turn),
    /// A write whose answer was lost arrives.
    Arrive(usize),
    /// A write whose answer was lost never arrives.
    Vanish(usize),
    Crash(usize),
}

impl Process {
    pub(super) fn ended(&self) -> bool {
        match self {
            Self::Writer(writer) => writer.ended(),
            Self::Compactor(compactor) => compactor.ended(),
            Self::Sweeper(sweeper) => sweeper.ended(),
            Self::Pinner(pinner) => pinner.ended(),
            Self::Reader(reader) => reader.ended(),
            Self::Follower(follower) => follower.ended(),
            Self::Ended => true,
        }
    }

    fn write(&self) -> Option<Write> {
        match self {
            Self::Writer(writer) => writer.write(),
            Self::Compactor(compactor) => compactor.write(),
            Self::Sweeper(sweeper) => sweeper.write(),
            Self::Pinner(pinner) => pinner.write(),
            Self::Reader(_) | Self::Follower(_) | Self::Ended => None,
        }
    }

    fn answered(&mut self, outcome: Outcome, truth: &mut Truth, guards: &Guards) {
        match self {
            Self::Writer(writer) => writer.answered(outcome, truth, guards),
            Self::Compactor(compactor) => compactor.answered(outcome),
            Self::Sweeper(sweeper) => sweeper.answered(outcome, guards),
            Self::Pinner(pinner) => pinner.answered(outcome, truth),
            Self::Reader(_) | Self::Follower(_) | Self::Ended => {}
        }
        self.forget();
    }

    fn read(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) {
        match self {
            Self::Writer(writer) => writer.read(store, truth, guards),
            Self::Compactor(compactor) => compactor.read(store, truth, guards),
            Self::Sweeper(sweeper) => sweeper.read(store, truth, guards),
            Self::Pinner(pinner) => pinner.read(store, truth, guards),
            Self::Reader(reader) => reader.read(store, truth, guards),
            Self::Follower(follower) => follower.read(store, truth, guards),
            Self::Ended => {}
        }
        self.forget();
    }

    fn forget(&mut self) {
        if self.ended() {
            *self = Self::Ended;
        }
    }

    /// The process dies and begins anew. A reader that dies counts as one that did not read.
    fn crash(&mut self) -> bool {
        match self {
            Self::Writer(writer) => writer.crash(),
            Self::Compactor(compactor) => compactor.crash(),
            Self::Sweeper(sweeper) => sweeper.crash(),
            Self::Pinner(pinner) => pinner.crash(),
            Self::Reader(_) | Self::Follower(_) | Self::Ended => return false,
        }
        self.forget();
        true
    }
}

impl State {
    pub(super) fn finished(&self) -> bool {
        self.processes.iter().all(Process::ended)
    }

    /// A process whose next step no other process can tell from any other moment. It therefore goes
    /// first. An example is the write of an object under a name of its own while no process lists
    /// such names.
    fn unseen(&self) -> Option<usize> {
        let looked_at = self.processes.iter().any(|p| matches!(p, Process::Sweeper(sweeper) if sweeper.looks()));
        let unseen = |process: &Process| matches!(process.write(), Some(Write::Parts(..)));
        if looked_at { None } else { self.processes.iter().position(unseen) }
    }
}

impl Protocol {
    pub(super) fn new(bounds: Bounds, guards: Guards) -> Self {
        Self { bounds, guards, only: None, ending: Mutex::default() }
    }

    /// Checks one property alone, which is cheaper than all of them.
    pub(super) fn only(self, property: &'static str) -> Self {
        Self { only: Some(property), ..self }
    }

    fn request(&self, state: &mut State, process: usize) {
        match state.processes[process].write() {
            Some(write) => {
                let outcome = state.store.arrive(write, &mut state.truth);
                state.processes[process].answered(outcome, &mut state.truth, &self.guards);
            }
            None => state.processes[process].read(&state.store, &mut state.truth, &self.guards),
        }
    }

    /// Whether every process ends when faults stop: no answer is lost, no process crashes, and they
    /// run one after the other. No process waits for another, so they also end in any other order.
    pub(super) fn ends(&self, state: &State) -> bool {
        let mut state = state.clone();
        let mut passed = Vec::new();
        // Far more steps than any process needs.
        for _ in 0..500 {
            let fingerprint = fingerprint(&state);
            if self.ending.lock().unwrap().contains(&fingerprint) || state.finished() || state.truth.broken.is_some() {
                self.ending.lock().unwrap().extend(passed);
                return true;
            }
            passed.push(fingerprint);
            let next = state.processes.iter().position(|process| !process.ended()).unwrap();
            self.request(&mut state, next);
        }
        false
    }
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&state.store, &state.truth, &state.processes).hash(&mut hasher);
    hasher.finish()
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let bounds = &self.bounds;
        let mut processes: Vec<Process> = Vec::new();
        for index in 0..bounds.writers {
            processes.push(Process::Writer(Writer::new(index, bounds)));
        }
        for _ in 0..bounds.compactors {
            let process = u8::try_from(processes.len()).unwrap();
            processes.push(Process::Compactor(Compactor::new(process, bounds.rounds)));
        }
        for _ in 0..bounds.sweepers {
            let process = u8::try_from(processes.len()).unwrap();
            processes.push(Process::Sweeper(Sweeper::new(process, bounds.sweeps, bounds.keep_versions)));
        }
        for number in 0..bounds.pinners + bounds.unpinners {
            let process = u8::try_from(processes.len()).unwrap();
            let pins = number < bounds.pinners;
            processes.push(Process::Pinner(if pins { Pinner::new(process) } else { Pinner::unpinner(process) }));
        }
        processes.extend((0..bounds.readers).map(|_| Process::Reader(Reader::new())));
        let slots = u64::from(bounds.writers) * u64::from(bounds.ops);
        processes.extend((0..bounds.listers_up).map(|_| Process::Reader(Reader::lister(1..=slots))));
        processes.extend((0..bounds.listers_down).map(|_| Process::Reader(Reader::lister((1..=slots).rev()))));
        processes.extend((0..bounds.followers).map(|_| Process::Follower(Follower::new())));
        let truth = Truth::default();
        let Bounds { lost, echoes, turns, crashes, .. } = *bounds;
        vec![State { store: Store::empty(), truth, processes, late: Vec::new(), lost, echoes, turns, crashes }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.truth.broken.is_some() {
            return;
        }
        if let Some(process) = state.unseen() {
            steps.push(Step::Request(process));
            return;
        }
        for (index, process) in state.processes.iter().enumerate().filter(|(_, process)| !process.ended()) {
            steps.push(Step::Request(index));
            let loses = matches!(process.write(), Some(Write::Segment(..) | Write::Swap(..) | Write::DeleteSegment(_)));
            if state.lost > 0 && loses {
                steps.push(Step::Lose(index));
            }
            if state.echoes > 0 && matches!(process.write(), Some(Write::Segment(..) | Write::Swap(..))) {
                steps.push(Step::Echo(index));
            }
            if state.turns > 0 && matches!(process, Process::Writer(writer) if writer.awaits_turn()) {
                steps.extend([Step::Turn(index, Turn::Look), Step::Turn(index, Turn::CatchUp)]);
            }
            if state.crashes > 0 && !matches!(process, Process::Reader(_) | Process::Follower(_)) {
                steps.push(Step::Crash(index));
            }
        }
        for late in 0..state.late.len() {
            steps.extend([Step::Arrive(late), Step::Vanish(late)]);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Request(process) => self.request(&mut state, process),
            Step::Lose(process) => {
                state.lost -= 1;
                state.late.push(state.processes[process].write()?);
                state.processes[process].answered(Outcome::Unknown, &mut state.truth, &self.guards);
            }
            Step::Echo(process) => {
                state.echoes -= 1;
                let write = state.processes[process].write()?;
                if state.store.arrive(write, &mut state.truth) != Outcome::Done {
                    // As without an echo.
                    return None;
                }
                state.processes[process].answered(Outcome::Refused, &mut state.truth, &self.guards);
            }
            Step::Turn(process, turn) => {
                state.turns -= 1;
                let Process::Writer(writer) = &mut state.processes[process] else { return None };
                writer.turn(turn, &mut state.truth);
            }
            Step::Arrive(late) => {
                let write = state.late.remove(late);
                state.store.arrive(write, &mut state.truth);
            }
            Step::Vanish(late) => drop(state.late.remove(late)),
            Step::Crash(process) => {
                state.crashes -= 1;
                if !state.processes[process].crash() {
                    return None;
                }
            }
        }
        properties::judge(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all().into_iter().filter(|property| self.only.is_none_or(|only| only == property.name)).collect()
    }
}
