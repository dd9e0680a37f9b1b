//! The driver of a commit: it does the requests that the machine asks for, and tells it what they
//! brought.

use std::pin::pin;
use std::time::Duration;

use deltafold_format::{Manifest, SegmentFront, Sequence, Uid};
use futures::FutureExt;
use futures::future::{Either, join, select, try_join};

use super::super::backlog::{BacklogLimit, Known, Lag, Weight};
use super::super::batch::{Batch, Creation};
use super::super::call::Placed;
use super::super::marks::Marks;
use super::super::member::Failed;
use super::super::tail::{Tail as ScanMode, find_tail, read_headers};
use super::super::writer_source;
use super::commit::{
    self, Action, Answer, Content, Created, End, Failure, LearnMode, NewBatch, Observation, OwnMark, Reason, Search,
    SlotRead, Snapshot, State, TAKEN, Without,
};
use super::fairness::{Backoff, Fairness};
use crate::env::{self, Stopwatch};
use crate::error::{Error, Repr, Result};
use crate::head::HeadState;
use crate::retry;
use crate::shard::{Shard, Slot};
use crate::simulation::Guard;
use crate::store::{StoreError, StoreErrorKind};

/// Bytes of headers in memory at once while the log is read for its marks.
const LEARN_BYTES: u64 = 8 << 20;

/// Commits the batches of one writer to one shard, one after the other.
pub(in crate::log) struct Driver {
    shard: Shard,
    writer: Uid,
    tail: Option<commit::Tail>,
    /// The head that was read last.
    head: Option<HeadState>,
    /// Complete up to the tail where the tail says so.
    marks: Marks,
    fairness: Fairness,
    /// The segments whose weight was seen.
    known: Known,
    /// The longest log that is appended to.
    max_backlog: BacklogLimit,
    pub(in crate::log) failed: Failed,
}

/// A batch that was placed.
pub(in crate::log) enum Placing {
    /// It is in a slot that no head was checked for yet.
    Landed(Landed),
    Decided(Result<Placed>),
}

/// A commit that waits for the check of the head.
#[derive(Debug, Clone, Copy)]
pub(in crate::log) struct Landed(State);

/// One run of the machine.
struct Run<'a> {
    batch: &'a mut Batch,
    state: State,
    backoff: Backoff,
    /// Whether the length of the log was looked at.
    is_admitted: bool,
    /// Attempts whose outcome was a failure.
    failures: u32,
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
    /// The failure of the last attempt.
    failure: Option<StoreError>,
    /// The header that was read in the slot that is looked at.
    taker: Option<SegmentFront>,
    /// The error to answer.
    error: Option<Error>,
}

impl Driver {
    pub(in crate::log) fn new(shard: Shard, writer: Uid, max_backlog: BacklogLimit) -> Self {
        Self {
            shard,
            writer,
            tail: None,
            head: None,
            marks: Marks::default(),
            fairness: Fairness::default(),
            known: Known::default(),
            max_backlog,
            failed: Failed::new(),
        }
    }

    pub(in crate::log) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The head that was read last.
    pub(in crate::log) fn head(&self) -> Option<HeadState> {
        self.head.clone()
    }

    /// The backlog of the shard by the head that was read last.
    pub(in crate::log) fn lag(&mut self) -> Option<Lag> {
        let (tail, head) = (self.tail.as_ref()?, &self.head.as_ref()?.head);
        let segments = tail.slot.get().saturating_sub(head.folded.next().get());
        let Weight { ops, bytes } = self.known.behind(head.folded);
        Some(Lag { shard: self.shard.id(), version: head.version, segments, ops, bytes })
    }

    /// The slot behind the one that a batch will come into, where the end of the log is known and no
    /// other writer is seen to append.
    pub(in crate::log) fn slot_behind(&self, batch: &Batch) -> Option<Sequence> {
        let tail = self.tail.filter(|_| self.fairness.is_alone() && !batch.sourced())?;
        Some(if matches!(batch.body(), Ok(Some(_))) { tail.slot.next() } else { tail.slot })
    }

    /// Places a batch. Where it landed, [`confirm`](Self::confirm) decides whether the slot counts.
    pub(in crate::log) async fn place(&mut self, batch: &mut Batch) -> Placing {
        let left = match batch.is_left() {
            Ok(left) => left,
            Err(error) => return Placing::Decided(Err(error)),
        };
        let new = NewBatch { number: batch.number, sourced: batch.sourced(), left };
        let (state, _) = State::begin(self.tail, new);
        self.run(batch, state, None).await
    }

    /// Decides a batch that landed, by a head that was read behind it. Where that sweeps the slot, the
    /// batch is looked up, and placed anew if it is not in the log.
    pub(in crate::log) async fn confirm(
        &mut self,
        batch: &mut Batch,
        landed: Landed,
        checked: Result<HeadState>,
    ) -> Result<Placed> {
        let (mut landed, mut checked) = (landed, checked);
        loop {
            let (observation, error) = match checked {
                Ok(head) => (self.see_head(head), None),
                Err(error) => (Observation::Failed(failure(&error)), Some(error)),
            };
            let state = landed.0.with_tail(self.tail);
            let (state, action) = commit::next(state, without().distort(&state, observation));
            if let Action::ReadSnapshot = action {
                tracing::info!(shard = %self.shard.id(), "a slot was swept before its head was checked; looking it up");
            }
            match self.run(batch, state, error).await {
                Placing::Decided(decided) => return decided,
                Placing::Landed(again) => landed = again,
            }
            checked = check(self.shard.clone(), self.head()).await;
        }
    }

    /// Drives the machine until the batch has landed or is decided.
    async fn run(&mut self, batch: &mut Batch, state: State, error: Option<Error>) -> Placing {
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
                    return Placing::Landed(Landed(run.state));
                }
                Action::Answer(answer) => return Placing::Decided(answered(answer, run.error)),
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
            (run.state, action) = commit::next(run.state, without().distort(&run.state, observation));
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
                self.marks = Marks::of(&manifest);
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
        run.batch.sift(&self.marks, &mut self.failed);
        Ok(Observation::Left(run.batch.is_left()?))
    }

    /// Remembers a head.
    fn see_head(&mut self, state: HeadState) -> Observation {
        let (applied, log_start) = (state.head.folded, state.head.truncated);
        self.head = Some(state);
        Observation::Head { applied, log_start }
    }

    /// Reads something, and checks the head beside it if that is asked for.
    async fn beside<T>(
        &mut self,
        reading: impl Future<Output = Result<T>>,
        check_head: bool,
    ) -> Result<(T, Option<Sequence>)> {
        if !check_head {
            return Ok((reading.await?, None));
        }
        let (read, checked) = join(reading, check(self.shard.clone(), self.head())).await;
        let (read, head) = (read?, checked?);
        let log_start = head.head.truncated;
        self.head = Some(head);
        Ok((read, Some(log_start)))
    }

    fn snapshot(&self, manifest: &Manifest) -> Snapshot {
        let source = writer_source(self.writer);
        let own = manifest.marks.iter().find(|mark| mark.source == source);
        let own = own.map(|mark| OwnMark {
            // The positions of a writer are the numbers of its batches.
            number: u64::try_from(mark.position).unwrap_or(u64::MAX),
            slot: mark.sequence,
        });
        Snapshot { applied: manifest.folded, own, eviction_watermark: manifest.marks_floor }
    }

    /// Learns marks and weights of the segments behind `after` from their headers, a part of the log
    /// at a time.
    async fn learn(&mut self, after: Sequence, mode: LearnMode) -> Result<Search> {
        let mode = match mode {
            LearnMode::FromSnapshot => ScanMode::Cold,
            LearnMode::FromTail => ScanMode::Probe,
        };
        let mut last = after;
        loop {
            let read = read_headers(&self.shard, last, LEARN_BYTES, mode).await?;
            for (sequence, slot) in &read.slots {
                if let Slot::Segment(front) = slot {
                    self.marks.learn(front.header());
                    self.known.add(*sequence, Weight::of(front));
                }
                last = *sequence;
            }
            if read.swept {
                return Ok(Search::Swept);
            }
            if read.end {
                let slot = Sequence::new(last.get() + 1 + u64::from(read.foreign)).unwrap_or(last);
                return Ok(Search::At(End { slot, foreign: read.foreign }));
            }
        }
    }

    /// Asks the fairness policy, and before the first attempt whether the log may grow.
    async fn turn(&mut self, run: &mut Run<'_>) -> Result<Observation> {
        // A batch that may be in the log is decided, not refused.
        if !std::mem::replace(&mut run.is_admitted, true) && !run.state.in_doubt() {
            self.admit().await?;
        }
        if let Some(rest) = run.backoff.take_rest() {
            env::sleep(rest).await;
        }
        Ok(Observation::Turn(self.fairness.turn(&mut run.backoff, run.state.in_doubt())))
    }

    /// Refuses to write where the log is too long. The head that was read last may be out of date: one
    /// conditional GET decides.
    async fn admit(&mut self) -> Result<()> {
        let limit = self.max_backlog;
        if self.lag().is_none_or(|lag| !limit.is_passed(&lag)) {
            return Ok(());
        }
        self.head = Some(check(self.shard.clone(), self.head()).await?);
        match self.lag().filter(|lag| limit.is_passed(lag)) {
            Some(lag) => Err(Repr::Backlog { lag, limit }.into()),
            None => Ok(()),
        }
    }

    async fn read_slot(&mut self, run: &mut Run<'_>, slot: Sequence, check_head: bool) -> Result<Observation> {
        let started = Stopwatch::start();
        let shard = self.shard.clone();
        let (read, log_start) = self.beside(shard.slot_header(slot), check_head).await?;
        let content = self.content(run, read);
        if content == Content::Absent {
            self.fairness.found_empty(&mut run.backoff, started);
        }
        Ok(Observation::Slot(SlotRead { content, log_start }))
    }

    /// The content of a slot. The header of another batch is kept until it is absorbed.
    fn content(&self, run: &mut Run<'_>, slot: Slot<SegmentFront>) -> Content {
        run.taker = None;
        match slot {
            Slot::Absent => Content::Absent,
            Slot::Void => Content::Foreign,
            Slot::Segment(front) => {
                let header = front.header();
                let is_own = header.writer == self.writer && header.batch == run.batch.number;
                run.taker = Some(front);
                if is_own { Content::Own } else { Content::Other }
            }
        }
    }

    /// Creates the batch in a slot, and glances at the slot meanwhile if the fairness policy says so.
    async fn create(&mut self, run: &mut Run<'_>, slot: Sequence, foreign: u32) -> Result<Observation> {
        let glance_after = self.fairness.glance(&run.backoff);
        let (shard, head) = (self.shard.clone(), self.head());
        let check_head = run.state.has_refusal();
        let started = Stopwatch::start();
        let creating = run.batch.create(&shard, self.writer, slot, foreign);
        let creating = env::attempting(run.failures + 1, creating).map(|created| (created, started.elapsed()));
        let glance = async {
            env::sleep(glance_after.unwrap_or_default()).await;
            let head = async {
                match head {
                    seen if check_head => check(shard.clone(), seen).await.map(Some),
                    _ => Ok(None),
                }
            };
            // A glance that fails is asked for again where it matters.
            try_join(shard.slot_header(slot), head).await.ok()
        };
        let ((created, took), seen) = if glance_after.is_some() {
            match select(pin!(creating), pin!(glance)).await {
                Either::Left((created @ (Creation::Refused, _), glance)) => (created, glance.await),
                Either::Left((created, _)) => (created, None),
                Either::Right((seen, creating)) => (creating.await, seen),
            }
        } else {
            (creating.await, None)
        };
        self.fairness.wrote(took);
        self.created(run, created, seen)
    }

    fn created(
        &mut self,
        run: &mut Run<'_>,
        created: Creation,
        seen: Option<(Slot<SegmentFront>, Option<HeadState>)>,
    ) -> Result<Observation> {
        run.taker = None;
        let created = match created {
            Creation::Done => Created::Done,
            Creation::Refused => match seen {
                Some((slot @ Slot::Segment(_), head)) => {
                    let log_start = head.as_ref().map(|head| head.head.truncated);
                    self.head = head.or(self.head.take());
                    Created::RefusedBy(SlotRead { content: self.content(run, slot), log_start })
                }
                _ => Created::Refused,
            },
            Creation::Unknown(error) => {
                run.failure = Some(error);
                Created::Unknown
            }
            Creation::Failed(error) if error.is_conflict() && !Guard::TryAgainIsNotTaken.holds() => TAKEN,
            Creation::Failed(error) => {
                run.failure = Some(error);
                Created::Failed
            }
            Creation::Invalid(error) => return Err(error),
        };
        Ok(Observation::Created(created))
    }

    /// The batch is in a slot. The log holds from now on what it holds of its producers.
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

/// Pauses before another attempt, or gives up.
async fn pause(run: &mut Run<'_>) -> Result<Observation> {
    let failure = run.failure.take();
    let is_hopeless = failure.as_ref().is_some_and(|error| error.kind() != StoreErrorKind::Transient);
    run.failures += 1;
    match run.pauses.next().filter(|_| !is_hopeless) {
        Some(pause) => {
            env::sleep(pause).await;
            Ok(Observation::Paused)
        }
        None => Err(failure.map_or_else(
            || Repr::Conflict("the slot at the log's end comes and goes; try again".to_owned()).into(),
            Error::from,
        )),
    }
}

/// The head, if need be read again since it was `seen`. One GET, conditional where there is one.
pub(in crate::log) async fn check(shard: Shard, seen: Option<HeadState>) -> Result<HeadState> {
    match seen {
        None => shard.head().await,
        Some(seen) => Ok(shard.head_unless(&seen).await?.unwrap_or(seen)),
    }
}

/// The rules that a test switched off.
fn without() -> Without {
    Without {
        head_check: !Guard::HeadCheck.holds(),
        batch_id: !Guard::BatchId.holds(),
        same_slot: !Guard::UnknownIsNotRefused.holds(),
        unknown_is_not_done: !Guard::UnknownIsNotDone.holds(),
        own_mark: !Guard::WriterMark.holds(),
        slot_counts: !Guard::PassedIsRead.holds(),
        marks_recheck: !Guard::MarksRecheck.holds(),
    }
}

fn failure(error: &Error) -> Failure {
    if matches!(error.repr(), Repr::Dropped(_)) { Failure::Dropped } else { Failure::Other }
}

/// The result of a commit for its callers.
fn answered(answer: Answer, error: Option<Error>) -> Result<Placed> {
    let reason = match answer {
        Answer::At(slot) => return Ok(Placed::At(slot)),
        Answer::Known => return Ok(Placed::Known),
        Answer::NotAppended => match error {
            Some(error) => return Err(error),
            None => "a request failed",
        },
        Answer::Unknown(Reason::Failed) => match error {
            Some(error) => return Err(unknown(&error)),
            None => "a request failed",
        },
        Answer::Unknown(Reason::TwoSlots) => "it was folded from one of two slots, and which one was forgotten",
        Answer::Unknown(Reason::LaterBatch) => "a later batch of the writer was folded",
        Answer::Unknown(Reason::Forgotten) => "so many writers came since that the manifest forgot this one",
    };
    Err(unknown(&reason))
}

fn unknown(error: &dyn std::fmt::Display) -> Error {
    Repr::Unknown { what: "an append".to_owned(), error: error.to_string() }.into()
}
