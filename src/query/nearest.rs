//! What one query has found so far.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::request::{Exactness, Work};
use super::top::{Best, Candidate};

/// Candidates that are kept before those that fell behind are looked for.
const PRUNED_FROM: usize = 4_096;

/// A row that may be among the nearest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    /// Its distance is not less than this; or is estimated to be this.
    pub(crate) distance: f64,
    /// Which of the objects scanned.
    pub(crate) unit: u32,
    pub(crate) row: u32,
}

impl Ord for Spot {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = || (self.unit, self.row).cmp(&(other.unit, other.row));
        self.distance.total_cmp(&other.distance).then_with(place)
    }
}

impl PartialOrd for Spot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Spot {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Spot {}

/// The least of many numbers.
#[derive(Debug)]
struct Least<T> {
    limit: usize,
    heap: BinaryHeap<T>,
}

impl<T: Ord> Least<T> {
    fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    fn push(&mut self, value: T) {
        if self.heap.len() < self.limit {
            self.heap.push(value);
        } else if let Some(mut greatest) = self.heap.peek_mut()
            && value < *greatest
        {
            *greatest = value;
        }
    }

    /// The greatest of them, once there are as many as wanted.
    fn greatest(&self) -> Option<&T> {
        self.heap.peek().filter(|_| self.heap.len() >= self.limit)
    }
}

/// A distance in an order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Distance(f64);

impl Eq for Distance {}

impl Ord for Distance {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Distance {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What one query has found so far.
#[derive(Debug)]
pub(crate) struct Nearest {
    /// Records whose distance is known.
    best: Best,
    /// The least upper bounds of distances: as many as hits are wanted.
    uppers: Least<Distance>,
    /// Rows that their bounds do not rule out.
    bounded: Vec<Spot>,
    /// Rows by their estimates.
    estimated: Least<Spot>,
    pub(crate) work: Work,
}

impl Nearest {
    pub(crate) fn new(k: usize, exactness: Exactness) -> Self {
        let candidates = match exactness {
            Exactness::Exact => 0,
            Exactness::Approximate { candidates } => candidates,
        };
        Self {
            best: Best::new(k),
            uppers: Least::new(k),
            bounded: Vec::new(),
            estimated: Least::new(candidates),
            work: Work::default(),
        }
    }

    /// The distance beyond which nothing can be among the nearest.
    pub(crate) fn reach(&self) -> f64 {
        self.uppers.greatest().map_or(f64::INFINITY, |distance| distance.0)
    }

    /// A record at a known distance.
    pub(crate) fn known(&mut self, candidate: Candidate) {
        self.uppers.push(Distance(candidate.distance));
        self.best.push(candidate);
    }

    /// The distance that a record must not exceed to be among the nearest of known distance.
    pub(crate) fn bound(&self) -> f64 {
        self.best.bound()
    }

    /// A row whose distance lies between the spot's and `upper`.
    pub(crate) fn bounded(&mut self, spot: Spot, upper: f64) {
        self.uppers.push(Distance(upper));
        self.bounded.push(spot);
        if self.bounded.len() >= PRUNED_FROM && self.bounded.len().is_power_of_two() {
            self.prune();
        }
    }

    /// The estimate that a row must not exceed to be a candidate.
    pub(crate) fn estimate_bound(&self) -> f64 {
        self.estimated.greatest().map_or(f64::INFINITY, |spot| spot.distance)
    }

    /// A row whose distance is estimated.
    pub(crate) fn estimated(&mut self, spot: Spot) {
        self.estimated.push(spot);
    }

    fn prune(&mut self) {
        let reach = self.reach();
        self.bounded.retain(|spot| spot.distance <= reach);
    }

    /// Takes in what another worker has found for the same query.
    pub(crate) fn join(&mut self, other: Self) {
        self.best.join(other.best);
        other.uppers.heap.into_iter().for_each(|upper| self.uppers.push(upper));
        other.estimated.heap.into_iter().for_each(|spot| self.estimated.push(spot));
        self.bounded.extend(other.bounded);
        self.work += other.work;
    }

    /// The rows to read in full, those first that are likely nearest.
    pub(crate) fn take_spots(&mut self) -> Vec<Spot> {
        self.prune();
        let mut spots = std::mem::take(&mut self.bounded);
        spots.extend(std::mem::take(&mut self.estimated.heap));
        spots.sort_unstable();
        spots
    }

    pub(crate) fn into_found(self) -> (Vec<Candidate>, Work) {
        (self.best.into_sorted(), self.work)
    }
}
