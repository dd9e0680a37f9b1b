//! The results of compaction.

use deltafold_format::{EditKind, ShardId, Timestamp, Version};

/// One edit, published or made needless by another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactEvent {
    /// The shard.
    pub shard: ShardId,
    /// Fold or merge.
    pub kind: EditKind,
    /// The version published; `None` where another edit made this one needless. Nothing is lost
    /// then.
    pub version: Option<Version>,
    /// Ops or rows that went in.
    pub rows_in: u64,
    /// Rows that came out.
    pub rows_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written, without the manifest.
    pub bytes_out: u64,
    /// Segments folded; none in a merge.
    pub segments: u64,
    /// The time at which the first of their ops was accepted, by its writer's clock.
    pub oldest: Option<Timestamp>,
}

/// The results of one round of compaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Every edit, in order.
    pub events: Vec<CompactEvent>,
}

impl CompactReport {
    /// The number of published edits of a kind.
    pub fn published(&self, kind: EditKind) -> usize {
        self.events.iter().filter(|event| event.kind == kind && event.version.is_some()).count()
    }

    /// The number of edits that another one made needless.
    pub fn conflicts(&self) -> usize {
        self.events.iter().filter(|event| event.version.is_none()).count()
    }

    /// Bytes written.
    pub fn bytes_out(&self) -> u64 {
        self.events.iter().map(|event| event.bytes_out).sum()
    }
}
