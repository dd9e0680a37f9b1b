//! Scanning records in order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt, TryStreamExt};

use super::embedding::Reads;
use super::entry::Entry;
use super::insertion;
use super::range::IdRange;
use super::rows::{Content, Rows, Step};
use super::snapshot::Snapshot;
use crate::error::Result;

/// Most records that are made at once.
const BATCH: usize = 256;
/// Most bytes of embeddings and documents that are made at once, about.
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// How many shards are begun at once.
pub(crate) const SHARDS_AT_ONCE: usize = 8;

/// The order of a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// By id, in byte order, over all shards.
    #[default]
    Id,
    /// By the place of insertion ([`Entry::inserted`]); records of different shards at one place come in the order of their shards, and those of one shard (at one revision)
    /// in the order of their ids.
    Insertion,
}

/// What a scan reads.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// The order.
    pub order: Order,
    /// Only ids that begin so.
    pub prefix: Option<String>,
    /// Only ids from this one on.
    pub start: Bound<String>,
    /// Only ids up to this one.
    pub end: Bound<String>,
    /// At most so many records, the first in order.
    pub limit: Option<usize>,
    /// Whether embeddings are read; without them, no embedding object is touched.
    pub embeddings: bool,
}

impl Default for ScanOptions {
    /// Every record with its embedding, by id.
    fn default() -> Self {
        Self {
            order: Order::Id,
            prefix: None,
            start: Bound::Unbounded,
            end: Bound::Unbounded,
            limit: None,
            embeddings: true,
        }
    }
}

/// The records of some shards.
pub(super) fn scan(
    snapshots: Vec<Arc<Snapshot>>,
    options: ScanOptions,
) -> impl Stream<Item = Result<Entry>> + Send + Unpin + 'static {
    let range = IdRange { prefix: options.prefix, start: options.start, end: options.end };
    let limit = options.limit.unwrap_or(usize::MAX);
    let entries = match options.order {
        Order::Id => by_id(snapshots, range, limit, options.embeddings).boxed(),
        Order::Insertion => insertion::scan(snapshots, range, limit, options.embeddings),
    };
    entries.take(limit)
}

fn by_id(
    snapshots: Vec<Arc<Snapshot>>,
    range: IdRange,
    limit: usize,
    embeddings: bool,
) -> impl Stream<Item = Result<Entry>> + Send + 'static {
    let scan = |snapshot| ShardScan::new(snapshot, &range, limit, embeddings);
    let shards: Vec<ShardScan> = if limit == 0 { Vec::new() } else { snapshots.into_iter().map(scan).collect() };
    let merge = Merge { shards, heads: BinaryHeap::new(), begun: false };
    stream::try_unfold(merge, |mut merge| async move { Ok(merge.next().await?.map(|entry| (entry, merge))) })
}

/// The shards of a scan by id, merged.
struct Merge {
    shards: Vec<ShardScan>,
    /// The next id of every shard that has one.
    heads: BinaryHeap<Reverse<(String, usize)>>,
    begun: bool,
}

impl Merge {
    async fn next(&mut self) -> Result<Option<Entry>> {
        if let [only] = &mut self.shards[..] {
            return only.next().await;
        }
        if !self.begun {
            let fills: Vec<_> = self.shards.iter_mut().map(ShardScan::refill).collect();
            stream::iter(fills).buffer_unordered(SHARDS_AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
            for (number, shard) in self.shards.iter().enumerate() {
                self.heads.extend(shard.head().map(|id| Reverse((id.to_owned(), number))));
            }
            self.begun = true;
        }
        let Some(Reverse((_, number))) = self.heads.pop() else { return Ok(None) };
        let shard = &mut self.shards[number];
        let entry = shard.next().await?;
        if shard.ready.is_empty() {
            shard.refill().await?;
        }
        self.heads.extend(shard.head().map(|id| Reverse((id.to_owned(), number))));
        Ok(entry)
    }
}

/// One shard of a scan by id.
struct ShardScan {
    snapshot: Arc<Snapshot>,
    rows: Rows,
    ready: VecDeque<Entry>,
    /// How many records are made next; grows, so that the first ones come soon.
    batch: usize,
    /// How many records may still be wanted.
    left: usize,
    embeddings: Reads,
}

impl ShardScan {
    fn new(snapshot: Arc<Snapshot>, range: &IdRange, limit: usize, embeddings: bool) -> Self {
        // A narrow scan is likely one of many, which need the same parts; a whole one passes every part once.
        let content = if range.is_narrow() || limit < usize::MAX { Content::Few } else { Content::Whole };
        let rows = Rows::new(snapshot.clone(), range.clone(), 0, content);
        let embeddings = Reads::of(embeddings, limit);
        Self { snapshot, rows, ready: VecDeque::new(), batch: 16, left: limit, embeddings }
    }

    fn head(&self) -> Option<&str> {
        self.ready.front().map(|entry| entry.id.as_str())
    }

    async fn next(&mut self) -> Result<Option<Entry>> {
        if self.ready.is_empty() {
            self.refill().await?;
        }
        Ok(self.ready.pop_front())
    }

    /// Makes the next records.
    async fn refill(&mut self) -> Result<()> {
        let batch = self.batch.min(self.left);
        let mut bytes = 0;
        while self.ready.len() < batch && bytes < BATCH_BYTES {
            match self.rows.step() {
                Step::End => break,
                Step::Fill => self.rows.fill().await?,
                Step::Group => {
                    if let Some(stored) = self.rows.compose().await?.finish() {
                        let entry = self.snapshot.entry(self.rows.id().to_owned(), stored, self.embeddings).await?;
                        bytes += entry.bulk();
                        self.ready.push_back(entry);
                    }
                }
            }
        }
        self.left -= self.ready.len().min(self.left);
        self.batch = (self.batch * 2).min(BATCH);
        tokio::task::yield_now().await;
        Ok(())
    }
}
