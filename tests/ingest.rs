//! From a queue to readers: exactly once and in order on a FIFO queue, whatever is delivered again, dies, or cannot be understood.
#![cfg(feature = "sqs")]
#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]

#[path = "support/canonical.rs"]
mod canonical;
#[path = "support/data.rs"]
mod data;
#[path = "support/ministack.rs"]
mod ministack;
#[path = "support/queues.rs"]
mod queues;
#[path = "support/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use deltafold::aws::{Outgoing, Queue, Receive};
use deltafold::format::{Op, Record};
use deltafold::ingest::{ConsumeOptions, consume};
use deltafold::store::Memory;
use deltafold::{Collection, CreateOptions, ScanOptions, jsonl};
use futures::TryStreamExt;
use random::Random;

const GROUPS: usize = 16;

async fn collection(dimension: u32) -> Collection {
    let options = CreateOptions::new(dimension);
    Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), &options).await.unwrap()
}

fn line(op: &Op) -> String {
    let mut line = Vec::new();
    jsonl::write_op(&mut line, op);
    String::from_utf8(line).unwrap()
}

fn outgoing(body: String, group: &str, id: String) -> Outgoing {
    Outgoing { body, group: Some(group.to_owned()), deduplication: Some(id), ..Outgoing::default() }
}

/// Consumes until nothing can be received any more.
async fn drain(collection: &Collection, queue: &Queue) -> deltafold::ingest::Consumed {
    let options = ConsumeOptions { until_empty: true, ..ConsumeOptions::default() };
    consume(collection, queue, &options, std::future::pending(), |_| ()).await.unwrap()
}

async fn sha256(collection: &Collection) -> String {
    let reader = collection.reader().await.unwrap();
    let mut canonical = canonical::Canonical::default();
    let mut scan = reader.scan(ScanOptions::default());
    while let Some(entry) = scan.try_next().await.unwrap() {
        canonical.add(&entry.id, &entry.record);
    }
    canonical.finish()
}

/// Real updates through a FIFO queue of 16 groups to two consumers, beside one that receives, appends and dies before it deletes: every message it had comes again. In the end each update
/// took effect once, in the order of its record.
#[tokio::test]
async fn real_updates_take_effect_once_though_consumers_die() {
    let mut random = Random::from_environment();
    let data = data::DataSet::demo();
    let base: Vec<Op> = data.base().collect();
    let dimension = base.iter().find_map(|op| op.action.embedding()).map_or(1, |embedding| embedding.len());
    let collection = collection(u32::try_from(dimension).unwrap()).await;
    let writer = collection.writer(deltafold::WriterOptions::default()).unwrap();
    writer.append(base).await.unwrap();

    let visibility = [(QueueAttributeName::VisibilityTimeout, "2")];
    let queue = queues::create(ministack::endpoint(), "real.fifo", &visibility).await;
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    let messages: Vec<Outgoing> = data
        .updates()
        .enumerate()
        .map(|(number, op)| {
            let next = groups.len() % GROUPS;
            let group = *groups.entry(op.id.clone()).or_insert(next);
            outgoing(line(&op), &format!("g{group}"), format!("event-{number}"))
        })
        .collect();
    let total = messages.len() as u64;
    assert_eq!(queue.send(&messages).await.unwrap(), []);

    // It appends what it receives, and is gone before it deletes anything.
    let source = queue.settings().await.unwrap().arn;
    let source = source.strip_prefix("arn:").unwrap();
    let bodies = deltafold::ingest::BodyReader::new(&collection);
    let mut seen = 0;
    for _ in 0..3 {
        let how = Receive { wait: Duration::ZERO, ..Receive::default() };
        let received = queue.receive(how).await.unwrap();
        seen += received.len() as u64;
        let deliveries: Vec<_> = received
            .iter()
            .map(|message| deltafold::ingest::Delivery {
                body: &message.body,
                place: message.group.as_deref().zip(message.sequence),
                leaving: false,
            })
            .collect();
        let dying = collection.writer(deltafold::WriterOptions::default()).unwrap();
        let settled = deltafold::ingest::settle(&dying, &bodies, source, &deliveries).await;
        assert_eq!(settled.done.len(), received.len());
    }
    assert!(seen > 0, "it has received something");

    let (mut done, mut ops, mut duplicates) = (0, 0, 0);
    while queue.depth().await.unwrap().total() > 0 {
        let (one, other) = futures::future::join(drain(&collection, &queue), drain(&collection, &queue)).await;
        done += one.messages + other.messages;
        ops += one.ops + other.ops;
        duplicates += one.duplicates + other.duplicates;
        if random.once_in(2) {
            let mut compactor = collection.compactor(deltafold::CompactorOptions::default());
            compactor.run_once().await.unwrap();
        }
    }
    assert_eq!((done, ops), (total, total - seen), "each message was appended once");
    assert_eq!(duplicates, seen, "and what the dead one had appended was not appended again");
    assert_eq!(sha256(&collection).await, data.expected_sha256());
}

/// What nobody understands goes to the dead letters, with nothing else, and keeps nobody waiting but those behind it. Mended and sent again it takes effect.
#[tokio::test]
async fn poison_goes_to_the_dead_letters_alone_and_mended_takes_effect() {
    let collection = collection(2).await;
    let (queue, dead) = queues::with_dead_letters(ministack::endpoint(), "poison.fifo", 3).await;
    let put = |id: &str| {
        let record = Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() };
        line(&Op::put(id, record))
    };
    let poison = r#"{"op":"put","id":"p","embedding":[1]}"#.to_owned();
    let messages = [
        outgoing(put("a"), "one", "1".into()),
        outgoing(poison.clone(), "one", "2".into()),
        outgoing(put("c"), "one", "3".into()),
        outgoing(put("d"), "two", "4".into()),
    ];
    assert_eq!(queue.send(&messages).await.unwrap(), []);
    let mut failed = 0;
    while queue.depth().await.unwrap().total() > 0 {
        failed += drain(&collection, &queue).await.failed;
    }
    assert!(failed >= 3, "the poison was tried three times: {failed}");
    let reader = collection.reader().await.unwrap();
    assert_eq!(reader.count().await.unwrap(), 3);
    let dead_letters = dead.receive(Receive { wait: Duration::ZERO, ..Receive::default() }).await.unwrap();
    let bodies: Vec<&str> = dead_letters.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, [poison.as_str()]);

    assert_eq!(queue.send(&[outgoing(put("p"), "one", "2 mended".into())]).await.unwrap(), []);
    assert_eq!(drain(&collection, &queue).await.ops, 1);
    let reader = collection.reader().await.unwrap();
    assert!(reader.get("p").await.unwrap().is_some());
}
