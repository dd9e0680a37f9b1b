//! The digest of records in order: equal on both sides of a copy, or the copy failed.

use std::collections::BTreeMap;
use std::fmt;

use deltafold_format::Record;
use xxhash_rust::xxh3::xxh3_128;

use crate::jsonl::{Fields, write_record};

/// The number of some records, and a hash of them in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest {
    records: u64,
    hash: u128,
}

impl Digest {
    /// Adds a record. Returns the bytes of its embedding and document.
    pub(super) fn add(&mut self, id: &str, record: &Record) -> u64 {
        let mut bytes = self.hash.to_le_bytes().to_vec();
        // The JSON ends with a brace, so the embedding behind it has a place of its own. Its bits
        // count, which text does not show of every float.
        write_record(&mut bytes, id, record, Fields::default().embedding(false));
        let embedding = record.embedding.as_deref();
        bytes.push(embedding.is_some().into());
        embedding.unwrap_or_default().iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        self.hash = xxh3_128(&bytes);
        self.records += 1;
        let document = record.document.as_ref().map_or(0, String::len);
        (embedding.map_or(0, size_of_val) + document) as u64
    }

    /// The number of records.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The digest of all shards together.
    pub(super) fn of_all<K: Ord>(digests: &BTreeMap<K, Self>) -> (u64, Self) {
        let bytes: Vec<u8> = digests.values().flat_map(|digest| digest.hash.to_le_bytes()).collect();
        let records = digests.values().map(|digest| digest.records).sum();
        let hash = if digests.len() == 1 { digests.values().map(|digest| digest.hash).sum() } else { xxh3_128(&bytes) };
        (records, Self { records, hash })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.hash)
    }
}

#[cfg(test)]
mod tests {
    use deltafold_format::Value;

    use super::*;

    fn of(records: &[(&str, Record)]) -> Digest {
        let mut digest = Digest::default();
        for (id, record) in records {
            digest.add(id, record);
        }
        digest
    }

    #[test]
    fn every_field_and_the_order_count() {
        let plain = Record { embedding: Some(vec![0.0, 1.0]), ..Record::default() };
        let all = [
            of(&[("a", plain.clone()), ("b", plain.clone())]),
            of(&[("b", plain.clone()), ("a", plain.clone())]),
            of(&[("a", plain.clone())]),
            of(&[("a", Record::default())]),
            of(&[("a", Record { embedding: Some(vec![-0.0, 1.0]), ..Record::default() })]),
            of(&[("a", Record { document: Some(String::new()), ..plain.clone() })]),
            of(&[("a", Record { metadata: [("k".to_owned(), Value::I64(1))].into(), ..plain.clone() })]),
            of(&[("a", Record { metadata: [("k".to_owned(), Value::F64(1.0))].into(), ..plain })]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| other != one), "{index}");
        }
    }
}
