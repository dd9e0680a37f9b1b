//! What a collection looks like now, and how it came to be.

use deltafold_format::{CollectionConfig, EditSummary, Manifest, Sequence, ShardId, TimeRange, Timestamp, Version};

use super::Collection;
use crate::error::{Error, Result};
use crate::retry;
use crate::shard::Shard;
use crate::snapshot::Current;

/// A collection at one moment.
#[derive(Debug, Clone)]
pub struct CollectionStatus {
    /// What was chosen when it was made.
    pub config: CollectionConfig,
    /// Its shards.
    pub shards: Vec<ShardStatus>,
}

/// A shard at one moment.
#[derive(Debug, Clone)]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// The current version.
    pub version: Version,
    /// When it was published, by the clock of who published it.
    pub published: Timestamp,
    /// The last segment it contains.
    pub folded: Sequence,
    /// The last segment of the log; what lies above `folded` is not folded yet.
    pub tail: Sequence,
    /// Log slots below this one are never read again.
    pub truncated: Sequence,
    /// Versions below this one cannot be read any more, unless pinned.
    pub sweep_floor: Version,
    /// Bytes of the segments that are not folded yet.
    pub unfolded_bytes: u64,
    /// Ops ever folded.
    pub ops: u64,
    /// Its runs, oldest first.
    pub runs: Vec<RunStatus>,
    /// Embedding objects.
    pub embedding_objects: u64,
    /// Their bytes.
    pub embedding_bytes: u64,
    /// Their rows.
    pub embedding_rows: u64,
    /// Rows that are still referred to.
    pub live_embedding_rows: u64,
    /// Objects that only older versions need.
    pub dropped_objects: u64,
    /// Its pins.
    pub pins: Vec<PinStatus>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStatus {
    /// Its tier; the first run is the base.
    pub level: u8,
    /// The first segment it contains.
    pub first: Sequence,
    /// The last segment it contains.
    pub last: Sequence,
    /// Its rows.
    pub rows: u64,
    /// Of them, rows that hold no record: what is remembered for a time in a collection that is ordered by revision.
    pub absent: u64,
    /// Its parts.
    pub parts: u64,
    /// Bytes of its parts' columns.
    pub bytes: u64,
    /// The time range of its segments.
    pub times: TimeRange,
}

/// A pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinStatus {
    /// Its name.
    pub name: String,
    /// The version it keeps.
    pub version: Version,
    /// When it was made, by the store's clock.
    pub created: Timestamp,
    /// When it expires, by the store's clock.
    pub expires: Option<Timestamp>,
}

/// One version in a shard's history.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// The shard.
    pub shard: ShardId,
    /// The version.
    pub version: Version,
    /// When it was published, by the clock of who published it.
    pub published: Timestamp,
    /// What made it, and at what cost.
    pub edit: EditSummary,
    /// The last segment it contains.
    pub folded: Sequence,
    /// Ops ever folded.
    pub ops: u64,
    /// Its runs.
    pub runs: u64,
    /// Rows of its runs.
    pub rows: u64,
}

impl Collection {
    /// The state of every shard. Two GETs and a LIST of the log for each.
    pub async fn status(&self) -> Result<CollectionStatus> {
        let mut shards = Vec::new();
        for shard in &self.shards {
            shards.push(shard_status(shard).await?);
        }
        Ok(CollectionStatus { config: self.config().clone(), shards })
    }

    /// The versions that can still be read, oldest first, shard by shard. One LIST and one GET for each version.
    pub async fn history(&self) -> Result<Vec<HistoryEntry>> {
        let mut entries = Vec::new();
        for shard in &self.shards {
            let current = Current::load(shard).await?;
            let manifests = shard.list(&shard.layout().manifest_prefix(), None, |_| false).await?;
            for listed in manifests {
                let Some(name) = shard.layout().parse_manifest(&listed.key) else { continue };
                // Manifests that lost the race for their version lie there too, until they are swept.
                if crate::snapshot::nonce_of(&current.manifest, name.version) != Some(name.nonce) {
                    continue;
                }
                let Some(object) = retry::transient(|| shard.store().get(&listed.key)).await? else { continue };
                let manifest = Manifest::decode(object.bytes).map_err(|error| Error::format(&listed.key, error))?;
                entries.push(HistoryEntry {
                    shard: shard.id(),
                    version: manifest.version,
                    published: manifest.published,
                    edit: manifest.edit,
                    folded: manifest.folded,
                    ops: manifest.ops,
                    runs: manifest.runs.len() as u64,
                    rows: manifest.runs.iter().map(|run| run.rows).sum(),
                });
            }
        }
        Ok(entries)
    }
}

async fn shard_status(shard: &Shard) -> Result<ShardStatus> {
    let current = Current::load(shard).await?;
    let manifest = &current.manifest;
    let folded = shard.layout().segment(manifest.folded);
    let log = shard.list(&shard.layout().log_prefix(), Some(&folded), |_| false).await?;
    let sequences = log.iter().filter_map(|listed| Some((shard.layout().parse_segment(&listed.key)?, listed.bytes)));
    let mut tail = manifest.folded;
    let mut unfolded_bytes = 0;
    for (sequence, bytes) in sequences {
        if sequence == tail.next() {
            tail = sequence;
            unfolded_bytes += bytes;
        }
    }
    let runs = manifest.runs.iter().map(|run| RunStatus {
        level: run.level,
        first: run.first,
        last: run.last,
        rows: run.rows,
        absent: run.absent(),
        parts: run.parts.len() as u64,
        bytes: run.parts.iter().map(|part| part.bytes).sum(),
        times: run.times,
    });
    let pins = manifest.pins.iter().map(|pin| PinStatus {
        name: pin.name.clone(),
        version: pin.version,
        created: pin.created,
        expires: pin.ttl_millis.map(|ttl| {
            Timestamp::from_millis(pin.created.as_millis().saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX)))
        }),
    });
    Ok(ShardStatus {
        shard: shard.id(),
        version: manifest.version,
        published: manifest.published,
        folded: manifest.folded,
        tail,
        truncated: manifest.truncated,
        sweep_floor: manifest.sweep_floor,
        unfolded_bytes,
        ops: manifest.ops,
        runs: runs.collect(),
        embedding_objects: manifest.embeddings.len() as u64,
        embedding_bytes: manifest.embeddings.iter().map(|entry| entry.bytes).sum(),
        embedding_rows: manifest.embeddings.iter().map(|entry| u64::from(entry.rows)).sum(),
        live_embedding_rows: manifest.embeddings.iter().map(|entry| u64::from(entry.live)).sum(),
        dropped_objects: manifest.dropped.len() as u64,
        pins: pins.collect(),
    })
}
