//! A consumer of a queue: receives, appends, and deletes durable messages. Any number may work on
//! one queue.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::future::{Either, join_all, select};

use super::append::{STREAM_WITHOUT_ORDER, append_delivery};
use super::body::BodyReader;
use super::delivery::{Cause, Delivery, DeliveryOutcome, Failed};
use crate::aws::{Message, Queue, QueueError, QueueErrorKind, Receive};
use crate::collection::Collection;
use crate::compact::KeepUp;
use crate::env::{self, Stopwatch};
use crate::error::{ErrorKind, Result};
use crate::log::{BacklogLimit, Writer, WriterOptions};
use crate::setters::setters;

/// Bytes of bodies in one round. The writer is busy at four times as much.
const ROUND_BYTES: usize = 16 << 20;
/// Messages that one request receives at most.
const RECEIVED_AT_MOST: usize = 10;
/// Receive requests in flight at once, where one was not enough.
const RECEIVES_AT_ONCE: usize = 8;
/// After a poison message, the consumer receives one by one until its group goes on, or this many
/// rounds have passed.
const CAUTIOUS_ROUNDS: u32 = 100;
/// The pause after the service was out of reach through all retries.
const PAUSE: Duration = Duration::from_secs(1);

/// Options of a consumer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsumeOptions {
    /// The parser of bodies. `None`: bodies are ops of the collection.
    pub bodies: Option<BodyReader>,
    /// The visibility timeout of messages in work. `None`: the queue's. The consumer extends it
    /// where the work takes longer.
    pub visibility: Option<Duration>,
    /// Messages in one round at most, as long as they come at once: 1,000.
    pub max_messages: usize,
    /// Stop when the queue is empty, instead of waiting for more.
    pub until_empty: bool,
    /// Options of the writer. Messages stay in the queue while the log is longer than
    /// `max_backlog`.
    pub writer: WriterOptions,
    /// Fold a log longer than this between two rounds. `None`: leave it to a compactor.
    pub keep_up: Option<BacklogLimit>,
}

setters!(ConsumeOptions {
    bodies: into Option<BodyReader>,
    visibility: into Option<Duration>,
    max_messages: usize,
    until_empty: bool,
    writer: WriterOptions,
    keep_up: into Option<BacklogLimit>,
});

impl Default for ConsumeOptions {
    fn default() -> Self {
        let writer = WriterOptions::default();
        Self { bodies: None, visibility: None, max_messages: 1_000, until_empty: false, writer, keep_up: None }
    }
}

/// Totals of a consumer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Consumed {
    /// Messages appended and deleted, duplicates included.
    pub messages: u64,
    /// Ops appended.
    pub ops: u64,
    /// Messages whose ops the log held already.
    pub duplicates: u64,
    /// Records of a stream for which the mapping yields no op.
    pub skipped: u64,
    /// Events that call for no op: the test event of a bucket, an object that was removed.
    pub ignored: u64,
    /// Deliveries that failed. The queue delivers the messages again.
    pub failed: u64,
    /// Messages that failed and were not appended since. Counted with
    /// [`until_empty`](ConsumeOptions::until_empty) alone.
    pub left: u64,
    /// Those of them that have no receive left: they are among the dead letters, or go there
    /// instead of the next receive.
    pub dead: u64,
}

impl Consumed {
    fn add(&mut self, outcome: &DeliveryOutcome) {
        self.messages += outcome.done.len() as u64;
        self.ops += outcome.ops;
        self.duplicates += outcome.duplicates;
        self.skipped += outcome.skipped;
        self.ignored += outcome.ignored;
        self.failed += outcome.failed.len() as u64;
    }
}

/// Appends the messages of a queue to a collection until `stop` is ready. Calls `each` after every
/// round. It deletes a message once its ops are durable. A poison message stays, with a warning
/// that names the reason, until the queue's redrive policy moves it to the dead letters. It
/// finishes the round that runs when `stop` is ready.
///
/// Messages of a FIFO queue take effect exactly once and in the order of their groups
/// ([`append_delivery`](super::append_delivery)).
/// A standard queue has neither order nor positions: its messages take effect at least once, in the
/// order of delivery. Changes that name their [idempotency key](crate::IdempotencyKey) take effect
/// once, in their order. In a collection ordered by revision, every message takes effect once and
/// in its place, whatever the queue.
///
/// A round costs one receive for 10 messages, one append, and one delete for 10. Receives and
/// deletes run several at once where there are more messages.
///
/// # Errors
///
/// Permanent errors of the queue and the collection.
pub async fn consume(
    collection: &Collection,
    queue: &Queue,
    options: &ConsumeOptions,
    stop: impl Future<Output = ()>,
    mut each: impl FnMut(&Consumed),
) -> Result<Consumed> {
    let settings = queue.settings().await?;
    if !settings.fifo && !collection.config().ordering.is_revision() {
        tracing::warn!(
            queue = queue.name(),
            "a standard queue may deliver a message twice, and it then takes effect twice"
        );
    }
    let visibility = options.visibility.unwrap_or(settings.visibility_timeout);
    let source = settings.arn.strip_prefix("arn:").unwrap_or(&settings.arn).to_owned();
    let bodies = options.bodies.clone().unwrap_or_else(|| BodyReader::new(collection));
    let consumer = Consumer { bodies, queue, options, visibility, source };
    let mut writer = collection.writer(options.writer.clone())?;
    let mut keep_up = options.keep_up.map(|limit| collection.keep_up(limit));
    let mut total = Consumed::default();
    // Records of a stream have no order and no identity there.
    let mut unordered = !settings.fifo && !collection.config().ordering.is_revision();
    let mut poison = Poison::default();
    let mut left = Left { receives: HashMap::new(), max_receives: settings.max_receives };
    let mut stop = std::pin::pin!(stop);
    loop {
        let received = {
            let gathering = std::pin::pin!(consumer.gather(poison.is_about()));
            match select(stop.as_mut(), gathering).await {
                // A message of a pending receive stays invisible for the visibility timeout, and
                // then comes again.
                Either::Left(_) => return Ok(total),
                Either::Right((received, _)) => received,
            }
        };
        let messages = match received {
            Ok(messages) => messages,
            Err(error) if error.kind() == QueueErrorKind::Transient => {
                tracing::warn!(%error, "trying again");
                env::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if messages.is_empty() {
            poison = Poison::default();
            if options.until_empty {
                return Ok(total);
            }
            continue;
        }
        let outcome = consumer.round(&writer, &messages).await;
        total.add(&outcome);
        if options.until_empty {
            left.look(&messages, &outcome);
            left.count(&mut total);
        }
        each(&total);
        if unordered && outcome.records > 0 {
            unordered = false;
            tracing::warn!(queue = queue.name(), collection = %collection.name(), "{STREAM_WITHOUT_ORDER}");
        }
        poison.look(&messages, &outcome);
        // Without dead letters a poison message would come again at once, and for ever.
        if settings.max_receives.is_some() {
            consumer.give_back(&poison, &messages, &outcome).await;
        }
        if let Some(keep_up) = &mut keep_up {
            // The consumer holds no messages meanwhile, and an unfinished fold has no effect.
            let folding = std::pin::pin!(fold(keep_up, &writer));
            match select(stop.as_mut(), folding).await {
                Either::Left(_) => return Ok(total),
                Either::Right((folded, _)) => folded?,
            }
        }
        if !outcome.failed.is_empty() {
            // A failed message may go to the dead letters, and this writer would wait for it.
            writer = collection.writer(options.writer.clone())?;
        }
    }
}

/// Folds a log that is too long. Returns an error only if no retry mends it.
async fn fold(keep_up: &mut KeepUp, writer: &Writer) -> Result<()> {
    let lags = writer.lags();
    if !keep_up.is_due(&lags) {
        return Ok(());
    }
    match keep_up.fold(&lags).await {
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Conflict) => {
            tracing::warn!(%error, "the log could not be folded; trying again after the next round");
            Ok(())
        }
        folded => folded.map(drop),
    }
}

/// Message groups of a FIFO queue with a poison message at their head. Each receive of it also uses
/// up one of the messages of its group received with it, so they would follow it to the dead
/// letters. Received alone, it locks its group, and the messages behind it stay in the queue.
#[derive(Debug, Default)]
struct Poison {
    groups: HashSet<String>,
    rounds: u32,
}

impl Poison {
    fn is_about(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Learns from a round which groups have poison, and which go on.
    fn look(&mut self, messages: &[Message], outcome: &DeliveryOutcome) {
        let group = |index: usize| messages.get(index).and_then(|message| message.group.as_ref());
        self.rounds += 1;
        for index in &outcome.done {
            if let Some(group) = group(*index) {
                self.groups.remove(group);
            }
        }
        for failed in outcome.failed.iter().filter(|failed| failed.cause == Cause::NotUnderstood) {
            self.groups.extend(group(failed.index).cloned());
            self.rounds = 0;
        }
        if self.rounds >= CAUTIOUS_ROUNDS {
            *self = Self::default();
        }
    }
}

/// Messages that failed and were not appended since, each with its receives.
#[derive(Debug)]
struct Left {
    receives: HashMap<String, u32>,
    max_receives: Option<u32>,
}

impl Left {
    fn look(&mut self, messages: &[Message], outcome: &DeliveryOutcome) {
        for message in outcome.done.iter().filter_map(|index| messages.get(*index)) {
            self.receives.remove(&message.id);
        }
        for message in outcome.failed.iter().filter_map(|failed| messages.get(failed.index)) {
            self.receives.insert(message.id.clone(), message.receives);
        }
    }

    fn count(&self, total: &mut Consumed) {
        let is_dead = |receives: &&u32| self.max_receives.is_some_and(|most| **receives >= most);
        total.left = self.receives.len() as u64;
        total.dead = self.receives.values().filter(is_dead).count() as u64;
    }
}

struct Consumer<'a> {
    bodies: BodyReader,
    queue: &'a Queue,
    options: &'a ConsumeOptions,
    visibility: Duration,
    /// The name of the queue as a source.
    source: String,
}

impl Consumer<'_> {
    /// Waits for messages, and takes all that come at once.
    async fn gather(&self, one_by_one: bool) -> std::result::Result<Vec<Message>, QueueError> {
        let wait = if self.options.until_empty { Duration::from_secs(1) } else { Receive::default().wait };
        let mut how = Receive { wait, visibility: self.options.visibility, ..Receive::default() };
        if one_by_one {
            return self.queue.receive(Receive { max: 1, ..how }).await;
        }
        let mut messages = self.queue.receive(how).await?;
        let since = Stopwatch::start();
        how.wait = Duration::ZERO;
        // Doubles the requests while all of them find messages, so that a quiet queue costs few
        // requests.
        let (mut more, mut at_once) = (!messages.is_empty(), 1);
        while more && messages.len() < self.options.max_messages && since.elapsed() < self.visibility / 4 {
            let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
            // Several at once, because one returns at most 10 messages. The messages of a group in
            // one receive lock out the rest of their group.
            let each = bytes * RECEIVED_AT_MOST / messages.len();
            let room = (ROUND_BYTES.saturating_sub(bytes) / each.max(1))
                .min((self.options.max_messages - messages.len()).div_ceil(RECEIVED_AT_MOST))
                .min(at_once);
            let received = join_all((0..room).map(|_| self.queue.receive(how))).await;
            more = room > 0 && received.iter().all(|received| received.as_ref().is_ok_and(|some| !some.is_empty()));
            at_once = RECEIVES_AT_ONCE.min(at_once * 2);
            // A failed receive does not hold up the messages that the others brought.
            messages.extend(received.into_iter().flat_map(Result::unwrap_or_default));
        }
        Ok(messages)
    }

    /// Appends messages, keeps them invisible meanwhile, and deletes the durable ones.
    async fn round(&self, writer: &Writer, messages: &[Message]) -> DeliveryOutcome {
        let deliveries: Vec<Delivery<'_>> = messages
            .iter()
            .map(|message| Delivery {
                body: &message.body,
                place: message.group.as_deref().zip(message.sequence),
                // The consumer receives one by one behind a poison message instead.
                leaving: false,
            })
            .collect();
        let outcome = {
            let mut appending = std::pin::pin!(append_delivery(writer, &self.bodies, &self.source, &deliveries));
            loop {
                let beat = std::pin::pin!(env::sleep((self.visibility / 3).max(PAUSE)));
                match select(appending.as_mut(), beat).await {
                    Either::Left((outcome, _)) => break outcome,
                    Either::Right(_) => self.extend_visibility(messages).await,
                }
            }
        };
        for failed in &outcome.failed {
            let Some(message) = messages.get(failed.index) else { continue };
            let (id, group, reason) = (&message.id, message.group.as_deref().unwrap_or_default(), &failed.reason);
            if failed.cause == Cause::HeldBack {
                tracing::info!(id, group, receives = message.receives, reason, "a message was held back");
            } else {
                tracing::warn!(id, group, receives = message.receives, reason, "a message was not appended");
            }
        }
        let done: Vec<&str> =
            outcome.done.iter().filter_map(|index| Some(messages.get(*index)?.receipt.as_str())).collect();
        match self.queue.delete(&done).await {
            Ok(left) if left.is_empty() => {}
            // They come again as duplicates.
            Ok(left) => tracing::warn!(messages = left.len(), "messages were not deleted"),
            Err(error) => tracing::warn!(%error, "messages were not deleted"),
        }
        outcome
    }

    /// Returns poison messages, and those behind them, to the queue at once. A wait does not mend
    /// them. The sooner the redrive policy removes them, the sooner their group goes on.
    async fn give_back(&self, poison: &Poison, messages: &[Message], outcome: &DeliveryOutcome) {
        let of_poison = |failed: &&Failed| {
            let group = messages.get(failed.index).and_then(|message| message.group.as_ref());
            failed.cause != Cause::NotAppended && group.is_some_and(|group| poison.groups.contains(group))
        };
        let failed = outcome.failed.iter().filter(of_poison);
        let receipts: Vec<&str> =
            failed.filter_map(|failed| Some(messages.get(failed.index)?.receipt.as_str())).collect();
        if receipts.is_empty() {
            return;
        }
        if let Err(error) = self.queue.change_visibility(&receipts, Duration::ZERO).await {
            tracing::debug!(%error, "they come again when their time is over");
        }
    }

    /// Keeps messages in work invisible for another visibility timeout.
    async fn extend_visibility(&self, messages: &[Message]) {
        let receipts: Vec<&str> = messages.iter().map(|message| message.receipt.as_str()).collect();
        if let Err(error) = self.queue.change_visibility(&receipts, self.visibility).await {
            tracing::warn!(%error, "messages may come again while they are worked on");
        }
    }
}
