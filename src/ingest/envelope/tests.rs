//! Envelopes around ops and objects: read, counted, or refused by name. None is applied twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::MAX_DEPTH;
use crate::collection::{Collection, CreateOptions};
use crate::compact::CompactorOptions;
use crate::ingest::body::tests::reader;
use crate::ingest::{Body, BodyReader, Delivery, Reference, append_delivery};
use crate::log::WriterOptions;
use crate::store::Memory;

fn put(id: &str) -> Value {
    json!({ "op": "put", "id": id, "embedding": [1, 2], "document": "via topic" })
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn sns(message: &str) -> Value {
    json!({
        "Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:aws:sns:us-east-1:123456789012:t",
        "Subject": "s", "Message": message, "Timestamp": "2026-11-27T00:00:00Z", "SignatureVersion": "1",
        "Signature": "x", "SigningCertURL": "https://x", "UnsubscribeURL": "https://x",
        "MessageAttributes": { "op": { "Type": "String", "Value": "delete" } },
    })
}

fn event_bridge(detail: Value) -> Value {
    json!({
        "version": "0", "id": "x", "detail-type": "rec", "source": "my.app", "account": "123456789012",
        "time": "2026-11-27T00:00:00Z", "region": "us-east-1", "resources": [], "detail": detail,
    })
}

fn kinesis(data: &str) -> Value {
    json!({
        "eventSource": "aws:kinesis", "eventID": "shardId-000000000000:1", "eventName": "aws:kinesis:record",
        "kinesis": { "partitionKey": "k", "sequenceNumber": "1", "data": base64(data) },
    })
}

fn piped(body: &str) -> Value {
    json!({ "messageId": "1", "receiptHandle": "r", "body": body, "attributes": {}, "eventSource": "aws:sqs" })
}

fn s3_event(event: &str, object: Value) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventName": event,
        "s3": { "bucket": { "name": "field" }, "object": object },
    }] })
}

fn read(body: &str) -> Body {
    reader().read(body).unwrap_or_else(|reason| panic!("{body}: {reason}"))
}

fn ids(body: &Body) -> Vec<&str> {
    body.ops.iter().map(|op| op.id.as_str()).collect()
}

fn object(key: &str) -> Reference {
    Reference { bucket: "field".to_owned(), key: key.to_owned(), ..Reference::default() }
}

#[test]
fn envelopes_are_opened_down_to_their_ops() {
    let op = put("a").to_string();
    let two = json!([put("a"), put("b")]);
    let lines = format!("{}\n{}", put("a"), put("b"));
    let cases: [(String, &[&str]); 16] = [
        (sns(&op).to_string(), &["a"]),
        (format!("{:#}", sns(&op)), &["a"]),
        (sns(&lines).to_string(), &["a", "b"]),
        (event_bridge(put("a")).to_string(), &["a"]),
        (event_bridge(json!({ "ops": two })).to_string(), &["a", "b"]),
        (sns(&event_bridge(put("a")).to_string()).to_string(), &["a"]),
        (event_bridge(sns(&op)).to_string(), &["a"]),
        (piped(&lines).to_string(), &["a", "b"]),
        (json!([piped(&op), piped(&put("b").to_string())]).to_string(), &["a", "b"]),
        (json!({ "Records": [piped(&sns(&op).to_string())] }).to_string(), &["a"]),
        (json!({ "Records": [{ "EventSource": "aws:sns", "Sns": sns(&op) }] }).to_string(), &["a"]),
        (json!({ "Records": [kinesis(&op), kinesis(&lines)] }).to_string(), &["a", "a", "b"]),
        (json!({ "eventSource": "aws:kinesis", "partitionKey": "k", "data": base64(&op) }).to_string(), &["a"]),
        (base64(&op), &["a"]),
        (Value::from(op.clone()).to_string(), &["a"]),
        (format!("\u{feff}{:#}", put("a")), &["a"]),
    ];
    for (body, wanted) in cases {
        assert_eq!(ids(&read(&body)), wanted, "{body}");
    }
}

#[test]
fn events_of_a_bucket_name_their_objects() {
    let created = |object: Value| s3_event("ObjectCreated:Put", object);
    let whole =
        json!({ "key": "bulk/a+b%2Fc%C3%A4.jsonl", "size": 10, "eTag": "aa", "versionId": "v1", "sequencer": "005f" });
    let classic = Reference {
        etag: Some("aa".to_owned()),
        version: Some("v1".to_owned()),
        sequencer: Some("5F".to_owned()),
        ..object("bulk/a b/cä.jsonl")
    };
    let there = json!({
        "version": "0", "id": "x", "detail-type": "Object Created", "source": "aws.s3",
        "detail": { "bucket": { "name": "field" }, "object": {
            "key": "bulk/a+b%2F.jsonl", "size": 1, "etag": "aa", "version-id": "v1", "sequencer": "5f" } },
    });
    let there_named = Reference { key: "bulk/a+b%2F.jsonl".to_owned(), ..classic.clone() };
    let plain = Reference { etag: Some("aa".to_owned()), ..object("k") };
    let pointer =
        json!(["software.amazon.payloadoffloading.PayloadS3Pointer", { "s3BucketName": "field", "s3Key": "k" }]);
    for (body, wanted) in [
        (created(whole.clone()), classic.clone()),
        (s3_event("s3:ObjectCreated:CompleteMultipartUpload", whole.clone()), classic.clone()),
        (sns(&created(whole.clone()).to_string()), classic.clone()),
        (event_bridge(created(whole)), classic),
        (sns(&there.to_string()), there_named.clone()),
        (there, there_named),
        (created(json!({ "key": "k", "eTag": "aa", "versionId": "null" })), plain),
        (event_bridge(json!({ "s3": "s3://field/k" })), object("k")),
        (pointer, object("k")),
    ] {
        let body = body.to_string();
        assert_eq!(read(&body).objects, [wanted], "{body}");
    }
    let two = json!({ "Records": [
        created(json!({ "key": "a" }))["Records"][0], created(json!({ "key": "b" }))["Records"][0] ] });
    assert_eq!(read(&two.to_string()).objects, [object("a"), object("b")]);
}

#[test]
fn events_that_call_for_no_op_are_counted() {
    let test = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "field" });
    let removed = json!({ "detail-type": "Object Deleted", "source": "aws.s3", "detail": {} });
    for body in [
        test.clone(),
        sns(&test.to_string()),
        s3_event("ObjectRemoved:Delete", json!({ "key": "k" })),
        s3_event("LifecycleExpiration:DeleteMarkerCreated", json!({ "key": "k" })),
        s3_event("ObjectCreated:Put", json!({ "key": "bulk/new/", "size": 0 })),
        removed,
    ] {
        let read = read(&body.to_string());
        assert_eq!((read.ignored, read.ops.len(), read.objects.len()), (1, 0, 0), "{body}");
    }
}

#[test]
fn what_is_not_opened_is_named() {
    let confirm = json!({ "Type": "SubscriptionConfirmation", "TopicArn": "t", "SubscribeURL": "https://x" });
    let schedule = json!({ "detail-type": "Scheduled Event", "source": "aws.events", "detail": {} });
    let cases = [
        (confirm, "SubscribeURL"),
        (schedule, "`Scheduled Event` of `aws.events`"),
        (sns("hello"), "in the SNS notification: line 1"),
        (sns(""), "the SNS notification is empty"),
        (sns(&json!({ "op": "put", "id": "a", "embedding": [1] }).to_string()), "field `embedding`"),
        (event_bridge(json!({ "order": 7 })), "in the EventBridge event of `my.app`: line 1"),
        (s3_event("ObjectMoved:Away", json!({ "key": "k" })), "`ObjectMoved:Away`"),
        (s3_event("ObjectCreated:Put", json!({ "key": "" })), "names no object"),
        (s3_event("ObjectCreated:Put", json!({ "key": "%FF" })), "is not UTF-8"),
        (
            json!({ "Records": [piped(&put("a").to_string()), { "eventSource": "aws:ses" }] }),
            "record 2: a record of `aws:ses`",
        ),
        (json!({ "AlarmName": "a", "NewStateValue": "ALARM" }), "a CloudWatch alarm"),
        (json!({ "specversion": "1.0", "type": "t", "source": "s", "data": put("a") }), "a CloudEvent"),
        (json!({ "before": null, "after": {}, "op": "c", "source": {} }), "Debezium"),
        (json!({ "requestContext": {}, "routeKey": "$default", "body": "x" }), "API Gateway"),
        (json!({ "eventSource": "aws:kafka", "bootstrapServers": "x", "records": {} }), "Kafka"),
        (json!({ "notificationType": "Bounce", "mail": {} }), "SES"),
        (json!([put("a"), { "s3": "s3://field/k" }]), "names an object and holds ops"),
        (json!({ "ops": [] }), "holds no op"),
    ];
    for (body, words) in cases {
        let reason = reader().read(&body.to_string()).unwrap_err();
        assert!(reason.contains(words), "{body}: {reason}");
    }
    let mut deep = put("a").to_string();
    for _ in 0..MAX_DEPTH {
        deep = sns(&deep).to_string();
    }
    assert_eq!(ids(&read(&deep)), ["a"]);
    assert!(reader().read(&sns(&deep).to_string()).unwrap_err().contains("more than 8 deep"));
}

/// One layer around a body.
fn wrap(layer: u8, body: &str) -> String {
    match layer {
        0 => sns(body),
        1 => event_bridge(Value::from(body)),
        2 => event_bridge(serde_json::from_str(body).unwrap_or_else(|_| Value::from(body))),
        3 => piped(body),
        4 => json!([piped(body)]),
        5 => kinesis(body),
        // Base64 of JSON is opened, not Base64 of Base64.
        6 if body.starts_with(['{', '[', '"']) => return base64(body),
        _ => Value::from(body),
    }
    .to_string()
}

/// Ops in envelopes, and perhaps a byte of damage: its place and the byte.
fn message() -> impl Strategy<Value = (BTreeSet<u8>, Vec<u8>, Option<(usize, u8)>)> {
    (
        proptest::collection::btree_set(0_u8..40, 1..4),
        proptest::collection::vec(0_u8..8, 0..MAX_DEPTH / 2),
        proptest::option::of((any::<usize>(), 32_u8..127)),
    )
}

fn body((records, layers, damage): &(BTreeSet<u8>, Vec<u8>, Option<(usize, u8)>)) -> String {
    let ops: Vec<Value> = records.iter().map(|id| json!({ "op": "put", "id": id.to_string() })).collect();
    let mut body = if ops.len() == 1 { ops[0].to_string() } else { Value::from(ops).to_string() };
    for layer in layers {
        body = wrap(*layer, &body);
    }
    if let Some((place, byte)) = damage {
        // All of it is ASCII.
        let mut bytes = body.into_bytes();
        let place = place % bytes.len();
        bytes[place] = *byte;
        body = String::from_utf8_lossy(&bytes).into_owned();
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_nesting_holds_its_ops_in_order(
        records in proptest::collection::btree_set(0_u8..40, 1..4),
        layers in proptest::collection::vec(0_u8..8, 0..=MAX_DEPTH),
    ) {
        let wanted: Vec<String> = records.iter().map(u8::to_string).collect();
        let read = reader().read(&body(&(records, layers, None))).map_err(TestCaseError::fail)?;
        prop_assert_eq!(read.ops.iter().map(|op| op.id.clone()).collect::<Vec<_>>(), wanted);
    }

    /// Messages come twice, whole or damaged. No damage panics. The log has each op of acknowledged
    /// messages once, and no op of messages that failed.
    #[test]
    fn acknowledged_envelopes_are_applied_once(messages in proptest::collection::vec(message(), 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bodies: Vec<String> = messages.iter().map(body).collect();
        let deliveries: Vec<Delivery<'_>> = bodies.iter().zip(1..)
            .map(|(body, place)| Delivery { body, place: Some(("g", place)), leaving: true })
            .collect();
        let (done, rows) = runtime.block_on(async {
            let options = CreateOptions::new(2);
            let collection =
                Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), &options).await.unwrap();
            let readers: [BodyReader; 2] = [(); 2].map(|()| BodyReader::new(&collection));
            let mut done = Vec::new();
            for reader in &readers {
                let writer = collection.writer(WriterOptions::default()).unwrap();
                done = append_delivery(&writer, reader, "q", &deliveries).await.done;
            }
            let mut compactor = collection.compactor(CompactorOptions::default());
            let rows: u64 = compactor.run_once().await.unwrap().events.iter().map(|event| event.rows_in).sum();
            (done, rows)
        });
        for (index, (_, _, damage)) in messages.iter().enumerate() {
            prop_assert!(damage.is_some() || done.contains(&index), "{} was refused", bodies[index]);
        }
        let held: u64 = done.iter().map(|index| reader().read(&bodies[*index]).unwrap().ops.len() as u64).sum();
        prop_assert_eq!(rows, held);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[{}\\[\\]:,\"a1 \\\\]{0,12}(\"(Records|detail|Message|s3|eventSource)\":)?[{}\\[\\]:,\"a1 =]{0,20}") {
        drop(reader().read(&text));
    }
}
