//! The findings of one query so far.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::request::{Exactness, Work};
use super::top::{Best, Candidate};

/// Candidates to gather before those out of reach are dropped.
const PRUNED_FROM: usize = 4_096;

/// A row that may be among the nearest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    /// A lower bound of its distance, or an estimate of it.
    pub(crate) distance: f64,
    /// Index of its object in the scan.
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

/// The least of many spots.
///
/// Most new spots are not among the least. So spots gather, and are cut to the least when there are
/// twice as many. That costs less for each spot than a heap.
#[derive(Debug)]
struct Nearby {
    limit: usize,
    spots: Vec<Spot>,
    bound: f64,
}

impl Nearby {
    fn new(limit: usize) -> Self {
        Self { limit, spots: Vec::new(), bound: f64::INFINITY }
    }

    fn push(&mut self, spot: Spot) {
        self.spots.push(spot);
        if self.spots.len() >= self.limit.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.spots.len() <= self.limit {
            return;
        }
        if let Some(last) = self.limit.checked_sub(1) {
            let (_, last, _) = self.spots.select_nth_unstable(last);
            self.bound = last.distance;
        }
        self.spots.truncate(self.limit);
    }
}

/// A distance with a total order.
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

/// The findings of one query so far.
#[derive(Debug)]
pub(crate) struct Nearest {
    /// Records at a known distance.
    best: Best,
    /// The least upper bounds of distances: as many as wanted hits.
    uppers: Least<Distance>,
    /// Rows that their bounds do not rule out.
    bounded: Vec<Spot>,
    /// Rows by their estimates.
    estimated: Nearby,
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
            estimated: Nearby::new(candidates),
            work: Work::default(),
        }
    }

    /// No record beyond this distance can be among the nearest.
    pub(crate) fn reach(&self) -> f64 {
        self.uppers.greatest().map_or(f64::INFINITY, |distance| distance.0)
    }

    /// A record at a known distance.
    pub(crate) fn known(&mut self, candidate: Candidate) {
        self.uppers.push(Distance(candidate.distance));
        self.best.push(candidate);
    }

    /// No record beyond this distance can be among the nearest at a known distance.
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

    /// An upper bound of the estimates of all remaining candidates.
    pub(crate) fn estimate_bound(&self) -> f64 {
        self.estimated.bound
    }

    /// A row whose distance is estimated.
    pub(crate) fn estimated(&mut self, spot: Spot) {
        self.estimated.push(spot);
    }

    fn prune(&mut self) {
        let reach = self.reach();
        self.bounded.retain(|spot| spot.distance <= reach);
    }

    /// Adds the findings of another worker for the same query.
    pub(crate) fn join(&mut self, other: Self) {
        self.best.join(other.best);
        other.uppers.heap.into_iter().for_each(|upper| self.uppers.push(upper));
        other.estimated.spots.into_iter().for_each(|spot| self.estimated.push(spot));
        self.bounded.extend(other.bounded);
        self.work += other.work;
    }

    /// The rows to read in full, the most promising first.
    pub(crate) fn take_spots(&mut self) -> Vec<Spot> {
        self.prune();
        self.estimated.cut();
        let mut spots = std::mem::take(&mut self.bounded);
        spots.append(&mut self.estimated.spots);
        spots.sort_unstable();
        spots
    }

    pub(crate) fn into_found(self) -> (Vec<Candidate>, Work) {
        (self.best.into_sorted(), self.work)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Spots gather before they are cut, so the bound lags. It must never exclude a candidate.
        /// Distances are eighths: a bound that was too low by one excluded no whole number.
        #[test]
        fn the_least_estimates_are_kept(
            distances in proptest::collection::vec(-5..20_i32, 1..300),
            limit in 1..40_usize,
            workers in 1..4_usize,
        ) {
            let spots: Vec<Spot> = (0..).zip(&distances).map(|(row, distance)| {
                Spot { distance: f64::from(*distance) / 8.0, unit: 0, row }
            }).collect();
            let exactness = Exactness::Approximate { candidates: limit };
            let mut all: Vec<Nearest> = (0..workers).map(|_| Nearest::new(1, exactness)).collect();
            for (number, spot) in spots.iter().enumerate() {
                let nearest = &mut all[number % workers];
                if spot.distance <= nearest.estimate_bound() {
                    nearest.estimated(*spot);
                }
            }
            let mut joined = Nearest::new(1, exactness);
            all.into_iter().for_each(|nearest| joined.join(nearest));
            let mut least = spots;
            least.sort();
            least.truncate(limit);
            prop_assert_eq!(joined.take_spots(), least);
        }
    }
}
