//! The results of a reader.

use deltafold_format::{Place, Record, Sequence, ShardId, Value, Version};

/// A record, as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The id.
    pub id: String,
    /// The record.
    pub record: Record,
    /// The place of its insertion. In log order, updates keep it, and an insertion after a delete
    /// renews it. By revision, it is that of the newest `put`, or without one of the newest
    /// `upsert`.
    pub inserted: Place,
    /// Its last change.
    pub changed: Place,
    /// The shard that holds it. Positions in the logs of different shards are not comparable.
    pub shard: ShardId,
}

impl Entry {
    /// Estimated bytes of its embedding and document.
    pub(super) fn bulk(&self) -> usize {
        let embedding = self.record.embedding.as_ref().map_or(0, |embedding| embedding.len() * 4);
        embedding + self.record.document.as_ref().map_or(0, String::len)
    }

    /// Estimated bytes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let metadata = &self.record.metadata;
        let metadata = metadata.iter().map(|(key, held)| key.len() + value_bytes(held) + 2 * size_of::<Value>() + 16);
        size_of::<Self>() + self.id.len() + self.bulk() + metadata.sum::<usize>()
    }
}

/// Estimated bytes of memory of a value beyond its own size.
pub(crate) fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Strings(texts) => texts.iter().map(|text| text.len() + size_of::<String>()).sum(),
        Value::I64s(numbers) => size_of_val(&numbers[..]),
        Value::F64s(numbers) => size_of_val(&numbers[..]),
        Value::Bools(truths) => truths.len(),
        Value::I64(_) | Value::F64(_) | Value::Bool(_) => 0,
    }
}

/// The position of a reader in a shard's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadPosition {
    /// The shard.
    pub shard: ShardId,
    /// The version of the snapshot below.
    pub version: Version,
    /// The folded sequence: the last segment that the snapshot contains.
    pub folded: Sequence,
    /// The last segment that the reader sees. Segments above `folded` come from the log.
    pub tail: Sequence,
}

/// The result of a refresh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refreshed {
    /// All shards, in order, even unchanged ones.
    pub shards: Vec<ShardChange>,
}

/// The change of one shard by a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardChange {
    /// The shard.
    pub shard: ShardId,
    /// The version seen before.
    pub from_version: Version,
    /// The version seen now. A new version alone changes no record: it holds the same ops in
    /// another form.
    pub to_version: Version,
    /// Number of log slots that are new to the reader.
    pub new_segments: u64,
    /// Number of ops that are new to the reader.
    pub new_ops: u64,
}

impl Refreshed {
    /// Whether the reader sees new ops or versions.
    pub fn changed(&self) -> bool {
        self.shards.iter().any(|shard| shard.from_version != shard.to_version || shard.new_segments > 0)
    }

    /// Number of new ops in all shards.
    pub fn new_ops(&self) -> u64 {
        self.shards.iter().map(|shard| shard.new_ops).sum()
    }
}
