//! The state of a collection now, and its history.

use std::collections::{BTreeMap, BTreeSet};

use deltafold_format::{
    CollectionConfig, EditSummary, Head, Manifest, ObjectName, Sequence, ShardId, TimeRange, Timestamp, Version,
};

use super::{Collection, Finding};
use crate::error::{ErrorKind, RESTORE, Result};
use crate::log::{Look, judge};
use crate::shard::{Shard, registers};
use crate::snapshot::{Current, nonce_of};
use crate::store::Key;

/// A collection at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CollectionStatus {
    /// The settings chosen at creation.
    pub config: CollectionConfig,
    /// Its shards.
    pub shards: Vec<ShardStatus>,
}

/// A shard at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// The current version.
    pub version: Version,
    /// The time of its publication, by the clock of the publisher.
    pub published: Timestamp,
    /// The last segment it contains.
    pub folded: Sequence,
    /// The last segment of the log. Segments above `folded` are not folded yet.
    pub tail: Sequence,
    /// No reader and no writer reads slots below this one again.
    pub truncated: Sequence,
    /// Versions below this one are not readable any more, unless pinned.
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
    /// Rows that are still referenced.
    pub live_embedding_rows: u64,
    /// Objects that only older versions need.
    pub dropped_objects: u64,
    /// Its pins.
    pub pins: Vec<PinStatus>,
    /// Missing objects, as far as the listed names tell: segments, and manifests of readable
    /// versions.
    pub damage: Vec<Finding>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunStatus {
    /// Its tier; the first run is the base.
    pub level: u8,
    /// The first segment it contains.
    pub first: Sequence,
    /// The last segment it contains.
    pub last: Sequence,
    /// Its rows.
    pub rows: u64,
    /// Those of its rows that hold no record. A collection ordered by revision retains them for a
    /// time.
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
#[non_exhaustive]
pub struct PinStatus {
    /// Its name.
    pub name: String,
    /// The version it keeps.
    pub version: Version,
    /// The time of its creation, by the store's clock.
    pub created: Timestamp,
    /// The time of its expiry, by the store's clock.
    pub expires: Option<Timestamp>,
}

/// One version in a shard's history.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The shard.
    pub shard: ShardId,
    /// The version.
    pub version: Version,
    /// The time of its publication, by the clock of the publisher.
    pub published: Timestamp,
    /// The edit that made it, and its cost.
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

/// The versions that are still readable.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct History {
    /// Oldest first, shard by shard.
    pub versions: Vec<HistoryEntry>,
    /// Manifests of such versions that are missing or damaged.
    pub damage: Vec<Finding>,
}

impl History {
    /// Drops all but the last `limit` versions of each shard.
    pub fn keep_newest(&mut self, limit: usize) {
        let mut kept = BTreeMap::<ShardId, usize>::new();
        self.versions.reverse();
        self.versions.retain(|entry| {
            let kept = kept.entry(entry.shard).or_default();
            *kept += 1;
            *kept <= limit
        });
        self.versions.reverse();
    }
}

impl Collection {
    /// The state of every shard. Two GETs and a LIST of the log and of the manifests for each.
    ///
    /// # Errors
    ///
    /// `Corrupt` where a head names an old version though later ones were published.
    pub async fn status(&self) -> Result<CollectionStatus> {
        let mut shards = Vec::new();
        for shard in &self.shards {
            shards.push(shard_status(shard).await?);
        }
        Ok(CollectionStatus { config: self.config().clone(), shards })
    }

    /// The versions that are still readable. One LIST and one GET for each version.
    pub async fn history(&self) -> Result<History> {
        let mut history = History::default();
        for shard in &self.shards {
            let mut current = Current::load(shard).await?;
            // A sweep may take a manifest between the two reads. Then the head has moved.
            while !shard_history(shard, &current.manifest, &mut history).await? && current.refresh(shard).await? {
                history.versions.retain(|entry| entry.shard != shard.id());
                history.damage.retain(|finding| finding.shard != shard.id());
            }
        }
        Ok(history)
    }
}

/// Adds the versions of a shard. False where one of them is missing.
async fn shard_history(shard: &Shard, current: &Manifest, history: &mut History) -> Result<bool> {
    let mut whole = true;
    for name in readable(current) {
        let head = Head { version: name.version, manifest: name.nonce, ..current.head() };
        let manifest = match shard.manifest(&head).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                history.damage.push(missing(shard, name));
                whole = false;
                continue;
            }
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat) => {
                history.damage.push(finding(shard, &shard.layout().manifest(name), error.problem()));
                continue;
            }
            Err(error) => return Err(error),
        };
        history.versions.push(HistoryEntry {
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
    Ok(whole)
}

/// The manifests of the readable versions, oldest first.
fn readable(current: &Manifest) -> BTreeSet<ObjectName> {
    let ancestors = current.ancestors.iter().map(|ancestor| ancestor.version);
    let pins = current.pins.iter().map(|pin| pin.version);
    let versions = ancestors.chain(pins).chain([current.version]).filter(|version| *version > Version::ZERO);
    versions.filter_map(|version| Some(ObjectName { version, nonce: nonce_of(current, version)? })).collect()
}

fn missing(shard: &Shard, name: ObjectName) -> Finding {
    let problem = format!("it is missing, and its version should be readable; {RESTORE}");
    finding(shard, &shard.layout().manifest(name), problem)
}

fn finding(shard: &Shard, key: &Key, problem: impl Into<String>) -> Finding {
    Finding { shard: shard.id(), key: key.to_string(), problem: problem.into() }
}

/// Missing objects, as far as the listed names tell. `tail` is the last segment in front of the
/// first gap in the log.
async fn damage(shard: &Shard, current: &Current, tail: Sequence, log_ends: bool) -> Result<Vec<Finding>> {
    let mut damage = Vec::new();
    if !log_ends {
        match judge(shard, tail.next(), &current.state.head, Look::Log).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let key = error.object().unwrap_or_else(|| shard.layout().segment(tail.next()));
                damage.push(finding(shard, &key, error.problem()));
            }
            Err(error) => return Err(error),
        }
    }
    let listed = shard.list(&shard.layout().manifest_prefix(), None, |_| false).await?;
    let listed: BTreeSet<ObjectName> =
        listed.iter().filter_map(|listed| shard.layout().parse_manifest(&listed.key)).collect();
    let gone: Vec<ObjectName> = readable(&current.manifest).into_iter().filter(|name| !listed.contains(name)).collect();
    // A sweep may have taken them since the head was read.
    if !gone.is_empty() {
        let (_, now) = shard.current().await?;
        let still = readable(&now);
        damage.extend(gone.into_iter().filter(|name| still.contains(name)).map(|name| missing(shard, name)));
    }
    Ok(damage)
}

async fn shard_status(shard: &Shard) -> Result<ShardStatus> {
    let current = Current::load(shard).await?;
    let manifest = &current.manifest;
    if let Some(newer) = registers::newer(shard, &current.state.head).await? {
        registers::refuse_old(shard, &current.state.head, newer).await?;
    }
    let folded = shard.layout().segment(manifest.folded);
    let log = shard.list(&shard.layout().log_prefix(), Some(&folded), |_| false).await?;
    let sequences = log.iter().filter_map(|listed| Some((shard.layout().parse_segment(&listed.key)?, listed.bytes)));
    let mut tail = manifest.folded;
    let (mut unfolded_bytes, mut log_ends) = (0, true);
    for (sequence, bytes) in sequences {
        if sequence == tail.next() {
            tail = sequence;
            unfolded_bytes += bytes;
        } else {
            log_ends = false;
        }
    }
    let damage = damage(shard, &current, tail, log_ends).await?;
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
        damage,
    })
}

#[cfg(test)]
mod tests {
    use deltafold_format::EditKind;

    use super::*;

    #[test]
    fn the_newest_versions_are_kept_of_each_shard() {
        let entry = |(shard, version): (u16, u64)| HistoryEntry {
            shard: ShardId::new(shard).unwrap(),
            version: Version::new(version),
            published: Timestamp::from_millis(0),
            edit: EditSummary { kind: EditKind::Fold, rows_in: 0, rows_out: 0, bytes_in: 0, bytes_out: 0 },
            folded: Sequence::ZERO,
            ops: 0,
            runs: 0,
            rows: 0,
        };
        let all = [(0, 1), (0, 2), (0, 3), (1, 8), (2, 4), (2, 5)];
        for (limit, kept) in [(0, &[][..]), (1, &[(0, 3), (1, 8), (2, 5)]), (2, &all[1..]), (9, &all)] {
            let mut history = History { versions: all.map(entry).to_vec(), damage: Vec::new() };
            history.keep_newest(limit);
            let versions = history.versions.iter().map(|entry| (entry.shard.get(), entry.version.get()));
            assert_eq!(versions.collect::<Vec<_>>(), kept, "{limit}");
        }
    }
}
