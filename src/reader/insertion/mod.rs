//! Scans in the order of insertion.
//!
//! A scan by id finds the places of all records, and sorts them. Then the records are made in
//! batches, those of one part together, so a batch reads each part at most once.

mod found;
mod making;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deltafold_format::{Effect, Position};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use super::SHARDS_AT_ONCE;
use super::count::IDS_A_TURN;
use super::entry::Entry;
use super::range::IdRange;
use super::reads::Reads;
use super::rows::{Advance, Content, Rows, Step, Stretch};
use super::snapshot::Snapshot;
use super::sorter::{Full, Sorted, Sorter};
use crate::error::{Error, Result};
use found::{ByRevision, Found, Key};
use making::Making;

/// The records of shards in the insertion order of their collection.
pub(super) fn scan(
    snapshots: Vec<Arc<Snapshot>>,
    range: IdRange,
    limit: usize,
    embeddings: bool,
) -> BoxStream<'static, Result<Vec<Entry>>> {
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
) -> impl Stream<Item = Result<Vec<Entry>>> + Send + 'static {
    let scan = async move {
        let sorted = sorted::<K>(&snapshots, range, limit).await?;
        let making = Making::new(snapshots, sorted, limit, Reads::of(embeddings, limit));
        let next =
            |mut making: Making<K>| async move { Ok::<_, Error>(making.next().await?.map(|batch| (batch, making))) };
        Ok::<_, Error>(stream::try_unfold(making, next))
    };
    stream::once(scan).try_flatten()
}

/// The places of records in range, in the order of insertion: at least the first `limit`.
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
    let (mut turn, mut number) = (0, 0);
    loop {
        let advance = rows.advance(IDS_A_TURN as usize);
        turn += match &advance {
            Advance::Stretch(stretch) => stretch.rows.len(),
            Advance::Step(_) => 1,
        };
        if turn >= IDS_A_TURN as usize {
            turn = 0;
            tokio::task::yield_now().await;
        }
        match advance {
            Advance::Step(Step::End) => return Ok(()),
            Advance::Step(Step::Fill) => rows.fill().await?,
            Advance::Step(Step::Group) => {
                if let Some(record) = rows.outline().and_then(Effect::resolve)
                    && let Some(inserted) = K::of(record.inserted, number)
                    && let Some((at, composed)) = rows.newest()
                {
                    number = number.saturating_add(1);
                    let full = locked(sorter).push(Found::new(inserted, at, shard, composed));
                    if let Some(full) = full {
                        let chunk = full.write().await?;
                        locked(sorter).add(chunk);
                    }
                }
            }
            Advance::Stretch(stretch) => {
                rows.pass(&stretch, stretch.rows.end);
                let mut left = stretch.rows.clone();
                loop {
                    let full = push(&mut locked(sorter), &stretch, &mut left, shard, &mut number);
                    let Some(full) = full else { break };
                    let chunk = full.write().await?;
                    locked(sorter).add(chunk);
                }
            }
        }
    }
}

/// Adds rows of a stretch until the sorter is full, or all of them.
fn push<K: Key>(
    sorter: &mut Sorter<Found<K>>,
    stretch: &Stretch,
    left: &mut Range<usize>,
    shard: u16,
    number: &mut u32,
) -> Option<Full<Found<K>>> {
    left.find_map(|row| {
        let inserted = K::of(stretch.part.resolved_place(row)?, *number)?;
        *number = number.saturating_add(1);
        sorter.push(Found::new(inserted, stretch.locate(row), shard, false))
    })
}

fn locked<T>(sorter: &Mutex<T>) -> MutexGuard<'_, T> {
    // Only a panic of a task polled together with this one could leave it half done, and then both
    // end.
    sorter.lock().unwrap_or_else(PoisonError::into_inner)
}
