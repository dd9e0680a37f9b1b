//! A store of one's own: objects as rows of a table. The table lies in memory here; a database with
//! transactions takes its place. `docs/writing-a-store.md` explains each verb.
//!
//! `cargo run --features conformance --example own_store` runs the conformance suite over it.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold::format::{HeadPlace, Timestamp};
use deltafold::store::{Key, Listed, Meter, Object, Outcome, RequestKind, Requests, Store, StoreError, Tag, Unless};
use deltafold::{Env as _, System, conformance};

#[derive(Debug, Clone)]
struct Row {
    object: Object,
    modified: Timestamp,
}

#[derive(Debug, Default)]
struct Table {
    /// The lock is the transaction of this table.
    rows: Mutex<BTreeMap<Key, Row>>,
    meter: Meter,
}

impl Table {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<Key, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a row over the one with this tag, or a new row if there is no tag. Its own tag is
    /// new, so two states of a register never share one.
    async fn write(
        &self,
        kind: RequestKind,
        key: &Key,
        over: Option<&Tag>,
        chunks: Vec<Bytes>,
    ) -> Result<Outcome, StoreError> {
        let bytes = Bytes::from(chunks.concat());
        let length = bytes.len() as u64;
        let write = async {
            let mut rows = self.rows();
            if rows.get(key).map(|row| &row.object.tag) != over {
                return Ok(Outcome::Refused);
            }
            let tag = Tag::new(System.nonce().to_string());
            let row = Row { object: Object { bytes, tag: tag.clone() }, modified: System.now() };
            rows.insert(key.clone(), row);
            Ok(Outcome::Done(tag))
        };
        self.meter.request(kind, key, length, write).await
    }
}

#[async_trait]
impl Store for Table {
    fn location(&self) -> String {
        "table:".to_owned()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let get = async { Ok(self.rows().get(key).map(|row| row.object.clone())) };
        self.meter.request(RequestKind::Get, key, 0, get).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let get = async { Ok(self.rows().get(key).map(|row| range(&row.object.bytes, start, end))) };
        self.meter.request(RequestKind::Get, key, 0, get).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        let get = async {
            Ok(match self.rows().get(key) {
                None => Unless::Absent,
                Some(row) if row.object.tag == *tag => Unless::Unchanged,
                Some(row) => Unless::Changed(row.object.clone()),
            })
        };
        self.meter.request(RequestKind::GetUnless, key, 0, get).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.write(RequestKind::Create, key, None, chunks).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.write(RequestKind::Replace, key, Some(tag), chunks).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let list = async {
            let rows = self.rows();
            let behind = rows.range::<Key, _>((after.map_or(Unbounded, Excluded), Unbounded));
            let found = behind.filter(|(key, _)| key.as_str().starts_with(prefix)).take(limit);
            Ok(found.map(|(key, row)| listed(key, row)).collect::<Vec<_>>())
        };
        self.meter.request(RequestKind::List, prefix, 0, list).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.rows().retain(|key, _| !keys.contains(key));
        self.meter.request(RequestKind::Delete, keys.len(), 0, async { Ok(()) }).await
    }

    /// A row that a reader sees is durable.
    async fn settle(&self, _: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.meter.request(RequestKind::Clock, "", 0, async { Ok(System.now()) }).await
    }

    fn requests(&self) -> Requests {
        self.meter.requests()
    }

    fn heads(&self) -> HeadPlace {
        HeadPlace::Store
    }

    /// A table of our own keeps the contract. A service of others is probed before it is trusted.
    fn is_to_be_probed(&self) -> bool {
        false
    }
}

/// The range ends where the object does.
fn range(bytes: &Bytes, start: u64, end: u64) -> Bytes {
    let end = end.min(bytes.len() as u64);
    bytes.slice(start.min(end) as usize..end as usize)
}

fn listed(key: &Key, Row { object, modified }: &Row) -> Listed {
    Listed { key: key.clone(), bytes: object.bytes.len() as u64, modified: *modified }
}

#[tokio::main]
async fn main() {
    conformance::suite(|| async { Arc::new(Table::default()) as Arc<dyn Store> }).await;
    println!("the store keeps every promise");
}

#[cfg(test)]
#[test]
fn the_example_store_keeps_the_contract() {
    main();
}
