//! What a reader answers with.

use deltafold_format::{Place, Record, Sequence, ShardId, Value, Version};

/// A record as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The id.
    pub id: String,
    /// The record.
    pub record: Record,
    /// Where it was inserted. In log order: kept by updates, renewed when it is inserted after a
    /// delete. By revision: that of the newest `put`, or where there is none of the newest
    /// `upsert`.
    pub inserted: Place,
    /// Its last change.
    pub changed: Place,
    /// The shard that holds it; positions in the logs of different shards are not comparable.
    pub shard: ShardId,
}

impl Entry {
    /// About how many bytes its embedding and document take.
    pub(super) fn bulk(&self) -> usize {
        let embedding = self.record.embedding.as_ref().map_or(0, |embedding| embedding.len() * 4);
        embedding + self.record.document.as_ref().map_or(0, String::len)
    }

    /// About how much memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let metadata = &self.record.metadata;
        let metadata = metadata.iter().map(|(key, held)| key.len() + value_bytes(held) + 2 * size_of::<Value>() + 16);
        size_of::<Self>() + self.id.len() + self.bulk() + metadata.sum::<usize>()
    }
}

/// About how much memory a value takes beside its own.
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

/// How far into a shard's log a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadPosition {
    /// The shard.
    pub shard: ShardId,
    /// The version of the snapshot below.
    pub version: Version,
    /// The last segment that the snapshot contains.
    pub folded: Sequence,
    /// The last segment that is seen; what lies above `folded` comes from the log.
    pub tail: Sequence,
}

/// What a refresh brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refreshed {
    /// Every shard, in order, those that did not change among them.
    pub shards: Vec<ShardChange>,
}

/// What a refresh brought of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardChange {
    /// The shard.
    pub shard: ShardId,
    /// The version seen before.
    pub from_version: Version,
    /// The version seen now. A new version alone changes no record: it holds the same ops in
    /// another shape.
    pub to_version: Version,
    /// How many log slots are newly seen.
    pub new_segments: u64,
    /// How many ops are newly seen.
    pub new_ops: u64,
}

impl Refreshed {
    /// Whether anything is newly seen: ops or versions.
    pub fn changed(&self) -> bool {
        self.shards.iter().any(|shard| shard.from_version != shard.to_version || shard.new_segments > 0)
    }

    /// How many ops are newly seen in all shards.
    pub fn new_ops(&self) -> u64 {
        self.shards.iter().map(|shard| shard.new_ops).sum()
    }
}
