//! The batch queue of a shard. It gathers requests into batches, and prepares full batches while
//! earlier ones are in flight.

use deltafold_format::{Sequence, Uid};
use tokio::sync::mpsc;

use super::super::options::WriterOptions;
use super::ahead::Ahead;
use super::batch::Batch;
use super::builder::{BatchBuilder, Message};
use crate::env;
use crate::shard::Shard;

/// Larger batches are encoded off the async tasks.
const ENCODE_INLINE_BYTES: usize = 256 << 10;
/// Turns of other tasks without a new request before a batch is closed. Callers that were just
/// acknowledged return within one or two turns, so the callers of one batch meet again in the next.
const QUIET_TURNS: usize = 3;

/// See the module.
pub(super) struct BatchQueue {
    dimension: u32,
    options: WriterOptions,
    requests: mpsc::UnboundedReceiver<Message>,
    /// All senders are gone.
    ended: bool,
    builder: BatchBuilder,
    /// Batches numbered so far.
    batches: u64,
    /// The last batch was of one request.
    one_caller: bool,
    ahead: Ahead,
}

impl BatchQueue {
    pub(super) fn new(
        shard: Shard,
        writer: Uid,
        options: WriterOptions,
        requests: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        Self {
            dimension: shard.config().dimension,
            options,
            requests,
            ended: false,
            builder: BatchBuilder::default(),
            batches: 0,
            one_caller: false,
            ahead: Ahead::new(shard, writer),
        }
    }

    /// The next batch, as soon as there is something to append; `None` once all senders are gone
    /// and nothing is left.
    pub(super) async fn next_batch(&mut self) -> Option<Batch> {
        if let Some(ready) = self.ahead.pop() {
            return Some(self.meanwhile(env::join(ready)).await);
        }
        self.fill().await;
        if self.builder.is_empty() {
            return None;
        }
        let filled = self.builder.take(&self.options);
        let bytes = filled.bytes;
        let encode = self.encode(filled);
        Some(if bytes > ENCODE_INLINE_BYTES { self.meanwhile(env::blocking(encode)).await } else { encode() })
    }

    /// Whether the next batch takes a slot in any case, if it is there already.
    pub(super) fn next_always_lands(&self) -> Option<bool> {
        self.ahead.next_always_lands()
    }

    /// Sets the slot that the next batch will get, if it is known.
    pub(super) fn expect(&mut self, slot: Option<Sequence>) {
        self.ahead.expect(slot);
    }

    /// Gathers requests while `work` runs, and prepares full batches.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            self.make_ready();
            let room = !self.ended && !self.builder.is_full(&self.options);
            tokio::select! {
                biased;
                done = &mut work => return done,
                message = self.requests.recv(), if room => self.take(message),
            }
        }
    }

    fn take(&mut self, message: Option<Message>) {
        match message {
            Some(message) => self.builder.push(message, &self.options),
            None => self.ended = true,
        }
    }

    /// Gathers requests until there is at least one and the batch is to be closed.
    async fn fill(&mut self) {
        // A caller that comes alone, like the last one, has no others to wait for.
        let quiet_turns = if self.one_caller && self.builder.is_empty() { 0 } else { QUIET_TURNS };
        if self.builder.is_empty() && !self.ended {
            let message = self.requests.recv().await;
            self.take(message);
        }
        let mut quiet = 0;
        while !self.ended && !self.builder.is_full(&self.options) {
            match self.requests.try_recv() {
                Ok(message) => {
                    self.builder.push(message, &self.options);
                    quiet = 0;
                }
                Err(mpsc::error::TryRecvError::Disconnected) => self.ended = true,
                Err(mpsc::error::TryRecvError::Empty) => match &mut self.builder.linger {
                    Some(linger) => tokio::select! {
                        biased;
                        () = linger => break,
                        message = self.requests.recv() => self.take(message),
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

    /// Numbers a batch, and returns the work that encodes it.
    fn encode(&mut self, filled: BatchBuilder) -> impl FnOnce() -> Batch + Send + 'static {
        self.batches += 1;
        self.one_caller = filled.requests.len() == 1;
        let (number, dimension) = (self.batches, self.dimension);
        move || Batch::encode(number, filled.requests, filled.barriers, dimension)
    }

    /// Encodes the filled batch if it is full.
    fn make_ready(&mut self) {
        if self.ahead.is_full() || !self.builder.is_full(&self.options) {
            return;
        }
        let full = self.builder.take(&self.options);
        let (always_lands, is_barrier) = (full.always_lands(), full.requests.is_empty());
        let batch = env::spawn(env::blocking(self.encode(full)));
        self.ahead.push(batch, always_lands, is_barrier);
    }
}
