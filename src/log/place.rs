//! Placing a batch at the tail: the protocol of `docs/design.md`, section "Append".

mod confirm;
mod learn;
mod refused;

use std::pin::pin;
use std::time::Duration;

use deltafold_format::{SegmentFront, Sequence, Uid};
use futures::FutureExt;
use futures::future::{Either, select, try_join};

use super::backlog::{BacklogLimit, Known, Lag, Weight};
use super::batch::Batch;
use super::marks::Marks;
use super::member::Failed;
use super::turn::Turns;
use crate::env::{self, Stopwatch};
use crate::error::{Error, Repr, Result};
use crate::head::HeadState;
use crate::retry;
use crate::shard::{Shard, Slot};
use crate::simulation::Guard;
use crate::store::{Outcome, StoreError, StoreErrorKind};

pub(super) use confirm::check;
use refused::Taken;

/// After losing this many slots in a row to others, the tail is looked up instead of tried for.
const LOST_BEFORE_LOOKUP: u32 = 3;
/// After reading this many slots in a row that others have taken, too.
const PASSED_BEFORE_LOOKUP: usize = 8;
/// Whoever appends again within so many times what a write takes is in the midst of others that do.
const HOT: u32 = 4;
/// After losing this many slots in a row to others, each is glanced at beside asking for it: so much of a write's time later.
const LOST_BEFORE_GLANCE: u32 = 2;
const GLANCE: u32 = 8;

/// Appends the batches of one writer to one shard, one after the other.
pub(super) struct Placer {
    shard: Shard,
    writer: Uid,
    tail: Option<KnownTail>,
    /// All positions below the tail; only where somebody appends from a source.
    marks: Option<Marks>,
    turns: Turns,
    /// The segments whose weight was seen.
    known: Known,
    /// The longest log that is appended to.
    max_backlog: BacklogLimit,
    /// How long the last write took.
    write: Duration,
    /// Since the last batch landed.
    since: Option<Stopwatch>,
    pub(super) failed: Failed,
}

/// What is believed of the log.
struct KnownTail {
    /// The first slot that may be free.
    next: Sequence,
    /// How many slots directly in front of it hold segments of other collections.
    passed: u32,
    head: HeadState,
}

/// What became of an attempt to create a slot, and what was seen beside it.
type Created = (Result<Outcome, StoreError>, Option<Glance>);

/// What is seen of a slot that somebody else may have taken.
struct Glance {
    slot: Slot<SegmentFront>,
    /// The head, if a refusal before this one was to be decided, and if it has changed.
    head: Option<HeadState>,
}

impl Placer {
    pub(super) fn new(shard: Shard, writer: Uid, max_backlog: BacklogLimit) -> Self {
        let (turns, known, write, since, failed) =
            (Turns::default(), Known::default(), Duration::ZERO, None, Failed::new());
        Self { shard, writer, tail: None, marks: None, turns, known, max_backlog, write, since, failed }
    }

    pub(super) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The head as last seen; whoever placed a batch has seen one.
    pub(super) fn head(&self) -> Option<HeadState> {
        self.tail.as_ref().map(|tail| tail.head.clone())
    }

    /// How far folding is behind, by the head as last seen; `None` before one was.
    pub(super) fn lag(&mut self) -> Option<Lag> {
        let tail = self.tail.as_ref()?;
        let (version, folded) = (tail.head.head.version, tail.head.head.folded);
        let segments = tail.next.get().saturating_sub(folded.next().get());
        let Weight { ops, bytes } = self.known.behind(folded);
        Some(Lag { shard: self.shard.id(), version, segments, ops, bytes })
    }

    /// Refuses to write where the log is too long. The head that was seen last may be out of date: one
    /// conditional GET decides.
    async fn admit(&mut self) -> Result<()> {
        let limit = self.max_backlog;
        if self.lag().is_none_or(|lag| !limit.is_passed(&lag)) {
            return Ok(());
        }
        if let Some(tail) = &mut self.tail
            && let Some(head) = self.shard.head_unless(&tail.head).await?
        {
            tail.head = head;
        }
        match self.lag().filter(|lag| limit.is_passed(lag)) {
            Some(lag) => Err(Repr::Backlog { lag, limit }.into()),
            None => Ok(()),
        }
    }

    /// The slot behind the one that a batch will come into, as far as can be told: where the end of the log is known, and nobody else is seen to append.
    pub(super) fn slot_behind(&self, batch: &Batch) -> Option<Sequence> {
        let tail = self.tail.as_ref().filter(|_| self.turns.is_alone() && !batch.sourced())?;
        Some(if matches!(batch.body(), Ok(Some(_))) { tail.next.next() } else { tail.next })
    }

    /// Places a batch. The slot it is in counts only once [`confirm`](Self::confirm) has seen a head that does not truncate it. `None` where everything in it
    /// was in the log before.
    pub(super) async fn place(&mut self, batch: &mut Batch) -> Result<Option<Sequence>> {
        let placed = match self.try_place(batch).await {
            Ok(None) if batch.sourced() => self.settled().await,
            // It may be in the log all the same: a refusal before the failure decides.
            Err(error) => match self.decide_refused(batch).await {
                Ok(None) => Err(error),
                Ok(landed) => Ok(landed),
                Err(dropped) if matches!(dropped.repr(), Repr::Dropped(_)) => Err(dropped),
                Err(_) => Err(unknown(&error)),
            },
            placed => placed,
        };
        match placed {
            // Another slot is in doubt still.
            Err(error) if batch.doubt => Err(unknown(&error)),
            placed => placed,
        }
    }

    /// Nothing was written: whoever hears that the log holds it already rests on what was read of it.
    async fn settled(&self) -> Result<Option<Sequence>> {
        self.shard.settle_log().await?;
        self.shard.settle_head().await?;
        Ok(None)
    }

    async fn try_place(&mut self, batch: &mut Batch) -> Result<Option<Sequence>> {
        if batch.body()?.is_some() {
            self.find(batch).await?;
        }
        // What may be in the log already is decided, not refused.
        if batch.body()?.is_some() && !batch.doubt {
            self.admit().await?;
        }
        let mut pauses = retry::pauses();
        let mut lost = 0;
        let mut hot = self.since.is_some_and(|since| since.elapsed() < self.write * HOT);
        for attempt in 1.. {
            if hot && !batch.doubt {
                self.wait_for_turn(batch).await?;
            }
            let Some(n) = self.next_slot(batch).await? else { return Ok(None) };
            if batch.refused.is_some_and(|refused| refused.next() != n) {
                match self.decide_refused(batch).await? {
                    Some(landed) => return Ok(Some(landed)),
                    None => continue,
                }
            }
            let glances = hot && (self.turns.is_new() || lost >= LOST_BEFORE_GLANCE);
            let (created, seen) = env::attempting(attempt - lost, self.create(batch, n, glances)).await?;
            let failure = match created {
                Ok(Outcome::Done(_)) => return Ok(Some(self.landed(batch, n))),
                Ok(Outcome::Refused) => match self.refused(batch, n, seen).await? {
                    Taken::Ours(slot) => return Ok(Some(self.landed(batch, slot))),
                    Taken::Lost => {
                        lost += 1;
                        hot = true;
                        if lost % LOST_BEFORE_LOOKUP == 0 {
                            self.catch_up(batch).await?;
                        }
                        continue;
                    }
                    Taken::Swept => {
                        let looked = self.look_up(batch, n).await;
                        // The refusal may have been the echo of a success that was folded since.
                        batch.doubt |= looked.is_err();
                        match looked? {
                            Some(landed) => return Ok(Some(landed)),
                            None => continue,
                        }
                    }
                    Taken::Gone => None,
                },
                // Nobody knows whether it landed or still will: the same slot again, never the next, until it is decided.
                Ok(Outcome::Unknown(_)) if !Guard::UnknownIsNotDone.holds() => return Ok(Some(self.landed(batch, n))),
                Ok(Outcome::Unknown(_)) if !Guard::UnknownIsNotRefused.holds() => {
                    self.pass(n);
                    continue;
                }
                Ok(Outcome::Unknown(error)) => {
                    batch.doubt = true;
                    Some(error)
                }
                Err(error) if error.is_conflict() && !Guard::TryAgainIsNotTaken.holds() => {
                    self.pass(n);
                    continue;
                }
                Err(error) => Some(error),
            };
            self.pause(failure, &mut pauses).await?;
        }
        unreachable!("the pauses end long before the numbers do")
    }

    /// Lets those go first who have waited longer: reads the slots that they take, until it is this writer's turn or nobody comes.
    async fn wait_for_turn(&mut self, batch: &mut Batch) -> Result<()> {
        let (mut empty, mut passed) = (0, 0);
        while empty < self.turns.patience() {
            let Some(n) = self.next_slot(batch).await? else { return Ok(()) };
            let stopwatch = Stopwatch::start();
            let shard = self.shard.clone();
            let (slot, swept) = self.beside(batch, shard.slot_header(n)).await?;
            if swept {
                return Ok(());
            }
            match slot {
                Slot::Absent => {
                    (empty, passed) = (empty + 1, 0);
                    env::sleep((self.write * self.turns.spacing()).saturating_sub(stopwatch.elapsed())).await;
                }
                slot => {
                    (empty, passed) = (0, passed + 1);
                    if !self.passed(batch, n, &slot).await? {
                        self.forget();
                    }
                    if passed % PASSED_BEFORE_LOOKUP == 0 {
                        self.catch_up(batch).await?;
                    }
                }
            }
        }
        self.turns.waited();
        Ok(())
    }

    /// The slot to try; `None` where nothing is left to write.
    async fn next_slot(&mut self, batch: &mut Batch) -> Result<Option<Sequence>> {
        loop {
            if batch.body()?.is_none() {
                return Ok(None);
            }
            if let Some(tail) = &self.tail {
                return Ok(Some(tail.next));
            }
            self.find(batch).await?;
        }
    }

    /// Creates the batch in slot `n`. Whoever `glances` looks at who has the slot beside asking for it, and so is at the next one a request earlier than those who look when they are refused: who is new in the
    /// midst of others, as nobody waits for it yet, and who lost again and again.
    async fn create(&mut self, batch: &mut Batch, n: Sequence, glances: bool) -> Result<Created> {
        let Self { shard, writer, write, tail, .. } = self;
        let stopwatch = Stopwatch::start();
        let pause = *write / GLANCE;
        let seen = tail.as_ref().filter(|_| batch.refused.is_some()).map(|tail| tail.head.clone());
        let passed = tail.as_ref().map_or(0, |tail| tail.passed);
        let creating = batch.create(shard, *writer, n, passed).map(|created| (created, stopwatch.elapsed()));
        let glance = async {
            env::sleep(pause).await;
            let head = async {
                match &seen {
                    Some(seen) => shard.head_unless(seen).await,
                    None => Ok(None),
                }
            };
            // What fails is asked again where it matters.
            let (slot, head) = try_join(shard.slot_header(n), head).await.ok()?;
            Some(Glance { slot, head })
        };
        let ((created, took), seen) = if glances {
            match select(pin!(creating), pin!(glance)).await {
                Either::Left((created @ (Ok(Ok(Outcome::Refused)), _), glance)) => (created, glance.await),
                Either::Left((created, _)) => (created, None),
                Either::Right((seen, creating)) => (creating.await, seen),
            }
        } else {
            (creating.await, None)
        };
        *write = took;
        Ok((created?, seen))
    }

    /// The batch is in slot `n`: what it holds of its sources is held.
    fn landed(&mut self, batch: &Batch, n: Sequence) -> Sequence {
        self.pass(n);
        self.turns.won(n);
        self.known.add(n, batch.weight());
        self.since = Some(Stopwatch::start());
        if let Some(marks) = &mut self.marks {
            for mark in batch.marks() {
                marks.add(&mark.source, mark.position, n);
            }
        }
        n
    }

    /// Believes nothing any more: after a batch that landed and may not count.
    pub(super) fn forget(&mut self) {
        self.tail = None;
        self.marks = None;
    }

    /// A segment of this collection is in slot `n`.
    fn pass(&mut self, n: Sequence) {
        if let Some(tail) = &mut self.tail
            && n >= tail.next
        {
            (tail.next, tail.passed) = (n.next(), 0);
        }
    }

    /// A segment of another collection is in slot `n`.
    fn pass_foreign(&mut self, n: Sequence) {
        match &mut self.tail {
            Some(tail) if tail.next == n => (tail.next, tail.passed) = (n.next(), tail.passed + 1),
            // The slots in front were not seen: they are looked up.
            Some(tail) if tail.next < n => self.forget(),
            _ => {}
        }
    }

    /// Pauses before another attempt, or gives up.
    async fn pause(&self, failure: Option<StoreError>, pauses: &mut impl Iterator<Item = Duration>) -> Result<()> {
        let hopeless = failure.as_ref().is_some_and(|error| error.kind() != StoreErrorKind::Transient);
        match pauses.next().filter(|_| !hopeless) {
            Some(pause) => {
                env::sleep(pause).await;
                Ok(())
            }
            None => Err(failure.map_or_else(
                || Repr::Conflict("the slot at the log's end comes and goes; try again".to_owned()).into(),
                Error::from,
            )),
        }
    }
}

fn unknown(error: &dyn std::fmt::Display) -> Error {
    Repr::Unknown { what: "an append".to_owned(), error: error.to_string() }.into()
}
