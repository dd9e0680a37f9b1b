//! The nearest neighbours that a scan found, and their records.

use std::collections::VecDeque;
use std::sync::Arc;

use super::probe::Searched;
use super::records::entries;
use super::request::{Answer, Hit, Query, Work};
use super::top::Candidate;
use crate::error::Result;
use crate::reader::{Entry, Reads};

/// Queries read together while they have fewer hits than this. So the documents of few others are
/// in memory beside those of a query.
const HITS_TOGETHER: usize = 1_024;

/// The nearest neighbours of some queries, without their records.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(super) queries: &'a [Query],
    pub(super) shards: Arc<Vec<Searched>>,
    pub(super) found: Vec<(Vec<Candidate>, Work)>,
}

impl Found<'_> {
    /// Number of hits of a query.
    #[cfg(feature = "serve")]
    pub(crate) fn hits(&self, query: usize) -> usize {
        self.found.get(query).map_or(0, |(candidates, _)| candidates.len())
    }

    /// Some hits of a query with their records, from the hit of number `first` on. They are at most
    /// `most`, and none behind the last.
    #[cfg(feature = "serve")]
    pub(crate) async fn some(&self, query: usize, first: usize, most: usize) -> Result<Vec<Hit>> {
        let (Some(query), Some((candidates, _))) = (self.queries.get(query), self.found.get(query)) else {
            return Ok(Vec::new());
        };
        let candidates = candidates.get(first..).unwrap_or_default();
        let candidates = candidates.get(..most).unwrap_or(candidates);
        let owners: Vec<_> =
            candidates.iter().map(|candidate| (usize::from(candidate.shard), candidate.owner)).collect();
        let entries = entries(&self.shards, &owners, query.include, Reads::of(query.include.embedding, 1)).await?;
        Ok(candidates.iter().zip(entries).map(hit).collect())
    }

    /// All hits with their records. Queries that include the same fields read together.
    pub(super) async fn answers(&self) -> Result<Vec<Answer>> {
        let mut answers: Vec<Answer> = Vec::new();
        answers.extend(self.found.iter().map(|(_, work)| Answer { hits: Vec::new(), work: *work }));
        let mut left: VecDeque<(usize, &Query)> = self.queries.iter().enumerate().collect();
        while let Some((_, first)) = left.front() {
            let include = first.include;
            let (mut owners, mut numbers) = (Vec::new(), Vec::new());
            left.retain(|(number, query)| {
                let joins = query.include == include && owners.len() < HITS_TOGETHER;
                if joins && let Some((candidates, _)) = self.found.get(*number) {
                    owners.extend(candidates.iter().map(|candidate| (usize::from(candidate.shard), candidate.owner)));
                    numbers.push(*number);
                }
                !joins
            });
            let entries = entries(&self.shards, &owners, include, Reads::of(include.embedding, 1)).await?;
            let mut entries = entries.into_iter();
            for number in numbers {
                if let (Some((candidates, _)), Some(answer)) = (self.found.get(number), answers.get_mut(number)) {
                    answer.hits.extend(candidates.iter().zip(entries.by_ref()).map(hit));
                }
            }
        }
        Ok(answers)
    }
}

fn hit((candidate, entry): (&Candidate, Entry)) -> Hit {
    Hit { distance: candidate.distance, entry }
}
