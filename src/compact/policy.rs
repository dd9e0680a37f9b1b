//! The policy decides the next step without I/O: `plan(snapshot, log) -> step`.

use std::collections::BTreeSet;
use std::time::Duration;

use deltafold_format::{EmbeddingEntry, Manifest, Nonce, ObjectName, Run};

use crate::setters::setters;
use crate::shard::objects::run_embeddings;

/// The thresholds for folds, and the tiers of runs. `docs/design.md` derives the costs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Fold when the log holds this many segments.
    pub fold_segments: u64,
    /// Fold when the log's segments hold this many bytes, decoded: the memory for them and an index
    /// of 16 bytes an op. One fold reads at most this much, and at most a quarter of the
    /// collection's [`MemoryLimit`](crate::MemoryLimit), but always one segment.
    pub fold_bytes: u64,
    /// The number of adjacent runs of one tier that merge into a run of the next: T.
    pub fan_in: usize,
    /// The base absorbs all tiers when their rows reach one in this many of its own.
    pub absorb_one_in: u64,
    /// The most embedding objects of the base, over half dead, that one merge rewrites.
    pub rewrites: usize,
    /// A fold forgets the positions of a source that has been silent for this long, by the store's
    /// own dates. The default is 14 days, the longest time that a queue of SQS keeps a message. A
    /// later repetition takes effect again. Choose less only for sources that repeat nothing after
    /// that time.
    pub forget_sources_after: Duration,
}

setters!(Policy {
    fold_segments: u64,
    fold_bytes: u64,
    fan_in: usize,
    absorb_one_in: u64,
    rewrites: usize,
    forget_sources_after: Duration,
});

impl Default for Policy {
    fn default() -> Self {
        Self {
            fold_segments: 64,
            fold_bytes: 64 << 20,
            fan_in: 8,
            absorb_one_in: 8,
            rewrites: 2,
            forget_sources_after: Duration::from_secs(14 * 24 * 60 * 60),
        }
    }
}

/// The part of the log that is not folded yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) segments: u64,
    /// Memory that a fold of it takes for its input.
    pub(crate) bytes: u64,
}

impl Policy {
    /// Whether the log is long enough to fold.
    pub(crate) fn folds(&self, backlog: Backlog) -> bool {
        backlog.segments > 0 && (backlog.segments >= self.fold_segments || backlog.bytes >= self.fold_bytes)
    }

    /// The merge that is due in the tiers, if any. `object_rows` is the capacity of an embedding
    /// object in rows.
    pub(crate) fn merge(&self, manifest: &Manifest, object_rows: u32) -> Option<MergePlan> {
        let (base, tiers) = manifest.runs.split_first()?;
        let waiting: u64 = tiers.iter().map(|run| run.rows).sum();
        if !tiers.is_empty() && waiting.saturating_mul(self.absorb_one_in) >= base.rows {
            return Some(self.absorb(manifest, object_rows));
        }
        let same_level = |from: &[Run]| from.iter().take_while(|run| run.level == from[0].level).count();
        let start = (0..tiers.len()).rev().find(|&i| same_level(&tiers[i..]) >= self.fan_in.max(2))?;
        let inputs = &tiers[start..start + self.fan_in.max(2)];
        let level = inputs[0].level;
        let referred: BTreeSet<ObjectName> = inputs.iter().flat_map(run_embeddings).collect();
        // A fold writes an embedding, the merge one tier up coalesces it, and later merges refer to
        // it until the base absorbs it.
        let rewrite = entries(manifest, &referred)
            .filter(|entry| (level == 0 && is_small(entry, object_rows)) || half_dead(entry))
            .map(|entry| entry.name)
            .collect();
        Some(MergePlan { inputs: ids(inputs), level: level.saturating_add(1), rewrite })
    }

    /// The merge of all runs into the base.
    pub(crate) fn absorb(&self, manifest: &Manifest, object_rows: u32) -> MergePlan {
        let (base, tiers) = manifest.runs.split_at(manifest.runs.len().min(1));
        let in_tiers: BTreeSet<ObjectName> = tiers.iter().flat_map(run_embeddings).collect();
        let in_base: BTreeSet<ObjectName> = base.iter().flat_map(run_embeddings).collect();
        let arriving: u64 = entries(manifest, &in_tiers).map(|entry| u64::from(entry.live)).sum();
        // A merge consolidates small objects of the tiers. A small object of the base joins them
        // when at least as many rows arrive. So each time a row is copied this way, its object at
        // least doubles.
        let from_tiers = entries(manifest, &in_tiers).filter(|entry| is_small(entry, object_rows) || half_dead(entry));
        let small_in_base = entries(manifest, &in_base)
            .filter(|entry| u64::from(entry.rows) * 4 < u64::from(object_rows) && u64::from(entry.live) <= arriving);
        let mut dead: Vec<&EmbeddingEntry> = entries(manifest, &in_base).filter(|entry| half_dead(entry)).collect();
        dead.sort_by_key(|entry| u64::from(entry.live) * 1_000_000 / u64::from(entry.rows.max(1)));
        dead.truncate(self.rewrites);
        let rewrite = from_tiers.chain(small_in_base).chain(dead).map(|entry| entry.name).collect();
        let level = base.first().map_or(0, |run| run.level);
        MergePlan { inputs: ids(&manifest.runs), level, rewrite }
    }
}

/// The runs to merge, and the embeddings to copy on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergePlan {
    /// The runs, oldest first.
    pub(crate) inputs: Vec<Nonce>,
    /// The tier of the output.
    pub(crate) level: u8,
    /// Embedding objects whose live rows are copied. The output refers to all others.
    pub(crate) rewrite: BTreeSet<ObjectName>,
}

fn ids(runs: &[Run]) -> Vec<Nonce> {
    runs.iter().map(|run| run.id).collect()
}

fn entries<'a>(manifest: &'a Manifest, names: &'a BTreeSet<ObjectName>) -> impl Iterator<Item = &'a EmbeddingEntry> {
    manifest.embeddings.iter().filter(move |entry| names.contains(&entry.name))
}

fn is_small(entry: &EmbeddingEntry, object_rows: u32) -> bool {
    entry.rows < object_rows / 2
}

fn half_dead(entry: &EmbeddingEntry) -> bool {
    u64::from(entry.live) * 2 < u64::from(entry.rows)
}
