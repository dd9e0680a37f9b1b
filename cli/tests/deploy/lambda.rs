//! The program for AWS Lambda, as the service runs it: a real process, with the runtime API in
//! front and a store in S3 behind.

use std::sync::Arc;
use std::time::Duration;

use deltafold::{Collection, CreateOptions, ErrorKind};
use deltafold_testing::lambda::{self, Answer, Function, changes, messages, received};
use deltafold_testing::s3::{self, ACCESS_KEY, Fault, SECRET_KEY, Server};
use deltafold_testing::{ministack, moves, queues};
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

/// On a standard queue records of a stream have no order, and no revision restores it. The function
/// warns of that once.
#[tokio::test]
async fn records_without_an_order_are_warned_of_once() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    let mapping = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(mapping.path(), MAPPING).unwrap();
    let function = cloud.function("ingest", &[("DELTAFOLD_MAPPING", mapping.path().to_str().unwrap())]).await;
    let body = changes(&six_changes()[..1]).to_string();
    let warnings = || {
        let lines = function.lines().into_iter();
        lines.filter(|line| line["message"].as_str().is_some_and(|said| said.contains("keeps no order"))).count()
    };
    let (answer, request) = function.invoke(&messages("q.fifo", &[("0", &body, Some(("g", 1)))]), LONG).await;
    assert_eq!(answer.failures(), [] as [&str; 0]);
    function.metrics(&request).await;
    assert_eq!(warnings(), 0, "a FIFO queue keeps it");
    for id in ["1", "2"] {
        let (answer, request) = function.invoke(&messages("q", &[(id, &body, None)]), LONG).await;
        assert_eq!(answer.failures(), [] as [&str; 0]);
        function.metrics(&request).await;
    }
    assert_eq!(warnings(), 1);
    assert_eq!(ids(&collection).await, ["a"]);
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

const MAPPING: &str = r#"
[[rule]]
collection = "c"
match = { kind = "record" }
id = "{id}"
embedding = "v"
metadata = { n = "i64" }
"#;

fn item(id: &str, n: u64, embedding: &[u64]) -> Value {
    let numbers: Vec<Value> = embedding.iter().map(|number| json!({ "N": number.to_string() })).collect();
    json!({ "id": { "S": id }, "kind": { "S": "record" }, "n": { "N": n.to_string() }, "v": { "L": numbers } })
}

/// Six changes of a table. The fourth cannot be mapped, because its embedding is too short.
fn six_changes() -> [(u64, &'static str, Value, Value); 6] {
    let other = json!({ "id": { "S": "x" }, "kind": { "S": "other" } });
    [
        (1, "INSERT", Value::Null, item("a", 1, &[1, 2])),
        (2, "INSERT", Value::Null, other),
        (3, "MODIFY", item("a", 1, &[1, 2]), item("a", 2, &[1, 2])),
        (4, "INSERT", Value::Null, item("p", 1, &[1])),
        (5, "INSERT", Value::Null, item("b", 1, &[1, 2])),
        (6, "REMOVE", item("a", 2, &[1, 2]), Value::Null),
    ]
}

fn sequence(number: u64) -> String {
    format!("{:021}", 700_000_000_000_000_000_000_u128 + u128::from(number))
}

/// Records of a stream are appended up to the first unreadable one, and the function names it. The
/// service delivers it and all behind it again, in smaller batches, until it is alone.
#[tokio::test]
async fn a_stream_is_appended_in_order_up_to_its_first_error() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    cloud.server.backend.put(s3::BUCKET, "data/maps/c.toml", MAPPING.as_bytes());
    let mapping = ("DELTAFOLD_MAPPING", "s3://bucket/data/maps/c.toml");
    let function = cloud.function("ingest", &[mapping]).await;
    let all = six_changes();
    let (answer, request) = function.invoke(&changes(&all), LONG).await;
    assert_eq!(answer.failures(), [sequence(4)]);
    let reader = collection.reader().await.unwrap();
    let entry = reader.get("a").await.unwrap().unwrap();
    assert_eq!(entry.record.metadata["n"], deltafold::format::Value::I64(2));
    assert_eq!(ids(&collection).await, ["a"]);
    let measured = function.metrics(&request).await;
    check_metrics(&measured);
    assert_eq!((measured["Appended"].as_u64(), measured["Failed"].as_u64()), (Some(2), Some(1)));
    let why = function.line("a reason", |line| line["sequence"] == sequence(4).as_str()).await;
    assert!(why["reason"].as_str().unwrap().contains("dimension"), "{why}");
    // Bisected, it is alone, and in the end the service goes on behind it.
    let (answer, _) = function.invoke(&changes(&all[3..4]), LONG).await;
    assert_eq!(answer.failures(), [sequence(4)]);
    let (answer, _) = function.invoke(&changes(&all[4..]), LONG).await;
    assert_eq!(answer.failures(), [] as [&str; 0]);
    assert_eq!(ids(&collection).await, ["b"]);

    let function = cloud.function("ingest", &[("DELTAFOLD_MAPPING", "s3://bucket/data/maps/none.toml")]).await;
    let (Answer::Failed(kind, reason), _) = function.invoke(&changes(&all), LONG).await else { panic!("no mapping") };
    assert!(kind == "Deltafold.InvalidInput" && reason.contains("maps/none.toml"), "{kind}: {reason}");
}

/// The forwarder packs the records that a rule takes into one message, and sends unreadable ones
/// alone. The queue drops the messages that it sends again. The consumer makes the same ops of the
/// messages as of the records.
#[tokio::test]
async fn a_forwarder_packs_changes_into_few_messages() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    cloud.server.backend.put(s3::BUCKET, "data/maps/c.toml", MAPPING.as_bytes());
    let mapping = ("DELTAFOLD_MAPPING", "s3://bucket/data/maps/c.toml");
    let queue = queues::create(ministack::endpoint(), "forwarded.fifo", &[]).await;
    let more = [mapping, ("DELTAFOLD_QUEUE", queue.url()), ("AWS_ENDPOINT_URL_SQS", ministack::endpoint())];
    let forward = cloud.function("forward", &more).await;
    for _ in 0..2 {
        let (answer, _) = forward.invoke(&changes(&six_changes()), LONG).await;
        assert_eq!(answer.failures(), [] as [&str; 0]);
    }
    let now = deltafold::aws::Receive::NOW;
    let received = queue.receive(now).await.unwrap();
    assert_eq!(received.len(), 2, "{received:?}");
    let count = |at: usize| serde_json::from_str::<Vec<Value>>(&received[at].body).unwrap().len();
    assert_eq!((count(0), count(1)), (4, 1), "without the one that no rule takes");
    assert!(received[0].group.as_deref() == Some("0") && received[1].group.as_deref().unwrap().starts_with("alone-"));
    assert_eq!(received[1].deduplication.as_deref(), Some("event-4"));

    let ingest = cloud.function("ingest", &[mapping]).await;
    let sent: Vec<lambda::Sent<'_>> = received
        .iter()
        .map(|message| (message.id.as_str(), message.body.as_str(), Some((message.group.as_deref().unwrap(), 1))))
        .collect();
    let (answer, _) = ingest.invoke(&messages("forwarded.fifo", &sent), LONG).await;
    assert_eq!(answer.failures(), [received[1].id.clone()]);
    assert_eq!(ids(&collection).await, ["b"]);

    let missing = cloud
        .function("forward", &[("DELTAFOLD_QUEUE", "none.fifo"), ("AWS_ENDPOINT_URL_SQS", ministack::endpoint())])
        .await;
    let (Answer::Failed(_, reason), _) = missing.invoke(&changes(&six_changes()), LONG).await else {
        panic!("no queue")
    };
    assert!(reason.contains("none.fifo"), "{reason}");
}

/// Story: a queue that took only some of the messages was reported as if it had taken all, and
/// those records never came again. The service redelivers all from the record named. So it must be
/// the first record of any refused message.
#[tokio::test]
async fn a_forwarder_reports_the_first_record_refused() {
    let cloud = Cloud::start();
    cloud.collection(1).await;
    cloud.server.backend.put(s3::BUCKET, "data/maps/c.toml", MAPPING.as_bytes());
    let mapping = ("DELTAFOLD_MAPPING", "s3://bucket/data/maps/c.toml");
    // One message holds the records 1, 3, 5 and 6; another, of a group of its own, the fourth.
    for (number, (refused, first, taken)) in
        [("event-4", 4, 1), ("event-5", 1, 1), ("", 1, 0), ("nothing", 0, 2)].into_iter().enumerate()
    {
        let queue = queues::create(ministack::endpoint(), &format!("refused-{number}.fifo"), &[]).await;
        let front = moves::refusing(ministack::endpoint(), "SendMessageBatch", refused);
        let more = [mapping, ("DELTAFOLD_QUEUE", queue.url()), ("AWS_ENDPOINT_URL_SQS", front.as_str())];
        let forward = cloud.function("forward", &more).await;
        let (answer, request) = forward.invoke(&changes(&six_changes()), LONG).await;
        let expected: Vec<String> = (first > 0).then(|| sequence(first)).into_iter().collect();
        assert_eq!(answer.failures(), expected, "`{refused}` is refused");
        assert_eq!(forward.metrics(&request).await["Failed"], 2 - taken, "`{refused}` is refused");
        assert_eq!(queue.depth().await.unwrap().total(), taken);
    }
}

/// Story: several records failed, and the function named the last of them. The service went on
/// behind it, and the earlier ones were lost.
#[tokio::test]
async fn of_several_late_records_the_first_is_named() {
    let cloud = Cloud::start();
    let collection = cloud.collection(2).await;
    cloud.server.backend.put(s3::BUCKET, "data/maps/c.toml", MAPPING.as_bytes());
    let function = cloud.function("ingest", &[("DELTAFOLD_MAPPING", "s3://bucket/data/maps/c.toml")]).await;
    let shard = |id: &str| deltafold::format::ShardId::of(id, 2).get();
    let in_shard = |wanted, from: u32| (from..).map(|n| format!("id-{n}")).find(|id| shard(id) == wanted).unwrap();
    let insert =
        |number: u64, id: &str, embedding: &[u64]| (number, "INSERT", Value::Null, item(id, number, embedding));
    let (quick, slow, later) = (in_shard(0, 0), in_shard(1, 0), in_shard(1, 100));
    let all = [
        insert(1, &quick, &[1, 2]),
        insert(2, &slow, &[1, 2]),
        insert(3, &later, &[1, 2]),
        insert(4, &in_shard(0, 200), &[1, 2]),
        insert(5, "wrong", &[1]),
        insert(6, &quick, &[1, 2]),
    ];
    cloud.server.fail_times("create", "c/0001/log", Fault::Slow(Duration::from_secs(20)), 1);
    let (answer, request) = function.invoke(&changes(&all), Duration::from_secs(4)).await;
    assert_eq!(answer.failures(), [sequence(2)]);
    assert!(cloud.server.all_reached());
    assert_eq!(function.metrics(&request).await["Failed"], 3, "two are late and one is wrong");
    // The service delivers them again from there.
    let (answer, _) = function.invoke(&changes(&all[1..]), LONG).await;
    assert_eq!(answer.failures(), [sequence(5)]);
    assert_eq!(ids(&collection).await.len(), 4);
}

#[tokio::test]
async fn a_wrong_setting_is_reported_at_the_start() {
    for (variables, words) in [
        (&[][..], "DELTAFOLD_FUNCTION is not set"),
        (&[("DELTAFOLD_FUNCTION", "fold")], "it must be"),
        (&[("DELTAFOLD_FUNCTION", "ingest"), ("DELTAFOLD_STORE", "gs://b")], "gs://b"),
    ] {
        let mut function = Function::start(PROGRAM, variables).await;
        let said = function.refused().await;
        assert_eq!(said["errorType"], "Deltafold.Config");
        assert!(said["errorMessage"].as_str().unwrap().contains(words), "{said}");
        assert_eq!(function.exit().code(), Some(1));
        function.line("a reason", |line| line["reason"].as_str().is_some_and(|reason| reason.contains(words))).await;
    }
    let started = std::process::Command::new(PROGRAM).env_clear().output().unwrap();
    assert_eq!(started.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&started.stderr).contains("deltafold ingest"));
}

/// A function's log must show its panic. The exit code tells the service that it crashed.
#[cfg(feature = "simulation")]
#[test]
fn a_panic_is_a_line_of_the_log_and_exit_code_70() {
    let mut command = std::process::Command::new(PROGRAM);
    let ran = command.env_clear().env("DELTAFOLD_PANIC", "task").output().unwrap();
    assert_eq!(ran.status.code(), Some(70), "{ran:?}");
    let line: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!((&line["level"], &line["panic"]["version"]), (&json!("ERROR"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(line["message"].as_str().unwrap().contains("planted in task"), "{line}");
}

#[tokio::test]
async fn events_of_another_kind_are_refused() {
    let cloud = Cloud::start();
    cloud.collection(1).await;
    let function = cloud.function("ingest", &[]).await;
    for event in [json!({}), json!(null), json!({ "Records": [{ "eventSource": "aws:s3" }] })] {
        let (Answer::Failed(kind, _), _) = function.invoke(&event, LONG).await else { panic!("{event}") };
        assert_eq!(kind, "Deltafold.Event");
    }
    let error = Collection::open(Arc::new(cloud.server.store().await), &"c".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "nothing is written where nothing was said");
}
