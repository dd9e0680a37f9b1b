//! The registers: the only objects that are ever overwritten, and only by compare-and-set.

use crate::name::{Nonce, Sequence, Timestamp, Uid, Version};

/// How distances between embeddings are measured.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Squared Euclidean distance.
    #[default]
    L2,
    /// 1 - cosine similarity.
    Cosine,
    /// 1 - inner product.
    InnerProduct,
}

/// What decides which of two ops on one id wins.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// The one later in the log.
    #[default]
    Log,
    /// The one with the higher revision, in whatever order they arrive.
    Revision {
        /// How long it is remembered that a record is gone, in milliseconds by the store's clock:
        /// as long as an op of a lower revision may still arrive.
        keep_tombstones_millis: u64,
    },
}

impl Ordering {
    /// Whether ops bear revisions.
    pub fn is_revision(self) -> bool {
        matches!(self, Self::Revision { .. })
    }
}

/// Where the registers of the shards (head and claim) of a collection lie.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum HeadPlace {
    /// In the store, with everything else.
    #[default]
    Store,
    /// In a DynamoDB table.
    DynamoDb {
        /// Name of the table, 1 to 255 bytes.
        table: String,
        /// Region of the table, 1 to 64 bytes.
        region: String,
    },
}

impl std::fmt::Display for HeadPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store => f.write_str("the store"),
            Self::DynamoDb { table, region } => write!(f, "the DynamoDB table `{table}` in {region}"),
        }
    }
}

/// The collection register: what was chosen at `create` and never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionConfig {
    /// Drawn at `create`; a collection dropped and made again under one name has another.
    pub uid: Uid,
    /// Length of every embedding.
    pub dimension: u32,
    /// How distances are measured.
    pub metric: Metric,
    /// Number of shards.
    pub shards: u16,
    /// Which op wins.
    pub ordering: Ordering,
    /// When it was created, for people.
    pub created: Timestamp,
    /// Where its heads lie.
    pub heads: HeadPlace,
    /// The seed of the rotation that the codes of its embeddings are of, drawn at `create`.
    pub rotation: u64,
}

/// A shard's head register: which manifest is current, and the few numbers writers and readers need
/// of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The collection this head belongs to.
    pub collection: Uid,
    /// Each publish adds exactly 1; 0 before the first.
    pub version: Version,
    /// The nonce of the current manifest; at version 0 there is no manifest, and this is 0.
    pub manifest: Nonce,
    /// The last sequence number that the snapshot contains.
    pub folded: Sequence,
    /// No log slot below this one is ever read again; at least 1.
    pub truncated: Sequence,
    /// No edit may add a part born below this version.
    pub sweep_floor: Version,
}

/// A compactor's claim on a shard: a hint to others that they would only do the same work twice.
/// Nothing is safe or unsafe by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The collection it belongs to.
    pub collection: Uid,
    /// Who claims.
    pub claimant: Uid,
    /// The head version that the claimant works on.
    pub version: Version,
    /// Grows with each renewal: a claim whose beat stands still for long has been abandoned.
    pub beat: u64,
}

impl Head {
    /// The head of an empty shard.
    pub const fn empty(collection: Uid) -> Self {
        Self {
            collection,
            version: Version::ZERO,
            manifest: Nonce::new(0),
            folded: Sequence::ZERO,
            truncated: Sequence::FIRST,
            sweep_floor: Version::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_heads_reads_well_in_a_sentence() {
        let table = HeadPlace::DynamoDb { table: "heads".to_owned(), region: "eu-north-1".to_owned() };
        assert_eq!(HeadPlace::Store.to_string(), "the store");
        assert_eq!(table.to_string(), "the DynamoDB table `heads` in eu-north-1");
        assert!(Ordering::Revision { keep_tombstones_millis: 0 }.is_revision() && !Ordering::Log.is_revision());
    }
}
