//! Searches a collection.

use std::sync::Arc;

use deltafold_format::CollectionConfig;
use deltafold_format::codes::Rotation;
use futures::future::try_join;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::few::few;
use super::found::Found;
use super::index::ShardIndex;
use super::kernel::{Distances, QueryCodes};
use super::probe::{Probe, Searched, Unit};
use super::request::{Answer, Exactness, MAX_K, Query, Stages, Work};
use super::scan::Scan;
use super::select::Selector;
use super::workers;
use crate::env::Stopwatch;
use crate::error::{Error, Result};
use crate::reader::{OPENS, Reader, Room, SHARDS_AT_ONCE, Snapshot, Tier};
use crate::store::RequestCount;

impl Reader {
    /// The nearest neighbours of some vectors: one answer for each query, in their order.
    ///
    /// Searches all shards, the base and the log together, as of the last
    /// [`refresh`](Self::refresh). Records without an embedding are not found. The queries share
    /// one pass over the embeddings. Dropping the future cancels the search.
    ///
    /// The first search reads the references of every part of the base, and keeps 12.25 bytes a
    /// record. Searches after a refresh read only its changes. Each embedding object is opened
    /// once.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a vector of another dimension or with a number that is not finite, or a
    /// `k` out of range. `OutOfMemory` if the records that are not in the base take more than the
    /// memory limit: run `compact` first. `OutOfMemory` also if the index takes more than
    /// [`Warm::max_bytes`](crate::Warm::max_bytes). A failing shard fails the search, which never
    /// returns a shorter answer instead.
    pub async fn search(&self, queries: &[Query]) -> Result<Vec<Answer>> {
        let before = self.requested();
        let (found, stages) = self.nearest(queries).await?;
        let watch = Stopwatch::start();
        let mut answers = found.answers().await?;
        let stages = Stages { records: watch.elapsed(), ..stages };
        let after = self.requested();
        let requests = after.calls.saturating_sub(before.calls);
        let bytes = after.bytes_in.saturating_sub(before.bytes_in);
        for answer in &mut answers {
            answer.work = Work { requests, bytes, stages, ..answer.work };
        }
        Ok(answers)
    }

    /// The nearest neighbours of some vectors, without their records yet. Thus a caller can read
    /// the records of many hits in batches.
    ///
    /// # Errors
    ///
    /// Those of [`search`](Self::search).
    #[cfg(feature = "serve")]
    pub(crate) async fn find_nearest<'a>(&self, queries: &'a [Query]) -> Result<Found<'a>> {
        Ok(self.nearest(queries).await?.0)
    }

    async fn nearest<'a>(&self, queries: &'a [Query]) -> Result<(Found<'a>, Stages)> {
        let mut stages = Stages::default();
        let nothing = Found { queries: &[], shards: Arc::default(), found: Vec::new() };
        let Some(config) = self.snapshots().next().map(|first| first.shard.config().clone()) else {
            return Ok((nothing, stages));
        };
        for (number, query) in queries.iter().enumerate() {
            check(query, number, config.dimension)?;
        }
        if queries.is_empty() {
            return Ok((nothing, stages));
        }
        let watch = Stopwatch::start();
        let (tiers, used) = (tiers(queries), self.sections().map_or(0, Room::begin));
        // Codes are fetched beside the references: a search without a filter compares nearly all of
        // them.
        let ahead = async {
            if queries.iter().any(|query| query.filter.is_none()) {
                self.fetch_ahead(&tiers, used).await
            } else {
                Ok(())
            }
        };
        let (shards, ()) = try_join(self.searched(), ahead).await?;
        stages.index = watch.elapsed();
        let watch = Stopwatch::start();
        let probes = probes(&shards, &config, queries).await?;
        stages.select = watch.elapsed();
        let watch = Stopwatch::start();
        let units = units(&shards, &tiers, used, &probes).await?;
        stages.open = watch.elapsed();
        let watch = Stopwatch::start();
        let shards = Arc::new(shards);
        let found = workers::run(Arc::new(Scan::new(shards.clone(), units, probes))).await?;
        stages.scan = watch.elapsed();
        Ok((Found { queries, shards, found }, stages))
    }

    /// The store's counts of requests.
    fn requested(&self) -> RequestCount {
        self.snapshots().next().map(|first| first.shard.store().requests().total()).unwrap_or_default()
    }

    /// The memory of sections of embedding objects.
    pub(super) fn sections(&self) -> Option<&Room> {
        self.snapshots().next().map(|first| &first.objects.pools().sections)
    }

    /// Fetches tiers of all embedding objects that are not open.
    async fn fetch_ahead(&self, tiers: &[Tier], used: u64) -> Result<()> {
        let fetches: Vec<_> = self.snapshots().map(|snapshot| snapshot.objects.open_all(tiers, used)).collect();
        stream::iter(fetches).buffer_unordered(SHARDS_AT_ONCE).try_for_each(|()| async { Ok(()) }).await
    }

    /// Every shard with its index.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if the index takes more than [`Warm::max_bytes`](crate::Warm::max_bytes).
    pub(super) async fn searched(&self) -> Result<Vec<Searched>> {
        let max_bytes = self.snapshots().next().and_then(|first| first.objects.pools().max_bytes());
        // Comes first, so that an index that cannot fit is not made.
        self.check_index(max_bytes)?;
        let shards: Vec<Arc<Snapshot>> = self.snapshots().cloned().collect();
        let indexed = stream::iter(shards).map(|snapshot| async move {
            let index = snapshot.attachment.get_or_try_init(|older| ShardIndex::of(&snapshot, older)).await?;
            Ok::<_, Error>(Searched { snapshot, index })
        });
        let searched: Vec<Searched> = indexed.buffered(SHARDS_AT_ONCE).try_collect().await?;
        // Each index fits alone. All together may not.
        if let Err(error) = self.check_index(max_bytes) {
            self.snapshots().for_each(|snapshot| snapshot.attachment.clear());
            return Err(error);
        }
        if let Some(first) = searched.first() {
            let bytes = searched.iter().map(|searched| searched.index.memory_bytes()).sum();
            first.snapshot.objects.pools().hold_index(bytes);
        }
        Ok(searched)
    }
}

pub(super) fn check(query: &Query, number: usize, dimension: u32) -> Result<()> {
    let wrong = |why: String| Err(Error::invalid(format!("query {number}: {why}")));
    if query.vector.len() != dimension as usize {
        return wrong(format!(
            "its vector has {} numbers; give {dimension}, as the collection has",
            query.vector.len()
        ));
    }
    if let Some(at) = query.vector.iter().position(|value| !value.is_finite()) {
        return wrong(format!("number {at} of its vector is not finite"));
    }
    if !(1..=MAX_K).contains(&query.k) {
        return wrong(format!("{} hits are wanted; ask for 1 to {MAX_K}", query.k));
    }
    match query.exactness {
        Exactness::Approximate { candidates } if candidates < query.k => {
            wrong(format!("it asks for {} hits of {candidates} candidates; name at least as many candidates", query.k))
        }
        Exactness::Approximate { .. } | Exactness::Exact => Ok(()),
    }
}

/// The queries, prepared for the scan.
pub(super) async fn probes(shards: &[Searched], config: &CollectionConfig, queries: &[Query]) -> Result<Vec<Probe>> {
    let mut selector = Selector::new(shards);
    let rotation = Rotation::new(config.dimension, config.rotation);
    let mut probes = Vec::new();
    for query in queries {
        probes.push(Probe {
            metric: config.metric,
            distances: Distances::new(config.metric, query.vector.clone()),
            codes: QueryCodes::new(&rotation, &query.vector),
            k: query.k,
            exactness: query.exactness,
            selections: match &query.filter {
                Some(filter) => Some(selector.select(filter).await?),
                None => None,
            },
        });
    }
    Ok(probes)
}

/// The tiers of embedding objects that some queries compare.
pub(super) fn tiers(queries: &[Query]) -> Vec<Tier> {
    let exact = |query: &Query| query.exactness == Exactness::Exact;
    let bytes = queries.iter().any(exact).then_some(Tier::Bytes);
    let signs = queries.iter().any(|query| !exact(query)).then_some(Tier::Signs);
    signs.into_iter().chain(bytes).collect()
}

/// Opens every embedding object that some record needs, with these tiers. In a distant store, an
/// object that lacks them in memory is an exception. It is opened without tiers if filters leave
/// few of its rows, and not at all if they leave none.
pub(super) async fn units(shards: &[Searched], tiers: &[Tier], used: u64, probes: &[Probe]) -> Result<Vec<Unit>> {
    let row_bytes = probes.first().map_or(1, |probe| probe.distances.row_bytes());
    let mut wanted = Vec::new();
    for (searched, shard) in shards.iter().zip(0_u16..) {
        let snapshot = &searched.snapshot;
        let far = !snapshot.shard.store().maps_objects();
        for (name, rows) in searched.index.objects() {
            if rows.live().count() == 0 {
                continue;
            }
            let is_lacking = || snapshot.objects.embeddings(name).is_ok_and(|opened| opened.held(tiers, 0).is_none());
            let few = if far && is_lacking() { few(rows, shard, probes, row_bytes) } else { None };
            match &few {
                Some(few) if few.is_empty() => continue,
                Some(_) => {}
                // Comes before any fetch, so that no tier that this search needs is evicted for
                // another.
                None => snapshot.note_use(name, tiers, used),
            }
            wanted.push((snapshot.clone(), shard, name, rows.clone(), few));
        }
    }
    let units = stream::iter(wanted).map(|(snapshot, shard, name, rows, few)| async move {
        let tiers = if few.is_some() { &[] } else { tiers };
        let object = snapshot.embedding_object(name, tiers, used).await?;
        Ok::<_, Error>(Unit { shard, object, rows, few })
    });
    units.buffered(OPENS).try_collect().await
}
