//! Which messages of a delivery are appended, and which are reported as failed: nothing here knows where they came from.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::Poll;

use deltafold_format::Op;
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;

use super::body::BodyReader;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Ack, Writer};

/// A message as it was delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// What was sent.
    pub body: &'a str,
    /// The message group and the place in it, of a queue that keeps order: what makes it exactly once.
    pub place: Option<(&'a str, u128)>,
    /// It goes to the dead letters soon if it cannot be understood now: those behind it need not wait, and must not follow it there.
    pub leaving: bool,
}

/// What became of the messages of a delivery. Each is in one of the two lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Those whose ops are durable, by their place in the delivery: they may be deleted.
    pub done: Vec<usize>,
    /// Those that are to come again.
    pub failed: Vec<Failed>,
    /// Ops that were appended.
    pub ops: u64,
    /// Messages whose ops the log held already.
    pub duplicates: u64,
    /// Records of a stream that the mapping makes no op of.
    pub skipped: u64,
}

/// A message that was not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its place in the delivery.
    pub index: usize,
    /// Why.
    pub reason: String,
    /// What to do about it.
    pub cause: Cause,
}

/// What to do about a message that was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Mend it: it can never be appended as it is.
    NotUnderstood,
    /// Let it come again: it was not, or perhaps not, appended now.
    NotAppended,
    /// Nothing: one before it in its group failed, and it must not overtake that.
    HeldBack,
}

/// A message on its way: its place in the delivery, how many ops it has, and what becomes of it.
type Sent<'a> = Pin<Box<dyn Future<Output = Result<Ack>> + Send + 'a>>;

/// Appends the messages of one delivery of `queue` and says what became of each.
///
/// A message that cannot be understood never blocks those of other groups. Behind one that failed, whatever the reason, all of its group are reported as failed too, so
/// that none overtakes it, unless it is one that nobody understands and that is [leaving](Delivery::leaving) the queue. A message with a [place](Delivery::place) takes effect once, however often and to however many consumers it is delivered: group and queue
/// are the source, the place is the position ([`Writer::append_from`]). One without a place is appended each time it is delivered.
///
/// In a collection that is ordered by revision places are no matter: no message waits for another, each is appended each time it is delivered, and takes effect once all the same.
///
/// After a failure of the store (any that is not of the message itself) the writer goes on to refuse what follows in that group, until the same message comes again: whoever may not get it
/// again opens a new writer.
pub async fn settle(writer: &Writer, bodies: &BodyReader, queue: &str, deliveries: &[Delivery<'_>]) -> Settled {
    settle_until(writer, bodies, queue, deliveries, std::future::pending()).await
}

/// [`settle()`], for those who have not all the time in the world: what is not acknowledged when `stop` is ready is reported as failed. It may be in the log nevertheless; whoever goes on opens a new
/// writer.
pub async fn settle_until(
    writer: &Writer,
    bodies: &BodyReader,
    queue: &str,
    deliveries: &[Delivery<'_>],
    stop: impl Future<Output = ()>,
) -> Settled {
    // Revisions order the ops themselves: no message has to wait for another, and what comes again is no matter.
    let by_revision = bodies.by_revision();
    let mut settled = Settled::default();
    let mut broken: HashSet<&str> = HashSet::new();
    let mut waiting: Vec<(usize, usize, Sent<'_>)> = Vec::new();
    for (index, delivery) in deliveries.iter().enumerate() {
        let place = if by_revision { None } else { delivery.place };
        let group = place.map(|(group, _)| group);
        if group.is_some_and(|group| broken.contains(group)) {
            settled.failed.push(held_back(index));
            continue;
        }
        let failed = match bodies.read(delivery.body) {
            Ok(body) => {
                settled.skipped += body.skipped;
                let (count, ops) = (body.ops.len(), body.ops);

                let mut sent = append(writer, queue, place, ops);
                // The first poll hands the ops to the writer: so the log has the order of the delivery.
                match futures::poll!(&mut sent) {
                    Poll::Ready(Err(error)) => Some((error.to_string(), cause(&error))),
                    Poll::Ready(Ok(ack)) => {
                        waiting.push((index, count, Box::pin(std::future::ready(Ok(ack)))));
                        None
                    }
                    Poll::Pending => {
                        waiting.push((index, count, sent));
                        None
                    }
                }
            }
            Err(reason) => Some((reason, Cause::NotUnderstood)),
        };
        if let Some((reason, cause)) = failed {
            settled.failed.push(Failed { index, reason, cause });
            broken.extend(group.filter(|_| cause != Cause::NotUnderstood || !delivery.leaving));
        }
    }
    let (places, sent): (Vec<_>, Vec<_>) = waiting.into_iter().map(|(index, ops, sent)| ((index, ops), sent)).unzip();
    let answers = answers(sent, stop).await;
    // Only of appends: what stands before a message that was not understood is not held back by it.
    let mut broken: HashSet<&str> = HashSet::new();
    for ((index, ops), answer) in places.into_iter().zip(answers) {
        let delivery = deliveries.get(index).filter(|_| !by_revision);
        let group = delivery.and_then(|delivery| delivery.place).map(|(group, _)| group);
        let late = || Err(("it was not acknowledged in time".to_owned(), Cause::NotAppended));
        let answer = answer.map_or_else(late, |answer| answer.map_err(|error| (error.to_string(), cause(&error))));
        match answer {
            _ if group.is_some_and(|group| broken.contains(group)) => settled.failed.push(held_back(index)),
            Ok(ack) => {
                settled.done.push(index);
                if ack.is_duplicate() {
                    settled.duplicates += 1;
                } else {
                    settled.ops += ops as u64;
                }
            }
            Err((reason, cause)) => {
                settled.failed.push(Failed { index, reason, cause });
                broken.extend(group);
            }
        }
    }
    settled.failed.sort_by_key(|failed| failed.index);
    settled
}

/// What becomes of each; `None` where that is not known yet when `stop` is ready.
async fn answers(sent: Vec<Sent<'_>>, stop: impl Future<Output = ()>) -> Vec<Option<Result<Ack>>> {
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

fn append<'a>(writer: &'a Writer, queue: &str, place: Option<(&str, u128)>, ops: Vec<Op>) -> Sent<'a> {
    match place {
        Some((group, position)) => {
            let source = format!("{queue}/{group}");
            Box::pin(async move { writer.append_from(&source, position, ops).await })
        }
        None => Box::pin(writer.append(ops)),
    }
}

fn held_back(index: usize) -> Failed {
    Failed { index, reason: "a message before it in its group failed".to_owned(), cause: Cause::HeldBack }
}

fn cause(error: &Error) -> Cause {
    if error.kind() == ErrorKind::InvalidInput { Cause::NotUnderstood } else { Cause::NotAppended }
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
    async fn what_is_not_understood_holds_back_its_own_group_and_nobody_else() {
        let collection = collection().await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let bodies = [put("a1"), "nonsense".to_owned(), put("a3"), put("b1"), put("free")];
        let places = [Some(("a", 1)), Some(("a", 2)), Some(("a", 3)), Some(("b", 1)), None];
        let deliveries: Vec<Delivery<'_>> =
            bodies.iter().zip(places).map(|(body, place)| Delivery { body, place, leaving: false }).collect();
        let settled = settle(&writer, &reader(), "q", &deliveries).await;
        assert_eq!(settled.done, [0, 3, 4]);
        let failed: Vec<(usize, Cause)> = settled.failed.iter().map(|failed| (failed.index, failed.cause)).collect();
        assert_eq!(failed, [(1, Cause::NotUnderstood), (2, Cause::HeldBack)]);
        assert!(settled.failed[0].reason.contains("expected a JSON object"), "{:?}", settled.failed);
        assert_eq!((settled.ops, settled.duplicates), (3, 0));

        // The one that nobody understands is gone to the dead letters; the rest comes again, and what was done as well.
        let again = settle(&writer, &reader(), "q", &[deliveries[0], deliveries[2], deliveries[3]]).await;
        assert_eq!((again.done, again.ops, again.duplicates), (vec![0, 1, 2], 1, 2));
        assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 4);
    }

    /// A group is held up by what nobody understands for as long as that may come again, and no longer: else those behind it would go to the dead letters as well.
    #[tokio::test]
    async fn nobody_waits_for_what_is_leaving() {
        let collection = collection().await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let (poison, good) = ("nonsense", put("a"));
        let first = Delivery { body: poison, place: Some(("g", 1)), leaving: true };
        let second = Delivery { body: &good, place: Some(("g", 2)), leaving: true };
        let settled = settle(&writer, &reader(), "q", &[first, second]).await;
        assert_eq!((settled.done, settled.failed.len()), (vec![1], 1));
    }

    /// Whoever has to stop hears what is known by then; the rest comes again, and is in the log once.
    #[tokio::test]
    async fn what_is_not_acknowledged_in_time_comes_again() {
        let collection = collection().await;
        let writer =
            collection.writer(WriterOptions { linger: Duration::from_secs(3_600), ..WriterOptions::default() });
        let bodies = ["nonsense".to_owned(), put("a"), put("b")];
        let places = [Some(("x", 1)), Some(("g", 1)), Some(("g", 2))];
        let deliveries: Vec<Delivery<'_>> =
            bodies.iter().zip(places).map(|(body, place)| Delivery { body, place, leaving: false }).collect();
        let settled = settle_until(&writer.unwrap(), &reader(), "q", &deliveries, std::future::ready(())).await;
        let failed: Vec<(usize, Cause)> = settled.failed.iter().map(|failed| (failed.index, failed.cause)).collect();
        assert_eq!(failed, [(0, Cause::NotUnderstood), (1, Cause::NotAppended), (2, Cause::HeldBack)]);
        assert!(settled.done.is_empty());
        let again =
            settle(&collection.writer(WriterOptions::default()).unwrap(), &reader(), "q", &deliveries[1..]).await;
        assert_eq!((again.done, again.ops + again.duplicates), (vec![0, 1], 2));
        assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 2);
    }

    /// A consumer that was thought dead and its successor append the same messages: one copy of each is in the log.
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
            settle(&zombie, &reader(), "q", &deliveries),
            settle(&successor, &reader(), "q", &deliveries),
        )
        .await;
        assert_eq!((one.done.len(), other.done.len()), (50, 50));
        assert_eq!((one.ops + other.ops, one.duplicates + other.duplicates), (50, 50));
        let late =
            settle(&collection.writer(WriterOptions::default()).unwrap(), &reader(), "q", &deliveries[..7]).await;
        assert_eq!((late.ops, late.duplicates), (0, 7));
    }
}
