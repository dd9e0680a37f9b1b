//! Which messages of a delivery are appended, and which are reported as failed: nothing here knows where they came from.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::Poll;

use deltafold_format::Op;

use super::body::BodyReader;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Ack, Writer};

/// A message as it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// What was sent.
    pub body: &'a str,
    /// The message group and the place in it, of a queue that keeps order: what makes it exactly once.
    pub place: Option<(&'a str, u128)>,
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
/// that none overtakes it. A message with a [place](Delivery::place) takes effect once, however often and to however many consumers it is delivered: group and queue
/// are the source, the place is the position ([`Writer::append_from`]). One without a place is appended each time it is delivered.
///
/// After a failure of the store (any that is not of the message itself) the writer goes on to refuse what follows in that group, until the same message comes again: whoever may not get it
/// again opens a new writer.
pub async fn settle(writer: &Writer, bodies: &BodyReader, queue: &str, deliveries: &[Delivery<'_>]) -> Settled {
    let mut settled = Settled::default();
    let mut broken: HashSet<&str> = HashSet::new();
    let mut waiting: Vec<(usize, usize, Sent<'_>)> = Vec::new();
    for (index, delivery) in deliveries.iter().enumerate() {
        let group = delivery.place.map(|(group, _)| group);
        if group.is_some_and(|group| broken.contains(group)) {
            settled.failed.push(held_back(index));
            continue;
        }
        let failed = match bodies.read(delivery.body) {
            Ok(body) => {
                settled.skipped += body.skipped;
                let (count, ops) = (body.ops.len(), body.ops);

                let mut sent = append(writer, queue, delivery.place, ops);
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
            broken.extend(group);
        }
    }
    let (places, sent): (Vec<_>, Vec<_>) = waiting.into_iter().map(|(index, ops, sent)| ((index, ops), sent)).unzip();
    let answers = futures::future::join_all(sent).await;
    // Only of appends: what stands before a message that was not understood is not held back by it.
    let mut broken: HashSet<&str> = HashSet::new();
    for ((index, ops), answer) in places.into_iter().zip(answers) {
        let group = deliveries.get(index).and_then(|delivery| delivery.place).map(|(group, _)| group);
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
            Err(error) => {
                settled.failed.push(Failed { index, reason: error.to_string(), cause: cause(&error) });
                broken.extend(group);
            }
        }
    }
    settled.failed.sort_by_key(|failed| failed.index);
    settled
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
            bodies.iter().zip(places).map(|(body, place)| Delivery { body, place }).collect();
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

    /// A consumer that was thought dead and its successor append the same messages: one copy of each is in the log.
    #[tokio::test]
    async fn a_zombie_and_its_successor_leave_one_copy() {
        let collection = collection().await;
        let bodies: Vec<String> = (0..50).map(|id| put(&id.to_string())).collect();
        let deliveries: Vec<Delivery<'_>> =
            bodies.iter().zip(1..).map(|(body, place)| Delivery { body, place: Some(("g", place)) }).collect();
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
