//! The best candidates of a search.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::index::Age;
use super::owner::Owner;

/// A record and its distance.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) distance: f64,
    /// Index of its shard in the search.
    pub(crate) shard: u16,
    pub(crate) owner: Owner,
    pub(crate) age: Age,
    /// The id, for a record that newer runs or the log have touched.
    pub(crate) id: Option<Arc<str>>,
}

/// By distance, then by insertion. If records of several shards have one place, by shard.
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let distance = self.distance.total_cmp(&other.distance);
        let inserted = || self.age.inserted.cmp(&other.age.inserted);
        let rest = || (self.shard, self.age, &self.id).cmp(&(other.shard, other.age, &other.id));
        distance.then_with(inserted).then_with(rest)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// The first `k` candidates in their order.
#[derive(Debug)]
pub(crate) struct Best {
    k: usize,
    heap: BinaryHeap<Candidate>,
}

impl Best {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    /// No candidate beyond this distance can be among them.
    pub(crate) fn bound(&self) -> f64 {
        match self.heap.peek() {
            _ if self.k == 0 => f64::NEG_INFINITY,
            Some(worst) if self.heap.len() >= self.k => worst.distance,
            _ => f64::INFINITY,
        }
    }

    pub(crate) fn push(&mut self, candidate: Candidate) {
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    pub(crate) fn join(&mut self, other: Self) {
        for candidate in other.heap {
            self.push(candidate);
        }
    }

    pub(crate) fn into_sorted(self) -> Vec<Candidate> {
        self.heap.into_sorted_vec()
    }
}
