//! Searches among records that are named.

use std::collections::HashSet;

use super::kernel::Distances;
use super::request::{Hit, Query};
use crate::error::{Repr, Result};
use crate::reader::Reader;

impl Reader {
    /// The nearest neighbours of some vectors among the records of some ids: the hits of each
    /// query, nearest first. Hits at one distance come in the order of their insertion. Reads each
    /// record once, and compares in full precision.
    ///
    /// # Errors
    ///
    /// Those of [`search`](Self::search). `InvalidInput` also for an id without a record.
    pub(crate) async fn search_among(&self, ids: &[String], queries: &[Query]) -> Result<Vec<Vec<Hit>>> {
        let mut seen = HashSet::new();
        let ids: Vec<&String> = ids.iter().filter(|id| seen.insert(id.as_str())).collect();
        for (number, query) in queries.iter().enumerate() {
            super::search::check(query, number, self.dimension())?;
        }
        let entries = self.get_many(&ids).await?;
        if let Some((id, _)) = ids.iter().zip(&entries).find(|(_, entry)| entry.is_none()) {
            return Err(Repr::NoRecord(shown(id)).into());
        }
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let matcher = query.filter.as_ref().map(|filter| filter.matcher()).transpose()?;
            let distances = Distances::new(self.metric(), query.vector.clone());
            let matching = entries
                .iter()
                .flatten()
                .filter(|entry| matcher.as_ref().is_none_or(|filter| filter.matches(&entry.record)));
            let mut found: Vec<(f64, _)> =
                matching.filter_map(|entry| Some((distances.of(entry.record.embedding.as_deref()?), entry))).collect();
            found.sort_by(|(a, one), (b, other)| {
                a.total_cmp(b).then_with(|| (one.inserted, one.shard).cmp(&(other.inserted, other.shard)))
            });
            let hit = |(distance, entry): (f64, &crate::reader::Entry)| Hit {
                distance,
                entry: query.include.cut(entry.clone()),
            };
            answers.push(found.into_iter().take(query.k).map(hit).collect());
        }
        Ok(answers)
    }

    fn dimension(&self) -> u32 {
        self.snapshots().next().map_or(0, |first| first.shard.config().dimension)
    }
}

/// An id for a message: control characters escaped, a long one cut.
fn shown(id: &str) -> String {
    id.chars().take(64).flat_map(char::escape_debug).collect()
}
