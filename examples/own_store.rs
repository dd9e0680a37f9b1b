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

/// The rows by key: bytes, tag and date.
type Rows = BTreeMap<Key, (Bytes, Tag, Timestamp)>;

#[derive(Debug, Default)]
struct Table {
    /// The lock is the transaction of this table.
    rows: Mutex<Rows>,
    meter: Meter,
}

impl Table {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a row. Its tag is new, so two states of a register never share one.
fn write(rows: &mut Rows, key: &Key, chunks: &[Bytes]) -> Outcome {
    let tag = Tag::new(System.nonce().to_string());
    rows.insert(key.clone(), (chunks.concat().into(), tag.clone(), System.now()));
    Outcome::Done(tag)
}

#[async_trait]
impl Store for Table {
    fn location(&self) -> String {
        "table:".to_owned()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let row = self.rows().get(key).cloned();
        let object = row.map(|(bytes, tag, _)| Object { bytes, tag });
        self.meter.request(RequestKind::Get, key, 0, async { Ok(object) }).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        let range = self.rows().get(key).map(|(bytes, ..)| {
            let within = |at: u64| usize::try_from(at).unwrap_or(bytes.len()).min(bytes.len());
            bytes.slice(within(start)..within(end).max(within(start)))
        });
        self.meter.request(RequestKind::Get, key, 0, async { Ok(range) }).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        let read = match self.rows().get(key).cloned() {
            None => Unless::Absent,
            Some((_, now, _)) if now == *tag => Unless::Unchanged,
            Some((bytes, tag, _)) => Unless::Changed(Object { bytes, tag }),
        };
        self.meter.request(RequestKind::GetUnless, key, 0, async { Ok(read) }).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let create = async {
            let mut rows = self.rows();
            Ok(if rows.contains_key(key) { Outcome::Refused } else { write(&mut rows, key, &chunks) })
        };
        self.meter.request(RequestKind::Create, key, length(&chunks), create).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        let replace = async {
            let mut rows = self.rows();
            let unchanged = rows.get(key).is_some_and(|(_, now, _)| now == tag);
            Ok(if unchanged { write(&mut rows, key, &chunks) } else { Outcome::Refused })
        };
        self.meter.request(RequestKind::Replace, key, length(&chunks), replace).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let from = after.map_or(Unbounded, |after| Excluded(after.clone()));
        let rows =
            self.rows().range((from, Unbounded)).map(|(key, row)| (key.clone(), row.clone())).collect::<Vec<_>>();
        let found = rows.into_iter().filter(|(key, _)| key.as_str().starts_with(prefix)).take(limit);
        let listed = found.map(|(key, (bytes, _, modified))| Listed { key, bytes: bytes.len() as u64, modified });
        self.meter.request(RequestKind::List, prefix, 0, async { Ok(listed.collect::<Vec<_>>()) }).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        keys.iter().for_each(|key| drop(self.rows().remove(key)));
        let first = keys.first().map_or("", Key::as_str);
        self.meter.request(RequestKind::Delete, first, 0, async { Ok(()) }).await
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

fn length(chunks: &[Bytes]) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
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
