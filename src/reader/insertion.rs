//! Scanning in the order of insertion.

use std::sync::Arc;

use deltafold_format::{Effect, Place, Position, Revision};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use super::compose::{Composer, Row};
use super::count::IDS_A_TURN;
use super::entry::Entry;
use super::range::IdRange;
use super::rows::{Locator, Rows, Step};
use super::scan::SHARDS_AT_ONCE;
use super::snapshot::Snapshot;
use crate::env;
use crate::error::Result;

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
    /// The key of a record that is the `number`th by id; none where it is of the other ordering, which no collection mixes.
    fn of(inserted: Place, number: u32) -> Option<Self>;
    /// What sorts over all shards.
    fn global(&self) -> impl Ord;
}

impl Key for Position {
    fn of(inserted: Place, _: u32) -> Option<Self> {
        inserted.position()
    }

    fn global(&self) -> impl Ord {
        *self
    }
}

/// Unlike a position in the log, a revision may be that of many records: those come in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ByRevision(Revision, u32);

impl Key for ByRevision {
    fn of(inserted: Place, number: u32) -> Option<Self> {
        inserted.revision().map(|revision| Self(revision, number))
    }

    fn global(&self) -> impl Ord {
        self.0
    }
}

impl<K: Key> Found<K> {
    fn key(&self) -> impl Ord {
        (self.inserted.global(), self.shard & !COMPOSED, self.inserted)
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

/// The records in the order of insertion. All columns are read and kept, as by `warm`, and each record takes 24 or 48 bytes more until the end.
fn scan_by<K: Key>(
    snapshots: Vec<Arc<Snapshot>>,
    range: IdRange,
    limit: usize,
    embeddings: bool,
) -> impl Stream<Item = Result<Entry>> + Send + 'static {
    let snapshots: Arc<[Arc<Snapshot>]> = snapshots.into();
    let sorted = {
        let snapshots = snapshots.clone();
        async move { sorted::<K>(&snapshots, range, limit).await }
    };
    stream::once(sorted)
        .map_ok(|found| stream::iter(found.into_iter().map(Ok)))
        .try_flatten()
        .and_then(move |found| {
            let snapshot = snapshots[usize::from(found.shard & !COMPOSED)].clone();
            async move { fetch(&snapshot, found, embeddings).await }
        })
        .try_filter_map(|entry| async { Ok(entry) })
}

/// Every record in range in the order of insertion, the first `limit` of them.
async fn sorted<K: Key>(snapshots: &[Arc<Snapshot>], range: IdRange, limit: usize) -> Result<Vec<Found<K>>> {
    let shards = snapshots.iter().zip(0_u16..).map(|(snapshot, shard)| collect(snapshot, shard, &range, limit));
    let shards: Vec<_> = shards.collect();
    let found: Vec<Vec<Found<K>>> = stream::iter(shards).buffer_unordered(SHARDS_AT_ONCE).try_collect().await?;
    let sort = move || {
        let mut all = found.concat();
        first(&mut all, limit);
        all.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
        all
    };
    Ok(env::blocking(sort).await)
}

async fn collect<K: Key>(snapshot: &Arc<Snapshot>, shard: u16, range: &IdRange, limit: usize) -> Result<Vec<Found<K>>> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let mut rows = Rows::new(snapshot.clone(), range.clone(), 0, true);
    let mut turn = 0;
    let mut number = 0;
    loop {
        turn += 1;
        if turn % IDS_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
        match rows.step() {
            Step::End => return Ok(found),
            Step::Fill => rows.fill().await?,
            Step::Group => {
                if let Some(record) = rows.outline().and_then(Effect::resolve)
                    && let Some(inserted) = K::of(record.inserted, number)
                    && let Some((at, composed)) = rows.newest()
                {
                    let shard = if composed { shard | COMPOSED } else { shard };
                    number = number.saturating_add(1);
                    found.push(Found { inserted, at, shard });
                    if found.len() / 2 >= limit {
                        first(&mut found, limit);
                    }
                }
            }
        }
    }
}

/// Drops all but the first `limit`, in no order.
fn first<K: Key>(found: &mut Vec<Found<K>>, limit: usize) {
    if limit < found.len() {
        found.select_nth_unstable_by(limit, |a, b| a.key().cmp(&b.key()));
        found.truncate(limit);
    }
}

/// Makes the record. It is there: the snapshot has not changed since it was found.
async fn fetch<K>(snapshot: &Snapshot, found: Found<K>, embeddings: bool) -> Result<Option<Entry>> {
    let Locator { source, part, row } = found.at;
    let (source, row) = (source as usize, row as usize);
    let mut composer = Composer::default();
    let id = match source.checked_sub(snapshot.runs()) {
        None => {
            let part = snapshot.objects.part(source, part as usize, true).await?;
            composer.under(Row::Part(&part, row));
            part.id(row).to_owned()
        }
        Some(layer) => {
            let layer = &snapshot.overlay.layers()[layer];
            let id = layer.id(row);
            composer.under(Row::Log(layer, row..layer.end_of(id, row)));
            id.to_owned()
        }
    };
    let stored = if found.shard & COMPOSED == 0 { composer.finish() } else { snapshot.get(&id).await? };
    match stored {
        Some(stored) => snapshot.entry(id, stored, embeddings).await.map(Some),
        None => Ok(None),
    }
}
