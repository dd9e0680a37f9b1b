//! Records as items of a DynamoDB table.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use deltafold::format::{Action, Op, Record, Value};

/// A table and its items.
pub struct Items {
    client: Client,
    table: String,
    records: BTreeMap<String, Record>,
}

impl Items {
    pub fn new(client: Client, table: &str) -> Self {
        Self { client, table: table.to_owned(), records: BTreeMap::new() }
    }

    /// Changes the table as an op changes a collection.
    pub async fn change(&mut self, op: Op) {
        let record = match op.action {
            Action::Put(record) => Some(record),
            Action::Patch(patch) => {
                let Some(record) = self.records.get(&op.id).cloned() else { return };
                Some(patch.apply(record))
            }
            Action::Delete => None,
            other => panic!("{other:?}"),
        };
        match record {
            Some(record) => {
                let put = self.client.put_item().table_name(&self.table).set_item(Some(item(&op.id, &record)));
                put.send().await.unwrap();
                self.records.insert(op.id, record);
            }
            None => {
                let delete = self.client.delete_item().table_name(&self.table);
                delete.set_key(Some(key(&op.id))).send().await.unwrap();
                self.records.remove(&op.id);
            }
        }
    }

    /// Puts an item that no collection can hold.
    pub async fn poison(&self, id: &str) {
        let mut item = key(id);
        item.insert("vector".to_owned(), AttributeValue::B(Blob::new([0; 4])));
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await.unwrap();
    }
}

fn key(id: &str) -> HashMap<String, AttributeValue> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([("PK".to_owned(), text(id)), ("SK".to_owned(), text("package"))])
}

fn item(id: &str, record: &Record) -> HashMap<String, AttributeValue> {
    let mut item = key(id);
    for (key, value) in &record.metadata {
        let attribute = match value {
            Value::String(text) => AttributeValue::S(text.clone()),
            Value::I64(number) => AttributeValue::N(number.to_string()),
            Value::F64(number) => AttributeValue::N(number.to_string()),
            Value::Bool(truth) => AttributeValue::Bool(*truth),
            Value::Strings(list) => AttributeValue::L(list.iter().cloned().map(AttributeValue::S).collect()),
            other => panic!("{other:?}"),
        };
        item.insert(key.clone(), attribute);
    }
    if let Some(document) = &record.document {
        item.insert("text".to_owned(), AttributeValue::S(document.clone()));
    }
    if let Some(embedding) = &record.embedding {
        let bytes: Vec<u8> = embedding.iter().flat_map(|number| number.to_le_bytes()).collect();
        item.insert("vector".to_owned(), AttributeValue::B(Blob::new(bytes)));
    }
    item
}
