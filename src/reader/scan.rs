//! Scans records in order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::vec;

use deltafold_format::{PartFields, Place, Stored};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};

use super::SHARDS_AT_ONCE;
use super::compose::EmbeddingSource;
use super::drafts::Drafts;
use super::entry::Entry;
use super::insertion;
use super::range::IdRange;
use super::reads::Reads;
use super::rows::{Advance, Content, Rows, Step, Stretch};
use super::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::setters::setters;

/// Records of the first batch. It is small, so that the first ones come soon.
const FIRST_BATCH: usize = 16;
/// Most records made at once.
const BATCH: usize = 256;
/// Most estimated bytes of embeddings and documents made at once.
pub(super) const BATCH_BYTES: usize = 4 << 20;

/// The order of a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// By id, in byte order, over all shards.
    #[default]
    Id,
    /// By the place of insertion ([`Entry::inserted`]). Records of different shards at one place
    /// come in the order of their shards. Those of one shard (at one revision) come in the order of
    /// their ids.
    Insertion,
}

/// The records and fields that a scan reads.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScanOptions {
    /// The order.
    pub order: Order,
    /// Only ids with this prefix.
    pub prefix: Option<String>,
    /// Only ids from this one on.
    pub start: Bound<String>,
    /// Only ids up to this one.
    pub end: Bound<String>,
    /// At most this many records, the first in order.
    pub limit: Option<usize>,
    /// Whether to read embeddings. Without them, the scan reads no embedding object.
    pub embeddings: bool,
}

setters!(ScanOptions {
    order: Order,
    prefix: into Option<String>,
    start: Bound<String>,
    end: Bound<String>,
    limit: into Option<usize>,
    embeddings: bool,
});

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

/// Turns batches of records into a stream of records.
pub(super) struct Records<S> {
    batches: S,
    ready: vec::IntoIter<Entry>,
}

impl<S> Records<S> {
    pub(super) fn of(batches: S) -> Self {
        Self { batches, ready: Vec::new().into_iter() }
    }
}

impl<S: Stream<Item = Result<Vec<Entry>>> + Unpin> Stream for Records<S> {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Poll::Ready(Some(Ok(entry)));
            }
            match ready!(self.batches.poll_next_unpin(context)) {
                Some(Ok(batch)) => self.ready = batch.into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// The records of some shards, in batches.
pub(super) fn scan(
    snapshots: Vec<Arc<Snapshot>>,
    options: ScanOptions,
) -> impl Stream<Item = Result<Vec<Entry>>> + Send + Unpin + 'static {
    let range = IdRange { prefix: options.prefix, start: options.start, end: options.end };
    let limit = options.limit.unwrap_or(usize::MAX);
    let batches = match options.order {
        Order::Id => by_id(snapshots, range, limit, options.embeddings).boxed(),
        Order::Insertion => insertion::scan(snapshots, range, limit, options.embeddings),
    };
    let cut = stream::try_unfold((batches, limit), |(mut batches, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(mut batch) = batches.try_next().await? else { return Ok(None) };
        batch.truncate(left);
        let left = left - batch.len();
        Ok(Some((batch, (batches, left))))
    });
    cut.boxed()
}

fn by_id(
    snapshots: Vec<Arc<Snapshot>>,
    range: IdRange,
    limit: usize,
    embeddings: bool,
) -> impl Stream<Item = Result<Vec<Entry>>> + Send + 'static {
    let scan = |snapshot| ShardScan::new(snapshot, &range, limit, embeddings);
    let shards: Vec<ShardScan> = if limit == 0 { Vec::new() } else { snapshots.into_iter().map(scan).collect() };
    let merge = Merge { shards, heads: BinaryHeap::new(), due: Due::All };
    stream::try_unfold(merge, |mut merge| async move {
        let batch = merge.next().await?;
        Ok((!batch.is_empty()).then_some((batch, merge)))
    })
}

/// The shards of a scan by id, merged.
struct Merge {
    shards: Vec<ShardScan>,
    /// The next id of every shard that has one, taken out of its record.
    heads: BinaryHeap<Reverse<(String, usize)>>,
    due: Due,
}

/// The shards that must make records before the merge can go on.
#[derive(Clone, Copy)]
enum Due {
    All,
    One(usize),
}

impl Merge {
    /// The next records; empty at the end.
    async fn next(&mut self) -> Result<Vec<Entry>> {
        if let [only] = &mut self.shards[..] {
            return only.batch().await;
        }
        match self.due {
            Due::All => {
                let fills: Vec<_> = self.shards.iter_mut().map(ShardScan::refill).collect();
                stream::iter(fills).buffer_unordered(SHARDS_AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
                for (number, shard) in self.shards.iter_mut().enumerate() {
                    self.heads.extend(shard.head().map(|id| Reverse((id, number))));
                }
            }
            Due::One(number) => {
                let Some(shard) = self.shards.get_mut(number) else { return Ok(Vec::new()) };
                shard.refill().await?;
                self.heads.extend(shard.head().map(|id| Reverse((id, number))));
            }
        }
        let mut merged = Vec::new();
        while let Some(Reverse((id, number))) = self.heads.pop() {
            let Some(shard) = self.shards.get_mut(number) else { continue };
            merged.extend(shard.ready.next().map(|entry| Entry { id, ..entry }));
            match shard.head() {
                Some(id) => self.heads.push(Reverse((id, number))),
                // The shard has no more records, or none made yet. The others must wait until that
                // is known.
                None => {
                    self.due = Due::One(number);
                    break;
                }
            }
        }
        Ok(merged)
    }
}

/// One shard of a scan by id.
struct ShardScan {
    /// The one snapshot that it scans.
    snapshot: [Arc<Snapshot>; 1],
    rows: Rows,
    ready: vec::IntoIter<Entry>,
    /// Number of records to make next. It grows, so that the first ones come soon.
    batch: usize,
    /// Number of records that may still be wanted.
    left: usize,
    embeddings: Reads,
}

impl ShardScan {
    fn new(snapshot: Arc<Snapshot>, range: &IdRange, limit: usize, embeddings: bool) -> Self {
        // A narrow scan is likely one of many that need the same parts. A whole scan passes every
        // part once.
        let content = if range.is_narrow() || limit < usize::MAX { Content::Few } else { Content::Whole };
        let rows = Rows::new(snapshot.clone(), range.clone(), 0, content);
        let embeddings = Reads::of(embeddings, limit);
        let ready = Vec::new().into_iter();
        Self { snapshot: [snapshot], rows, ready, batch: FIRST_BATCH, left: limit, embeddings }
    }

    /// Takes the id out of the next record.
    fn head(&mut self) -> Option<String> {
        self.ready.as_mut_slice().first_mut().map(|entry| std::mem::take(&mut entry.id))
    }

    async fn refill(&mut self) -> Result<()> {
        self.ready = self.batch().await?.into_iter();
        Ok(())
    }

    /// Makes the next records; empty at the end.
    async fn batch(&mut self) -> Result<Vec<Entry>> {
        let Self { snapshot, rows, .. } = self;
        let most = self.batch.min(self.left);
        let mut making =
            Making { of: (0, &snapshot[0]), drafts: Drafts::new(self.embeddings), entries: Vec::new(), bytes: 0 };
        while making.entries.len() < most && making.bytes < BATCH_BYTES {
            match rows.advance(most - making.entries.len()) {
                Advance::Step(Step::End) => break,
                Advance::Step(Step::Fill) => rows.fill().await?,
                Advance::Step(Step::Group) => {
                    let composed = match rows.compose_loaded()? {
                        Some(composed) => composed,
                        None => rows.compose().await?,
                    };
                    if let Some(stored) = composed.finish() {
                        making.add(rows.id(), stored);
                    }
                }
                Advance::Stretch(stretch) => {
                    let end = making.add_rows(&stretch)?;
                    rows.pass(&stretch, end);
                }
            }
        }
        let Making { drafts, mut entries, .. } = making;
        let give = |place: usize, embedding| {
            if let Some(entry) = entries.get_mut(place) {
                entry.record.embedding = Some(embedding);
            }
        };
        drafts.finish(&self.snapshot[..], usize::MAX, give).await?;
        self.left -= entries.len().min(self.left);
        self.batch = (self.batch * 2).min(BATCH);
        tokio::task::yield_now().await;
        Ok(entries)
    }
}

/// A batch of one shard.
struct Making<'a> {
    of: (usize, &'a Snapshot),
    drafts: Drafts,
    entries: Vec<Entry>,
    /// Estimated bytes of their embeddings and documents.
    bytes: usize,
}

impl Making<'_> {
    fn add<E: Into<EmbeddingSource>>(&mut self, id: &str, stored: Stored<E, Place>) {
        let (entry, to_come) = self.drafts.begin(self.of, self.entries.len(), id.to_owned(), stored);
        self.bytes += entry.bulk() + to_come;
        self.entries.push(entry);
    }

    /// Adds the records of rows until they take too much memory. Returns the first row left.
    fn add_rows(&mut self, stretch: &Stretch) -> Result<usize> {
        for row in stretch.rows.clone() {
            if self.bytes >= BATCH_BYTES {
                return Ok(row);
            }
            let stored = stretch.part.resolved_record(row, PartFields::ALL).map_err(Error::not_loaded)?;
            if let Some(stored) = stored {
                self.add(stretch.part.id(row), stored);
            }
        }
        Ok(stretch.rows.end)
    }
}
