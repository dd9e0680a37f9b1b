//! Answers to queries. The records of many hits are never in memory together.

use super::answer::Field;
use super::columns::Columns;
use super::embedding::Encoding;
use crate::error::Result;
use crate::query::{Hit, Include, Query};
use crate::reader::{GetOptions, Reader};

/// Most hits of a call whose records are in memory together, without and with their documents. A
/// document may have 16 MiB.
const FEW: [usize; 2] = [64, 16];
/// Bytes of records that a batch of other hits should have.
const BATCH_BYTES: usize = 4 << 20;
/// Hits of a batch: of the first, and at most.
const BATCH: [usize; 2] = [4, 256];

/// Whether a call may have its hits in memory together.
pub(super) fn are_few(hits: usize, include: Include) -> bool {
    hits <= FEW[usize::from(include.document)]
}

/// Sizes batches by the bytes of those before.
struct Batches(usize);

impl Batches {
    fn new() -> Self {
        Self(BATCH[0])
    }

    /// Learns from a batch of so many hits and bytes.
    fn learn(&mut self, hits: usize, bytes: usize) {
        let fitting = hits.saturating_mul(BATCH_BYTES) / bytes.max(1);
        self.0 = fitting.min(self.0 * 4).clamp(1, BATCH[1]);
    }
}

/// The answer to queries that find nothing.
pub(super) fn nothing(queries: usize, fields: Vec<Field>, encoding: Encoding) -> Columns {
    let mut columns = Columns::of_queries(fields, encoding);
    for _ in 0..queries {
        columns.begin();
        columns.end();
    }
    columns
}

/// The answer of few hits.
pub(super) async fn few(hits: Vec<Vec<Hit>>, fields: Vec<Field>, encoding: Encoding) -> Result<Columns> {
    let mut columns = Columns::of_queries(fields, encoding);
    for hits in hits {
        columns.begin();
        for hit in hits {
            columns.push_hit(hit).await?;
        }
        columns.end();
    }
    Ok(columns)
}

/// The nearest neighbours of some queries. `query.include` must be that of `fields`.
pub(super) async fn nearest(
    reader: &Reader,
    queries: &[Query],
    fields: Vec<Field>,
    encoding: Encoding,
) -> Result<Columns> {
    let mut columns = Columns::of_queries(fields, encoding);
    let mut batches = Batches::new();
    let found = reader.find_nearest(queries).await?;
    for query in 0..queries.len() {
        columns.begin();
        let mut first = 0;
        while first < found.hits(query) {
            let hits = found.some(query, first, batches.0).await?;
            first += batches.0;
            push(&mut columns, &mut batches, hits).await?;
        }
        columns.end();
    }
    Ok(columns)
}

/// The nearest neighbours of some queries among the records of some ids.
pub(super) async fn nearest_among(
    reader: &Reader,
    ids: &[String],
    queries: &[Query],
    include: Include,
    fields: Vec<Field>,
    encoding: Encoding,
) -> Result<Columns> {
    let mut columns = Columns::of_queries(fields, encoding);
    let mut batches = Batches::new();
    let options = GetOptions::default().embedding(include.embedding);
    for near in reader.search_among(ids, queries).await? {
        columns.begin();
        let mut left = &near[..];
        while !left.is_empty() {
            let (some, rest) = left.split_at(batches.0.min(left.len()));
            left = rest;
            let ids: Vec<&String> = some.iter().map(|(_, id)| id).collect();
            let entries = reader.get_many_with(&ids, &options).await?;
            // One snapshot has a record each time or never.
            let found = some.iter().zip(entries).filter_map(|((distance, _), entry)| Some((*distance, entry?)));
            let hits = found.map(|(distance, entry)| Hit { distance, entry: include.cut(entry) });
            push(&mut columns, &mut batches, hits.collect()).await?;
        }
        columns.end();
    }
    Ok(columns)
}

async fn push(columns: &mut Columns, batches: &mut Batches, hits: Vec<Hit>) -> Result<()> {
    batches.learn(hits.len(), hits.iter().map(|hit| hit.entry.memory_bytes()).sum());
    for hit in hits {
        columns.push_hit(hit).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_large_records_are_small() {
        let mut batches = Batches::new();
        batches.learn(4, 4 * 300);
        assert_eq!(batches.0, 16);
        batches.learn(16, 16 * 300);
        batches.learn(64, 64 * 300);
        batches.learn(256, 256 * 300);
        assert_eq!(batches.0, BATCH[1]);
        batches.learn(256, 256 << 20);
        assert_eq!(batches.0, 4);
        batches.learn(4, 64 << 20);
        assert_eq!(batches.0, 1);
        batches.learn(1, 0);
        assert_eq!(batches.0, 4);
    }
}
