//! The deployment at work: the template on an emulator that runs the real program as its functions.
//! Real changes go in at one end. Functions are killed, messages come again, and some are
//! unreadable. The collection at the other end must be the known one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use deltafold::aws::{Outgoing, Queue, Receive};
use deltafold::format::{Op, Record, Revision};
use deltafold::store::S3;
use deltafold::{Collection, CreateOptions, KEEP_TOMBSTONES, WriterOptions, jsonl};
use deltafold_testing::aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use deltafold_testing::data::{self, DataSet};
use deltafold_testing::random::Random;
use deltafold_testing::{
    aws_sdk_lambda, aws_smithy_http_client, canonical, lambda, ministack, queues, s3, table, venv,
};
use serde_json::{Value, json};

const GROUPS: usize = 16;
/// The timeout of every wait.
const PATIENCE: Duration = Duration::from_secs(300);

/// A deployed template.
struct Stack {
    outputs: Value,
    collection: Collection,
    functions: aws_sdk_lambda::Client,
}

impl Stack {
    async fn deploy(source: &str, name: &str, more: &Value, data: &DataSet) -> Self {
        let within = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let mut parameters = json!({ "Source": source, "Collection": "packages", "FoldSegments": "8" });
        parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let python = venv::installed("deploy", include_str!("checks/requirements.txt")).join("bin/python");
        let endpoint = ministack::endpoint();
        let said = venv::run(
            Command::new(python)
                .arg("-B")
                .arg(within("cli/tests/deploy/checks/deploy_stack.py"))
                .arg(endpoint)
                .arg(within("docs/deploy/template.yaml"))
                .args([name, env!("CARGO_BIN_EXE_bootstrap"), data::MAPPING, &parameters.to_string()]),
        );
        let outputs: Value = serde_json::from_str(&said).unwrap();
        let store =
            S3::open(outputs["BucketName"].as_str().unwrap(), "deltafold", &s3::options(endpoint)).await.unwrap();
        let dimension = data.base().find_map(|op| Some(op.action.embedding()?.len())).unwrap();
        let options = CreateOptions::new(u32::try_from(dimension).unwrap());
        // A standard queue needs a collection ordered by revision.
        let options = if source == "standard" { options.by_revision(KEEP_TOMBSTONES) } else { options };
        let collection = Collection::create(Arc::new(store), &"packages".parse().unwrap(), &options).await.unwrap();
        let config = aws_sdk_lambda::config::Builder::new()
            .behavior_version_latest()
            .endpoint_url(endpoint)
            .credentials_provider(aws_sdk_lambda::config::Credentials::new("test", "test", None, None, "test"))
            .region(aws_sdk_lambda::config::Region::new("us-east-1"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Self { outputs, collection, functions: aws_sdk_lambda::Client::from_conf(config) }
    }

    fn output(&self, name: &str) -> &str {
        self.outputs[name].as_str().unwrap_or_else(|| panic!("no output {name}: {}", self.outputs))
    }

    async fn queue(&self, name: &str) -> Queue {
        Queue::open(self.output(name), &queues::options(ministack::endpoint())).await.unwrap()
    }

    /// Calls a function and waits for its answer.
    async fn call(&self, function: &str, event: &Value) -> Value {
        let payload = aws_sdk_lambda::primitives::Blob::new(event.to_string());
        let answer =
            self.functions.invoke().function_name(self.output(function)).payload(payload).send().await.unwrap();
        let said: Value = serde_json::from_slice(answer.payload.unwrap().as_ref()).unwrap();
        assert_eq!(answer.function_error, None, "{said}");
        said
    }

    async fn sha256(&self) -> String {
        canonical::of(&self.collection).await
    }

    async fn is_folded(&self) -> bool {
        self.collection.status().await.unwrap().shards.iter().all(|shard| shard.folded == shard.tail)
    }

    /// Compacts as the schedule does, and returns the number of ops ever folded.
    async fn compact(&self) -> u64 {
        let schedule =
            json!({ "version": "0", "detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": {} });
        self.call("CompactFunction", &schedule).await;
        assert!(self.is_folded().await, "nothing is left to fold");
        let status = self.collection.status().await.unwrap();
        status.shards.iter().map(|shard| shard.ops).sum()
    }
}

/// Kills one process that the emulator runs as this function of this stack, if there is one.
/// Returns whether it did.
fn kill_one(function: &str, bucket: &str) -> bool {
    let wanted = [format!("DELTAFOLD_FUNCTION={function}"), format!("DELTAFOLD_STORE=s3://{bucket}/deltafold")];
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Ok(variables) = std::fs::read(entry.path().join("environ")) else { continue };
        let variables: Vec<&[u8]> = variables.split(|byte| *byte == 0).collect();
        if wanted.iter().all(|wanted| variables.contains(&wanted.as_bytes())) {
            let process = entry.file_name();
            return Command::new("kill").arg("-9").arg(process).status().unwrap().success();
        }
    }
    false
}

/// Kills functions now and then, at most `kills` times, and waits until `done`.
async fn wait(what: &str, kill: &[&str], bucket: &str, mut kills: u32, mut done: impl AsyncFnMut() -> bool) -> u32 {
    let (most, begun) = (kills, std::time::Instant::now());
    while !done().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(150)).await;
        if let Some(function) = kill.get(kills as usize % kill.len().max(1))
            && kills > 0
            && kill_one(function, bucket)
        {
            kills -= 1;
        }
    }
    most - kills
}

async fn visibility(queue: &Queue, seconds: u32) {
    let client = queues::client(ministack::endpoint()).set_queue_attributes().queue_url(queue.url());
    client.attributes(QueueAttributeName::VisibilityTimeout, seconds.to_string()).send().await.unwrap();
}

/// Receives and deletes all bodies in a queue.
async fn drained(queue: &Queue) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let received = queue.receive(Receive::NOW).await.unwrap();
        if received.is_empty() {
            return bodies;
        }
        let receipts: Vec<&str> = received.iter().map(|message| message.receipt.as_str()).collect();
        assert_eq!(queue.delete(&receipts).await.unwrap(), []);
        bodies.extend(received.into_iter().map(|message| message.body));
    }
}

/// A sent message: id, body, group, place.
type Sent = (String, String, String, u64);

/// Sends messages, ten at a time, and returns the place of each.
async fn send(queue: &Queue, messages: Vec<(String, String)>) -> Vec<Sent> {
    let client = queues::client(ministack::endpoint());
    let mut sent = Vec::with_capacity(messages.len());
    for ten in messages.chunks(10) {
        let entries = ten.iter().enumerate().map(|(index, (group, body))| {
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(body)
                .message_group_id(group)
                .message_deduplication_id(format!("event-{}", sent.len() + index))
                .build()
                .unwrap()
        });
        let request = client.send_message_batch().queue_url(queue.url()).set_entries(Some(entries.collect()));
        let mut answers = request.send().await.unwrap().successful;
        answers.sort_by_key(|answer| answer.id.parse::<usize>().unwrap());
        assert_eq!(answers.len(), ten.len());
        for (answer, (group, body)) in answers.into_iter().zip(ten) {
            let place = answer.sequence_number.unwrap().parse().unwrap();
            sent.push((answer.message_id, body.clone(), group.clone(), place));
        }
    }
    sent
}

/// The whole data set where it is present. `DELTAFOLD_PIPELINE_CHANGES` sets the number of changes,
/// the base's among them.
///
/// Producer -> FIFO queue of 16 groups -> `ingest` -> log -> `compact` -> reader. Functions are
/// killed, three messages are unreadable, and one in twenty comes again long after. In the end each
/// change took effect once and in order. The three are among the dead letters, alone, and take
/// effect once mended.
#[tokio::test]
async fn changes_through_a_fifo_queue() {
    let mut random = Random::from_environment();
    let data = DataSet::whole().unwrap_or_else(DataSet::demo);
    let stack = Stack::deploy("fifo", "pipeline-fifo", &json!({}), &data).await;
    let writer = stack.collection.writer(WriterOptions::default()).unwrap();
    let base: Vec<_> = data.base().collect();
    let updates = data.updates().count();
    // If more changes are asked for, the last of the base go through the queue as well.
    let changes = std::env::var("DELTAFOLD_PIPELINE_CHANGES").map_or(updates, |changes| changes.parse().unwrap());
    let (before, rest) = base.split_at(base.len() - changes.saturating_sub(updates).min(base.len()));
    for chunk in before.chunks(1_000) {
        writer.append(chunk.to_vec()).await.unwrap();
    }
    let queue = stack.queue("QueueUrl").await;
    visibility(&queue, 1).await;

    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    let mut messages: Vec<(String, String)> = Vec::new();
    for op in rest.iter().cloned().chain(data.updates()) {
        let next = groups.len() % GROUPS;
        let group = *groups.entry(op.id.clone()).or_insert(next);
        let mut line = Vec::new();
        jsonl::write_op(&mut line, &op);
        messages.push((format!("g{group}"), String::from_utf8(line).unwrap()));
    }
    let changes = messages.len();
    let mut poison: Vec<String> = Vec::new();
    for number in 1..=3 {
        let body = format!(r#"{{"op":"upsert","id":"poison-{number}","embedding":[1],"metadata":{{"n":{number}}}}}"#);
        messages.insert(number * changes / 4, (format!("g{}", number * 5), body.clone()));
        poison.push(body);
    }
    let sent = send(&queue, messages).await;
    let bucket = stack.output("BucketName");
    let empty = async || queue.depth().await.unwrap().total() == 0;
    let kills = wait("an empty queue", &["ingest"], bucket, 5, empty).await;
    println!("{changes} changes, {kills} functions killed");
    assert!(kills > 0);
    let expected = data.expected_sha256();
    assert_eq!(stack.sha256().await, expected);
    let dead = stack.queue("DeadLettersUrl").await;
    let mut letters = drained(&dead).await;
    letters.sort();
    assert_eq!(letters, poison, "unreadable messages, and nothing else");
    let version = stack.collection.status().await.unwrap().shards[0].version.get();
    assert!(version > 0, "the function that appends had the log folded");
    let ops = (before.len() + changes) as u64;
    assert_eq!(stack.compact().await, ops, "each change is in the log once");
    assert_eq!(stack.sha256().await, expected);

    // One in twenty is delivered again, after it was folded.
    let again: Vec<&Sent> = sent.iter().filter(|sent| !poison.contains(&sent.1) && random.once_in(20)).collect();
    for ten in again.chunks(10) {
        let event: Vec<lambda::Sent<'_>> =
            ten.iter().map(|(id, body, group, _)| (id.as_str(), body.as_str(), Some((group.as_str(), 0)))).collect();
        let mut event = lambda::messages("pipeline-fifo.fifo", &event);
        let arn = queue.settings().await.unwrap().arn;
        for (record, (.., place)) in event["Records"].as_array_mut().unwrap().iter_mut().zip(ten) {
            record["eventSourceARN"] = arn.clone().into();
            record["attributes"]["SequenceNumber"] = place.to_string().into();
        }
        assert_eq!(stack.call("IngestFunction", &event).await, json!({ "batchItemFailures": [] }));
    }
    assert_eq!(stack.compact().await, ops, "{} messages that came again took no effect", again.len());

    // Mended, they are sent again.
    let mended: Vec<Outgoing> = (1..)
        .zip(&letters)
        .map(|(number, body)| Outgoing {
            body: body.replace(r#""embedding":[1],"#, ""),
            group: Some(format!("g{number}")),
            deduplication: Some(format!("mended-{number}")),
            ..Outgoing::default()
        })
        .collect();
    assert_eq!(queue.send(&mended).await.unwrap(), []);
    wait("an empty queue", &[], bucket, 0, async || queue.depth().await.unwrap().total() == 0).await;
    let reader = stack.collection.reader().await.unwrap();
    for number in 1..=3 {
        assert!(reader.get(&format!("poison-{number}")).await.unwrap().is_some());
    }
    assert_eq!(dead.depth().await.unwrap().total(), 0);
}

/// Moves the dead letters back to their queue, as a user does.
fn redrive(dead: &Queue, queue: &Queue) {
    let moved = Command::new(env!("CARGO_BIN_EXE_deltafold"))
        .args(["queue", "redrive", dead.url(), "--to", queue.url(), "--yes", "--endpoint", ministack::endpoint()])
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")])
        .output()
        .unwrap();
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
}

/// Producer -> standard queue -> `ingest` -> log -> `compact` -> reader, in a collection ordered by
/// revision. The changes come in any order, one in twenty twice, functions are killed, and three
/// messages are unreadable. Those end among the dead letters, alone, and take effect once they are
/// mended and moved back.
#[tokio::test]
async fn changes_through_a_standard_queue() {
    let mut random = Random::from_environment();
    let data = DataSet::whole().unwrap_or_else(DataSet::demo);
    let stack = Stack::deploy("standard", "pipeline-standard", &json!({ "WindowSeconds": "1" }), &data).await;
    let writer = stack.collection.writer(WriterOptions::default()).unwrap();
    let mut ops: Vec<_> =
        data.base().chain(data.updates()).zip(1..).map(|(op, line)| op.at(Revision::new(line))).collect();
    let updates = data.updates().count();
    let changes = std::env::var("DELTAFOLD_PIPELINE_CHANGES").map_or(updates, |changes| changes.parse().unwrap());
    let sent = ops.split_off(ops.len() - changes.min(ops.len()));
    for chunk in ops.chunks(1_000) {
        writer.append(chunk.to_vec()).await.unwrap();
    }
    let (queue, dead) = (stack.queue("QueueUrl").await, stack.queue("DeadLettersUrl").await);
    visibility(&queue, 1).await;
    let poison = [1, 2, 3].map(|number| {
        format!(r#"{{"op":"upsert","id":"poison-{number}","embedding":[1],"metadata":{{"n":{number}}},"revision":"{number}"}}"#)
    });
    let mut bodies: Vec<String> = poison.to_vec();
    for op in &sent {
        let mut line = Vec::new();
        jsonl::write_op(&mut line, op);
        let line = String::from_utf8(line).unwrap();
        bodies.extend(random.once_in(20).then(|| line.clone()));
        bodies.push(line);
    }
    for last in (1..bodies.len()).rev() {
        bodies.swap(last, random.index(last + 1));
    }
    let messages: Vec<Outgoing> =
        bodies.iter().map(|body| Outgoing { body: body.clone(), ..Outgoing::default() }).collect();
    assert_eq!(queue.send(&messages).await.unwrap(), []);
    let bucket = stack.output("BucketName");
    let empty = async || queue.depth().await.unwrap().total() == 0;
    let kills = wait("an empty queue", &["ingest"], bucket, 5, empty).await;
    println!("{} messages of {} changes, {kills} functions killed", messages.len(), sent.len());
    assert!(kills > 0);
    let expected = data.expected_sha256();
    assert_eq!(stack.sha256().await, expected);
    let mut letters = drained(&dead).await;
    letters.sort();
    assert_eq!(letters, poison, "unreadable messages, and nothing else");
    stack.compact().await;
    assert_eq!(stack.sha256().await, expected);

    // Old changes come again, from the dead letters and after they were folded. The mended ones
    // come among them.
    let again: Vec<String> = bodies.iter().filter(|body| !poison.contains(*body)).take(200).cloned().collect();
    let mended = letters.iter().map(|body| body.replace(r#""embedding":[1],"#, ""));
    let letters: Vec<Outgoing> =
        again.into_iter().chain(mended).map(|body| Outgoing { body, ..Outgoing::default() }).collect();
    assert_eq!(dead.send(&letters).await.unwrap(), []);
    redrive(&dead, &queue);
    wait("an empty queue", &[], bucket, 0, async || queue.depth().await.unwrap().total() == 0).await;
    for number in 1..=3 {
        let mended = Op::delete(format!("poison-{number}")).at(Revision::new(1_000_000));
        assert!(stack.collection.reader().await.unwrap().get(&mended.id).await.unwrap().is_some());
        writer.append(vec![mended]).await.unwrap();
    }
    assert_eq!(stack.sha256().await, expected, "what came again has changed nothing");
    assert_eq!(dead.depth().await.unwrap().total(), 0);
}

/// Table -> stream -> `ingest` -> log -> reader, while `ingest` is killed. At the end the schedule
/// has folded the rest of the log.
#[tokio::test]
async fn changes_of_a_table_through_its_stream() {
    let data = DataSet::demo();
    let more = json!({ "Mapping": "mapping.toml", "WindowSeconds": "1", "FoldMinutes": "2" });
    let stack = Stack::deploy("stream", "pipeline-stream", &more, &data).await;
    let mut items = table::Items::new(s3::dynamodb(ministack::endpoint()), stack.output("TableName"));
    for op in data.base().chain(data.updates()) {
        items.change(op).await;
    }
    let done = async || stack.sha256().await == data.expected_sha256();
    let kills = wait("all changes", &["ingest"], stack.output("BucketName"), 3, done).await;
    println!("{kills} functions killed");
    let last = Op::put("last", Record::default());
    stack.collection.writer(WriterOptions::default()).unwrap().append(vec![last]).await.unwrap();
    wait("the schedule", &[], stack.output("BucketName"), 0, async || stack.is_folded().await).await;
    stack.collection.writer(WriterOptions::default()).unwrap().append(vec![Op::delete("last")]).await.unwrap();
    assert_eq!(stack.sha256().await, data.expected_sha256());
}

/// Table -> stream -> `forward` -> FIFO queue -> `ingest` -> log -> reader, while both are killed.
/// Two items have an embedding that is too short. Their changes are among the dead letters, alone.
/// Mended and moved back, they go through the mapping and take effect.
#[tokio::test]
async fn changes_of_a_table_through_a_forwarder() {
    let data = DataSet::demo();
    let more = json!({ "Mapping": "mapping.toml", "WindowSeconds": "1" });
    let stack = Stack::deploy("forwarder", "pipeline-forwarder", &more, &data).await;
    let queue = stack.queue("QueueUrl").await;
    visibility(&queue, 1).await;
    let mut items = table::Items::new(s3::dynamodb(ministack::endpoint()), stack.output("TableName"));
    for (number, op) in data.base().chain(data.updates()).enumerate() {
        if number % 700 == 699 {
            items.poison(&format!("poison-{number}")).await;
        }
        items.change(op).await;
    }
    let bucket = stack.output("BucketName");
    let arrived = async || stack.sha256().await == data.expected_sha256();
    let kills = wait("all changes", &["ingest", "forward"], bucket, 4, arrived).await;
    println!("{kills} functions killed");
    wait("an empty queue", &[], bucket, 0, async || queue.depth().await.unwrap().total() == 0).await;
    stack.compact().await;
    assert_eq!(stack.sha256().await, data.expected_sha256());
    let dead = stack.queue("DeadLettersUrl").await;
    let letters = drained(&dead).await;
    let ids: Vec<String> = letters
        .iter()
        .flat_map(|letter| serde_json::from_str::<Vec<Value>>(letter).unwrap())
        .map(|record| record["dynamodb"]["Keys"]["PK"]["S"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["poison-699", "poison-1399"], "unreadable messages, and nothing else");

    let mended = letters.iter().zip(&ids).map(|(letter, id)| {
        let mut records: Vec<Value> = serde_json::from_str(letter).unwrap();
        for record in &mut records {
            record["dynamodb"]["NewImage"].as_object_mut().unwrap().remove("vector").unwrap();
        }
        let (body, id) = (serde_json::to_string(&records).unwrap(), Some(id.clone()));
        Outgoing { body, group: id.clone(), deduplication: id, ..Outgoing::default() }
    });
    assert_eq!(dead.send(&mended.collect::<Vec<_>>()).await.unwrap(), []);
    redrive(&dead, &queue);
    wait("an empty queue", &[], bucket, 0, async || queue.depth().await.unwrap().total() == 0).await;
    let writer = stack.collection.writer(WriterOptions::default()).unwrap();
    for id in &ids {
        assert!(stack.collection.reader().await.unwrap().get(id).await.unwrap().is_some(), "{id}");
        writer.append(vec![Op::delete(id)]).await.unwrap();
    }
    assert_eq!(stack.sha256().await, data.expected_sha256(), "they took effect and nothing else");
    assert_eq!(dead.depth().await.unwrap().total(), 0);
}
