//! A lane: the task that appends to one shard for all callers of a writer. While one segment is on its way, the calls that come
//! gather for the next: group commit.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use deltafold_format::limits::MAX_SEGMENT_MARKS;
use deltafold_format::{Sequence, Uid};
use tokio::sync::{mpsc, oneshot};

use super::batch::{Batch, Call};
use super::place::{Placer, check};
use super::writer::{Lag, WriterOptions};
use crate::env::{self, Task};
use crate::error::Result;
use crate::shard::Shard;

/// Batches of more bytes are encoded off the tasks that wait.
const ENCODE_INLINE_BYTES: usize = 256 << 10;
/// So often other tasks get their turn without a call coming before a batch is closed. Callers that were just acknowledged come back
/// within one or two turns; so the callers of one batch meet again in the next.
const QUIET_TURNS: usize = 3;

/// What callers send.
#[derive(Debug)]
pub(super) enum Message {
    Call(Call),
    /// To be answered when everything before it is decided.
    Barrier(oneshot::Sender<()>),
}

/// Calls for the next segment.
#[derive(Default)]
struct Gathered {
    calls: Vec<Call>,
    ops: usize,
    bytes: usize,
    /// At least as many as the marks that they leave.
    marks: usize,
    /// Any of them comes from a source.
    sourced: bool,
    barriers: Vec<oneshot::Sender<()>>,
    /// The call that did not fit any more.
    next: Option<Call>,
    linger: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.barriers.is_empty()
    }

    /// Takes no more.
    fn is_full(&self, options: &WriterOptions) -> bool {
        self.next.is_some()
            || !self.barriers.is_empty()
            || self.ops >= options.max_batch_ops
            || self.bytes >= options.max_batch_bytes
            || self.marks >= MAX_SEGMENT_MARKS
    }

    fn push(&mut self, message: Message, options: &WriterOptions) {
        match message {
            Message::Call(call) => self.push_call(call, options),
            Message::Barrier(barrier) => self.barriers.push(barrier),
        }
    }

    fn push_call(&mut self, call: Call, options: &WriterOptions) {
        let marks = call.marks();
        let fits = self.ops + call.ops.len() <= options.max_batch_ops
            && self.bytes + call.bytes <= options.max_batch_bytes
            && self.marks + marks <= MAX_SEGMENT_MARKS;
        if !fits && !self.calls.is_empty() {
            self.next = Some(call);
            return;
        }
        if self.calls.is_empty() && !options.linger.is_zero() {
            self.linger = Some(Box::pin(env::sleep(options.linger)));
        }
        let last = self.calls.last().and_then(|last| last.source.as_ref());
        let again = call.source.as_ref().is_some_and(|source| last.is_some_and(|last| last.name == source.name));
        self.marks += marks - usize::from(again);
        self.sourced |= marks > 0;
        self.ops += call.ops.len();
        self.bytes += call.bytes;
        self.calls.push(call);
    }

    fn sourced(&self) -> bool {
        self.sourced
    }

    /// Takes the batch out; what did not fit begins the next one.
    fn take(&mut self, options: &WriterOptions) -> Self {
        let mut taken = std::mem::take(self);
        if let Some(call) = taken.next.take() {
            self.push_call(call, options);
        }
        taken
    }
}

/// A batch that is in a slot which no head was checked for yet.
struct Unconfirmed {
    batch: Batch,
    slot: Sequence,
}

/// See the module.
pub(super) struct Lane {
    placer: Placer,
    options: WriterOptions,
    dimension: u32,
    calls: mpsc::UnboundedReceiver<Message>,
    /// All senders are gone.
    ended: bool,
    gathered: Gathered,
    /// A full batch being encoded while another is on its way, and whether it comes from sources.
    encoding: Option<(Task<Batch>, bool)>,
    /// Where to say how far folding is behind.
    lag: Arc<Mutex<Option<Lag>>>,
}

impl Lane {
    pub(super) fn new(
        shard: Shard,
        writer: Uid,
        options: WriterOptions,
        calls: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        let dimension = shard.config().dimension;
        let gathered = Gathered::default();
        let (placer, lag) = (Placer::new(shard, writer), Arc::default());
        Self { placer, options, dimension, calls, ended: false, gathered, encoding: None, lag }
    }

    /// Says there how far folding is behind.
    pub(super) fn telling(self, lag: Arc<Mutex<Option<Lag>>>) -> Self {
        Self { lag, ..self }
    }

    /// Appends until all senders are gone and everything they sent is decided.
    pub(super) async fn run(mut self) {
        let mut unconfirmed: Option<Unconfirmed> = None;
        while let Some(mut batch) = self.next_batch().await {
            let placed = match unconfirmed.take() {
                None => self.place(&mut batch).await,
                Some(earlier) => {
                    let checking = check(self.placer.shard().clone(), self.placer.head());
                    let (placed, checked) = futures::future::join(self.place(&mut batch), checking).await;
                    self.confirm(earlier, checked).await;
                    placed
                }
            };
            match placed {
                Ok(Some(slot)) if self.overlaps(&batch) => unconfirmed = Some(Unconfirmed { batch, slot }),
                Ok(Some(slot)) => {
                    let checked = check(self.placer.shard().clone(), self.placer.head()).await;
                    self.confirm(Unconfirmed { batch, slot }, checked).await;
                }
                placed => batch.decide(&placed, &mut self.placer.failed),
            }
        }
    }

    /// Whether the check of a batch that has landed is to run beside the next append, instead of before it.
    ///
    /// Only where the next batch is full anyway: else the callers that the check sets free could not join it any more. And never where
    /// sources are concerned: a slot found swept puts the batch behind its successor, and two positions of one source in the wrong order.
    fn overlaps(&self, batch: &Batch) -> bool {
        let next_is_sourced = self.encoding.as_ref().map(|(_, sourced)| *sourced);
        !batch.sourced() && next_is_sourced == Some(false)
    }

    async fn confirm(&mut self, landed: Unconfirmed, checked: Result<Option<crate::head::HeadState>>) {
        let Unconfirmed { mut batch, slot } = landed;
        let confirmed = match checked {
            Ok(seen) => self.placer.confirm(&mut batch, slot, seen).await.map(Some),
            Err(error) => Err(error),
        };
        match &confirmed {
            Ok(slot) => self.tell(*slot),
            Err(error) => {
                tracing::warn!(%error, shard = %self.placer.shard().id(), "an append failed");
                self.placer.forget();
            }
        }
        batch.decide(&confirmed, &mut self.placer.failed);
    }

    fn tell(&self, slot: Option<Sequence>) {
        let (Some(slot), Some(seen)) = (slot, self.placer.head()) else { return };
        let (shard, version) = (self.placer.shard().id(), seen.head.version);
        let lag = Lag { shard, version, segments: slot.get().saturating_sub(seen.head.folded.get()) };
        *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = Some(lag);
    }

    /// The next batch, as soon as there is something to append; `None` when nothing will come any more.
    async fn next_batch(&mut self) -> Option<Batch> {
        if let Some((encoding, _)) = self.encoding.take() {
            return Some(env::join(encoding).await);
        }
        self.gather().await;
        if self.gathered.is_empty() {
            return None;
        }
        let gathered = self.gathered.take(&self.options);
        let (bytes, dimension) = (gathered.bytes, self.dimension);
        let encode = move || Batch::encode(gathered.calls, gathered.barriers, dimension);
        Some(if bytes > ENCODE_INLINE_BYTES { env::blocking(encode).await } else { encode() })
    }

    /// Gathers calls until there is at least one and the batch is to be closed.
    async fn gather(&mut self) {
        if self.gathered.is_empty() && !self.ended {
            match self.calls.recv().await {
                Some(message) => self.gathered.push(message, &self.options),
                None => self.ended = true,
            }
        }
        let mut quiet = 0;
        while !self.ended && !self.gathered.is_full(&self.options) {
            match self.calls.try_recv() {
                Ok(message) => {
                    self.gathered.push(message, &self.options);
                    quiet = 0;
                }
                Err(mpsc::error::TryRecvError::Disconnected) => self.ended = true,
                Err(mpsc::error::TryRecvError::Empty) => match &mut self.gathered.linger {
                    Some(linger) => tokio::select! {
                        biased;
                        () = linger => break,
                        message = self.calls.recv() => match message {
                            Some(message) => self.gathered.push(message, &self.options),
                            None => self.ended = true,
                        },
                    },
                    None if quiet < QUIET_TURNS => {
                        quiet += 1;
                        tokio::task::yield_now().await;
                    }
                    None => break,
                },
            }
        }
    }

    /// Places a batch, and gathers the next one meanwhile; encodes that too once it is full.
    async fn place(&mut self, batch: &mut Batch) -> Result<Option<Sequence>> {
        let Self { placer, options, dimension, calls, ended, gathered, encoding, .. } = self;
        let mut placing = std::pin::pin!(placer.place(batch));
        loop {
            let room = !*ended && encoding.is_none() && !gathered.is_full(options);
            tokio::select! {
                biased;
                placed = &mut placing => return placed,
                message = calls.recv(), if room => match message {
                    Some(message) => gathered.push(message, options),
                    None => *ended = true,
                },
            }
            if encoding.is_none() && gathered.is_full(options) {
                let full = gathered.take(options);
                let (sourced, dimension) = (full.sourced(), *dimension);
                let encode = move || Batch::encode(full.calls, full.barriers, dimension);
                *encoding = Some((env::spawn(env::blocking(encode)), sourced));
            }
        }
    }
}
