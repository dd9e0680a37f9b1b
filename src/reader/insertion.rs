//! Scanning in the order of insertion.
//!
//! The places of all records are found by a scan by id, and sorted. Then the records are made in batches, those of one
//! part together: a batch reads each part at most once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deltafold_format::{Effect, Place, Position, Revision};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use super::compose::{Composer, Row};
use super::count::IDS_A_TURN;
use super::embedding::Reads;
use super::entry::Entry;
use super::part_pieces::Need;
use super::range::IdRange;
use super::rows::{Content, Locator, Rows, Step};
use super::scan::SHARDS_AT_ONCE;
use super::snapshot::Snapshot;
use super::sorter::{Item, Sorted, Sorter};
use crate::env;
use crate::error::{Error, Result};

/// Records of the first batch; few, so that the first ones come soon.
const FIRST_BATCH: usize = 16;
/// Records of a batch at most.
const MOST_AHEAD: usize = 65_536;

/// A record to come: 24 bytes in log order, 48 by revision.
#[derive(Debug, Clone, Copy)]
struct Found<K> {
    inserted: K,
    /// Where the newest row of its id is.
    at: Locator,
    /// Which of the shards scanned; the highest bit says that older rows have a part in the record.
    shard: u16,
}

const COMPOSED: u16 = 1 << 15;
const _: () = assert!(size_of::<Found<Position>>() == 24 && size_of::<Found<ByRevision>>() == 48);
const _: () = assert!(deltafold_format::limits::MAX_SHARDS < COMPOSED);

/// What records of one shard are sorted by.
trait Key: Copy + Ord + Send + Sync + 'static {
    /// Bytes of it in a temporary file.
    const BYTES: usize;
    /// The key of a record that is the `number`th by id; none where it is of the other ordering, which no collection mixes.
    fn of(inserted: Place, number: u32) -> Option<Self>;
    /// What sorts over all shards.
    fn global(&self) -> impl Ord;
    /// Appends its bytes.
    fn write(&self, to: &mut Vec<u8>);
    /// Reads them back.
    fn read(from: &[u8]) -> Option<Self>;
}

impl Key for Position {
    const BYTES: usize = 8;

    fn of(inserted: Place, _: u32) -> Option<Self> {
        inserted.position()
    }

    fn global(&self) -> impl Ord {
        *self
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_bits().to_le_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        Some(Self::from_bits(u64::from_le_bytes(*from.first_chunk()?)))
    }
}

/// Unlike a position in the log, a revision may be that of many records: those come in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ByRevision(Revision, u32);

impl Key for ByRevision {
    const BYTES: usize = 20;

    fn of(inserted: Place, number: u32) -> Option<Self> {
        inserted.revision().map(|revision| Self(revision, number))
    }

    fn global(&self) -> impl Ord {
        self.0
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.0.get().to_le_bytes());
        to.extend_from_slice(&self.1.to_le_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        let (revision, number) = from.split_first_chunk()?;
        Some(Self(Revision::new(u128::from_le_bytes(*revision)), u32::from_le_bytes(*number.first_chunk()?)))
    }
}

impl<K: Key> Found<K> {
    fn key(&self) -> impl Ord {
        (self.inserted.global(), self.shard & !COMPOSED, self.inserted)
    }

    /// Sorts the records of one part together.
    fn place(&self) -> impl Ord {
        (self.shard & !COMPOSED, self.at.source, self.at.part, self.at.row)
    }
}

impl<K: Key> Ord for Found<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<K: Key> PartialOrd for Found<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Key> PartialEq for Found<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Key> Eq for Found<K> {}

impl<K: Key> Item for Found<K> {
    const BYTES: usize = K::BYTES + 3 * size_of::<u32>() + size_of::<u16>();

    fn write(&self, to: &mut Vec<u8>) {
        self.inserted.write(to);
        for number in [self.at.source, self.at.part, self.at.row] {
            to.extend_from_slice(&number.to_le_bytes());
        }
        to.extend_from_slice(&self.shard.to_le_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        let (inserted, rest) = from.split_at_checked(K::BYTES)?;
        let (numbers, rest) = rest.split_first_chunk::<12>()?;
        let number = |at| numbers.get(at..).and_then(|from| from.first_chunk()).map(|from| u32::from_le_bytes(*from));
        let at = Locator { source: number(0)?, part: number(4)?, row: number(8)? };
        Some(Self { inserted: K::read(inserted)?, at, shard: u16::from_le_bytes(*rest.first_chunk()?) })
    }
}

/// The records of shards in the order of insertion, whichever that is in their collection.
pub(super) fn scan(
    snapshots: Vec<Arc<Snapshot>>,
    range: IdRange,
    limit: usize,
    embeddings: bool,
) -> BoxStream<'static, Result<Entry>> {
    match snapshots.first().is_some_and(|first| first.shard.config().ordering.is_revision()) {
        false => scan_by::<Position>(snapshots, range, limit, embeddings).boxed(),
        true => scan_by::<ByRevision>(snapshots, range, limit, embeddings).boxed(),
    }
}

fn scan_by<K: Key>(
    snapshots: Vec<Arc<Snapshot>>,
    range: IdRange,
    limit: usize,
    embeddings: bool,
) -> impl Stream<Item = Result<Entry>> + Send + 'static {
    let scan = async move {
        let sorted = sorted::<K>(&snapshots, range, limit).await?;
        let memory = snapshots.first().map_or(0, |first| first.objects.pools().limit.ahead());
        let making = Making {
            snapshots,
            sorted: Some(sorted),
            left: limit,
            waiting: VecDeque::new(),
            batch: FIRST_BATCH,
            backwards: true,
            memory: usize::try_from(memory).unwrap_or(usize::MAX),
            embeddings: Reads::of(embeddings, limit),
        };
        // A future for each batch: one for each record would move all of the state with every record.
        let next =
            |mut making: Making<K>| async move { Ok::<_, Error>(making.next().await?.map(|batch| (batch, making))) };
        let batches = stream::try_unfold(making, next);
        Ok::<_, Error>(batches.map_ok(|batch| stream::iter(batch.into_iter().map(Ok))).try_flatten())
    };
    stream::once(scan).try_flatten()
}

/// Every record in range in the order of insertion, at least the first `limit` of them.
async fn sorted<K: Key>(snapshots: &[Arc<Snapshot>], range: IdRange, limit: usize) -> Result<Sorted<Found<K>>> {
    let Some(pools) = snapshots.first().map(|first| first.objects.pools()) else {
        return Sorter::new(Default::default(), 0, 0).finish().await;
    };
    let sorter = Mutex::new(Sorter::new(pools.scratch.clone(), pools.limit.sorting(), limit));
    if limit > 0 {
        let shards = snapshots.iter().zip(0_u16..).map(|(snapshot, shard)| collect(snapshot, shard, &range, &sorter));
        let shards: Vec<_> = shards.collect();
        stream::iter(shards).buffer_unordered(SHARDS_AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
    }
    sorter.into_inner().unwrap_or_else(PoisonError::into_inner).finish().await
}

async fn collect<K: Key>(
    snapshot: &Arc<Snapshot>,
    shard: u16,
    range: &IdRange,
    sorter: &Mutex<Sorter<Found<K>>>,
) -> Result<()> {
    let mut rows = Rows::new(snapshot.clone(), range.clone(), 0, Content::Outline);
    let mut turn = 0;
    let mut number = 0;
    loop {
        turn += 1;
        if turn % IDS_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
        match rows.step() {
            Step::End => return Ok(()),
            Step::Fill => rows.fill().await?,
            Step::Group => {
                if let Some(record) = rows.outline().and_then(Effect::resolve)
                    && let Some(inserted) = K::of(record.inserted, number)
                    && let Some((at, composed)) = rows.newest()
                {
                    let shard = if composed { shard | COMPOSED } else { shard };
                    number = number.saturating_add(1);
                    let full = locked(sorter).push(Found { inserted, at, shard });
                    if let Some(full) = full {
                        let chunk = full.write().await?;
                        locked(sorter).add(chunk);
                    }
                }
            }
        }
    }
}

fn locked<T>(sorter: &Mutex<T>) -> MutexGuard<'_, T> {
    // Only a panic of a task that is polled with this one could leave it half done, and then both end.
    sorter.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The records of a scan, made in batches.
struct Making<K: Key> {
    snapshots: Vec<Arc<Snapshot>>,
    /// Only absent while the next ones are taken out of it.
    sorted: Option<Sorted<Found<K>>>,
    /// How many records may still be wanted.
    left: usize,
    /// Found and not made yet.
    waiting: VecDeque<Found<K>>,
    /// How many records are made next.
    batch: usize,
    /// Whether the next batch goes through the parts from the last to the first.
    backwards: bool,
    /// Bytes of records that may be ready.
    memory: usize,
    embeddings: Reads,
}

impl<K: Key> Making<K> {
    /// The next batch of records, never an empty one; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        loop {
            self.take().await?;
            if self.waiting.is_empty() {
                return Ok(None);
            }
            let batch = self.make().await?;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
    }

    /// Takes as many as the next batch needs.
    async fn take(&mut self) -> Result<()> {
        let wanted = self.batch.saturating_sub(self.waiting.len()).min(self.left);
        if wanted > 0
            && let Some(mut sorted) = self.sorted.take()
        {
            let (sorted, next) = env::blocking(move || {
                let next = sorted.next_many(wanted);
                (sorted, next)
            })
            .await;
            self.sorted = Some(sorted);
            let next = next?;
            self.left -= next.len().min(self.left);
            self.waiting.extend(next);
        }
        Ok(())
    }

    /// Makes the first of those that wait, part by part. Where they take too much memory, the last of them wait on.
    async fn make(&mut self) -> Result<Vec<Entry>> {
        let count = self.batch.min(self.waiting.len());
        let batch: Vec<Found<K>> = self.waiting.drain(..count).collect();
        let mut by_place: Vec<usize> = (0..count).collect();
        by_place.sort_unstable_by(|a, b| batch[*a].place().cmp(&batch[*b].place()));
        // Each batch begins with the parts that the one before ended with: those are still kept.
        if self.backwards {
            by_place.reverse();
        }
        self.backwards = !self.backwards;
        let mut made: BTreeMap<usize, Entry> = BTreeMap::new();
        let (mut bytes, mut end) = (0, count);
        for number in by_place {
            if number >= end {
                continue;
            }
            let found = batch[number];
            let snapshot = &self.snapshots[usize::from(found.shard & !COMPOSED)];
            if let Some(entry) = fetch(snapshot, found, self.embeddings).await? {
                bytes += entry.memory_bytes();
                made.insert(number, entry);
            }
            while bytes > self.memory
                && made.len() > 1
                && let Some((last, entry)) = made.pop_last()
            {
                bytes -= entry.memory_bytes();
                end = last;
            }
        }
        for found in batch[end..].iter().rev() {
            self.waiting.push_front(*found);
        }
        let average = bytes / made.len().max(1) + 1;
        let fits = (self.memory / 2 / average).clamp(1, MOST_AHEAD);
        self.batch = fits.min(self.batch * 4);
        tokio::task::yield_now().await;
        Ok(made.into_values().collect())
    }
}

/// Parts stay in memory whole while a scan lasts, because each of its batches reads of many.
impl<K: Key> Drop for Making<K> {
    fn drop(&mut self) {
        if let Some(first) = self.snapshots.first() {
            first.objects.pools().parts.drop_documents();
        }
    }
}

/// Makes the record. It is there: the snapshot has not changed since it was found.
async fn fetch<K>(snapshot: &Snapshot, found: Found<K>, embeddings: Reads) -> Result<Option<Entry>> {
    let Locator { source, part, row } = found.at;
    let (source, row) = (source as usize, row as usize);
    let mut composer = Composer::default();
    let id = match source.checked_sub(snapshot.runs()) {
        None if let Some(unread) = snapshot.unread(source) => {
            let id = unread.id(row);
            unread.compose(row..unread.end_of(id, row), &mut composer).await?;
            id.to_owned()
        }
        None => {
            let part = snapshot.part(source, part as usize, Need::Whole, true).await?;
            composer.under(Row::Part(&part, row))?;
            part.id(row).to_owned()
        }
        Some(layer) => {
            let layer = &snapshot.overlay.layers()[layer];
            let id = layer.id(row);
            composer.under(Row::Log(layer, row..layer.end_of(id, row)))?;
            id.to_owned()
        }
    };
    let stored = if found.shard & COMPOSED == 0 { composer.finish() } else { snapshot.get(&id).await? };
    match stored {
        Some(stored) => snapshot.entry(id, stored, embeddings).await.map(Some),
        None => Ok(None),
    }
}
