//! An existing table is taken over while it changes: an export, and the stream from before it.
//!
//! Story: a collection was filled from a copy of a table while the table's stream was consumed. A
//! change that the stream had shown already was undone by the older copy, and an item that was
//! deleted meanwhile was there again. By revision any interleaving must end in the table's state.
//! In log order the stream must follow the backfill, from a place before the export.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use deltafold::format::{Record, Value};
use deltafold::ingest::{
    BackfillOptions, BodyReader, Delivery, Export, Items, Mapping, Scan, append_delivery, backfill,
};
use deltafold::store::Memory;
use deltafold::{Collection, CompactorOptions, CreateOptions, Entry, KEEP_TOMBSTONES, ScanOptions, WriterOptions};
use deltafold_testing::export;
use deltafold_testing::random::Random;
use futures::TryStreamExt as _;
use serde_json::{Value as Json, json};

const TIME: &str = "2026-11-04T07:28:34.028Z";
const MAPPING: &str = r#"
    [[rule]]
    collection = "c"
    table = "T"
    unless = { hidden = "true" }
    id = "{group}-{pk}"
    document = "text"
    embedding = "v"
    metadata = { a = "i64", b = "i64" }
"#;

/// An item, by the names of its attributes.
type Item = BTreeMap<&'static str, Json>;

/// A table, and the stream of its changes.
#[derive(Default)]
struct Table {
    items: BTreeMap<u64, Item>,
    records: Vec<Json>,
}

fn keys(pk: u64) -> Json {
    json!({ "pk": { "S": pk.to_string() } })
}

impl Table {
    /// Makes, changes or deletes an item at random.
    fn change(&mut self, random: &mut Random) {
        let pk = random.below(12);
        let old = self.items.get(&pk).cloned();
        let number = |random: &mut Random| json!({ "N": random.below(1_000).to_string() });
        let mut new = old.clone().unwrap_or_else(|| {
            BTreeMap::from([("pk", json!({ "S": pk.to_string() })), ("group", json!({ "S": "g" }))])
        });
        match random.below(10) {
            0 | 1 if old.is_some() => new.clear(),
            2 => drop(new.insert("group", json!({ "S": format!("g{}", random.below(3)) }))),
            3 => drop(new.insert("hidden", json!({ "BOOL": random.once_in(2) }))),
            4 => drop(new.remove("b")),
            5 => drop(new.insert("v", json!({ "L": [number(random), number(random)] }))),
            6 => drop(new.insert("text", json!({ "S": random.below(100).to_string() }))),
            7 => drop(new.insert("b", number(random))),
            _ => drop(new.insert("a", number(random))),
        }
        let event = match (&old, new.is_empty()) {
            (None, _) => "INSERT",
            (Some(_), true) => "REMOVE",
            (Some(_), false) => "MODIFY",
        };
        let sequence = 700_000_000_000_000_000_000 + self.records.len() as u128;
        let mut record = json!({
            "eventID": sequence.to_string(), "eventName": event,
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/T/stream/2026-11-04T00:00:00.000",
            "dynamodb": { "Keys": keys(pk), "SequenceNumber": sequence.to_string() },
        });
        if let Some(old) = &old {
            record["dynamodb"]["OldImage"] = json!(old);
        }
        if new.is_empty() {
            self.items.remove(&pk);
        } else {
            record["dynamodb"]["NewImage"] = json!(new);
            self.items.insert(pk, new);
        }
        self.records.push(record);
    }

    fn exported(&self) -> Vec<Json> {
        self.items.values().map(|item| json!(item)).collect()
    }

    /// The state that a collection must have, without the mapping's code.
    fn expected(&self) -> BTreeMap<String, Record> {
        let number = |json: &Json| json["N"].as_str().unwrap().parse::<i64>().unwrap();
        let shown = self.items.values().filter(|item| item.get("hidden") != Some(&json!({ "BOOL": true })));
        let records = shown.map(|item| {
            let value = |key: &str| Some((key.to_owned(), Value::I64(number(item.get(key)?))));
            let metadata = ["a", "b"].into_iter().filter_map(value).collect();
            let numbers = |v: &Json| v["L"].as_array().unwrap().iter().map(|one| number(one) as f32).collect();
            let text = |key: &str| item[key]["S"].as_str().unwrap().to_owned();
            let document = item.contains_key("text").then(|| text("text"));
            let record = Record { embedding: item.get("v").map(numbers), metadata, document };
            (format!("{}-{}", text("group"), text("pk")), record)
        });
        records.collect()
    }
}

/// The records of a collection.
async fn state(collection: &Collection) -> BTreeMap<String, Record> {
    let reader = collection.reader().await.unwrap();
    let entries: Vec<Entry> = reader.scan(ScanOptions::default()).try_collect().await.unwrap();
    let mut records = BTreeMap::new();
    for entry in entries {
        let record = reader.get(&entry.id).await.unwrap().unwrap().record;
        records.insert(entry.id, record);
    }
    records
}

async fn made(by_revision: bool) -> Collection {
    let options = CreateOptions::new(2).shards(2);
    let options = if by_revision { options.by_revision(KEEP_TOMBSTONES) } else { options };
    Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), &options).await.unwrap()
}

fn mapping() -> Mapping {
    Mapping::parse(MAPPING, "m.toml").unwrap()
}

async fn consume(collection: &Collection, records: &[&Json]) {
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let bodies = BodyReader::new(collection).with_mapping(mapping()).unwrap();
    let bodies_of: Vec<String> = records.iter().map(|record| record.to_string()).collect();
    let deliveries: Vec<Delivery<'_>> =
        bodies_of.iter().map(|body| Delivery { body, place: None, leaving: false }).collect();
    let outcome = append_delivery(&writer, &bodies, "q", &deliveries).await;
    assert!(outcome.failed.is_empty(), "{outcome:?}");
}

async fn take_over(collection: &Collection, folder: &Path) {
    let address = folder.join("AWSDynamoDB").join(export::ID);
    let export = Export::open(address.to_str().unwrap()).await.unwrap();
    let options = BackfillOptions::default();
    let stop = std::future::pending();
    backfill(collection, &mapping(), Items::Export(export), &options, stop, |_| 0, |_| ()).await.unwrap();
}

async fn compact(collection: &Collection, random: &mut Random) {
    if random.once_in(2) {
        collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    }
}

/// The table changes before the stream is on, before the export, and after it.
fn changed(random: &mut Random) -> (Table, usize, tempfile::TempDir) {
    let mut table = Table::default();
    for _ in 0..random.below(60) {
        table.change(random);
    }
    let stream_on = table.records.len();
    for _ in 0..random.below(60) {
        table.change(random);
    }
    let folder = tempfile::tempdir().unwrap();
    export::write(folder.path(), &export::full("T", TIME, &table.exported(), 3));
    for _ in 0..random.below(60) {
        table.change(random);
    }
    (table, stream_on, folder)
}

/// Records come in any order and again, before, beside and behind the backfill.
#[tokio::test]
async fn by_revision_a_backfill_and_a_stream_may_interleave() {
    let mut random = Random::from_environment();
    for round in 0..40 {
        let (table, stream_on, folder) = changed(&mut random);
        let collection = made(true).await;
        let stream = &table.records[stream_on..];
        let mut records: Vec<&Json> = stream.iter().chain(stream.iter().filter(|_| random.once_in(4))).collect();
        for index in (1..records.len()).rev() {
            records.swap(index, random.index(index + 1));
        }
        let (before, after) = records.split_at(random.index(records.len() + 1));
        consume(&collection, before).await;
        compact(&collection, &mut random).await;
        take_over(&collection, folder.path()).await;
        compact(&collection, &mut random).await;
        consume(&collection, after).await;
        assert_eq!(state(&collection).await, table.expected(), "round {round}");
    }
}

/// The stream is consumed in order when the backfill has ended, from before the export.
#[tokio::test]
async fn in_log_order_the_stream_follows_the_backfill() {
    let mut random = Random::from_environment();
    for round in 0..40 {
        let (table, stream_on, folder) = changed(&mut random);
        let collection = made(false).await;
        take_over(&collection, folder.path()).await;
        compact(&collection, &mut random).await;
        let records: Vec<&Json> = table.records[stream_on..].iter().collect();
        consume(&collection, &records).await;
        // A batch that is delivered again, in order and before what follows it.
        consume(&collection, &records[random.index(records.len() + 1)..]).await;
        assert_eq!(state(&collection).await, table.expected(), "round {round}");
    }
}

/// A scan reads each item at another moment. The stream makes up for it as for an export.
#[tokio::test]
async fn a_scan_is_taken_over_while_the_table_changes() {
    let mut random = Random::from_environment();
    for round in 0..40 {
        let mut table = Table::default();
        for _ in 0..40 {
            table.change(&mut random);
        }
        let stream_on = table.records.len();
        let mut scanned = Vec::new();
        for pk in 0..12 {
            scanned.extend(table.items.get(&pk).map(|item| json!(item)));
            for _ in 0..random.below(5) {
                table.change(&mut random);
            }
        }
        for by_revision in [true, false] {
            let collection = made(by_revision).await;
            let page = json!({ "Items": scanned, "Count": scanned.len() }).to_string();
            let scan = Scan::new("-", format!("scan {round}"), std::io::Cursor::new(page)).of_table(Some("T".into()));
            let records: Vec<&Json> = table.records[stream_on..].iter().collect();
            if by_revision {
                consume(&collection, &records).await;
            }
            let (options, stop) = (BackfillOptions::default(), std::future::pending());
            backfill(&collection, &mapping(), Items::Scan(scan), &options, stop, |_| 0, |_| ()).await.unwrap();
            if !by_revision {
                consume(&collection, &records).await;
            }
            assert_eq!(state(&collection).await, table.expected(), "round {round}, {by_revision}");
        }
    }
}
