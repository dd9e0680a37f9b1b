//! `forward`: packs changes of a table into few messages of a FIFO queue, which keeps them longer
//! than the stream does.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::deadline::Deadline;
use super::event::Event;
use super::failure::Failure;
use super::metrics::{Measured, Metric};
use super::stream::StreamChange;
use super::target::Target;
use crate::aws::{AwsOptions, Outgoing, Queue};
use crate::env::{Env, System};
use crate::ingest::BodyReader;

/// A message takes no more records beyond this many bytes. One invocation gets ten messages, and
/// ten of this size fit into the service's limit.
const MESSAGE_BYTES: usize = 240 << 10;

/// The function, kept between invocations.
#[derive(Debug)]
pub(super) struct Forward {
    target: Target,
    queue: String,
    groups: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    queue: Queue,
    /// Recognises poison records. Without a mapping the function cannot.
    bodies: Option<BodyReader>,
}

/// The way of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Send it with others.
    Pack,
    /// Send it alone: it is a poison record, and would take others in its message to the dead
    /// letters.
    Alone,
    /// No rule takes it.
    Skip,
}

/// A message, with the records that it holds.
#[derive(Debug, PartialEq, Eq)]
struct Packed {
    group: String,
    records: Vec<usize>,
}

impl Forward {
    pub(super) fn new(target: Target, queue: String, groups: u32) -> Self {
        Self { target, queue, groups, open: None }
    }

    /// Sends the records of the event. The answer names the first record that must come again. All
    /// behind it come again as well.
    pub(super) async fn handle(&mut self, event: Event, request: &str, deadline: Deadline) -> Result<Value, Failure> {
        let changes = match event {
            Event::Changes(changes) => changes,
            Event::Notices { source, .. } => return Err(Event::unwanted(&source)),
            Event::Messages(_) | Event::Other(_) => {
                return Err(Failure::event("the event holds no records of a stream".to_owned()));
            }
        };
        let open = match self.open.take() {
            Some(open) => open,
            None => self.opened(deadline).await?,
        };
        let fates: Vec<Fate> = changes.iter().map(|change| fate(change, open.bodies.as_ref())).collect();
        let packed = pack(&changes, &fates, self.groups);
        let messages: Vec<Outgoing> = packed.iter().map(|packed| outgoing(packed, &changes)).collect();
        let late = || {
            Failure::late("the messages could not be sent in time; those that were sent are dropped by the queue when they come again".to_owned())
        };
        let sent = deadline.bound(open.queue.send(&messages)).await.ok_or_else(late)?;
        let failed = sent.map_err(crate::error::Error::from)?;
        let mut measured = Measured::default();
        measured.count(Metric::Failed, failed.len() as u64);
        measured.print(&self.target.name, request, System.now());
        self.open = Some(open);
        let Some(first) = failed.first() else { return Ok(json!({ "batchItemFailures": [] })) };
        let records = failed.iter().filter_map(|failed| packed.get(failed.index)).flat_map(|packed| &packed.records);
        let again = records.min().and_then(|record| changes.get(*record));
        tracing::warn!(messages = failed.len(), reason = first.reason, "the queue did not take all messages");
        let again = again.map(|change| json!({ "itemIdentifier": change.sequence }));
        Ok(json!({ "batchItemFailures": [again] }))
    }

    async fn opened(&self, deadline: Deadline) -> Result<Open, Failure> {
        let bodies = if self.target.mapping.is_some() { Some(self.target.open(deadline).await?.1) } else { None };
        let queue = Queue::open(&self.queue, &AwsOptions::default()).await.map_err(crate::error::Error::from)?;
        Ok(Open { queue, bodies })
    }
}

fn fate(change: &StreamChange, bodies: Option<&BodyReader>) -> Fate {
    match bodies.map(|bodies| bodies.read(&change.text)) {
        None => Fate::Pack,
        Some(Ok(body)) if body.ops.is_empty() => Fate::Skip,
        Some(Ok(_)) => Fate::Pack,
        Some(Err(reason)) => {
            let (id, sequence) = (&change.id, &change.sequence);
            tracing::warn!(id, sequence, reason, "a record that no consumer can read is sent alone");
            Fate::Alone
        }
    }
}

/// Packs records into as few messages as possible. The records of one item stay in one group, in
/// order.
fn pack(changes: &[StreamChange], fates: &[Fate], groups: u32) -> Vec<Packed> {
    let mut packed: Vec<Packed> = Vec::new();
    // For each group, the open message and its bytes.
    let mut filling: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (index, (change, fate)) in changes.iter().zip(fates).enumerate() {
        let key = xxh3_64(change.keys.as_bytes());
        let group = match fate {
            Fate::Skip => continue,
            // A group of its own, so that it holds up no other record.
            Fate::Alone => format!("alone-{key:016x}"),
            Fate::Pack => (key % u64::from(groups.max(1))).to_string(),
        };
        let bytes = change.text.len() + 1;
        match filling.get_mut(&group) {
            Some((message, filled)) if *fate == Fate::Pack && *filled + bytes <= MESSAGE_BYTES => {
                *filled += bytes;
                if let Some(packed) = packed.get_mut(*message) {
                    packed.records.push(index);
                }
            }
            _ => {
                filling.insert(group.clone(), (packed.len(), bytes));
                packed.push(Packed { group, records: vec![index] });
            }
        }
    }
    packed
}

fn outgoing(packed: &Packed, changes: &[StreamChange]) -> Outgoing {
    let records: Vec<&StreamChange> = packed.records.iter().filter_map(|record| changes.get(*record)).collect();
    let texts: Vec<&str> = records.iter().map(|change| change.text.as_str()).collect();
    let deduplication = match &records[..] {
        [only] => only.id.clone(),
        many => {
            let mut hash = Xxh3::new();
            for change in many {
                hash.update(change.id.as_bytes());
                hash.update(b"\n");
            }
            format!("{:032x}", hash.digest128())
        }
    };
    Outgoing {
        body: format!("[{}]", texts.join(",")),
        group: Some(packed.group.clone()),
        deduplication: Some(deduplication),
        ..Outgoing::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: usize, key: &str, bytes: usize) -> StreamChange {
        let text = format!("{number}{}", " ".repeat(bytes));
        let (id, sequence, keys) = (format!("e{number}"), number.to_string(), key.to_owned());
        StreamChange { text, id, sequence, keys, created: None, stream: String::new(), place: None }
    }

    #[test]
    fn few_messages_and_each_item_in_order() {
        let changes: Vec<StreamChange> = (0..100).map(|number| change(number, &(number % 7).to_string(), 10)).collect();
        let fates = vec![Fate::Pack; 100];
        let one = pack(&changes, &fates, 1);
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].records, (0..100).collect::<Vec<_>>());
        let many = pack(&changes, &fates, 4);
        assert!(many.len() <= 4);
        for key in 0..7 {
            let of_key = |packed: &&Packed| packed.records.iter().any(|record| record % 7 == key);
            assert_eq!(many.iter().filter(of_key).count(), 1, "one item is in one group");
        }
        assert!(many.iter().all(|packed| packed.records.is_sorted()));
    }

    #[test]
    fn large_messages_are_cut_and_bad_records_go_alone() {
        let changes: Vec<StreamChange> = (0..5).map(|number| change(number, "k", 100 << 10)).collect();
        let cut = pack(&changes, &[Fate::Pack; 5], 1);
        let records: Vec<&[usize]> = cut.iter().map(|packed| &packed.records[..]).collect();
        assert_eq!(records, [&[0, 1][..], &[2, 3], &[4]]);
        let fates = [Fate::Pack, Fate::Alone, Fate::Alone, Fate::Skip, Fate::Pack];
        let small: Vec<StreamChange> = (0..5).map(|number| change(number, "k", 1)).collect();
        let packed = pack(&small, &fates, 1);
        let records: Vec<&[usize]> = packed.iter().map(|packed| &packed.records[..]).collect();
        assert_eq!(records, [&[0, 4][..], &[1], &[2]]);
        assert_eq!(packed[1].group, packed[2].group, "in the order of their item");
        assert_ne!(packed[0].group, packed[1].group);
    }

    #[test]
    fn ids_are_those_of_the_events() {
        let changes = [change(0, "k", 1), change(1, "k", 1)];
        let of = |records: &[usize]| outgoing(&Packed { group: "0".to_owned(), records: records.to_vec() }, &changes);
        assert_eq!(of(&[0]).deduplication.unwrap(), "e0");
        assert_eq!(of(&[0, 1]).group.as_deref(), Some("0"), "a FIFO queue refuses a message without one");
        assert_eq!(of(&[0, 1]).deduplication, of(&[0, 1]).deduplication);
        assert_ne!(of(&[0, 1]).deduplication, of(&[1, 0]).deduplication);
        assert_eq!(of(&[0, 1]).body, "[0 ,1 ]");
    }
}
