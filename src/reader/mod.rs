//! Reading: the snapshot that a manifest lists, merged with what the log holds behind it.
//!
//! A record is what the rows of its id come to: in the base, in the newer runs, in the log. Nothing
//! is merged ahead of time; a read composes the few rows that there are.

mod attachment;
mod compose;
mod count;
mod drafts;
mod embedding;
mod entry;
mod found;
mod insertion;
mod layer;
mod objects;
mod opening;
mod overlay;
mod part_pieces;
mod pools;
mod range;
mod rows;
mod scan;
mod sections;
mod shard_reader;
mod single;
mod snapshot;
mod sorter;
mod spilled;
#[cfg(test)]
mod tiny_memory_tests;
mod unread;
mod warm;

use std::sync::Arc;

use deltafold_format::{Metric, ShardId, Version};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};

pub(crate) use compose::{EmbeddingSource, Row};
pub(crate) use embedding::{EmbeddingObject, Reads};
pub(crate) use entry::value_bytes;
pub use entry::{Entry, ReadPosition, Refreshed, ShardChange};
pub(crate) use objects::{Ahead, OPENS};
pub(crate) use part_pieces::Need;
pub(crate) use range::IdRange;
pub(crate) use rows::{Content, Rows, Step};
pub(crate) use scan::SHARDS_AT_ONCE;
pub use scan::{Order, ScanOptions};
pub(crate) use sections::{Room, Tier};
pub(crate) use single::get;
pub(crate) use snapshot::Snapshot;
pub use warm::{Warm, Warmth};

use crate::error::Result;
use crate::memory::MemoryLimit;
use crate::shard::Shard;
use pools::Pools;
use shard_reader::{Fixed, ShardReader};

/// How many records one call reads at once.
const GETS_AT_ONCE: usize = 8;

/// Which state of a collection a reader reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum At {
    /// Everything that was acknowledged before it was opened or refreshed.
    #[default]
    Latest,
    /// One version for each shard, in their order: exactly what was folded into it. Version 0 is
    /// the empty shard.
    Versions(Vec<Version>),
    /// The versions that a pin keeps.
    Pin(String),
}

/// A reader of a collection: a snapshot of every shard that changes only by
/// [`refresh`](Self::refresh).
///
/// Clones are cheap and keep their own snapshot. Of parts the pieces that a call needs are read,
/// and kept by all clones up to a quarter of the [memory limit](crate::MemoryLimit); documents are
/// kept only as [`warm`](Self::warm) says. Ops of the log beyond three eighths of it move to a
/// temporary file without a name, in the folder that `TMPDIR` names. What sweep removed under an
/// old snapshot is the error `Superseded`, never another answer.
#[derive(Debug, Clone)]
pub struct Reader {
    shards: Vec<ShardReader>,
}

impl Reader {
    /// Opens every shard. Reads heads, manifests and logs, and of the latest state the objects that
    /// are read `ahead`.
    pub(crate) async fn open(shards: Vec<Shard>, at: At, ahead: Ahead) -> Result<Self> {
        let fixed = Fixed::of(&at, shards.len())?;
        let limit = shards.first().map_or_else(MemoryLimit::default, Shard::memory);
        let pools = &Pools::new(limit, shards.len());
        let shards = shards.into_iter().enumerate().map(|(number, shard)| {
            let fixed = fixed.as_ref().map(|fixed| fixed[number].clone());
            async move {
                match fixed {
                    None => ShardReader::open_latest(shard, pools, ahead).await,
                    Some(fixed) => ShardReader::open_fixed(shard, pools, &fixed).await,
                }
            }
        });
        let shards = stream::iter(shards).buffered(SHARDS_AT_ONCE).try_collect().await?;
        Ok(Self { shards })
    }

    /// Moves on to the latest state: every op that was acknowledged before this call is seen
    /// afterwards. A reader of fixed versions stays where it is.
    ///
    /// Costs, for each shard, one conditional GET and a GET for each new segment and the slot
    /// behind them, one more for a new manifest.
    ///
    /// # Errors
    ///
    /// Then the reader stays where it was, in all shards. Dropping the future does the same.
    pub async fn refresh(&mut self) -> Result<Refreshed> {
        let refreshed = self.shards.iter().map(ShardReader::refreshed).collect::<Vec<_>>();
        let new: Vec<ShardReader> = stream::iter(refreshed).buffered(SHARDS_AT_ONCE).try_collect().await?;
        let changes = self.shards.iter().zip(&new).map(|(old, new)| change(old.snapshot(), new.snapshot()));
        let refreshed = Refreshed { shards: changes.collect() };
        self.shards = new;
        Ok(refreshed)
    }

    /// The record `id`. For each run that has it, one GET of a part that is looked into for the
    /// first time, of all runs at once. Then one of the block that holds the document, and at the
    /// same time one for the embedding, or two of an object that is read for the first time.
    pub async fn get(&self, id: &str) -> Result<Option<Entry>> {
        self.shard_of(id).record(id, Reads::Row).await
    }

    /// The records of some ids, in the order of the ids.
    pub async fn get_many(&self, ids: &[impl AsRef<str>]) -> Result<Vec<Option<Entry>>> {
        let gets = ids.iter().map(|id| self.get(id.as_ref())).collect::<Vec<_>>();
        stream::iter(gets).buffered(GETS_AT_ONCE).try_collect().await
    }

    /// Whether there is a record `id`. Touches no embedding object.
    pub async fn contains(&self, id: &str) -> Result<bool> {
        self.shard_of(id).contains(id).await
    }

    /// The records in order. The stream keeps the snapshot that the reader has now, whatever
    /// becomes of the reader.
    ///
    /// By id: at most one part of each run is in memory at a time, unless it was kept before, and
    /// up to 256 records of each shard; narrow scans keep the parts that they read. By insertion:
    /// every part is read once to find the order, and again as its records come; the order itself
    /// is sorted in memory or in a temporary file.
    pub fn scan(&self, options: ScanOptions) -> impl Stream<Item = Result<Entry>> + Send + Unpin + 'static + use<> {
        scan::Records::of(self.scan_batches(options))
    }

    /// The same records in batches as they are made, none of them empty: up to 256 by id, up to
    /// 65,536 by insertion. A stream of batches costs less CPU than one of small records.
    pub fn scan_batches(
        &self,
        options: ScanOptions,
    ) -> impl Stream<Item = Result<Vec<Entry>>> + Send + Unpin + 'static + use<> {
        scan::scan(self.snapshots().cloned().collect(), options)
    }

    /// How many records there are. Makes none of them; the answer is kept until the next refresh.
    /// Cold, it reads the runs newer than the base, and of the base the parts that those and the
    /// log touch.
    pub async fn count(&self) -> Result<u64> {
        let mut sum = 0;
        for snapshot in self.snapshots() {
            sum += snapshot.count.get_or_try_init(|| count::count(snapshot)).await?;
        }
        Ok(sum)
    }

    /// How distances between embeddings are measured.
    pub fn metric(&self) -> Metric {
        self.snapshots().next().map_or_else(Metric::default, |first| first.shard.config().metric)
    }

    /// The version below each shard's log, in the shards' order: what [`At::Versions`] takes.
    pub fn versions(&self) -> Vec<Version> {
        self.positions().into_iter().map(|position| position.version).collect()
    }

    /// How far into the log of each shard the reader sees.
    pub fn positions(&self) -> Vec<ReadPosition> {
        let position = |snapshot: &Arc<Snapshot>| {
            let manifest = snapshot.objects.manifest();
            ReadPosition {
                shard: snapshot.shard.id(),
                version: manifest.version,
                folded: manifest.folded,
                tail: snapshot.overlay.tail(),
            }
        };
        self.snapshots().map(position).collect()
    }

    pub(crate) fn snapshots(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        self.shards.iter().map(ShardReader::snapshot)
    }

    fn shard_of(&self, id: &str) -> &Arc<Snapshot> {
        let shards = u16::try_from(self.shards.len()).expect("a collection has at most 4,096 shards");
        self.shards[usize::from(ShardId::of(id, shards).get())].snapshot()
    }
}

fn change(old: &Snapshot, new: &Snapshot) -> ShardChange {
    ShardChange {
        shard: new.shard.id(),
        from_version: old.objects.manifest().version,
        to_version: new.objects.manifest().version,
        new_segments: new.overlay.tail().get() - old.overlay.tail().get(),
        new_ops: new.ops() - old.ops(),
    }
}
