//! Envelopes from their services: a topic and a bucket of the emulator send to a queue, and the
//! program appends what it finds there.

use deltafold::aws::{Outgoing, Queue, Receive};
use deltafold_testing::aws_sdk_sqs::types::QueueAttributeName;
use deltafold_testing::{ministack, queues, s3};
use serde_json::{Value, json};

use crate::cloud::Cloud;

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A queue to which every service may send. Its messages can be received again at once.
fn open_queue(name: &str) -> (Queue, String) {
    let anyone =
        json!({ "Statement": [{ "Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*" }] })
            .to_string();
    let attributes = [(QueueAttributeName::Policy, anyone.as_str()), (QueueAttributeName::VisibilityTimeout, "0")];
    block(async {
        let queue = queues::create(ministack::endpoint(), name, &attributes).await;
        let arn = queue.settings().await.unwrap().arn;
        (queue, arn)
    })
}

/// The text between two tags of an answer.
fn between<'a>(text: &'a str, tag: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("no {tag}: {text}"));
    rest.split_once(&format!("</{tag}>")).unwrap().0
}

#[test]
fn a_topic_feeds_a_collection_raw_or_not() {
    let cloud = Cloud::new();
    cloud.run("create c --dimension 2").ok();
    let sns = |fields: &str| ministack::form(ministack::endpoint(), "sns", &format!("{fields}&Version=2010-03-31"));
    for (number, raw) in [(1, "false"), (2, "true")] {
        let (queue, arn) = open_queue(&format!("cli-topic-{raw}"));
        let topic = sns(&format!("Action=CreateTopic&Name=cli-topic-{raw}"));
        let topic = between(&topic, "TopicArn");
        let raw = format!("Attributes.entry.1.key=RawMessageDelivery&Attributes.entry.1.value={raw}");
        sns(&format!("Action=Subscribe&TopicArn={topic}&Protocol=sqs&Endpoint={arn}&{raw}"));
        let op = json!({ "op": "put", "id": format!("t{number}"), "embedding": [1, 2], "document": "a+b & c=d" });
        // Only these characters have a meaning in a form.
        let op = op.to_string().replace('%', "%25").replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
        sns(&format!("Action=Publish&TopicArn={topic}&Message={op}"));
        let body = block(queue.receive(Receive::NOW)).unwrap().remove(0).body;
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["Type"] == "Notification", number == 1, "{body}");
        let ran = cloud.run(&format!("ingest c --queue {} --until-empty --json", queue.name())).ok().json();
        assert_eq!((&ran["messages"], &ran["ops"], &ran["failed"]), (&json!(1), &json!(1), &json!(0)), "{ran}");
        let record = cloud.run(&format!("get c t{number} --json")).ok().json();
        assert_eq!((&record["embedding"], &record["document"]), (&json!([1.0, 2.0]), &json!("a+b & c=d")));
    }
}

/// Each version is taken in once, also one that was overwritten before its event was read, and one
/// whose event comes twice.
#[test]
fn each_version_of_an_object_of_a_telling_bucket_counts_once() {
    let cloud = Cloud::new();
    cloud.run("create c --dimension 2 --ordering revision").ok();
    let (queue, arn) = open_queue("cli-telling");
    let put = |id: &str, revision: u64, n: u64| {
        json!({ "op": "put", "id": id, "revision": revision.to_string(), "metadata": { "n": n } }).to_string()
    };
    block(async {
        let client = s3::telling_bucket(ministack::endpoint(), "cli-telling", &arn).await;
        for (key, body) in [
            ("ops/day 1+2.jsonl", format!("{}\n{}\n", put("a", 1, 1), put("b", 1, 1))),
            ("ops/day 1+2.jsonl", format!("{}\n{}\n", put("a", 2, 2), put("c", 2, 2))),
        ] {
            client.put_object().bucket("cli-telling").key(key).body(body.into_bytes().into()).send().await.unwrap();
        }
        let events = queue.receive(Receive::NOW).await.unwrap();
        let created = events.iter().find(|message| message.body.contains("ObjectCreated")).unwrap();
        assert!(created.body.contains("versionId"), "{}", created.body);
        let again = Outgoing { body: created.body.clone(), ..Outgoing::default() };
        assert_eq!(queue.send(&[again]).await.unwrap(), []);
    });
    let objects = format!("s3://cli-telling/ops?endpoint={}", ministack::endpoint());
    let ingest = format!("ingest c --queue {} --until-empty --json --objects", queue.name());
    let ran = cloud.run(&format!("{ingest} {objects}")).ok().json();
    assert_eq!((&ran["failed"], &ran["left"]), (&json!(0), &json!(0)), "{ran}");
    assert_eq!(ran["ignored"], 1, "the bucket's test event: {ran}");
    let records = cloud.run("scan c").json_lines();
    let state: Vec<(&str, i64)> = records
        .iter()
        .map(|record| (record["id"].as_str().unwrap(), record["metadata"]["n"].as_i64().unwrap()))
        .collect();
    assert_eq!(state, [("a", 2), ("b", 1), ("c", 2)]);
    assert_eq!(cloud.run("follow c --until-end").json_lines().len(), 4, "each op is in the log once");
}
