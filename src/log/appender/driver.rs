//! The driver of a commit: it performs the machine's actions, and returns their results as
//! observations.

mod answer;
mod attempt;
mod reads;
#[cfg(feature = "simulation")]
mod without;

use std::time::Duration;

use deltafold_format::{SegmentFront, Sequence, Uid};

use super::super::backlog::{BacklogLimit, Known, Lag, Weight};
use super::super::dedup::HighWaterMarks;
use super::super::read::find_tail;
use super::batch::Batch;
use super::commit::{self, Action, Failure, NewBatch, Observation, State};
use super::entry::Failed;
use super::fairness::{Backoff, Fairness};
use super::request::AppendResult;
use crate::env;
use crate::error::{Error, Repr, Result};
use crate::head::HeadState;
use crate::retry;
use crate::shard::Shard;
use crate::store::StoreError;
use answer::{answered, failure};
use attempt::pause;
pub(super) use reads::check;

/// Commits the batches of one writer to one shard, one after the other.
pub(super) struct Driver {
    shard: Shard,
    writer: Uid,
    tail: Option<commit::Tail>,
    /// The head read last.
    head: Option<HeadState>,
    /// Complete up to the tail if the tail says so.
    marks: HighWaterMarks,
    fairness: Fairness,
    /// The segments of known weight.
    known: Known,
    /// The longest log that accepts appends.
    max_backlog: BacklogLimit,
    pub(super) failed: Failed,
}

/// The progress of a commit.
pub(super) enum Progress {
    /// The batch is in a slot, and no head was checked for it yet.
    Landed(Landed),
    Decided(Result<AppendResult>),
}

/// A commit that waits for the head check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Landed(State);

/// One run of the machine.
struct Run<'a> {
    batch: &'a mut Batch,
    state: State,
    backoff: Backoff,
    /// Whether the length of the log was checked.
    is_admitted: bool,
    /// Failed attempts.
    failures: u32,
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
    /// The failure of the last attempt.
    failure: Option<StoreError>,
    /// The header read in the slot under examination.
    taker: Option<SegmentFront>,
    /// The error for the answer.
    error: Option<Error>,
}

impl Driver {
    pub(super) fn new(shard: Shard, writer: Uid, max_backlog: BacklogLimit) -> Self {
        Self {
            shard,
            writer,
            tail: None,
            head: None,
            marks: HighWaterMarks::default(),
            fairness: Fairness::default(),
            known: Known::default(),
            max_backlog,
            failed: Failed::new(),
        }
    }

    pub(super) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The head read last.
    pub(super) fn head(&self) -> Option<HeadState> {
        self.head.clone()
    }

    /// The backlog of the shard, by the head read last.
    pub(super) fn lag(&mut self) -> Option<Lag> {
        let (tail, head) = (self.tail.as_ref()?, &self.head.as_ref()?.head);
        let segments = tail.slot.get().saturating_sub(head.folded.next().get());
        let Weight { ops, bytes } = self.known.behind(head.folded);
        Some(Lag { shard: self.shard.id(), version: head.version, segments, ops, bytes })
    }

    /// The slot behind the one that a batch will get. `None` if the end of the log is not known, or
    /// another writer appends, too.
    pub(super) fn slot_behind(&self, batch: &Batch) -> Option<Sequence> {
        let tail = self.tail.filter(|_| self.fairness.is_alone() && batch.always_lands())?;
        Some(if matches!(batch.body(), Ok(Some(_))) { tail.slot.next() } else { tail.slot })
    }

    /// Commits a batch. If it landed, [`confirm`](Self::confirm) must decide whether the slot
    /// counts.
    pub(super) async fn commit(&mut self, batch: &mut Batch) -> Progress {
        let left = match batch.is_left() {
            Ok(left) => left,
            Err(error) => return Progress::Decided(Err(error)),
        };
        let new = NewBatch { number: batch.number, sourced: batch.sourced(), left, behind: batch.behind };
        let (state, _) = State::begin(self.tail, new);
        self.run(batch, state, None).await
    }

    /// Decides a landed batch by a head read after it. If the head sweeps the slot, the batch is
    /// looked up, and committed again unless it is in the log.
    pub(super) async fn confirm(
        &mut self,
        batch: &mut Batch,
        landed: Landed,
        checked: Result<HeadState>,
    ) -> Result<AppendResult> {
        let (mut landed, mut checked) = (landed, checked);
        loop {
            let (observation, error) = match checked {
                Ok(head) => (self.see_head(head), None),
                Err(error) => (Observation::Failed(failure(&error)), Some(error)),
            };
            let state = landed.0.with_tail(self.tail);
            let (state, action) = next(state, observation, None);
            if let Action::ReadSnapshot = action {
                tracing::info!(shard = %self.shard.id(), "a slot was swept before its head was checked; looking it up");
            }
            match self.run(batch, state, error).await {
                Progress::Decided(decided) => return decided,
                Progress::Landed(again) => landed = again,
            }
            checked = check(self.shard.clone(), self.head()).await;
        }
    }

    /// Drives the machine until the batch has landed or is decided.
    async fn run(&mut self, batch: &mut Batch, state: State, error: Option<Error>) -> Progress {
        let mut run = Run {
            batch,
            state,
            backoff: self.fairness.backoff(),
            is_admitted: false,
            failures: 0,
            pauses: Box::new(retry::pauses()),
            failure: None,
            taker: None,
            error,
        };
        let mut action = run.state.action();
        loop {
            self.tail = run.state.tail;
            let observation = match action {
                Action::Confirm { slot } => {
                    self.landed(run.batch, slot);
                    return Progress::Landed(Landed(run.state));
                }
                Action::Answer(answer) => return Progress::Decided(answered(&self.shard, answer, run.error)),
                action => match self.perform(&mut run, action).await {
                    Ok(observation) => observation,
                    Err(error) => {
                        let failure = failure(&error);
                        if run.error.is_none() || failure == Failure::Dropped {
                            run.error = Some(error);
                        }
                        Observation::Failed(failure)
                    }
                },
            };
            (run.state, action) = next(run.state, observation, run.failure.as_ref());
        }
    }

    async fn perform(&mut self, run: &mut Run<'_>, action: Action) -> Result<Observation> {
        match action {
            Action::ReadHead => {
                let head = self.shard.head().await?;
                self.shard.settle_registers().await?;
                Ok(self.see_head(head))
            }
            Action::CheckHead => {
                let head = check(self.shard.clone(), self.head()).await?;
                Ok(self.see_head(head))
            }
            Action::FindEnd { after, check_head } => {
                let shard = self.shard.clone();
                let (search, log_start) = self.beside(find_tail(&shard, after), check_head).await?;
                run.backoff.caught_up();
                Ok(Observation::Found { search, log_start })
            }
            Action::ReadSnapshot => {
                let (head, manifest) = self.shard.current().await?;
                self.head = Some(head);
                self.marks = HighWaterMarks::of(&manifest);
                Ok(Observation::Snapshot(self.snapshot(&manifest)))
            }
            Action::LearnMarks { after, mode } => {
                run.backoff.caught_up();
                Ok(Observation::Learned(self.learn(after, mode).await?))
            }
            Action::Deduplicate => self.deduplicate(run),
            Action::AwaitTurn { .. } => self.turn(run).await,
            Action::ReadSlot { slot, check_head } => self.read_slot(run, slot, check_head).await,
            Action::Create { slot, foreign } => self.create(run, slot, foreign).await,
            Action::Absorb { slot } => {
                run.backoff.passed();
                let Some(front) = run.taker.take() else { return Ok(Observation::Left(run.batch.is_left()?)) };
                self.fairness.taken(front.header().writer, slot);
                self.known.add(slot, Weight::of(&front));
                if self.knows_marks() {
                    self.marks.learn(front.header());
                    return self.deduplicate(run);
                }
                Ok(Observation::Left(run.batch.is_left()?))
            }
            Action::Pause => pause(run).await,
            Action::Settle => {
                self.shard.settle_log().await?;
                self.shard.settle_head().await?;
                Ok(Observation::Settled)
            }
            Action::SettleHead => {
                self.shard.settle_head().await?;
                Ok(Observation::Settled)
            }
            Action::Confirm { .. } | Action::Answer(_) => unreachable!("they end the run"),
        }
    }

    fn knows_marks(&self) -> bool {
        self.tail.is_some_and(|tail| tail.marks)
    }

    fn deduplicate(&mut self, run: &mut Run<'_>) -> Result<Observation> {
        run.batch.deduplicate(&self.marks, &mut self.failed);
        Ok(Observation::Left(run.batch.is_left()?))
    }

    /// Stores a head.
    fn see_head(&mut self, state: HeadState) -> Observation {
        let (applied, log_start) = (state.head.folded, state.head.truncated);
        self.head = Some(state);
        Observation::Head { applied, log_start }
    }

    /// Asks the fairness policy. Before the first attempt, also checks that the log may grow.
    async fn turn(&mut self, run: &mut Run<'_>) -> Result<Observation> {
        // A batch that may be in the log needs a decision, so it is never refused.
        if !std::mem::replace(&mut run.is_admitted, true) && !run.state.in_doubt() {
            self.admit().await?;
        }
        if let Some(rest) = run.backoff.take_rest() {
            env::sleep(rest).await;
        }
        Ok(Observation::Turn(self.fairness.turn(&mut run.backoff, run.state.in_doubt())))
    }

    /// Refuses to write if the log is too long. The head read last may be out of date, so one
    /// conditional GET decides.
    async fn admit(&mut self) -> Result<()> {
        let limit = self.max_backlog;
        if self.lag().is_none_or(|lag| !limit.is_passed(&lag)) {
            return Ok(());
        }
        self.head = Some(check(self.shard.clone(), self.head()).await?);
        match self.lag().filter(|lag| limit.is_passed(lag)) {
            Some(lag) => Err(Repr::Backlog { shard: lag.shard, excess: limit.excess(&lag) }.into()),
            None => Ok(()),
        }
    }

    /// The batch is in a slot. The log now holds the positions of its producers.
    fn landed(&mut self, batch: &Batch, slot: Sequence) {
        self.fairness.won(slot);
        self.known.add(slot, batch.weight());
        if self.knows_marks() {
            for mark in batch.marks() {
                self.marks.add(&mark.source, mark.position, slot);
            }
        }
    }
}

/// The next step after an observation. `failure` is the one of the last attempt. A simulation may
/// replace the observation.
fn next(state: State, observation: Observation, failure: Option<&StoreError>) -> (State, Action) {
    #[cfg(feature = "simulation")]
    let observation = without::distorted(&state, observation, failure);
    #[cfg(not(feature = "simulation"))]
    let _ = failure;
    commit::next(state, observation)
}
