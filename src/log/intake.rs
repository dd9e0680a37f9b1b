//! What comes in for a shard: calls gathered into batches, and full batches made ready while those before them are on their way.

use std::collections::VecDeque;

use deltafold_format::{Sequence, Uid};
use tokio::sync::mpsc;

use super::batch::Batch;
use super::gather::{Gathered, Message};
use super::writer::WriterOptions;
use crate::env::{self, Task};
use crate::shard::Shard;

/// Batches of more bytes are encoded off the tasks that wait.
const ENCODE_INLINE_BYTES: usize = 256 << 10;
/// So often other tasks get their turn without a call coming before a batch is closed. Callers that were just acknowledged come back
/// within one or two turns; so the callers of one batch meet again in the next.
const QUIET_TURNS: usize = 3;
/// So many full batches are made ready at once, behind the one that is being placed.
const READY_AT_ONCE: usize = 8;

/// A full batch that is being made ready: encoded and, where it is known into which slot it will come, sent ahead.
struct Ready {
    batch: Task<Batch>,
    sourced: bool,
    /// Nothing will be written: somebody only waits for what came before.
    is_barrier: bool,
    /// It is being sent ahead.
    is_staged: bool,
}

impl Ready {
    fn stage(self, shard: Shard, writer: Uid, slot: Sequence) -> Self {
        let encoding = self.batch;
        let batch = env::spawn(async move {
            let mut batch = env::join(encoding).await;
            batch.stage(&shard, writer, slot).await;
            batch
        });
        Self { batch, is_staged: true, ..self }
    }
}

/// See the module.
pub(super) struct Intake {
    shard: Shard,
    writer: Uid,
    options: WriterOptions,
    calls: mpsc::UnboundedReceiver<Message>,
    /// All senders are gone.
    ended: bool,
    gathered: Gathered,
    /// Batches numbered so far.
    batches: u64,
    /// The last one was of one call.
    one_caller: bool,
    /// In the order in which they will be placed.
    ready: VecDeque<Ready>,
    /// The slot of the first of them, where nobody else is seen to append.
    slot: Option<Sequence>,
}

impl Intake {
    pub(super) fn new(
        shard: Shard,
        writer: Uid,
        options: WriterOptions,
        calls: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        let (gathered, ready) = (Gathered::default(), VecDeque::new());
        Self { shard, writer, options, calls, ended: false, gathered, batches: 0, one_caller: false, ready, slot: None }
    }

    /// The next batch, as soon as there is something to append; `None` when nothing will come any more.
    pub(super) async fn next_batch(&mut self) -> Option<Batch> {
        if let Some(ready) = self.ready.pop_front() {
            self.slot =
                self.slot.filter(|_| !ready.sourced).map(|slot| if ready.is_barrier { slot } else { slot.next() });
            return Some(self.meanwhile(env::join(ready.batch)).await);
        }
        self.gather().await;
        if self.gathered.is_empty() {
            return None;
        }
        let gathered = self.gathered.take(&self.options);
        let bytes = gathered.bytes;
        let encode = self.encode(gathered);
        Some(if bytes > ENCODE_INLINE_BYTES { self.meanwhile(env::blocking(encode)).await } else { encode() })
    }

    /// Whether the next batch is there already, and whether it comes from sources.
    pub(super) fn next_is_sourced(&self) -> Option<bool> {
        self.ready.front().map(|ready| ready.sourced)
    }

    /// Says into which slot the next batch will come, as far as can be told.
    pub(super) fn expect(&mut self, slot: Option<Sequence>) {
        self.slot = slot;
        self.stage();
    }

    /// Gathers calls while something else is on its way, and makes ready what is full.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            self.make_ready();
            let room = !self.ended && !self.gathered.is_full(&self.options);
            tokio::select! {
                biased;
                done = &mut work => return done,
                message = self.calls.recv(), if room => match message {
                    Some(message) => self.gathered.push(message, &self.options),
                    None => self.ended = true,
                },
            }
        }
    }

    /// Gathers calls until there is at least one and the batch is to be closed.
    async fn gather(&mut self) {
        // Whoever comes alone, as the last one did, has nobody to meet again.
        let quiet_turns = if self.one_caller && self.gathered.is_empty() { 0 } else { QUIET_TURNS };
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
                    None if quiet < quiet_turns => {
                        quiet += 1;
                        tokio::task::yield_now().await;
                    }
                    None => break,
                },
            }
        }
    }

    /// Numbers a batch, and says how it is encoded.
    fn encode(&mut self, gathered: Gathered) -> impl FnOnce() -> Batch + Send + 'static {
        self.batches += 1;
        self.one_caller = gathered.calls.len() == 1;
        let (number, dimension) = (self.batches, self.shard.config().dimension);
        move || Batch::encode(number, gathered.calls, gathered.barriers, dimension)
    }

    /// Encodes what was gathered, if it is full.
    fn make_ready(&mut self) {
        if self.ready.len() >= READY_AT_ONCE || !self.gathered.is_full(&self.options) {
            return;
        }
        let full = self.gathered.take(&self.options);
        let (sourced, is_barrier) = (full.sourced(), full.calls.is_empty());
        let batch = env::spawn(env::blocking(self.encode(full)));
        self.ready.push_back(Ready { batch, sourced, is_barrier, is_staged: false });
        self.stage();
    }

    /// Sends ahead what is not on its way yet.
    fn stage(&mut self) {
        let Some(mut slot) = self.slot else { return };
        let mut known = true;
        let stage = |ready: Ready| {
            // What comes from sources may turn out to be in the log: whether a slot goes to it, nobody can tell.
            known &= !ready.sourced;
            if !known || ready.is_barrier {
                return ready;
            }
            let own = slot;
            slot = slot.next();
            if ready.is_staged { ready } else { ready.stage(self.shard.clone(), self.writer, own) }
        };
        self.ready = std::mem::take(&mut self.ready).into_iter().map(stage).collect();
    }
}
