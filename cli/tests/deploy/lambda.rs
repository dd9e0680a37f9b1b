//! The program for AWS Lambda, as the service runs it: a real process, with the runtime API in
//! front and a store in S3 behind. The tests here are of messages and of compaction.

mod start;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use deltafold::{Collection, CreateOptions};
use deltafold_testing::lambda::{Answer, Function, messages, received};
use deltafold_testing::s3::{self, ACCESS_KEY, Fault, SECRET_KEY, Server};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bootstrap");
/// A timeout longer than any step here takes.
const LONG: Duration = Duration::from_secs(60);

/// A server, and functions that work in it.
struct Cloud {
    server: Server,
}

impl Cloud {
    fn start() -> Self {
        Self { server: Server::start() }
    }

    async fn collection(&self, shards: u16) -> Collection {
        let store = Arc::new(self.server.store_under("data").await);
        let options = CreateOptions::new(2).shards(shards);
        Collection::create(store, &"c".parse().unwrap(), &options).await.unwrap()
    }

    async fn function(&self, name: &str, more: &[(&str, &str)]) -> Function {
        let store = format!("s3://{}/data?endpoint={}", s3::BUCKET, self.server.endpoint());
        let mut variables = vec![
            ("DELTAFOLD_FUNCTION", name),
            ("DELTAFOLD_STORE", &store),
            ("DELTAFOLD_COLLECTION", "c"),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ];
        variables.extend_from_slice(more);
        Function::start(PROGRAM, &variables).await
    }
}

fn put(id: &str) -> String {
    json!({ "op": "put", "id": id, "embedding": [1, 2] }).to_string()
}

async fn ids(collection: &Collection) -> Vec<String> {
    use futures::TryStreamExt;
    let reader = collection.reader().await.unwrap();
    let entries: Vec<_> = reader.scan(deltafold::ScanOptions::default()).try_collect().await.unwrap();
    entries.into_iter().map(|entry| entry.id).collect()
}

/// Checks that each declared metric of a line has a value. Ten metrics are free, so there are no
/// more.
#[track_caller]
fn check_metrics(line: &Value) {
    let declared = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    assert!(!declared.is_empty() && declared.len() <= 10, "{line}");
    for metric in declared {
        assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{line}");
    }
    assert_eq!(line["Collection"], "c");
}

#[tokio::test]
async fn readable_messages_are_appended_and_others_named() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    let function = cloud.function("ingest", &[]).await;
    let (a1, a3, b1) = (put("a1"), put("a3"), format!("[{},{}]", put("b1"), put("b2")));
    let event = messages(
        "q.fifo",
        &[
            ("1", &a1, Some(("a", 1))),
            ("2", r#"{"op":"put","id":"a2","embedding":[1]}"#, Some(("a", 2))),
            ("3", &a3, Some(("a", 3))),
            ("4", &b1, Some(("b", 1))),
        ],
    );
    let (answer, request) = function.invoke(&event, LONG).await;
    assert_eq!(answer.failures(), ["2", "3"], "the one that is wrong, and the one behind it in its group");
    assert_eq!(ids(&collection).await, ["a1", "b1", "b2"]);
    let why = function.line("a reason", |line| line["message"] == "a message was not appended").await;
    assert_eq!((&why["level"], &why["id"], &why["group"]), (&json!("WARN"), &json!("2"), &json!("a")));
    assert!(why["reason"].as_str().unwrap().contains("dimension"), "{why}");
    assert_eq!(why["span"]["request"], request.as_str());
    let measured = function.metrics(&request).await;
    check_metrics(&measured);
    let number = |name: &str| measured[name].as_u64();
    assert_eq!((number("Appended"), number("Duplicates"), number("Failed")), (Some(3), Some(0), Some(2)));
    assert_eq!((number("LagSegments"), number("Version")), (Some(1), Some(0)));
    assert!(number("BytesOut") > Some(0) && measured["LagSeconds"].is_number(), "{measured}");

    // All messages come again, as if the answer had been lost. Nothing takes effect twice.
    let (answer, request) = function.invoke(&event, LONG).await;
    assert_eq!(answer.failures(), ["2", "3"]);
    let measured = function.metrics(&request).await;
    assert_eq!((measured["Appended"].as_u64(), measured["Duplicates"].as_u64()), (Some(0), Some(2)));
    assert_eq!(collection.status().await.unwrap().shards[0].tail.get(), 1, "one segment is all");

    // The redrive policy will take the wrong message away. Those behind it stop waiting before
    // that, or they would go with it.
    let a4 = put("a4");
    let event = [("2", "x", Some(("a", 2))), ("3", &a3, Some(("a", 3))), ("5", &a4, Some(("a", 4)))];
    let event = received("q.fifo", &event, 9);
    let (answer, _) = function.invoke(&event, LONG).await;
    assert_eq!(answer.failures(), ["2"]);
    assert_eq!(ids(&collection).await, ["a1", "a3", "a4", "b1", "b2"]);
    assert!(
        function.lines().iter().all(|line| line.is_object() && line.get("no JSON").is_none()),
        "{:?}",
        function.lines()
    );
}

#[tokio::test]
async fn messages_of_a_standard_queue_do_not_wait() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    let function = cloud.function("ingest", &[]).await;
    let (a, b) = (put("a"), put("b"));
    let event = messages("q", &[("1", "", None), ("2", &a, None), ("3", "{}", None), ("4", &b, None)]);
    let (answer, _) = function.invoke(&event, LONG).await;
    assert_eq!(answer.failures(), ["1", "3"]);
    assert_eq!(ids(&collection).await, ["a", "b"]);
}

/// The store takes longer than the function may. The function reports the durable messages as done
/// and the rest as failed, in time. The rest may have landed, and takes effect once when it comes
/// again.
#[tokio::test]
async fn it_stops_in_time_and_reports_the_rest() {
    let cloud = Cloud::start();
    let collection = cloud.collection(2).await;
    let function = cloud.function("ingest", &[]).await;
    let shard = |id: &str| deltafold::format::ShardId::of(id, 2).get();
    let in_shard = |wanted| (0..).map(|n: u32| format!("id-{n}")).find(|id| shard(id) == wanted).unwrap();
    let (quick, slow) = (put(&in_shard(0)), put(&in_shard(1)));
    let event = messages(
        "q.fifo",
        &[("1", &quick, Some(("a", 1))), ("2", &slow, Some(("b", 1))), ("3", &quick, Some(("b", 2)))],
    );
    let path = collection.store().location();
    assert!(path.contains("data"), "{path}");
    cloud.server.fail_times("create", "c/0001/log", Fault::Slow(Duration::from_secs(20)), 1);
    let (answer, request) = function.invoke(&event, Duration::from_secs(4)).await;
    assert_ne!(answer, Answer::TimedOut, "{:?}", cloud.server.calls());
    assert_eq!(answer.failures(), ["2", "3"]);
    assert!(cloud.server.all_reached());
    assert_eq!(function.metrics(&request).await["Failed"], 2);
    let (answer, _) = function.invoke(&event, LONG).await;
    assert_eq!(answer.failures(), [] as [&str; 0]);
    assert_eq!(ids(&collection).await.len(), 2);
    let ops: u64 = {
        let mut compactor = collection.compactor(deltafold::CompactorOptions::default());
        compactor.run_once().await.unwrap().events.iter().map(|event| event.rows_in).sum()
    };
    assert_eq!(ops, 3, "each message is in the log once");
}

/// A message names an object that takes longer than the function may. The function stops in time,
/// in the middle, and goes on from there when the message comes again. Each line is in the log
/// once.
#[tokio::test]
async fn an_object_is_appended_as_far_as_time_allows_and_then_on() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    let lines: String = (0..40_000).map(|n| put(&format!("{n:05}")) + "\n").collect();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, lines.as_bytes()).unwrap();
    cloud.server.backend.put(s3::BUCKET, "bulk/o.gz", &packed.finish().unwrap());
    let objects = format!("s3://{}/bulk?endpoint={}", s3::BUCKET, cloud.server.endpoint());
    let function = cloud.function("ingest", &[("DELTAFOLD_OBJECTS", &objects)]).await;
    let (object, after) = (format!("{{\"s3\":\"s3://{}/bulk/o.gz\"}}", s3::BUCKET), put("after"));
    let event = messages(
        "q.fifo",
        &[("1", &object, Some(("g", 1))), ("2", &after, Some(("g", 2))), ("3", "x", Some(("h", 1)))],
    );
    // The segments of the first lines are written, and one behind them hangs.
    cloud.server.fail("create", "/log/00000000000000000003", Fault::Slow(Duration::from_secs(20)));
    let (answer, request) = function.invoke(&event, Duration::from_secs(5)).await;
    assert_eq!(answer.failures(), ["1", "2", "3"]);
    let why = function.line("a reason", |line| line["id"] == "1" && line["reason"].is_string()).await;
    let reason = why["reason"].as_str().unwrap();
    assert!(reason.contains("bulk/o.gz` was in the log up to line "), "{reason}");
    let appended = function.metrics(&request).await["Appended"].as_u64().unwrap();
    assert!(appended > 0 && appended < 40_000, "{appended}");
    let (answer, _) = function.invoke(&event, LONG).await;
    assert_eq!(answer.failures(), ["3"]);
    let mut compactor = collection.compactor(deltafold::CompactorOptions::default());
    let ops: u64 = compactor.run_once().await.unwrap().events.iter().map(|event| event.rows_in).sum();
    assert_eq!(ops, 40_001, "each line is in the log once");
    assert_eq!(ids(&collection).await.len(), 40_001);

    // Without a permitted place for objects, none is read.
    let function = cloud.function("ingest", &[]).await;
    let (answer, _) = function.invoke(&messages("q", &[("1", &object, None)]), LONG).await;
    assert_eq!(answer.failures(), ["1"]);
    let why = function.line("a reason", |line| line["reason"].is_string()).await;
    assert!(why["reason"].as_str().unwrap().contains("DELTAFOLD_OBJECTS"), "{why}");
}

/// The function is killed in the middle of an append, as the service does when time is up. Its
/// successor gets the same messages.
#[tokio::test]
async fn killed_in_the_middle_it_leaves_one_copy() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    let (a, b) = (put("a"), put("b"));
    let event = messages("q.fifo", &[("1", &a, Some(("g", 1))), ("2", &b, Some(("g", 2)))]);
    cloud.server.fail("create", "/log/", Fault::Slow(Duration::from_secs(1)));
    {
        let function = cloud.function("ingest", &[]).await;
        // One second is less than the answer takes.
        let (answer, _) = function.invoke(&event, Duration::from_millis(900)).await;
        assert_ne!(answer.clone().done()["batchItemFailures"], json!([]), "{answer:?}");
    }
    let function = cloud.function("ingest", &[]).await;
    let (answer, _) = function.invoke(&event, LONG).await;
    assert_eq!(answer.failures(), [] as [&str; 0]);
    let mut compactor = collection.compactor(deltafold::CompactorOptions::default());
    let ops: u64 = compactor.run_once().await.unwrap().events.iter().map(|event| event.rows_in).sum();
    assert_eq!(ops, 2, "each message is in the log once");
}

#[tokio::test]
async fn messages_wait_for_a_collection_that_is_not_made_yet() {
    let cloud = Cloud::start();
    let function = cloud.function("ingest", &[]).await;
    let a = put("a");
    let event = messages("q", &[("1", &a, None)]);
    let (Answer::Failed(kind, reason), _) = function.invoke(&event, LONG).await else { panic!("there is none") };
    assert_eq!(kind, "Deltafold.NotFound");
    assert!(reason.contains("no collection `c`"), "{reason}");
    let collection = cloud.collection(1).await;
    let (answer, _) = function.invoke(&event, LONG).await;
    assert_eq!(answer.failures(), [] as [&str; 0]);
    assert_eq!(ids(&collection).await, ["a"]);
    // It is dropped and made anew while the function is warm.
    let store = collection.store().clone();
    Collection::drop_collection(&*store, collection.name(), |_| ()).await.unwrap();
    let collection = cloud.collection(1).await;
    let (first, _) = function.invoke(&event, LONG).await;
    assert_eq!(first.failures(), ["1"], "the collection that it knew is gone");
    let (second, _) = function.invoke(&event, LONG).await;
    assert_eq!(second.failures(), [] as [&str; 0]);
    assert_eq!(ids(&collection).await, ["a"]);
}

#[tokio::test]
async fn a_long_log_is_folded_before_its_time() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    let asking = [("DELTAFOLD_COMPACT_FUNCTION", "fold"), ("DELTAFOLD_FOLD_SEGMENTS", "4")];
    let function = cloud.function("ingest", &asking).await;
    let body = put("a");
    let mut place = 0;
    let mut next = || {
        place += 1;
        messages("q.fifo", &[("1", &body, Some(("g", place)))])
    };
    for _ in 0..6 {
        let (answer, _) = function.invoke(&next(), LONG).await;
        assert_eq!(answer.failures(), [] as [&str; 0]);
    }
    let asked = ("fold".to_owned(), json!({ "collections": ["c"] }));
    assert_eq!(function.started(), [asked.clone(), asked], "at four segments, and at half as many more");
    assert_eq!(collection.status().await.unwrap().shards[0].version.get(), 0, "another function folds");

    // A function without a compactor to call folds in the remaining time, if that is enough.
    let function = cloud.function("ingest", &[("DELTAFOLD_FOLD_SEGMENTS", "4")]).await;
    let (answer, _) = function.invoke(&next(), Duration::from_secs(4)).await;
    assert_eq!(answer.failures(), [] as [&str; 0]);
    function.line("a reason", |line| line["reason"] == "too little time is left").await;
    assert_eq!(collection.status().await.unwrap().shards[0].version.get(), 0);
    let (answer, _) = function.invoke(&next(), LONG).await;
    assert_eq!(answer.failures(), [] as [&str; 0]);
    let shard = collection.status().await.unwrap().shards[0].clone();
    assert_eq!((shard.version.get(), shard.folded.get(), shard.tail.get()), (1, 8, 8));
}

#[tokio::test]
async fn compact_folds_what_it_is_told_to() {
    let cloud = Cloud::start();
    let collection = cloud.collection(2).await;
    let writer = collection.writer(deltafold::WriterOptions::default()).unwrap();
    let append = async |ids: &[&str]| {
        let ops = ids.iter().map(|id| deltafold::format::Op::put(*id, deltafold::format::Record::default()));
        writer.append(ops.collect()).await.unwrap();
    };
    append(&["a", "b", "c", "d"]).await;
    let function = cloud.function("compact", &[]).await;
    let schedule = json!({ "version": "0", "detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": {} });
    let (answer, request) = function.invoke(&schedule, LONG).await;
    let report = &answer.done()["collections"][0];
    assert_eq!((&report["collection"], &report["folds"]), (&json!("c"), &json!(2)));
    let measured = function.metrics(&request).await;
    check_metrics(&measured);
    assert_eq!((measured["LagSegments"].as_u64(), measured["Version"].as_u64()), (Some(2), Some(1)));
    assert!(measured["LagBytes"].as_u64() > Some(0) && measured["LagSeconds"].is_number(), "{measured}");
    let (answer, _) = function.invoke(&json!({ "collections": ["c"] }), LONG).await;
    assert_eq!(answer.done()["collections"][0]["folds"], 0, "nothing is left");

    append(&["a"]).await;
    let event = messages(
        "q",
        &[
            ("1", r#"{"collections":["c"]}"#, None),
            ("2", r#"{"collections":["none"]}"#, None),
            ("3", r#"{"collections":7}"#, None),
        ],
    );
    let (answer, _) = function.invoke(&event, LONG).await;
    assert_eq!(answer.failures(), ["2", "3"]);
    assert!(collection.status().await.unwrap().shards.iter().all(|shard| shard.folded == shard.tail));

    let (answer, _) = function.invoke(&json!({ "collections": ["none", "c"] }), LONG).await;
    let Answer::Failed(kind, reason) = answer else { panic!("{answer:?}") };
    assert!(kind == "Deltafold.NotFound" && reason.contains("none"), "{kind}: {reason}");
    append(&["a"]).await;
    cloud.server.fail("get", "/log/", Fault::Slow(Duration::from_secs(10)));
    let (answer, _) = function.invoke(&schedule, Duration::from_secs(2)).await;
    let Answer::Failed(kind, _) = answer else { panic!("{answer:?}") };
    assert_eq!(kind, "Deltafold.Late");
    let (answer, _) = function.invoke(&schedule, LONG).await;
    assert_eq!(answer.done()["collections"][0]["folds"], 1);
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d"]);
}
