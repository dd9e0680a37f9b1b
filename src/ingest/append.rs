//! Appends the messages of a delivery, and reports those that failed. Knows no transport.

use std::collections::HashSet;
use std::pin::Pin;

use futures::StreamExt;
use futures::future::{BoxFuture, Either, FusedFuture, FutureExt, select};
use futures::stream::FuturesUnordered;

use super::body::BodyReader;
use super::delivery::{Cause, Delivery, DeliveryOutcome, Failed};
use super::reading::Body;
use super::reference::{Loaded, Reference};
use crate::error::Result;
use crate::log::{Ack, Writer};

/// Warning, logged once: a standard queue can reorder stream records in a log-ordered collection.
#[cfg(feature = "sqs")]
pub(crate) const STREAM_WITHOUT_ORDER: &str = "records of a DynamoDB stream come through a standard queue, which keeps no order: an older state of an item can end above a newer one. Use a FIFO queue, or a collection that is ordered by revision";

/// A message in flight.
struct Waiting {
    /// Its index in the delivery.
    index: usize,
    /// The number of its ops.
    ops: usize,
    sent: Sent,
}

/// The pending outcome of a message.
type Sent = BoxFuture<'static, Result<Ack>>;

/// Appends the messages of one delivery of `queue`, and returns the outcome of each.
///
/// A message that cannot be understood never blocks other groups. Behind a failed message, all of
/// its group are reported as failed too, so that none overtakes it. The exception is a message that
/// cannot be understood and is [leaving](Delivery::leaving) the queue. A message with a
/// [place](Delivery::place) takes effect once, however often and to however many consumers it is
/// delivered. Its source is its queue and group, and its position is its place
/// ([`Writer::append_from`]). A message without a place is appended at each delivery.
///
/// A message whose ops name their [idempotency key](crate::IdempotencyKey) takes effect once and in
/// order, even if it was moved to the dead letters and back, or sent again. Later changes of its
/// records may have passed it. If the marks do not tell whether the log holds it, it is reported as
/// [not understood](Cause::NotUnderstood). It is never dropped ([`Writer::append_change`]).
///
/// A message that names objects is done when all of them are in the log, in their order. Messages
/// behind it, of any group, wait for it.
///
/// In a collection ordered by revision, places do not matter: no message waits for another. Each is
/// appended at each delivery, and still takes effect once.
///
/// A failure of the store is any that is not of the message itself. After one, the writer refuses
/// later messages of that group until the same message comes again. A caller that may not get it
/// again must open a new writer.
pub async fn append_delivery(
    writer: &Writer,
    bodies: &BodyReader,
    queue: &str,
    deliveries: &[Delivery<'_>],
) -> DeliveryOutcome {
    append_delivery_until(writer, bodies, queue, deliveries, std::future::pending()).await
}

/// [`append_delivery`] with a deadline: fails every message that is not acknowledged when `stop` is
/// ready. The message may still be in the log. A caller that goes on must open a new writer.
pub async fn append_delivery_until(
    writer: &Writer,
    bodies: &BodyReader,
    queue: &str,
    deliveries: &[Delivery<'_>],
    stop: impl Future<Output = ()>,
) -> DeliveryOutcome {
    // Revisions order the ops themselves: no message has to wait for another, and duplicates do no
    // harm.
    let by_revision = bodies.by_revision();
    let group_of = |index: usize| {
        let delivery = deliveries.get(index).filter(|_| !by_revision);
        delivery.and_then(|delivery| delivery.place).map(|(group, _)| group)
    };
    let mut outcome = DeliveryOutcome::default();
    let mut broken: HashSet<&str> = HashSet::new();
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut stop = std::pin::pin!(stop.fuse());
    for (index, delivery) in deliveries.iter().enumerate() {
        let group = group_of(index);
        let body = if group.is_some_and(|group| broken.contains(group)) {
            outcome.failed.push(Failed::held_back(index));
            continue;
        } else if stop.is_terminated() {
            Err(late())
        } else {
            bodies.read(delivery.body).map_err(|reason| (reason, Cause::NotUnderstood))
        };
        let failed = match body {
            Ok(body) if !body.objects.is_empty() => {
                // Objects must not overtake the messages before them.
                broken.extend(acknowledge(std::mem::take(&mut waiting), group_of, stop.as_mut(), &mut outcome).await);
                if group.is_some_and(|group| broken.contains(group)) {
                    outcome.failed.push(Failed::held_back(index));
                    continue;
                }
                outcome.ignored += body.ignored;
                let loaded = load_all(writer, bodies, &body.objects, &mut stop).await;
                outcome.ops += loaded.ops;
                if loaded.failure.is_none() {
                    outcome.duplicates += u64::from(loaded.ops == 0);
                    outcome.done.push(index);
                }
                loaded.failure
            }
            Ok(body) => {
                outcome.skipped += body.skipped;
                outcome.ignored += body.ignored;
                outcome.records += body.records;
                let ops = body.ops.len();
                let place = if by_revision { None } else { delivery.place };
                // The writer has the ops at once, so the log has the order of the delivery.
                match start(writer, queue, place, body, by_revision) {
                    Ok(sent) => {
                        waiting.push(Waiting { index, ops, sent });
                        None
                    }
                    Err(error) => Some((error.to_string(), Cause::of(&error))),
                }
            }
            Err(failed) => Some(failed),
        };
        if let Some((reason, cause)) = failed {
            outcome.failed.push(Failed { index, reason, cause });
            broken.extend(group.filter(|_| cause != Cause::NotUnderstood || !delivery.leaving));
        }
    }
    acknowledge(waiting, group_of, stop, &mut outcome).await;
    outcome.failed.sort_by_key(|failed| failed.index);
    outcome.done.sort_unstable();
    outcome
}

/// Appends the objects that one message names, in order, up to the first that fails.
async fn load_all(
    writer: &Writer,
    bodies: &BodyReader,
    objects: &[Reference],
    stop: &mut Pin<&mut impl FusedFuture<Output = ()>>,
) -> Loaded {
    let mut all = Loaded { ops: 0, failure: None };
    for object in objects {
        if stop.is_terminated() {
            all.failure = Some(late());
        } else {
            let loaded = bodies.load(writer, object, stop.as_mut()).await;
            all.ops += loaded.ops;
            all.failure = loaded.failure;
        }
        if all.failure.is_some() {
            break;
        }
    }
    all
}

fn late() -> (String, Cause) {
    ("it was not acknowledged in time".to_owned(), Cause::NotAppended)
}

/// Waits for the messages that the writer has, until `stop` is ready. Returns the groups of those
/// that failed.
async fn acknowledge<'a>(
    waiting: Vec<Waiting>,
    group_of: impl Fn(usize) -> Option<&'a str>,
    stop: impl FusedFuture<Output = ()>,
    outcome: &mut DeliveryOutcome,
) -> HashSet<&'a str> {
    let (places, sent): (Vec<_>, Vec<_>) = waiting.into_iter().map(|one| ((one.index, one.ops), one.sent)).unzip();
    let stop = async move {
        // A future that has finished is never ready again.
        if !stop.is_terminated() {
            stop.await;
        }
    };
    let answers = answers(sent, stop).await;
    // Only groups of failed appends: a message that cannot be understood holds back none before it.
    let mut broken: HashSet<&str> = HashSet::new();
    for ((index, ops), answer) in places.into_iter().zip(answers) {
        let group = group_of(index);
        let answer =
            answer.map_or_else(|| Err(late()), |answer| answer.map_err(|error| (error.to_string(), Cause::of(&error))));
        match answer {
            _ if group.is_some_and(|group| broken.contains(group)) => outcome.failed.push(Failed::held_back(index)),
            Ok(ack) => {
                outcome.done.push(index);
                if ack.is_duplicate() {
                    outcome.duplicates += 1;
                } else {
                    outcome.ops += ops as u64;
                }
            }
            Err((reason, cause)) => {
                outcome.failed.push(Failed { index, reason, cause });
                // A message that can never be appended keeps none behind it out of the log, so
                // those need not come again.
                broken.extend(group.filter(|_| cause != Cause::NotUnderstood));
            }
        }
    }
    broken
}

/// The outcome of each. `None` if it is unknown when `stop` is ready.
async fn answers(sent: Vec<Sent>, stop: impl Future<Output = ()>) -> Vec<Option<Result<Ack>>> {
    let mut answers: Vec<Option<Result<Ack>>> = sent.iter().map(|_| None).collect();
    let numbered = sent.into_iter().enumerate().map(|(number, sent)| async move { (number, sent.await) });
    let mut waiting: FuturesUnordered<_> = numbered.collect();
    let mut stop = std::pin::pin!(stop);
    while let Either::Left((Some((number, answer)), _)) = select(waiting.next(), stop.as_mut()).await {
        if let Some(place) = answers.get_mut(number) {
            *place = Some(answer);
        }
    }
    answers
}

fn start(writer: &Writer, queue: &str, place: Option<(&str, u128)>, body: Body, by_revision: bool) -> Result<Sent> {
    let Body { ops, changes: keys, .. } = body;
    let place = place.map(|(group, position)| (format!("{queue}/{group}"), position));
    let changes = if by_revision || keys.is_empty() {
        vec![(None, ops)]
    } else {
        let mut ops = ops.into_iter();
        let changes = keys.into_iter().map(|(key, count)| (Some(key), ops.by_ref().take(count).collect()));
        changes.collect()
    };
    let place = place.as_ref().map(|(source, position)| (source.as_str(), *position));
    Ok(writer.start_delivered(place, changes)?.boxed())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::collection::{Collection, CreateOptions};
    use crate::ingest::body::tests::reader;
    use crate::log::WriterOptions;
    use crate::store::Memory;

    async fn collection() -> Collection {
        let options = CreateOptions::new(2);
        Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), &options).await.unwrap()
    }

    fn put(id: &str) -> String {
        format!("{{\"op\":\"put\",\"id\":\"{id}\"}}")
    }

    #[tokio::test]
    async fn an_unreadable_message_holds_back_its_own_group_only() {
        let collection = collection().await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let bodies = [put("a1"), "nonsense".to_owned(), put("a3"), put("b1"), put("free")];
        let places = [Some(("a", 1)), Some(("a", 2)), Some(("a", 3)), Some(("b", 1)), None];
        let deliveries: Vec<Delivery<'_>> =
            bodies.iter().zip(places).map(|(body, place)| Delivery { body, place, leaving: false }).collect();
        let outcome = append_delivery(&writer, &reader(), "q", &deliveries).await;
        assert_eq!(outcome.done, [0, 3, 4]);
        let failed: Vec<(usize, Cause)> = outcome.failed.iter().map(|failed| (failed.index, failed.cause)).collect();
        assert_eq!(failed, [(1, Cause::NotUnderstood), (2, Cause::HeldBack)]);
        assert!(outcome.failed[0].reason.contains("expected a JSON object"), "{:?}", outcome.failed);
        assert_eq!((outcome.ops, outcome.duplicates), (3, 0));

        // The poison message is among the dead letters. The rest comes again, with one that was
        // done.
        let again = append_delivery(&writer, &reader(), "q", &[deliveries[0], deliveries[2], deliveries[3]]).await;
        assert_eq!((again.done, again.ops, again.duplicates), (vec![0, 1, 2], 1, 2));
        assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 4);
    }

    /// A poison message holds up its group only as long as it may come again. Otherwise the
    /// messages behind it would go to the dead letters as well.
    #[tokio::test]
    async fn no_message_waits_for_one_that_is_leaving() {
        let collection = collection().await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let (poison, good) = ("nonsense", put("a"));
        let first = Delivery { body: poison, place: Some(("g", 1)), leaving: true };
        let second = Delivery { body: &good, place: Some(("g", 2)), leaving: true };
        let outcome = append_delivery(&writer, &reader(), "q", &[first, second]).await;
        assert_eq!((outcome.done, outcome.failed.len()), (vec![1], 1));
    }

    /// At the deadline the caller gets every known outcome. The rest comes again, and is in the log
    /// once.
    #[tokio::test]
    async fn messages_unacknowledged_at_the_deadline_come_again() {
        let collection = collection().await;
        let writer =
            collection.writer(WriterOptions { linger: Duration::from_secs(3_600), ..WriterOptions::default() });
        let bodies = ["nonsense".to_owned(), put("a"), put("b")];
        let places = [Some(("x", 1)), Some(("g", 1)), Some(("g", 2))];
        let deliveries: Vec<Delivery<'_>> =
            bodies.iter().zip(places).map(|(body, place)| Delivery { body, place, leaving: false }).collect();
        let outcome =
            append_delivery_until(&writer.unwrap(), &reader(), "q", &deliveries, std::future::ready(())).await;
        let failed: Vec<(usize, Cause)> = outcome.failed.iter().map(|failed| (failed.index, failed.cause)).collect();
        assert_eq!(failed, [(0, Cause::NotUnderstood), (1, Cause::NotAppended), (2, Cause::HeldBack)]);
        assert!(outcome.done.is_empty());
        let again =
            append_delivery(&collection.writer(WriterOptions::default()).unwrap(), &reader(), "q", &deliveries[1..])
                .await;
        assert_eq!((again.done, again.ops + again.duplicates), (vec![0, 1], 2));
        assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 2);
    }

    /// A consumer that was thought dead and its successor append the same messages. The log has one
    /// copy of each.
    #[tokio::test]
    async fn a_zombie_and_its_successor_leave_one_copy() {
        let collection = collection().await;
        let bodies: Vec<String> = (0..50).map(|id| put(&id.to_string())).collect();
        let deliveries: Vec<Delivery<'_>> = bodies
            .iter()
            .zip(1..)
            .map(|(body, place)| Delivery { body, place: Some(("g", place)), leaving: false })
            .collect();
        let [zombie, successor] = [(), ()].map(|()| collection.writer(WriterOptions::default()).unwrap());
        let (one, other) = futures::future::join(
            append_delivery(&zombie, &reader(), "q", &deliveries),
            append_delivery(&successor, &reader(), "q", &deliveries),
        )
        .await;
        assert_eq!((one.done.len(), other.done.len()), (50, 50));
        assert_eq!((one.ops + other.ops, one.duplicates + other.duplicates), (50, 50));
        let late =
            append_delivery(&collection.writer(WriterOptions::default()).unwrap(), &reader(), "q", &deliveries[..7])
                .await;
        assert_eq!((late.ops, late.duplicates), (0, 7));
    }

    fn change(id: &str, document: &str, position: u32) -> String {
        format!(
            "{{\"op\":\"put\",\"id\":\"{id}\",\"document\":\"{document}\",\"source\":\"s\",\"position\":{position}}}"
        )
    }

    /// Two workers get the same changes in messages with other places: sent again, or moved to the
    /// dead letters and back. The place of a message then says nothing of its changes, but their
    /// own idempotency key does.
    #[tokio::test]
    async fn changes_keep_their_place_in_any_message() {
        let collection = collection().await;
        let bodies: Vec<String> = (1..=40).map(|n| change(&(n % 7).to_string(), &n.to_string(), n)).collect();
        let deliveries = |group: &'static str, from: u128| -> Vec<Delivery<'_>> {
            let places = bodies.iter().zip(from..);
            places.map(|(body, place)| Delivery { body, place: Some((group, place)), leaving: false }).collect()
        };
        let [zombie, successor] = [(), ()].map(|()| collection.writer(WriterOptions::default()).unwrap());
        let (first, second) = (deliveries("g", 1), deliveries("again", 1_000));
        let (one, other) = futures::future::join(
            append_delivery(&zombie, &reader(), "q", &first),
            append_delivery(&successor, &reader(), "q", &second),
        )
        .await;
        assert_eq!((one.done.len(), other.done.len()), (40, 40), "{:?} {:?}", one.failed, other.failed);
        assert_eq!((one.ops + other.ops, one.duplicates + other.duplicates), (40, 40));
        let reader = collection.reader().await.unwrap();
        for id in 0..7 {
            let entry = reader.get(&id.to_string()).await.unwrap().unwrap();
            let last = (1..=40).rev().find(|n| n % 7 == id).unwrap();
            assert_eq!(entry.record.document, Some(last.to_string()));
        }
    }

    /// A change that later changes of its record have passed is neither dropped nor appended. Its
    /// error names the remedy. Messages behind it in its group, which are in the log, are done.
    #[tokio::test]
    async fn a_change_that_was_passed_is_refused_by_itself() {
        let collection = collection().await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let bodies = [change("a", "new", 5), change("a", "old", 3), change("b", "other", 4), change("a", "newer", 6)];
        let deliveries: Vec<Delivery<'_>> = (bodies.iter().zip(1..))
            .map(|(body, place)| Delivery { body, place: Some(("g", place)), leaving: false })
            .collect();
        let outcome = append_delivery(&writer, &reader(), "q", &deliveries).await;
        assert_eq!(outcome.done, [0, 2, 3]);
        let [Failed { index: 1, reason, cause: Cause::NotUnderstood }] = &outcome.failed[..] else {
            panic!("{:?}", outcome.failed)
        };
        assert!(["position 3", "source `s`", "was not appended"].iter().all(|word| reason.contains(word)), "{reason}");
        // A change of two records is refused as a whole if one of them was passed.
        let both = format!("[{},{}]", change("c", "x", 2), change("a", "x", 2));
        let outcome =
            append_delivery(&writer, &reader(), "q", &[Delivery { body: &both, ..Delivery::default() }]).await;
        assert_eq!((outcome.done.len(), outcome.failed.len()), (0, 1));
        let reader = collection.reader().await.unwrap();
        assert_eq!(reader.get("a").await.unwrap().unwrap().record.document.as_deref(), Some("newer"));
        assert!(reader.get("c").await.unwrap().is_none());
    }

    /// Changes of one message stay together, in their order. Those that the log holds are left out.
    #[tokio::test]
    async fn of_many_changes_only_those_not_held_are_appended() {
        let collection = collection().await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let once = async |body: &str| {
            let outcome = append_delivery(&writer, &reader(), "q", &[Delivery { body, ..Delivery::default() }]).await;
            assert_eq!(outcome.failed, []);
            outcome.duplicates
        };
        assert_eq!(once(&change("a", "1", 1)).await, 0);
        let body = [change("a", "1", 1), change("b", "2", 2), change("b", "3", 3)].join("\n");
        assert_eq!((once(&body).await, once(&body).await), (0, 1));
        let rows: u64 = {
            let mut compactor = collection.compactor(crate::compact::CompactorOptions::default());
            compactor.run_once().await.unwrap().events.iter().map(|event| event.rows_in).sum()
        };
        assert_eq!(rows, 3);
        assert_eq!(once(&body).await, 1, "nor does a fold forget it");
        let document = collection.reader().await.unwrap().get("b").await.unwrap().unwrap().record.document;
        assert_eq!(document.as_deref(), Some("3"));
    }
}
