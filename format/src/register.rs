//! The registers: the only objects that are overwritten, and only by compare-and-set.

use crate::name::{Nonce, Sequence, Timestamp, Uid, Version};

/// The distance between two embeddings.
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

impl Metric {
    /// Its name in arguments, JSON and files of columns.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Cosine => "cosine",
            Self::InnerProduct => "inner-product",
        }
    }
}

/// The rule that decides which of two ops on one id wins.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// The op later in the log wins.
    #[default]
    Log,
    /// The op with the higher revision wins, in any order of arrival.
    Revision {
        /// Retention of tombstones, in milliseconds by the store's clock. It must be at least as
        /// long as an op of a lower revision may still arrive.
        keep_tombstones_millis: u64,
    },
}

impl Ordering {
    /// Whether ops have revisions.
    pub fn is_revision(self) -> bool {
        matches!(self, Self::Revision { .. })
    }
}

/// The place of the registers of a collection's shards (head and claim).
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

/// The collection register: the settings chosen at `create`, which never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionConfig {
    /// Drawn at `create`. A collection dropped and made again under one name has another uid.
    pub uid: Uid,
    /// Length of every embedding.
    pub dimension: u32,
    /// The distance between embeddings.
    pub metric: Metric,
    /// Number of shards.
    pub shards: u16,
    /// The rule that decides which op wins.
    pub ordering: Ordering,
    /// When it was created, for people.
    pub created: Timestamp,
    /// The place of the registers of its shards.
    pub heads: HeadPlace,
    /// The seed of the rotation of its codes, drawn at `create`.
    pub rotation: u64,
}

/// A shard's head register. It names the current manifest, and holds the few numbers of it that
/// writers and readers need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The collection this head belongs to.
    pub collection: Uid,
    /// Each publish adds exactly 1; 0 before the first.
    pub version: Version,
    /// The nonce of the current manifest; at version 0 there is no manifest, and this is 0.
    pub manifest: Nonce,
    /// The folded sequence: the last one that the snapshot contains.
    pub folded: Sequence,
    /// No reader reads a log slot below this one again; at least 1.
    pub truncated: Sequence,
    /// No edit may add a part born below this version.
    pub sweep_floor: Version,
}

/// A compactor's claim on a shard. It hints to other compactors that they would repeat the same
/// work. Safety does not depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The collection it belongs to.
    pub collection: Uid,
    /// The compactor that claims.
    pub claimant: Uid,
    /// The head version that the claimant works on.
    pub version: Version,
    /// Grows with each renewal. A claim whose beat stands still for long is abandoned.
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

    /// Arguments, JSON and files of columns hold these names.
    #[test]
    fn each_metric_has_its_name() {
        let names = [Metric::L2, Metric::Cosine, Metric::InnerProduct].map(Metric::name);
        assert_eq!(names, ["l2", "cosine", "inner-product"]);
    }

    #[test]
    fn a_place_of_heads_reads_well_in_a_sentence() {
        let table = HeadPlace::DynamoDb { table: "heads".to_owned(), region: "eu-north-1".to_owned() };
        assert_eq!(HeadPlace::Store.to_string(), "the store");
        assert_eq!(table.to_string(), "the DynamoDB table `heads` in eu-north-1");
        assert!(Ordering::Revision { keep_tombstones_millis: 0 }.is_revision() && !Ordering::Log.is_revision());
    }
}
