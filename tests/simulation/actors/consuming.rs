//! A queue that delivers at least once, in the order of its groups or in none, and its consumers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltafold::WriterOptions;
use deltafold::format::Op;
use deltafold::ingest::{BodyReader, Cause, Delivery, append_delivery};
use deltafold::jsonl;

use super::Context;
use crate::checks::ACKED;
use crate::oracle::Times;
use crate::world::World;

/// The time for which a received message is hidden from others.
const VISIBILITY: Duration = Duration::from_secs(20);

struct Message {
    group: String,
    sequence: u128,
    body: String,
    append: usize,
    /// The message is hidden until then.
    unseen: Duration,
}

impl Message {
    fn hand_out(&mut self, now: Duration) -> Received {
        self.unseen = now + VISIBILITY;
        let Self { group, sequence, body, append, .. } = self;
        Received { group: group.clone(), sequence: *sequence, body: body.clone(), append: *append }
    }
}

/// Clones are one queue. The queue never fails; its users do.
#[derive(Clone)]
pub(crate) struct Queue {
    world: World,
    messages: Arc<Mutex<Vec<Message>>>,
    /// The ops state their idempotency key. A message may come again with another one: moved to the
    /// dead letters and back, or sent again.
    standing: bool,
    /// The number of such changes.
    others: Arc<Mutex<u64>>,
}

/// A received message.
#[derive(Clone)]
struct Received {
    group: String,
    sequence: u128,
    body: String,
    append: usize,
}

impl Queue {
    pub(crate) fn new(context: &Context, messages: u32) -> Self {
        let groups = 1 + context.below(2);
        let (unordered, revisions) = {
            let plan = &context.world.state().plan;
            (plan.unordered_queue, plan.revisions)
        };
        let standing = context.once_in(2);
        let mut sequences: BTreeMap<String, u128> = BTreeMap::new();
        let mut all = Vec::new();
        for _ in 0..messages {
            let group = format!("g{}", context.below(groups));
            let sequence = sequences.entry(group.clone()).or_insert(100);
            *sequence += 1 + u128::from(context.below(3));
            let source = || format!("queue/{group}");
            // A collection ordered by revision may append a repeated message again.
            let times = match (unordered, standing) {
                _ if revisions => Times::Any,
                (false, _) => Times::At(source(), *sequence),
                (true, true) => Times::Change(source(), *sequence),
                (true, false) => Times::Any,
            };
            let (append, ops) = context.issue(times);
            let origin = standing.then(|| (format!("queue/{group}"), *sequence));
            let body = body(&ops, origin.as_ref());
            all.push(Message { group, sequence: *sequence, body, append, unseen: Duration::ZERO });
        }
        let (messages, others) = (Arc::new(Mutex::new(all)), Arc::default());
        Self { world: context.world.clone(), messages, standing, others }
    }

    /// Removes all messages.
    pub(crate) fn purge(&self) {
        self.messages.lock().unwrap().clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.lock().unwrap().is_empty()
    }

    /// Up to `most` messages: the first ones of each group that has no message in flight. Without
    /// order any messages, sometimes one in flight too.
    fn receive(&self, context: &Context, most: usize) -> Vec<Received> {
        let now = self.world.executor.now();
        let mut messages = self.messages.lock().unwrap();
        if self.is_unordered() {
            let mut received = Vec::new();
            for _ in 0..most.min(messages.len()) {
                let at = usize::try_from(context.below(messages.len() as u64)).unwrap_or(0);
                if messages[at].unseen <= now || context.once_in(8) {
                    received.push(messages[at].hand_out(now));
                }
            }
            return received;
        }
        let locked: Vec<String> =
            messages.iter().filter(|message| message.unseen > now).map(|message| message.group.clone()).collect();
        let free = messages.iter_mut().filter(|message| !locked.contains(&message.group)).take(most);
        free.map(|message| message.hand_out(now)).collect()
    }

    fn is_unordered(&self) -> bool {
        self.world.state().plan.unordered_queue
    }

    /// Changes with an idempotency key may come after later ones, and the key alone decides.
    fn is_out_of_order(&self) -> bool {
        let plan = &self.world.state().plan;
        self.standing && plan.unordered_queue && !plan.revisions
    }

    /// A number for groups that sent no message before.
    fn another(&self) -> u64 {
        let mut others = self.others.lock().unwrap();
        *others += 1;
        *others
    }

    fn delete(&self, append: usize) {
        self.messages.lock().unwrap().retain(|message| message.append != append);
    }
}

fn body(ops: &[Op], origin: Option<&(String, u128)>) -> String {
    let lines = ops.iter().map(|op| {
        let mut line = Vec::new();
        jsonl::write_op(&mut line, op);
        let line = String::from_utf8(line).unwrap().trim_end().to_owned();
        match origin {
            Some((source, position)) => {
                let op = line.strip_suffix('}').unwrap();
                format!("{op},\"source\":\"{source}\",\"position\":\"{position}\"}}")
            }
            None => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Appends the messages of the queue until it is empty. It receives, appends and deletes like the
/// program's consumer.
pub(crate) async fn consumes(context: Context, queue: Queue) {
    let collection = context.open().await;
    let bodies = BodyReader::new(&collection);
    let mut writer = collection.writer(WriterOptions::default()).unwrap();
    while !queue.is_empty() {
        let received = queue.receive(&context, usize::try_from(1 + context.below(10)).unwrap_or(1));
        if received.is_empty() {
            context.sleep_up_to(5_000).await;
            continue;
        }
        context.note(|| format!("receives {} messages", received.len()));
        // Messages received together were moved together, so they keep their order.
        let moved = (queue.standing && context.once_in(3)).then(|| queue.another());
        let group = |message: &Received| match moved {
            Some(number) => format!("{}-{number}", message.group),
            None => message.group.clone(),
        };
        let groups: Vec<String> = received.iter().map(group).collect();
        let deliveries: Vec<Delivery<'_>> = received
            .iter()
            .zip(&groups)
            .map(|(message, group)| Delivery {
                body: &message.body,
                place: (!queue.is_unordered()).then_some((group.as_str(), message.sequence)),
                leaving: false,
            })
            .collect();
        let outcome = append_delivery(&writer, &bodies, "queue", &deliveries).await;
        for index in &outcome.done {
            let message = &received[*index];
            context.note(|| format!("append {} is durable: {} of {}", message.append, message.sequence, message.group));
            // The ack does not name the slot. Only the landing counts.
            let checked = context.world.state().oracle.acked_at(message.append, None);
            context.check(checked);
        }
        for failed in &outcome.failed {
            context.note(|| format!("append {} comes again: {}", received[failed.index].append, failed.reason));
            if failed.cause != Cause::NotUnderstood {
                continue;
            }
            let append = received[failed.index].append;
            if !queue.is_out_of_order() {
                context.world.fail(ACKED, format!("a message is not understood: {}", failed.reason));
            } else if context.world.state().oracle.is_passed(append) && context.once_in(3) {
                context.note(|| format!("append {append} goes to the dead letters: it was passed"));
                queue.delete(append);
            }
        }
        if !outcome.failed.is_empty() {
            writer = collection.writer(WriterOptions::default()).unwrap();
        }
        context.sleep_up_to(2_000).await;
        for index in &outcome.done {
            // A lost deletion: the message comes again.
            if !context.once_in(8) {
                queue.delete(received[*index].append);
            }
        }
    }
}
