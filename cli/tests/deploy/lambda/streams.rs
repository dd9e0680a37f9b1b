//! Records of a DynamoDB stream: taken directly, and packed into messages by the forwarder.

use std::time::Duration;

use base64::Engine as _;
use deltafold_testing::lambda::{self, Answer, changes, messages};
use deltafold_testing::s3::{self, Fault};
use deltafold_testing::{ministack, moves, queues};
use serde_json::{Value, json};

use super::{Cloud, LONG, check_metrics, ids};

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
    assert_eq!(answer.failures(), [sequence(4), sequence(5), sequence(6)], "it, and all behind it");
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

/// A record of a Kinesis stream with this number and this data.
fn kinesis(number: u64, key: &str, data: &str) -> Value {
    let sequence = format!("{:056}", 10_u128.pow(37) + u128::from(number)).replacen('0', "4", 1);
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": sequence,
            "data": base64::engine::general_purpose::STANDARD.encode(data),
            "approximateArrivalTimestamp": 1.5,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("shardId-000000000006:{sequence}"),
        "eventName": "aws:kinesis:record",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
    })
}

async fn rows(collection: &deltafold::Collection) -> u64 {
    let mut compactor = collection.compactor(deltafold::CompactorOptions::default());
    compactor.run_once().await.unwrap().events.iter().map(|event| event.rows_in).sum()
}

/// Of five records of a Kinesis stream the third is wrong. The answer names it and those behind it.
/// However often the batch comes, each op is in the log once: the partition key in its shard is a
/// source. A batch of another key that the service works on at the same time loses nothing.
#[tokio::test]
async fn records_of_kinesis_are_appended_once_and_in_order() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    let mapping = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(mapping.path(), MAPPING).unwrap();
    let function = cloud.function("ingest", &[("DELTAFOLD_MAPPING", mapping.path().to_str().unwrap())]).await;
    let put = |id: &str, embedding: &[u8]| json!({ "op": "put", "id": id, "embedding": embedding }).to_string();
    // DynamoDB writes such records into a Kinesis stream. They have no number of their own.
    let change = json!({
        "awsRegion": "us-east-1", "eventID": "k1", "eventName": "INSERT", "userIdentity": null,
        "recordFormat": "application/json", "tableName": "T", "eventSource": "aws:dynamodb",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_790_000_000_123_456_u64, "Keys": { "id": { "S": "r2" } },
            "NewImage": item("r2", 2, &[1, 2]), "SizeBytes": 20,
        },
    });
    let records = |third: &str| {
        let texts = [put("r1", &[1, 2]), change.to_string(), third.to_owned(), put("r4", &[1, 2]), put("r5", &[1, 2])];
        let records =
            texts.iter().zip(1..).map(|(text, number)| kinesis(number, ["k", "l"][number as usize % 2], text));
        json!({ "Records": records.collect::<Vec<_>>() })
    };
    let names: Vec<String> = {
        let all = records("");
        let records = all["Records"].as_array().unwrap();
        records.iter().map(|record| record["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned()).collect()
    };
    let wrong = records(&put("r3", &[1]));
    for _ in 0..2 {
        let (answer, _) = function.invoke(&wrong, LONG).await;
        assert_eq!(answer.failures(), names[2..], "r3, r4 and r5");
        assert_eq!(ids(&collection).await, ["r1", "r2"]);
    }
    // A batch of another key with a higher number is in the log before.
    let ahead = json!({ "Records": [kinesis(9, "m", &put("r9", &[1, 2]))] });
    let good = records(&put("r3", &[1, 2]));
    for event in [&ahead, &good, &good, &ahead] {
        let (answer, _) = function.invoke(event, LONG).await;
        assert_eq!(answer.failures(), [] as [&str; 0]);
    }
    assert_eq!(ids(&collection).await, ["r1", "r2", "r3", "r4", "r5", "r9"]);
    assert_eq!(rows(&collection).await, 6, "each is in the log once");
}

/// A topic, a bucket or a rule starts the function itself and waits for no answer. An event that
/// cannot be appended fails the invocation, and the service makes it again.
#[tokio::test]
async fn notifications_are_appended_or_fail_the_invocation() {
    let cloud = Cloud::start();
    let collection = cloud.collection(1).await;
    let lines = "{\"op\":\"put\",\"id\":\"o1\"}\n{\"op\":\"put\",\"id\":\"o2\"}\n";
    cloud.server.backend.put(s3::BUCKET, "bulk/a b.jsonl", lines.as_bytes());
    let objects = format!("s3://{}/bulk?endpoint={}", s3::BUCKET, cloud.server.endpoint());
    let function = cloud.function("ingest", &[("DELTAFOLD_OBJECTS", &objects)]).await;
    let op = |id: &str| json!({ "op": "put", "id": id });
    let topic = json!({ "Records": [{ "EventSource": "aws:sns", "Sns": { "Message": op("t").to_string() } }] });
    let rule = json!({ "detail-type": "rec", "source": "my.app", "detail": op("e") });
    let bucket = |key: &str| {
        let object = json!({ "key": key, "sequencer": "5F" });
        let s3 = json!({ "bucket": { "name": s3::BUCKET }, "object": object });
        json!({ "Records": [{ "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3 }] })
    };
    for event in [&topic, &rule, &op("c"), &bucket("bulk/a+b.jsonl"), &bucket("bulk/a+b.jsonl")] {
        let (answer, _) = function.invoke(event, LONG).await;
        assert_eq!(answer.failures(), [] as [&str; 0], "{event}");
    }
    assert_eq!(ids(&collection).await, ["c", "e", "o1", "o2", "t"]);
    assert_eq!(rows(&collection).await, 5, "the object is taken in once");
    for (event, words) in [
        (bucket("elsewhere/k"), "does not lie under"),
        (json!({ "detail-type": "Scheduled Event", "source": "aws.events" }), "Scheduled Event"),
        (json!({}), "field `op`"),
    ] {
        let (Answer::Failed(kind, reason), _) = function.invoke(&event, LONG).await else { panic!("{event}") };
        assert!(kind == "Deltafold.Event" && reason.contains(words), "{kind}: {reason}");
    }
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
    assert_eq!(answer.failures(), (2..=6).map(sequence).collect::<Vec<_>>(), "it, and all behind it");
    assert!(cloud.server.all_reached());
    assert_eq!(function.metrics(&request).await["Failed"], 3, "two are late and one is wrong");
    // The service delivers them again from there.
    let (answer, _) = function.invoke(&changes(&all[1..]), LONG).await;
    assert_eq!(answer.failures(), [sequence(5), sequence(6)]);
    assert_eq!(ids(&collection).await.len(), 4);
}
