//! From a queue to readers: exactly once and in order on a FIFO queue, under redelivery, crashes
//! and unreadable messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use deltafold::aws::{Outgoing, Queue, Receive};
use deltafold::format::{Op, Record};
use deltafold::ingest::{ConsumeOptions, consume};
use deltafold::store::Memory;
use deltafold::{BacklogLimit, Collection, CreateOptions, jsonl};
use deltafold_testing::random::Random;
use deltafold_testing::watched::{Fault, Watched};
use deltafold_testing::{canonical, data, ministack, queues};

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

/// Consumes until the queue has nothing to receive.
async fn drain(collection: &Collection, queue: &Queue) -> deltafold::ingest::Consumed {
    let options = ConsumeOptions::default().until_empty(true);
    consume(collection, queue, &options, std::future::pending(), |_| ()).await.unwrap()
}

/// Real updates go through a FIFO queue of 16 groups to two consumers. A third receives, appends
/// and dies before it deletes, so all its messages come again. In the end each update took effect
/// once, in the order of its record.
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

    // It appends the messages it receives, and dies before it deletes any.
    let source = queue.settings().await.unwrap().arn;
    let source = source.strip_prefix("arn:").unwrap();
    let bodies = deltafold::ingest::BodyReader::new(&collection);
    let mut seen = 0;
    for _ in 0..3 {
        let how = Receive::NOW;
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
        let outcome = deltafold::ingest::append_delivery(&dying, &bodies, source, &deliveries).await;
        assert_eq!(outcome.done.len(), received.len());
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
    assert_eq!(canonical::of(&collection).await, data.expected_sha256());
}

/// A receive brings ten messages at most. If more wait, a round goes on receiving, and appends and
/// deletes them together.
#[tokio::test]
async fn where_much_comes_a_round_takes_much() {
    const MESSAGES: usize = 300;
    let collection = collection(2).await;
    let queue = queues::create(ministack::endpoint(), "much", &[]).await;
    let messages = (0..MESSAGES).map(|number| {
        let record = Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() };
        Outgoing { body: line(&Op::put(format!("r{number}"), record)), ..Outgoing::default() }
    });
    assert_eq!(queue.send(&messages.collect::<Vec<_>>()).await.unwrap(), []);

    let options = ConsumeOptions::default().until_empty(true);
    let mut rounds = 0_u64;
    let consumed = consume(&collection, &queue, &options, std::future::pending(), |_| rounds += 1).await.unwrap();
    assert_eq!((consumed.messages, consumed.ops), (MESSAGES as u64, MESSAGES as u64));
    assert!(rounds <= 6, "{rounds} rounds, where ten messages each would take 30");
    assert!(segments(&collection).await <= rounds, "a round is one append");
    assert_eq!(queue.depth().await.unwrap().total(), 0);
}

/// Unreadable messages go to the dead letters, alone. Only the messages behind them wait. Mended
/// and sent again, they take effect.
#[tokio::test]
async fn poison_is_dead_lettered_alone_and_works_once_mended() {
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
    let dead_letters = dead.receive(Receive::NOW).await.unwrap();
    let bodies: Vec<&str> = dead_letters.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, [poison.as_str()]);

    assert_eq!(queue.send(&[outgoing(put("p"), "one", "2 mended".into())]).await.unwrap(), []);
    assert_eq!(drain(&collection, &queue).await.ops, 1);
    let reader = collection.reader().await.unwrap();
    assert!(reader.get("p").await.unwrap().is_some());
}

/// Story: without dead letters a poison message of a FIFO queue came again at once and for ever, so
/// `until_empty` never ended.
#[tokio::test]
async fn poison_without_dead_letters_ends_and_is_counted() {
    let collection = collection(2).await;
    let queue = queues::create(ministack::endpoint(), "endless.fifo", &[]).await;
    let messages = [
        outgoing("nonsense".to_owned(), "one", "1".into()),
        outgoing(line(&put("a", "behind")), "one", "2".into()),
        outgoing(line(&put("b", "other")), "two", "3".into()),
    ];
    assert_eq!(queue.send(&messages).await.unwrap(), []);
    let done = drain(&collection, &queue).await;
    assert_eq!((done.messages, done.left, done.dead), (1, 2, 0), "the poison, and the one behind it");
    assert_eq!(queue.depth().await.unwrap().total(), 2);
}

/// A change with an idempotency key.
fn change(op: &Op, source: &str, position: u128) -> String {
    let line = line(op);
    let op = line.trim_end().strip_suffix('}').unwrap();
    format!("{op},\"source\":\"{source}\",\"position\":\"{position}\"}}")
}

fn put(id: &str, document: &str) -> Op {
    Op::put(id, Record { document: Some(document.to_owned()), ..Record::default() })
}

async fn document(collection: &Collection, id: &str) -> Option<String> {
    collection.reader().await.unwrap().get(id).await.unwrap().and_then(|entry| entry.record.document)
}

async fn segments(collection: &Collection) -> u64 {
    collection.status().await.unwrap().shards.iter().map(|shard| shard.tail.get()).sum()
}

/// Story: a redrive gives a message a new id and a new place in its queue. A message appended
/// before it was dead-lettered was appended twice. A late one was appended over its successors: an
/// older state over a newer one.
///
/// Now changes carry an idempotency key. A repeated one is dropped, and one that is late for none
/// of its records takes effect. One that would undo a later change goes back to the dead letters.
#[tokio::test]
async fn a_redriven_change_takes_effect_in_its_place_or_never() {
    let collection = collection(2).await;
    let (queue, dead) = queues::with_dead_letters(ministack::endpoint(), "redriven.fifo", 3).await;
    let held = change(&put("a", "first"), "orders", 10);
    let late = change(&put("b", "late"), "orders", 20);
    let passed = change(&put("a", "old"), "orders", 30);
    // The consumer of the first message died before it could delete it. The others could not be
    // appended for long. All three are among the dead letters.
    assert_eq!(queue.send(&[outgoing(held.clone(), "g", "1".into())]).await.unwrap(), []);
    assert_eq!(drain(&collection, &queue).await.ops, 1);
    let letters = [(&held, "2"), (&late, "3"), (&passed, "4")];
    let letters = letters.map(|(body, id)| outgoing(body.clone(), "g", id.into()));
    assert_eq!(dead.send(&letters).await.unwrap(), []);
    // The messages behind them go on.
    let newer = change(&put("a", "newest"), "orders", 40);
    assert_eq!(queue.send(&[outgoing(newer, "g", "5".into())]).await.unwrap(), []);
    assert_eq!(drain(&collection, &queue).await.ops, 1);

    let moved = dead.move_some(&queue, 10).await.unwrap();
    assert_eq!(moved.moved, 3, "{moved:?}");
    let (mut ops, mut duplicates, mut failed) = (0, 0, 0);
    while queue.depth().await.unwrap().total() > 0 {
        let done = drain(&collection, &queue).await;
        ops += done.ops;
        duplicates += done.duplicates;
        failed += done.failed;
    }
    assert_eq!((ops, duplicates), (1, 1), "the late one and the one that is held");
    assert!(failed >= 3, "the one that was passed was tried as often as the queue says: {failed}");
    assert_eq!(document(&collection, "a").await.as_deref(), Some("newest"));
    assert_eq!(document(&collection, "b").await.as_deref(), Some("late"));
    let left = dead.receive(Receive::NOW).await.unwrap();
    let left: Vec<&str> = left.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(left, [passed.as_str()], "it is not lost");

    // Folding keeps all of these marks.
    let mut compactor = collection.compactor(deltafold::CompactorOptions::default());
    compactor.run_once().await.unwrap();
    let again = [(&held, "6"), (&late, "7")].map(|(body, id)| outgoing(body.clone(), "other", id.into()));
    assert_eq!(queue.send(&again).await.unwrap(), []);
    let done = drain(&collection, &queue).await;
    assert_eq!((done.ops, done.duplicates, done.failed), (0, 2, 0));
}

/// On a standard queue a message has no place. Changes with an idempotency key still take effect
/// once and in the order of each record, though two consumers get them.
#[tokio::test]
async fn changes_on_a_standard_queue_take_effect_once() {
    let collection = collection(2).await;
    let queue = queues::create(ministack::endpoint(), "standing", &[]).await;
    let changes: Vec<String> =
        (0..60u32).map(|n| change(&put(&format!("r{}", n % 20), &n.to_string()), "orders", n.into())).collect();
    let messages: Vec<Outgoing> =
        changes.chunks(3).map(|bodies| Outgoing { body: bodies.join("\n"), ..Outgoing::default() }).collect();
    assert_eq!(queue.send(&messages).await.unwrap(), []);
    // The zombie got all of them another way, and appends them while its successor does.
    let bodies = deltafold::ingest::BodyReader::new(&collection);
    let deliveries: Vec<_> = messages
        .iter()
        .map(|message| deltafold::ingest::Delivery { body: &message.body, ..deltafold::ingest::Delivery::default() })
        .collect();
    let zombie = collection.writer(deltafold::WriterOptions::default()).unwrap();
    let (first, second) = futures::future::join(
        deltafold::ingest::append_delivery(&zombie, &bodies, "q", &deliveries),
        drain(&collection, &queue),
    )
    .await;
    assert_eq!((first.done.len(), first.failed.len()), (20, 0));
    let mut total = (first.ops + second.ops, second.failed);
    while queue.depth().await.unwrap().total() > 0 {
        let done = drain(&collection, &queue).await;
        total = (total.0 + done.ops, total.1 + done.failed);
    }
    assert_eq!(total, (60, 0));
    for n in 0..20u32 {
        assert_eq!(document(&collection, &format!("r{n}")).await, Some((40 + n).to_string()));
    }
    let mut compactor = collection.compactor(deltafold::CompactorOptions::default());
    let rows: u64 = compactor.run_once().await.unwrap().events.iter().map(|event| event.rows_in).sum();
    assert_eq!(rows, 60, "each is in the log once, in {} segments", segments(&collection).await);
}

/// An invalid place is treated like an invalid op. The message goes to the dead letters, and until
/// then only those behind it in its group wait.
#[tokio::test]
async fn a_place_that_is_none_goes_to_the_dead_letters_alone() {
    let collection = collection(2).await;
    let (queue, dead) = queues::with_dead_letters(ministack::endpoint(), "placeless.fifo", 3).await;
    let wrong = r#"{"op":"put","id":"w","source":"orders","position":"12x"}"#.to_owned();
    let messages = [
        outgoing(change(&put("a", "1"), "orders", 1), "one", "1".into()),
        outgoing(wrong.clone(), "one", "2".into()),
        outgoing(change(&put("a", "3"), "orders", 3), "one", "3".into()),
        outgoing(change(&put("b", "4"), "orders", 4), "two", "4".into()),
    ];
    assert_eq!(queue.send(&messages).await.unwrap(), []);
    let mut ops = 0;
    while queue.depth().await.unwrap().total() > 0 {
        ops += drain(&collection, &queue).await.ops;
    }
    assert_eq!(ops, 3);
    assert_eq!(document(&collection, "a").await.as_deref(), Some("3"));
    let left = dead.receive(Receive::NOW).await.unwrap();
    let left: Vec<&str> = left.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(left, [wrong.as_str()]);
}

/// Story: the store took longer than the queue hides a message. Without a heartbeat another
/// consumer got the message meanwhile, and its ops were appended twice.
#[tokio::test]
async fn a_slow_append_keeps_its_message_unseen() {
    let unseen = Duration::from_secs(4);
    let store = Watched::<Memory>::default();
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let queue = queues::create(ministack::endpoint(), "slow", &[]).await;
    let rival = queues::create(ministack::endpoint(), "slow", &[]).await;
    let outgoing = |body: &str| Outgoing { body: body.to_owned(), ..Outgoing::default() };
    assert_eq!(queue.send(&[outgoing(&line(&put("a", "1")))]).await.unwrap(), []);
    let stolen = Arc::new(std::sync::Mutex::new(Vec::new()));
    store.before("create", "/log/", {
        let stolen = stolen.clone();
        move || async move {
            // The queue itself is the clock: a marker comes again after it was hidden for as long
            // as the message.
            assert_eq!(rival.send(&[outgoing("marker")]).await.unwrap(), []);
            let how = Receive::default().wait(Duration::from_secs(1)).visibility(Some(unseen));
            let mut seen = 0;
            while seen < 2 && stolen.lock().unwrap().is_empty() {
                for message in rival.receive(how).await.unwrap() {
                    if message.body != "marker" {
                        stolen.lock().unwrap().push(message.body);
                        continue;
                    }
                    seen += 1;
                    if seen == 2 {
                        assert_eq!(rival.delete(&[message.receipt.as_str()]).await.unwrap().len(), 0);
                    }
                }
            }
        }
    });
    let options = ConsumeOptions::default().visibility(Some(unseen)).until_empty(true);
    let consumed = consume(&collection, &queue, &options, std::future::pending(), |_| ()).await.unwrap();
    assert_eq!(*stolen.lock().unwrap(), [""; 0], "another consumer received it");
    assert_eq!((consumed.messages, consumed.failed, store.all_reached()), (1, 0, true));
    assert_eq!(queue.depth().await.unwrap().total(), 0);
    assert_eq!(document(&collection, "a").await.as_deref(), Some("1"));
}

/// Story: an append failed for good and its message went to the dead letters. The failed writer
/// would refuse everything behind it in that group. Now the consumer goes on with another writer.
#[tokio::test]
async fn a_group_goes_on_behind_an_append_that_failed() {
    let store = Watched::<Memory>::default();
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let (queue, dead) = queues::with_dead_letters(ministack::endpoint(), "goes-on.fifo", 1).await;
    let (first, second) = (line(&put("a", "1")), line(&put("b", "2")));
    assert_eq!(queue.send(&[outgoing(first.clone(), "g", "1".into())]).await.unwrap(), []);
    store.fail("create", "/log/", Fault::Permanent);
    let (heard, mut rounds) = tokio::sync::mpsc::unbounded_channel();
    let stop = async {
        while let Some(consumed) = rounds.recv().await {
            let deltafold::ingest::Consumed { messages, failed, .. } = consumed;
            match (messages, failed) {
                (0, 1) => {
                    assert_eq!(queue.send(&[outgoing(second.clone(), "g", "2".into())]).await.unwrap(), []);
                }
                _ => break,
            }
        }
    };
    let options = ConsumeOptions::default();
    let consumed = consume(&collection, &queue, &options, stop, |consumed| heard.send(*consumed).unwrap()).await;
    let consumed = consumed.unwrap();
    assert_eq!((consumed.messages, consumed.failed), (1, 1), "the successor goes on");
    assert_eq!(document(&collection, "b").await.as_deref(), Some("2"));
    let left = dead.receive(Receive::NOW).await.unwrap();
    let left: Vec<&str> = left.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(left, [first.as_str()], "it is not lost");
}

/// A consumer that keeps up folds the log between two rounds. Otherwise an endless queue makes an
/// endless log.
#[tokio::test]
async fn a_consumer_folds_a_log_beyond_its_limit() {
    let queue = queues::create(ministack::endpoint(), "keeps-up.fifo", &[]).await;
    let messages: Vec<Outgoing> = (0..12)
        .map(|number| outgoing(line(&Op::delete(number.to_string())), &format!("g{number}"), format!("e{number}")))
        .collect();
    assert_eq!(queue.send(&messages).await.unwrap(), []);
    let collection = collection(2).await;
    let options =
        ConsumeOptions::default().until_empty(true).max_messages(3).keep_up(Some(BacklogLimit::default().segments(1)));
    let consumed = consume(&collection, &queue, &options, std::future::pending(), |_| ()).await.unwrap();
    let shard = &collection.status().await.unwrap().shards[0];
    assert_eq!(consumed.ops, 12);
    assert!(shard.folded.get() > 1, "{shard:?}");
}
