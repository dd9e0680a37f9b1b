//! Objects of ops that messages name. All lines take effect once and in order, under redelivery and
//! interruption, and the errors of an object are reported.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use deltafold::aws::{Outgoing, Queue, Receive};
use deltafold::ingest::{
    BodyReader, Cause, ConsumeOptions, Delivery, DeliveryOutcome, Objects, append_delivery, append_delivery_until,
    consume,
};
use deltafold::store::{Memory, S3Address};
use deltafold::{Collection, CompactorOptions, CreateOptions, ScanOptions, WriterOptions};
use deltafold_testing::s3::backend::Quirk;
use deltafold_testing::s3::{self, BUCKET, Fault, Server};
use deltafold_testing::{ministack, queues};
use futures::TryStreamExt;
use serde_json::json;

async fn collection(shards: u16) -> Collection {
    let options = CreateOptions::new(2).shards(shards);
    Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), &options).await.unwrap()
}

fn address(endpoint: &str, bucket: &str) -> S3Address {
    let mut address: S3Address = format!("s3://{bucket}/bulk").parse().unwrap();
    address.options = s3::options(endpoint);
    address
}

async fn bodies(collection: &Collection, server: &Server) -> BodyReader {
    BodyReader::new(collection).with_objects(Objects::open(&address(&server.endpoint(), BUCKET)).await.unwrap())
}

fn put(id: &str, document: &str) -> String {
    json!({ "op": "put", "id": id, "document": document }).to_string()
}

/// This many lines, each of its own record.
fn lines(count: usize, document: &str) -> String {
    (0..count).map(|n| put(&format!("{n:06}"), document) + "\n").collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn named(key: &str) -> String {
    format!("{{\"s3\":\"s3://{BUCKET}/{key}\"}}")
}

/// Delivers one message to a writer of its own.
async fn deliver(collection: &Collection, bodies: &BodyReader, body: &str) -> DeliveryOutcome {
    let writer = collection.writer(WriterOptions::default()).unwrap();
    append_delivery(&writer, bodies, "q", &[Delivery { body, place: Some(("g", 1)), leaving: false }]).await
}

async fn count(collection: &Collection) -> u64 {
    collection.reader().await.unwrap().count().await.unwrap()
}

async fn document(collection: &Collection, id: &str) -> Option<String> {
    collection.reader().await.unwrap().get(id).await.unwrap().and_then(|entry| entry.record.document)
}

/// The number of ops in the log that were not folded before.
async fn rows(collection: &Collection) -> u64 {
    let mut compactor = collection.compactor(CompactorOptions::default());
    compactor.run_once().await.unwrap().events.iter().map(|event| event.rows_in).sum()
}

#[track_caller]
fn refused(outcome: &DeliveryOutcome, words: &[&str]) {
    let [failed] = &outcome.failed[..] else { panic!("{outcome:?}") };
    assert_eq!(failed.cause, Cause::NotUnderstood, "{}", failed.reason);
    assert!(words.iter().all(|word| failed.reason.contains(word)), "{}", failed.reason);
}

/// Queue and bucket were made by others. Plain and compressed objects come between messages of the
/// same group that must take effect before and after them.
#[tokio::test]
async fn objects_take_effect_in_the_order_of_their_messages() {
    let collection = collection(3).await;
    let store = s3::bucket_at(ministack::endpoint(), "objects").await;
    let bucket = store.bucket().to_owned();
    let client = s3::client(ministack::endpoint());
    for (name, bytes) in [
        ("plain.jsonl", lines(1_000, "plain").into_bytes()),
        ("some.gz", gzip(&lines(600, "gzip"))),
        ("few", zstd::encode_all(lines(300, "zstd").as_bytes(), 3).unwrap()),
    ] {
        client.put_object().bucket(&bucket).key(format!("bulk/{name}")).body(bytes.into()).send().await.unwrap();
    }
    let (queue, dead) = queues::with_dead_letters(ministack::endpoint(), "objects.fifo", 2).await;
    let body = |name: &str| format!("{{\"s3\":\"s3://{bucket}/bulk/{name}\"}}");
    let bodies = [
        put("000000", "before"),
        body("plain.jsonl"),
        body("missing"),
        body("some.gz"),
        body("few"),
        put("000001", "after"),
    ];
    let messages = bodies.iter().enumerate().map(|(number, body)| Outgoing {
        body: body.clone(),
        group: Some("g".to_owned()),
        deduplication: Some(number.to_string()),
        ..Outgoing::default()
    });
    assert_eq!(queue.send(&messages.collect::<Vec<_>>()).await.unwrap(), []);
    let objects = Objects::open(&address(ministack::endpoint(), &bucket)).await.unwrap();
    let options =
        ConsumeOptions::default().bodies(Some(BodyReader::new(&collection).with_objects(objects))).until_empty(true);
    let mut ops = 0;
    while queue.depth().await.unwrap().total() > 0 {
        ops += consume(&collection, &queue, &options, std::future::pending(), |_| ()).await.unwrap().ops;
    }
    assert_eq!(ops, 1_902);
    assert_eq!(count(&collection).await, 1_000);
    for (id, expected) in
        [("000000", "zstd"), ("000001", "after"), ("000299", "zstd"), ("000300", "gzip"), ("000600", "plain")]
    {
        assert_eq!(document(&collection, id).await.as_deref(), Some(expected), "{id}");
    }
    assert_eq!(dead_letters(&dead).await, [body("missing")]);
}

async fn dead_letters(dead: &Queue) -> Vec<String> {
    let letters = dead.receive(Receive::NOW).await.unwrap();
    letters.into_iter().map(|message| message.body).collect()
}

/// A reader of an object has to stop in the middle, twice, and gets the message again. Each line is
/// in the log exactly once, even though a zombie appends the object too.
#[tokio::test]
async fn an_object_that_was_read_half_is_read_on() {
    const LINES: u64 = 16_000;
    let server = Server::start();
    let store = Arc::new(server.store_under("data").await);
    let options = CreateOptions::new(2).shards(2);
    let collection = Collection::create(store, &"c".parse().unwrap(), &options).await.unwrap();
    server.backend.put(BUCKET, "bulk/big", &gzip(&lines(LINES as usize, "x")));
    server.latency(Duration::from_millis(10));
    let bodies = bodies(&collection, &server).await;
    let body = named("bulk/big");
    let delivery = [Delivery { body: &body, place: Some(("g", 1)), leaving: false }];
    let slowly = || collection.writer(WriterOptions::default().max_batch_ops(50)).unwrap();
    for segments in [5, 15] {
        let stop = async {
            while collection.status().await.unwrap().shards.iter().any(|shard| shard.tail.get() < segments) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let outcome = append_delivery_until(&slowly(), &bodies, "q", &delivery, stop).await;
        let [failed] = &outcome.failed[..] else { panic!("{outcome:?}") };
        assert_eq!(failed.cause, Cause::NotAppended);
        assert!(failed.reason.contains("goes on from there"), "{}", failed.reason);
        assert!(!failed.reason.contains("up to line 0;"), "{}", failed.reason);
    }
    let held = count(&collection).await;
    assert!(held > 0 && held < LINES, "{held}");
    server.latency(Duration::ZERO);
    // The last time two read it, and one of them by a message that was sent again.
    let elsewhere = [Delivery { place: Some(("h", 7)), ..delivery[0] }];
    let (zombie, successor) = (slowly(), slowly());
    let (one, other) = futures::future::join(
        append_delivery(&zombie, &bodies, "q", &delivery),
        append_delivery(&successor, &bodies, "q", &elsewhere),
    )
    .await;
    assert_eq!((one.done.len(), other.done.len()), (1, 1), "{:?} {:?}", one.failed, other.failed);
    assert_eq!(count(&collection).await, LINES);
    assert_eq!(rows(&collection).await, LINES, "each line is in the log once");
    let again = deliver(&collection, &bodies, &body).await;
    assert_eq!((again.done.len(), again.ops, again.duplicates), (1, 0, 1));
}

/// Lines go to the log in runs of 512. The error of a run that fails names its lines.
#[tokio::test]
async fn a_run_that_fails_is_named_by_its_lines() {
    let server = Server::start();
    let store = Arc::new(server.store_under("data").await);
    let collection = Collection::create(store, &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    server.backend.put(BUCKET, "bulk/o", format!("\n{}", lines(1_000, "x")).as_bytes());
    let bodies = bodies(&collection, &server).await;
    server.fail_always("create", "/log/00000000000000000002", Fault::Answer(403, "AccessDenied"));
    let outcome = deliver(&collection, &bodies, &named("bulk/o")).await;
    let [failed] = &outcome.failed[..] else { panic!("{outcome:?}") };
    assert_eq!((failed.cause, outcome.ops), (Cause::NotAppended, 512), "{}", failed.reason);
    assert!(failed.reason.starts_with(&format!("`s3://{BUCKET}/bulk/o`, lines 514 to 1001: ")), "{}", failed.reason);
    server.heal();
    let outcome = deliver(&collection, &bodies, &named("bulk/o")).await;
    assert_eq!((outcome.done.len(), outcome.ops), (1, 488), "{:?}", outcome.failed);
    assert_eq!(rows(&collection).await, 1_000);
}

/// An event of a bucket without versions: the key, and the sequencer of the write.
fn created(key: &str, sequencer: &str) -> String {
    let s3 = json!({ "bucket": { "name": BUCKET }, "object": { "key": key, "sequencer": sequencer } });
    let record = json!({ "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3 });
    json!({ "Records": [record] }).to_string()
}

/// The events of a bucket come twice, through SNS and as they are. Each write is taken in once. An
/// older content that is written again is another write, though its ETag and its second are those
/// of the first: the sequencer tells them apart.
#[tokio::test]
async fn each_write_that_a_bucket_notifies_of_is_taken_in_once() {
    let server = Server::start();
    let collection = collection(1).await;
    let bodies = bodies(&collection, &server).await;
    let topic = |event: &str| json!({ "Type": "Notification", "TopicArn": "t", "Message": event }).to_string();
    for (text, sequencer) in [("first", "00A1"), ("second", "00A2"), ("first", "00A3")] {
        server.backend.put(BUCKET, "bulk/a b.jsonl", lines(3, text).as_bytes());
        let event = created("bulk/a+b.jsonl", sequencer);
        let once = deliver(&collection, &bodies, &event).await;
        assert_eq!((once.ops, once.duplicates), (3, 0), "{:?}", once.failed);
        for again in [&event, &topic(&event)] {
            let again = deliver(&collection, &bodies, again).await;
            assert_eq!((again.ops, again.duplicates), (0, 1), "{:?}", again.failed);
        }
        assert_eq!(document(&collection, "000000").await.as_deref(), Some(text));
    }
    assert_eq!(rows(&collection).await, 9);
    refused(&deliver(&collection, &bodies, &created("other/k", "1")).await, &["bucket/other/k", "does not lie under"]);
    let removed = created("bulk/a+b.jsonl", "00A4").replace("ObjectCreated:Put", "ObjectRemoved:Delete");
    let outcome = deliver(&collection, &bodies, &removed).await;
    assert_eq!((outcome.done.len(), outcome.ignored, outcome.ops), (1, 1, 0), "{:?}", outcome.failed);
}

/// An object of several pieces, while requests fail and answers break off.
#[tokio::test]
async fn an_object_comes_whole_though_connections_break() {
    let collection = collection(1).await;
    let server = Server::start();
    let long = "x".repeat(2_000);
    server.backend.put(BUCKET, "bulk/large", lines(10_000, &long).as_bytes());
    for fault in [Fault::Answer(503, "SlowDown"), Fault::BreakBody, Fault::LoseAnswer] {
        server.fail("get", "bulk/large", fault);
    }
    let outcome = deliver(&collection, &bodies(&collection, &server).await, &named("bulk/large")).await;
    assert_eq!((outcome.done.len(), outcome.ops), (1, 10_000), "{:?}", outcome.failed);
    assert!(server.all_reached());
    let pieces = server.calls().iter().filter(|call| call.starts_with("get ")).count();
    assert_eq!(pieces, 3 + 3, "20 MB in pieces of 8 MiB, and what failed");
    assert_eq!(count(&collection).await, 10_000);
}

/// Story: the pieces of an object were read without its ETag. Another object replaced it meanwhile,
/// and lines of both entered the collection as if they were of one. Some services ignore the
/// condition of a read, so the answer is checked too.
#[tokio::test]
async fn pieces_of_two_objects_never_mix() {
    let server = Server::start();
    let text = |letter: &str| lines(300, &letter.repeat(60_000));
    let (old, new) = (text("a"), text("b"));
    for is_condition_ignored in [false, true] {
        if is_condition_ignored {
            server.backend.has(Quirk::IgnoresReadConditions);
        }
        for pieces_before in [1, 2] {
            let collection = collection(1).await;
            let bodies = bodies(&collection, &server).await;
            server.backend.put(BUCKET, "bulk/large", old.as_bytes());
            let other = new.clone();
            server.before("get", "bulk/large", pieces_before, move |backend| {
                backend.put(BUCKET, "bulk/large", other.as_bytes());
            });
            let outcome = deliver(&collection, &bodies, &named("bulk/large")).await;
            let [failed] = &outcome.failed[..] else { panic!("{outcome:?}") };
            assert_eq!(failed.cause, Cause::NotAppended, "{}", failed.reason);
            assert!(failed.reason.contains("changed while it was read"), "{}", failed.reason);
            assert!(server.all_reached());
            assert_eq!(letters(&collection).await.get(&'b'), None, "a line of the second object is there");
            // The message comes again and takes all of the new object.
            assert_eq!(deliver(&collection, &bodies, &named("bulk/large")).await.done, [0]);
            assert_eq!(letters(&collection).await, BTreeMap::from([('b', 300)]));
        }
    }
}

/// The first letters of all documents, counted.
async fn letters(collection: &Collection) -> BTreeMap<char, u32> {
    let reader = collection.reader().await.unwrap();
    let entries: Vec<_> = reader.scan(ScanOptions::default()).try_collect().await.unwrap();
    let mut letters = BTreeMap::new();
    for entry in entries {
        *letters.entry(entry.record.document.unwrap().chars().next().unwrap()).or_default() += 1;
    }
    letters
}

/// Story: a compressed object had one wrong digit, which only its checksum at the end shows. By
/// then its lines were in the log, the wrong one among them. Now the object is read to its end
/// before its first line is appended.
#[tokio::test]
async fn an_object_with_a_wrong_checksum_appends_nothing() {
    let collection = collection(1).await;
    let server = Server::start();
    let bodies = bodies(&collection, &server).await;
    let packed = gzip(&lines(500, "x"));
    let mut broken = packed.clone();
    let checksum = broken.len() - 8;
    broken[checksum] ^= 1;
    server.backend.put(BUCKET, "bulk/o.gz", &broken);
    let outcome = deliver(&collection, &bodies, &named("bulk/o.gz")).await;
    refused(&outcome, &["damaged or cut short", "Nothing of it was appended"]);
    assert_eq!((outcome.ops, count(&collection).await), (0, 0));
    server.backend.put(BUCKET, "bulk/o.gz", &packed);
    let outcome = deliver(&collection, &bodies, &named("bulk/o.gz")).await;
    assert_eq!((outcome.ops, count(&collection).await), (500, 500));
}

/// The check costs one GET for each piece behind the first, once: the first is in memory.
#[tokio::test]
async fn checking_an_object_reads_later_pieces_twice() {
    let collection = collection(1).await;
    let server = Server::start();
    let bodies = bodies(&collection, &server).await;
    let gets = || server.calls().iter().filter(|call| call.starts_with("get ")).count();
    server.backend.put(BUCKET, "bulk/small.gz", &gzip(&lines(10, "x")));
    deliver(&collection, &bodies, &named("bulk/small.gz")).await;
    assert_eq!(gets(), 1, "the piece at hand is checked");

    // Stored, not deflated: 20 MB are three pieces.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(lines(10_000, &"x".repeat(2_000)).as_bytes()).unwrap();
    server.backend.put(BUCKET, "bulk/large.gz", &encoder.finish().unwrap());
    let outcome = deliver(&collection, &bodies, &named("bulk/large.gz")).await;
    assert_eq!((outcome.ops, gets()), (10_000, 3 + 2), "{:?}", outcome.failed);
    deliver(&collection, &bodies, &named("bulk/large.gz")).await;
    assert_eq!(gets(), 3, "an object just checked is not checked again");
}

/// Errors in an object are reported with its address, line, column and field. The messages behind
/// it in its group wait; others do not.
#[tokio::test]
async fn a_bad_object_is_reported_with_its_place() {
    let collection = collection(1).await;
    let server = Server::start();
    let bodies = bodies(&collection, &server).await;
    let put_object = |name: &str, bytes: &[u8]| server.backend.put(BUCKET, &format!("bulk/{name}"), bytes);
    let wrong = format!("{}\n\n{{\"op\":\"put\",\"id\":\"w\",\"embedding\":[1]}}\n{}\n", put("a", "1"), put("b", "1"));
    put_object("wrong", wrong.as_bytes());
    put_object("empty", b"");
    put_object("blank", b"\n \n");
    let packed = zstd::encode_all(lines(20_000, "x").as_bytes(), 3).unwrap();
    put_object("cut.zst", &packed[..packed.len() / 2]);
    put_object("denied", b"x");
    put_object("stands", lines(3, "x").as_bytes());
    server.fail("get", "bulk/denied", Fault::Answer(403, "AccessDenied"));
    let address = |name: &str| format!("s3://{BUCKET}/bulk/{name}");
    for (body, words) in [
        (
            named("bulk/wrong"),
            &[&address("wrong")[..], "line 3, column 34", "field `embedding`", "up to line 1 are in the log"][..],
        ),
        (named("bulk/empty"), &[&address("empty"), "is empty"]),
        (named("bulk/blank"), &[&address("blank"), "no op"]),
        (named("bulk/cut.zst"), &[&address("cut.zst"), "damaged or cut short", "Nothing of it was appended"]),
        (named("bulk/none"), &["there is no object", &address("none")]),
        (named("bulk/denied"), &[&address("denied"), "AccessDenied"]),
        (named("elsewhere/stands"), &["elsewhere/stands", "does not lie under `s3://bucket/bulk/`"]),
        (named("bulk/stands").replace("s3://bucket", "s3://other"), &["s3://other/bulk/stands", "does not lie under"]),
        (
            format!("{{\"s3\":\"{}\",\"etag\":\"\\\"other\\\"\"}}", address("stands")),
            &[&address("stands"), "its ETag is not `other`"],
        ),
        ("{\"s3\":\"bulk/stands\"}".to_owned(), &["field `s3`", "s3://BUCKET/KEY"]),
    ] {
        refused(&deliver(&collection, &bodies, &body).await, words);
    }
    let nobody_said = deliver(&collection, &BodyReader::new(&collection), &named("bulk/stands")).await;
    refused(&nobody_said, &["DELTAFOLD_OBJECTS", &address("stands")]);
    assert!(document(&collection, "b").await.is_none(), "nothing behind the wrong line is there");

    let writer = collection.writer(WriterOptions::default()).unwrap();
    let texts = [named("bulk/none"), put("held", "x"), put("free", "x")];
    let places = [("g", 1), ("g", 2), ("h", 1)];
    let deliveries = texts.iter().zip(places);
    let deliveries: Vec<_> =
        deliveries.map(|(body, place)| Delivery { body, place: Some(place), leaving: false }).collect();
    let outcome = append_delivery(&writer, &bodies, "q", &deliveries).await;
    let failed: Vec<_> = outcome.failed.iter().map(|failed| (failed.index, failed.cause)).collect();
    assert_eq!((outcome.done, failed), (vec![2], vec![(0, Cause::NotUnderstood), (1, Cause::HeldBack)]));
}

/// An object that replaces another is a new one, even with the same bytes: ops between the two take
/// effect between them. The same object is never taken twice.
#[tokio::test]
async fn an_object_that_is_put_again_is_another() {
    let collection = collection(1).await;
    let server = Server::start();
    let bodies = bodies(&collection, &server).await;
    let once = async |body: &str| {
        let outcome = deliver(&collection, &bodies, body).await;
        assert_eq!(outcome.done, [0], "{:?}", outcome.failed);
        outcome.ops
    };
    server.backend.put(BUCKET, "bulk/o", lines(2, "first").as_bytes());
    let body = named("bulk/o");
    assert_eq!((once(&body).await, once(&body).await), (2, 0));
    assert_eq!(once(&put("000000", "between").replace("000000", "000001")).await, 1);
    // Objects are dated to the second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    server.backend.put(BUCKET, "bulk/o", lines(2, "first").as_bytes());
    assert_eq!((once(&body).await, once(&body).await), (2, 0));
    assert_eq!(document(&collection, "000001").await.as_deref(), Some("first"));
    server.backend.put(BUCKET, "bulk/o", lines(2, "second").as_bytes());
    assert_eq!(once(&body).await, 2);
    assert_eq!(document(&collection, "000001").await.as_deref(), Some("second"));
}

/// An object does not overtake an earlier message that is not yet durable.
#[tokio::test]
async fn an_object_waits_for_the_messages_before_it() {
    let server = Server::start();
    let store = Arc::new(server.store_under("data").await);
    let collection = Collection::create(store, &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    server.backend.put(BUCKET, "bulk/o", lines(2, "object").as_bytes());
    let bodies = bodies(&collection, &server).await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    server.fail_always("create", "/log/", Fault::Answer(403, "AccessDenied"));
    let texts = [put("000000", "before"), named("bulk/o")];
    let deliveries: Vec<_> = texts
        .iter()
        .zip(1..)
        .map(|(body, place)| Delivery { body, place: Some(("g", place)), leaving: false })
        .collect();
    let outcome = append_delivery(&writer, &bodies, "q", &deliveries).await;
    let failed: Vec<_> = outcome.failed.iter().map(|failed| (failed.index, failed.cause)).collect();
    assert_eq!(failed, [(0, Cause::NotAppended), (1, Cause::HeldBack)]);
    server.heal();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    assert_eq!(append_delivery(&writer, &bodies, "q", &deliveries).await.done, [0, 1]);
    assert_eq!(document(&collection, "000000").await.as_deref(), Some("object"));
}

/// In a collection ordered by revision each line has its revision, and takes effect by it.
#[tokio::test]
async fn lines_with_revisions_take_effect_by_them() {
    let options = CreateOptions::new(2).by_revision(deltafold::KEEP_TOMBSTONES);
    let collection = Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), &options).await.unwrap();
    let server = Server::start();
    let line = |n: u32, revision: u32| {
        json!({ "op": "put", "id": n.to_string(), "document": revision.to_string(), "revision": revision }).to_string()
    };
    let text = (0..100).map(|n| line(n, 5) + "\n").collect::<String>();
    server.backend.put(BUCKET, "bulk/o", text.as_bytes());
    let bodies = bodies(&collection, &server).await;
    for body in [line(7, 9), named("bulk/o"), named("bulk/o")] {
        assert_eq!(deliver(&collection, &bodies, &body).await.done, [0]);
    }
    assert_eq!(count(&collection).await, 100);
    assert_eq!(document(&collection, "7").await.as_deref(), Some("9"));
    assert_eq!(rows(&collection).await, 101);
}
