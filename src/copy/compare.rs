//! Compares two collections record by record, in the order of ids.

use std::cmp::Ordering;

use deltafold_format::{Place, Record, Value};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use xxhash_rust::xxh3::Xxh3;

use crate::error::Result;
use crate::reader::{Entry, Reader, ScanOptions};

/// Number and digest of some records. Equal sets of records have equal tallies, in any order.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) records: u64,
    pub(super) digest: u128,
}

impl Tally {
    fn add(&mut self, hash: u128) {
        self.records += 1;
        self.digest = self.digest.wrapping_add(hash);
    }
}

/// A difference between origin and target.
#[derive(Debug)]
pub(super) enum Difference {
    /// The target lacks the record of this id, or holds another one.
    Differs(String),
    /// The origin has no record of this id.
    Surplus(String, Place),
}

/// A comparison under way. It holds one batch of records of each shard on both sides.
pub(super) struct Comparison {
    from: Side,
    to: Side,
}

struct Side {
    records: BoxStream<'static, Result<Entry>>,
    /// The next record, and its hash.
    next: Option<(Entry, u128)>,
    tally: Tally,
}

impl Side {
    fn new(reader: &Reader) -> Self {
        Self { records: reader.scan(ScanOptions::default()).boxed(), next: None, tally: Tally::default() }
    }

    async fn fill(&mut self) -> Result<()> {
        if self.next.is_none()
            && let Some(entry) = self.records.try_next().await?
        {
            let hash = hash(&entry.id, &entry.record);
            self.tally.add(hash);
            self.next = Some((entry, hash));
        }
        Ok(())
    }
}

impl Comparison {
    pub(super) fn new(from: &Reader, to: &Reader) -> Self {
        Self { from: Side::new(from), to: Side::new(to) }
    }

    /// The next difference; `None` at the end of both.
    pub(super) async fn next(&mut self) -> Result<Option<Difference>> {
        loop {
            self.from.fill().await?;
            self.to.fill().await?;
            let order = match (&self.from.next, &self.to.next) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((from, _)), Some((to, _))) => from.id.cmp(&to.id),
            };
            let from = if order.is_le() { self.from.next.take() } else { None };
            let to = if order.is_ge() { self.to.next.take() } else { None };
            match (from, to) {
                (Some((_, ours)), Some((_, theirs))) if ours == theirs => {}
                (Some((from, _)), _) => return Ok(Some(Difference::Differs(from.id))),
                (None, Some((to, _))) => return Ok(Some(Difference::Surplus(to.id, to.changed))),
                (None, None) => return Ok(None),
            }
        }
    }

    /// The records seen so far, of the origin and of the target.
    pub(super) fn tallies(&self) -> (Tally, Tally) {
        (self.from.tally, self.to.tally)
    }
}

/// The hash of a record: of everything that a reader sees of it, except its places.
pub(super) fn hash(id: &str, record: &Record) -> u128 {
    let mut hasher = Xxh3::new();
    text(&mut hasher, id);
    match &record.embedding {
        None => hasher.update(&[0]),
        Some(numbers) => {
            length(&mut hasher, 1, numbers.len());
            numbers.iter().for_each(|number| hasher.update(&number.to_le_bytes()));
        }
    }
    match &record.document {
        None => hasher.update(&[0]),
        Some(document) => {
            hasher.update(&[1]);
            text(&mut hasher, document);
        }
    }
    for (key, held) in &record.metadata {
        text(&mut hasher, key);
        value(&mut hasher, held);
    }
    hasher.digest128()
}

fn length(hasher: &mut Xxh3, tag: u8, length: usize) {
    hasher.update(&[tag]);
    hasher.update(&(length as u64).to_le_bytes());
}

fn text(hasher: &mut Xxh3, text: &str) {
    length(hasher, 9, text.len());
    hasher.update(text.as_bytes());
}

fn value(hasher: &mut Xxh3, held: &Value) {
    match held {
        Value::String(held) => {
            hasher.update(&[1]);
            text(hasher, held);
        }
        Value::I64(number) => list(hasher, 2, &[number.to_le_bytes()]),
        Value::F64(number) => list(hasher, 3, &[number.to_le_bytes()]),
        Value::Bool(truth) => hasher.update(&[4, u8::from(*truth)]),
        Value::Strings(texts) => {
            length(hasher, 5, texts.len());
            texts.iter().for_each(|held| text(hasher, held));
        }
        Value::I64s(numbers) => {
            length(hasher, 6, numbers.len());
            numbers.iter().for_each(|number| hasher.update(&number.to_le_bytes()));
        }
        Value::F64s(numbers) => {
            length(hasher, 7, numbers.len());
            numbers.iter().for_each(|number| hasher.update(&number.to_le_bytes()));
        }
        Value::Bools(truths) => {
            length(hasher, 8, truths.len());
            truths.iter().for_each(|truth| hasher.update(&[u8::from(*truth)]));
        }
    }
}

fn list(hasher: &mut Xxh3, tag: u8, numbers: &[[u8; 8]]) {
    hasher.update(&[tag]);
    numbers.iter().for_each(|number| hasher.update(number));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: Value) -> Record {
        Record { metadata: [("k".to_owned(), value)].into(), ..Record::default() }
    }

    #[test]
    fn records_that_differ_have_different_hashes() {
        let records = [
            Record::default(),
            Record { embedding: Some(vec![0.0]), ..Record::default() },
            Record { embedding: Some(vec![-0.0]), ..Record::default() },
            Record { document: Some(String::new()), ..Record::default() },
            Record { document: Some("k".to_owned()), ..Record::default() },
            with(Value::I64(1)),
            with(Value::F64(1.0)),
            with(Value::Bool(true)),
            with(Value::String("1".to_owned())),
            with(Value::Strings(vec!["1".to_owned()])),
            with(Value::Strings(Vec::new())),
            with(Value::I64s(Vec::new())),
            with(Value::F64s(vec![1.0])),
            with(Value::Bools(vec![true])),
        ];
        let mut hashes: Vec<u128> = records.iter().map(|record| hash("a", record)).collect();
        hashes.push(hash("b", &Record::default()));
        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
    }
}
