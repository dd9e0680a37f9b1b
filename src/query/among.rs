//! Searches among records that are named.

use std::collections::HashSet;

use deltafold_format::{Place, ShardId};
use futures::stream::{self, StreamExt};

use super::filter::Filter;
use super::kernel::Distances;
use super::request::Query;
use crate::error::{Repr, Result};
use crate::reader::Reader;

/// Records read at once.
const READS: usize = 8;

/// A record near a query: its distance, its place among those of equal distance, and its id.
type Near = (f64, (Place, ShardId), String);

impl Reader {
    /// The nearest neighbours of some vectors among the records of some ids: the distances and ids
    /// of each query, nearest first. Neighbours at one distance come in the order of their
    /// insertion. Reads each record once, compares in full precision, and keeps none in memory.
    ///
    /// # Errors
    ///
    /// Those of [`search`](Self::search). `InvalidInput` also for an id without a record.
    pub(crate) async fn search_among(&self, ids: &[String], queries: &[Query]) -> Result<Vec<Vec<(f64, String)>>> {
        let mut seen = HashSet::new();
        let ids: Vec<&String> = ids.iter().filter(|id| seen.insert(id.as_str())).collect();
        let mut probes = Vec::with_capacity(queries.len());
        for (number, query) in queries.iter().enumerate() {
            super::search::check(query, number, self.dimension())?;
            let matcher = query.filter.as_ref().map(Filter::matcher).transpose()?;
            probes.push((query.k, matcher, Distances::new(self.metric(), query.vector.clone())));
        }
        let mut nearest: Vec<Vec<Near>> = vec![Vec::new(); queries.len()];
        // Collected first: a stream of futures that borrow is not known to be `Send`.
        let reads: Vec<_> = ids.iter().map(|id| async move { (id, self.get(id).await) }).collect();
        let mut reads = stream::iter(reads).buffered(READS);
        while let Some((id, entry)) = reads.next().await {
            let Some(entry) = entry? else { return Err(Repr::NoRecord(shown(id)).into()) };
            let Some(embedding) = entry.record.embedding.as_deref() else { continue };
            for ((k, matcher, distances), nearest) in probes.iter().zip(&mut nearest) {
                if matcher.as_ref().is_none_or(|matcher| matcher.matches(&entry.record)) {
                    nearest.push((distances.of(embedding), (entry.inserted, entry.shard), entry.id.clone()));
                    if nearest.len() >= 2 * k {
                        keep(nearest, *k);
                    }
                }
            }
        }
        let cut = |((k, ..), mut nearest): (&(usize, _, _), Vec<Near>)| {
            keep(&mut nearest, *k);
            nearest.into_iter().map(|(distance, _, id)| (distance, id)).collect()
        };
        Ok(probes.iter().zip(nearest).map(cut).collect())
    }

    fn dimension(&self) -> u32 {
        self.snapshots().next().map_or(0, |first| first.shard.config().dimension)
    }
}

/// Keeps the `k` nearest, in order.
fn keep(nearest: &mut Vec<Near>, k: usize) {
    nearest.sort_by(|(a, one, _), (b, other, _)| a.total_cmp(b).then_with(|| one.cmp(other)));
    nearest.truncate(k);
}

/// An id for a message: control characters escaped, a long one cut.
fn shown(id: &str) -> String {
    id.chars().take(64).flat_map(char::escape_debug).collect()
}
