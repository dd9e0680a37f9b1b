//! Reads the snapshot that a manifest lists, merged with the log behind it.
//!
//! The rows of an id compose its record: in the base, in the newer runs, in the log. Nothing is
//! merged ahead of time, because a read composes only a few rows.

mod attachment;
mod compose;
mod count;
mod drafts;
mod embedding;
mod entry;
mod found;
mod get_options;
mod insertion;
mod layer;
mod objects;
mod opening;
mod overlay;
mod part_pieces;
mod pools;
mod range;
mod reads;
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

pub(crate) use compose::{Composer, EmbeddingSource, Row, op_effect};
pub(crate) use embedding::EmbeddingObject;
pub(crate) use entry::value_bytes;
pub use entry::{Entry, ReadPosition, Refreshed, ShardChange};
pub use get_options::GetOptions;
pub(crate) use objects::{Ahead, OPENS};
pub(crate) use part_pieces::Need;
pub(crate) use range::IdRange;
pub(crate) use reads::Reads;
pub(crate) use rows::{Content, Rows, Step};
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

/// Shards read at once.
pub(crate) const SHARDS_AT_ONCE: usize = 8;

/// Records that one call reads at once.
const GETS_AT_ONCE: usize = 8;

/// The state of a collection that a reader reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum At {
    /// Every op that was acknowledged before the reader was opened or refreshed.
    #[default]
    Latest,
    /// One version for each shard, in their order: exactly the ops folded into it. Version 0 is the
    /// empty shard.
    Versions(Vec<Version>),
    /// The versions that a pin keeps.
    Pin(String),
}

/// A reader of a collection: a snapshot of every shard that changes only by
/// [`refresh`](Self::refresh).
///
/// Clones are cheap and keep their own snapshot. A call reads only the pieces of parts that it
/// needs. All clones keep them in memory, up to a quarter of the [memory
/// limit](crate::MemoryLimit). Documents stay only as [`warm`](Self::warm) says. Ops of the log
/// beyond three eighths of the limit move to a temporary file without a name, in the folder that
/// `TMPDIR` names. If sweep removed objects under an old snapshot, reads fail with `Superseded`,
/// never with another answer.
///
/// ```
/// use deltafold::ScanOptions;
/// use deltafold::format::Op;
/// use futures::TryStreamExt as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # use deltafold::{Collection, CreateOptions};
/// # use deltafold::store::Memory;
/// # let store = Arc::new(Memory::new());
/// # let collection = Collection::create(store, &"articles".parse()?, &CreateOptions::new(2)).await?;
/// # let writer = collection.writer(deltafold::WriterOptions::default())?;
/// # let record = |x| deltafold::format::Record { embedding: Some(vec![x, 1.0]), ..Default::default() };
/// # let put = |id: &str, x| deltafold::format::Op::put(id, record(x));
/// # writer.append(vec![put("a", 0.1), put("b", 0.2)]).await?;
/// let mut reader = collection.reader().await?;
/// assert_eq!(reader.count().await?, 2);
/// let entry = reader.get("a").await?.expect("it was put");
/// assert_eq!(entry.record.embedding, Some(vec![0.1, 1.0]));
///
/// writer.append(vec![Op::delete("a")]).await?;
/// assert!(reader.contains("a").await?, "a snapshot never changes by itself");
/// reader.refresh().await?;
/// let ids: Vec<String> = reader.scan(ScanOptions::default()).map_ok(|entry| entry.id).try_collect().await?;
/// assert_eq!(ids, ["b"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Reader {
    shards: Vec<ShardReader>,
}

impl Reader {
    /// Opens every shard. Reads heads, manifests and logs, and for the latest state also the
    /// objects that `ahead` selects.
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

    /// Moves on to the latest state: the reader then sees every op that was acknowledged before
    /// this call. A reader of fixed versions stays where it is.
    ///
    /// Costs, for each shard, one conditional GET and a GET for each new segment and the slot
    /// behind them. A new manifest costs one more.
    ///
    /// # Errors
    ///
    /// After an error the reader stays where it was, in all shards. Dropping the future does the
    /// same.
    pub async fn refresh(&mut self) -> Result<Refreshed> {
        let refreshed = self.shards.iter().map(ShardReader::refreshed).collect::<Vec<_>>();
        let new: Vec<ShardReader> = stream::iter(refreshed).buffered(SHARDS_AT_ONCE).try_collect().await?;
        let changes = self.shards.iter().zip(&new).map(|(old, new)| change(old.snapshot(), new.snapshot()));
        let refreshed = Refreshed { shards: changes.collect() };
        self.shards = new;
        Ok(refreshed)
    }

    /// The record `id`. For each run that has it, one GET of a part that was not read before, all
    /// at once. Then one GET of the block that holds the document, and at the same time one for the
    /// embedding. An embedding object that was not read before takes two.
    pub async fn get(&self, id: &str) -> Result<Option<Entry>> {
        self.get_with(id, &GetOptions::default()).await
    }

    /// The parts of the record `id` that the options name. Costs the same as [`get`](Self::get),
    /// except for the parts left out.
    pub async fn get_with(&self, id: &str, options: &GetOptions) -> Result<Option<Entry>> {
        self.shard_of(id).record(id, options.reads()).await
    }

    /// The records of some ids, in the order of the ids.
    pub async fn get_many(&self, ids: &[impl AsRef<str>]) -> Result<Vec<Option<Entry>>> {
        self.get_many_with(ids, &GetOptions::default()).await
    }

    /// The same with the parts that the options name.
    pub async fn get_many_with(&self, ids: &[impl AsRef<str>], options: &GetOptions) -> Result<Vec<Option<Entry>>> {
        let gets = ids.iter().map(|id| self.get_with(id.as_ref(), options)).collect::<Vec<_>>();
        stream::iter(gets).buffered(GETS_AT_ONCE).try_collect().await
    }

    /// Whether there is a record `id`. Touches no embedding object.
    pub async fn contains(&self, id: &str) -> Result<bool> {
        self.shard_of(id).contains(id).await
    }

    /// The records in order. The stream keeps the snapshot that the reader has now, even if the
    /// reader is refreshed or dropped.
    ///
    /// By id, a scan holds at most one part of each run at a time, besides those kept before. It
    /// also holds up to 256 records of each shard. Narrow scans keep the parts that they read.
    ///
    /// By insertion, every part is read once to find the order, and again as its records come. The
    /// order itself is sorted in memory or in a temporary file.
    pub fn scan(&self, options: ScanOptions) -> impl Stream<Item = Result<Entry>> + Send + Unpin + 'static + use<> {
        scan::Records::of(self.scan_batches(options))
    }

    /// The same records in the batches in which they are made, none of them empty: up to 256 by id,
    /// up to 65,536 by insertion. A stream of batches costs less CPU than one of small records.
    pub fn scan_batches(
        &self,
        options: ScanOptions,
    ) -> impl Stream<Item = Result<Vec<Entry>>> + Send + Unpin + 'static + use<> {
        scan::scan(self.snapshots().cloned().collect(), options)
    }

    /// Number of records. Makes none of them, and keeps the answer until the next refresh. Cold, it
    /// reads the runs newer than the base, and those parts of the base that these and the log
    /// touch.
    pub async fn count(&self) -> Result<u64> {
        let mut sum = 0;
        for snapshot in self.snapshots() {
            sum += snapshot.count.get_or_try_init(|| count::count(snapshot)).await?;
        }
        Ok(sum)
    }

    /// The distance between embeddings.
    pub fn metric(&self) -> Metric {
        self.snapshots().next().map_or_else(Metric::default, |first| first.shard.config().metric)
    }

    /// The version of each shard's snapshot, in the shards' order: the input of [`At::Versions`].
    pub fn versions(&self) -> Vec<Version> {
        self.positions().into_iter().map(|position| position.version).collect()
    }

    /// The reader's position in the log of each shard.
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
