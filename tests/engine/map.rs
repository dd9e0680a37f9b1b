//! Real records as items of a table. A mapping turns the records of its stream into the collection
//! that the ops themselves would have made.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use deltafold::format::{Action, Op, Record, Value};
use deltafold::ingest::{BodyReader, Delivery, Mapping, append_delivery};
use deltafold::store::Memory;
use deltafold::{Collection, CreateOptions, WriterOptions};
use deltafold_testing::{canonical, data};
use serde_json::{Value as Json, json};

/// A table: its items, and the stream record of each change.
#[derive(Default)]
struct Table {
    items: BTreeMap<String, Record>,
    records: u64,
}

impl Table {
    /// Applies an op to the items, and returns the record of the stream. `None` if nothing changes.
    fn change(&mut self, op: Op) -> Option<String> {
        let old = self.items.get(&op.id).cloned();
        let new = match op.action {
            Action::Put(record) => Some(record),
            Action::Patch(patch) => Some(patch.apply(old.clone()?)),
            Action::Delete => None,
            other => panic!("{other:?}"),
        };
        let event = match (&old, &new) {
            (None, None) => return None,
            (None, Some(_)) => "INSERT",
            (Some(_), Some(_)) => "MODIFY",
            (Some(_), None) => "REMOVE",
        };
        self.records += 1;
        let mut change = json!({"Keys": {"PK": {"S": op.id}}, "SequenceNumber": (10u128.pow(26) + u128::from(self.records)).to_string()});
        for (name, image) in [("OldImage", &old), ("NewImage", &new)] {
            if let Some(record) = image {
                change[name] = item(&op.id, record);
            }
        }
        match new {
            Some(record) => self.items.insert(op.id, record),
            None => self.items.remove(&op.id),
        };
        let record = json!({"eventID": self.records.to_string(), "eventName": event, "dynamodb": change, "eventSource": "aws:dynamodb"});
        Some(record.to_string())
    }
}

fn item(id: &str, record: &Record) -> Json {
    let mut item = json!({"PK": {"S": id}});
    for (key, value) in &record.metadata {
        item[key] = match value {
            Value::String(text) => json!({"S": text}),
            Value::I64(number) => json!({"N": number.to_string()}),
            Value::F64(number) => json!({"N": number.to_string()}),
            Value::Bool(truth) => json!({"BOOL": truth}),
            Value::Strings(list) => json!({"L": list.iter().map(|text| json!({"S": text})).collect::<Vec<_>>()}),
            other => panic!("{other:?}"),
        };
    }
    if let Some(document) = &record.document {
        item["text"] = json!({"S": document});
    }
    if let Some(embedding) = &record.embedding {
        let bytes: Vec<u8> = embedding.iter().flat_map(|number| number.to_le_bytes()).collect();
        item["vector"] = json!({"B": base64::engine::general_purpose::STANDARD.encode(bytes)});
    }
    item
}

async fn collection() -> Collection {
    let options = CreateOptions::new(384);
    Collection::create(Arc::new(Memory::new()), &"packages".parse().unwrap(), &options).await.unwrap()
}

/// Inserts 1,500 real records and applies 444 real changes as stream records: one record a message,
/// and packed by a forwarder.
#[tokio::test]
async fn real_changes_of_a_table_become_the_collection() {
    let data = data::DataSet::demo();
    let mut table = Table::default();
    let records: Vec<String> = data.base().chain(data.updates()).filter_map(|op| table.change(op)).collect();
    let collection = collection().await;
    let bodies = BodyReader::new(&collection).with_mapping(Mapping::parse(data::MAPPING, "mapping").unwrap()).unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let (single, packed) = records.split_at(records.len() / 2);
    let mut messages: Vec<String> = single.to_vec();
    for (number, pack) in packed.chunks(25).enumerate() {
        messages.push(match number % 3 {
            0 => format!("[{}]", pack.join(",")),
            1 => pack.join("\n"),
            _ => format!("{{\"Records\":[{}]}}", pack.join(",")),
        });
    }
    for messages in messages.chunks(100) {
        let deliveries: Vec<Delivery<'_>> =
            messages.iter().map(|body| Delivery { body, place: None, leaving: false }).collect();
        let outcome = append_delivery(&writer, &bodies, "queue", &deliveries).await;
        assert_eq!(outcome.failed, []);
        assert_eq!(outcome.done.len(), messages.len());
    }
    assert_eq!(canonical::of(&collection).await, data.expected_sha256());
    let reader = collection.reader().await.unwrap();
    for (id, record) in table.items.iter().take(100) {
        assert_eq!(reader.get(id).await.unwrap().unwrap().record.embedding, record.embedding, "{id}");
    }
}
