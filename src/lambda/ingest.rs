//! `ingest`: appends messages to the log, and reports those that failed, one by one.

use aws_lambda_events::sqs::SqsMessage;
use deltafold_format::Timestamp;
use serde_json::{Value, json};

use super::config::IngestSettings;
use super::deadline::Deadline;
use super::event::Event;
use super::failure::Failure;
use super::fold_request::FoldRequest;
use super::metrics::{Measured, Metric, lost_races, seconds_since};
use super::stream::StreamChange;
use super::target::Target;
use super::threshold::Threshold;
use crate::collection::Collection;
use crate::compact::{CompactorOptions, Policy};
use crate::env::{Env, System};
use crate::ingest::{
    BodyReader, Cause, Delivery, DeliveryOutcome, Failed, STREAM_WITHOUT_ORDER, append_delivery_until,
};
use crate::log::{Lag, Writer, WriterOptions};
use crate::store::Requests;

/// A fold needs at least this much remaining time.
const FOLD_TIME: std::time::Duration = std::time::Duration::from_secs(5);
/// The most that a fold of this function reads, because it has the memory of a small function.
const FOLD_BYTES: u64 = 16 << 20;

/// The function, kept between invocations.
#[derive(Debug)]
pub(super) struct Ingest {
    target: Target,
    max_receives: u32,
    /// Without one, this function folds in the remaining time.
    folding: Option<FoldRequest>,
    threshold: Threshold,
    open: Option<Open>,
    /// The warning about stream records without an order was logged.
    warned: bool,
}

/// The collection that the function appends to.
#[derive(Debug)]
struct Open {
    collection: Collection,
    bodies: BodyReader,
    writer: Writer,
}

impl Ingest {
    pub(super) fn new(target: Target, settings: IngestSettings) -> Self {
        let threshold = Threshold::new(settings.fold_segments);
        let IngestSettings { compact, max_receives, .. } = settings;
        Self { target, max_receives, folding: compact.map(FoldRequest::new), threshold, open: None, warned: false }
    }

    /// Appends the records of the event. The answer names the messages that must come again, or the
    /// first such record of the stream and all behind it. An event that holds neither is a body
    /// itself: a notification, or an op.
    pub(super) async fn handle(&mut self, event: Event, request: &str, deadline: Deadline) -> Result<Value, Failure> {
        let open = self.opened(deadline).await?;
        let before = open.collection.store().requests();
        let (outcome, sent) = match &event {
            Event::Messages(all) => {
                (messages(&open, all, self.max_receives, deadline).await, all.iter().map(sent).collect())
            }
            Event::Changes(all) => {
                (changes(&open, all, deadline).await, all.iter().map(|change| change.created).collect())
            }
            Event::Notices { text, .. } | Event::Other(text) => (call(&open, text, deadline).await, Vec::new()),
        };
        if let Event::Messages(all) = &event {
            let by_revision = open.collection.config().ordering.is_revision();
            let unordered = all.iter().any(|message| !message.attributes.contains_key("SequenceNumber"));
            if !self.warned && outcome.records > 0 && unordered && !by_revision {
                self.warned = true;
                tracing::warn!("{STREAM_WITHOUT_ORDER}");
            }
        }
        let lags = open.writer.lags();
        let longest = lags.iter().map(|lag| lag.segments).max();
        if self.threshold.reached(longest.unwrap_or(0)) {
            self.fold(&open.collection, longest.unwrap_or(0), deadline).await;
        }
        let requests = open.collection.store().requests().since(&before);
        measured(&outcome, &sent, &lags, &requests).print(open.collection.name(), request, System.now());
        // After a failure a writer waits for the failed messages, which may go to another instance.
        // The collection may also be another by now. So the next invocation opens both anew.
        if outcome.failed.iter().all(|failed| failed.cause != Cause::NotAppended) {
            self.open = Some(open);
        }
        answer(&event, &outcome)
    }

    async fn opened(&mut self, deadline: Deadline) -> Result<Open, Failure> {
        if let Some(open) = self.open.take() {
            return Ok(open);
        }
        let (collection, bodies) = self.target.open(deadline).await?;
        let writer = collection.writer(WriterOptions::default())?;
        Ok(Open { collection, bodies, writer })
    }

    /// Folds the log: by the function for it, or in the remaining time. A failure does not undo an
    /// append.
    async fn fold(&mut self, collection: &Collection, segments: u64, deadline: Deadline) {
        let done = match &mut self.folding {
            Some(folding) => folding.send(collection.name(), deadline).await,
            None if deadline.left() < FOLD_TIME => Err("too little time is left".to_owned()),
            None => {
                let policy = Policy::default().fold_bytes(FOLD_BYTES);
                let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
                let done = deadline.bound(compactor.run_once()).await;
                done.map_or(Err("it took too long".to_owned()), |done| {
                    done.map(drop).map_err(|error| error.to_string())
                })
            }
        };
        match done {
            Ok(()) => tracing::info!(segments, "the log is long; it is folded before its time"),
            Err(reason) => {
                tracing::warn!(segments, reason, "the log is long, and could not be folded before its time");
                self.threshold.forget();
            }
        }
    }
}

/// Appends messages.
async fn messages(open: &Open, messages: &[SqsMessage], max_receives: u32, deadline: Deadline) -> DeliveryOutcome {
    let deliveries: Vec<Delivery<'_>> = messages.iter().map(|message| delivery(message, max_receives)).collect();
    let queue = messages.first().and_then(|message| message.event_source_arn.as_deref()).unwrap_or_default();
    let queue = queue.strip_prefix("arn:").unwrap_or(queue);
    let outcome = append_delivery_until(&open.writer, &open.bodies, queue, &deliveries, deadline.passed()).await;
    for failed in &outcome.failed {
        let Some(message) = messages.get(failed.index) else { continue };
        let attribute = |name: &str| message.attributes.get(name).map_or("", String::as_str);
        let id = message.message_id.as_deref().unwrap_or_default();
        let (group, receives) = (attribute("MessageGroupId"), attribute("ApproximateReceiveCount"));
        let reason = &failed.reason;
        if failed.cause == Cause::HeldBack {
            tracing::info!(id, group, receives, reason, "a message was held back");
        } else {
            tracing::warn!(id, group, receives, reason, "a message was not appended");
        }
    }
    outcome
}

/// Appends records of a stream up to the first that cannot be understood. None may overtake it,
/// because the service delivers it again with all behind it.
async fn changes(open: &Open, changes: &[StreamChange], deadline: Deadline) -> DeliveryOutcome {
    let wrong = changes.iter().enumerate().find_map(|(index, change)| {
        let reason = open.bodies.read(&change.text).err()?;
        Some(Failed { index, reason, cause: Cause::NotUnderstood })
    });
    let good = changes.iter().take(wrong.as_ref().map_or(changes.len(), |failed| failed.index));
    let deliveries: Vec<Delivery<'_>> = good
        .map(|change| Delivery {
            body: &change.text,
            place: change.place.as_ref().map(|(group, position)| (group.as_str(), *position)),
            leaving: false,
        })
        .collect();
    let stream = changes.first().map_or("", |change| change.stream.as_str());
    let mut outcome = append_delivery_until(&open.writer, &open.bodies, stream, &deliveries, deadline.passed()).await;
    outcome.failed.extend(wrong);
    if let Some(failed) = outcome.failed.first()
        && let Some(change) = changes.get(failed.index)
    {
        let (id, sequence, reason) = (&change.id, &change.sequence, &failed.reason);
        tracing::warn!(id, sequence, reason, "a record was not appended; it comes again, and all behind it");
    }
    outcome
}

/// Appends an event of a service that waits for no answer: it is a body itself.
async fn call(open: &Open, text: &str, deadline: Deadline) -> DeliveryOutcome {
    let delivery = Delivery { body: text, ..Delivery::default() };
    append_delivery_until(&open.writer, &open.bodies, "", &[delivery], deadline.passed()).await
}

/// The answer: the messages or the records that must come again.
fn answer(event: &Event, outcome: &DeliveryOutcome) -> Result<Value, Failure> {
    // A message without an id cannot be reported, and the service deletes unreported messages.
    let unnamed = || Failure::event("a message has no id".to_owned());
    let mut names = Vec::new();
    match event {
        Event::Messages(messages) => {
            for failed in &outcome.failed {
                let name = messages.get(failed.index).and_then(|message| message.message_id.as_deref());
                names.push(name.ok_or_else(unnamed)?);
            }
        }
        Event::Changes(changes) => {
            // The service goes by the lowest number, and the list shows a person what comes again.
            let first = outcome.failed.iter().map(|failed| failed.index).min();
            let again = first.and_then(|first| changes.get(first..)).unwrap_or_default();
            names.extend(again.iter().map(|change| change.sequence.as_str()));
        }
        Event::Notices { .. } | Event::Other(_) => {
            if let Some(failed) = outcome.failed.first() {
                return Err(Failure::not_appended(failed.cause, &failed.reason));
            }
        }
    }
    let failures: Vec<Value> = names.into_iter().map(|name| json!({ "itemIdentifier": name })).collect();
    Ok(json!({ "batchItemFailures": failures }))
}

fn measured(outcome: &DeliveryOutcome, sent: &[Option<Timestamp>], lags: &[Lag], requests: &Requests) -> Measured {
    let mut measured = Measured::default();
    if let Some(segments) = lags.iter().map(|lag| lag.segments).max() {
        measured.count(Metric::LagSegments, segments);
    }
    if let Some(oldest) = outcome.done.iter().filter_map(|index| *sent.get(*index)?).min() {
        measured.set(Metric::LagSeconds, seconds_since(oldest));
    }
    measured.count(Metric::Appended, outcome.ops);
    measured.count(Metric::Duplicates, outcome.duplicates);
    measured.count(Metric::Failed, outcome.failed.len() as u64);
    measured.count(Metric::Conflicts, lost_races(requests));
    measured.requests(requests);
    if let Some(version) = lags.iter().map(|lag| lag.version.get()).max() {
        measured.count(Metric::Version, version);
    }
    measured
}

fn delivery(message: &SqsMessage, max_receives: u32) -> Delivery<'_> {
    let attribute = |name: &str| message.attributes.get(name).map(String::as_str);
    let sequence = attribute("SequenceNumber").and_then(|number| number.parse().ok());
    let receives = attribute("ApproximateReceiveCount").and_then(|number| number.parse().ok()).unwrap_or(0);
    Delivery {
        body: message.body.as_deref().unwrap_or_default(),
        place: attribute("MessageGroupId").zip(sequence),
        leaving: receives + 1 >= max_receives,
    }
}

/// The time when a message was sent.
fn sent(message: &SqsMessage) -> Option<Timestamp> {
    message.attributes.get("SentTimestamp")?.parse().ok().map(Timestamp::from_millis)
}
