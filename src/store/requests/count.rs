//! Numbers of requests.

use std::collections::BTreeMap;
use std::ops::{Add, AddAssign};

use super::RequestKind;

/// Requests of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCount {
    /// All of them, with any answer.
    pub calls: u64,
    /// Those that were not the first attempt.
    pub retries: u64,
    /// Requests answered with a conflict, which means that nothing landed: HTTP 409.
    pub conflicts: u64,
    /// Writes whose condition did not hold: HTTP 412.
    pub refused: u64,
    /// Conditional reads of an unchanged object: HTTP 304.
    pub unchanged: u64,
    /// Reads of an absent object: HTTP 404.
    pub absent: u64,
    /// Requests that failed or had no answer.
    pub failed: u64,
    /// Bytes of objects sent.
    pub bytes_out: u64,
    /// Bytes of objects received.
    pub bytes_in: u64,
}

impl Add for RequestCount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }
}

impl RequestCount {
    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            calls: with(self.calls, other.calls),
            retries: with(self.retries, other.retries),
            conflicts: with(self.conflicts, other.conflicts),
            refused: with(self.refused, other.refused),
            unchanged: with(self.unchanged, other.unchanged),
            absent: with(self.absent, other.absent),
            failed: with(self.failed, other.failed),
            bytes_out: with(self.bytes_out, other.bytes_out),
            bytes_in: with(self.bytes_in, other.bytes_in),
        }
    }
}

/// Requests by kind.
///
/// A [`Meter`](super::Meter) makes it. A store with counters of its own collects it:
///
/// ```
/// use deltafold::store::{RequestCount, RequestKind, Requests};
///
/// let mut gets = RequestCount::default();
/// gets.calls = 3;
/// gets.absent = 1;
/// let requests: Requests = [(RequestKind::Get, gets)].into_iter().collect();
/// assert_eq!(requests.total().calls, 3);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<RequestKind, RequestCount>);

impl Requests {
    /// The requests of one kind.
    pub fn of(&self, kind: RequestKind) -> RequestCount {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// The kinds that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (RequestKind, RequestCount)> + '_ {
        self.0.iter().map(|(kind, count)| (*kind, *count)).filter(|(_, count)| count.calls > 0)
    }

    /// All kinds together.
    pub fn total(&self) -> RequestCount {
        self.0.values().copied().fold(RequestCount::default(), Add::add)
    }

    /// The requests since `earlier`, which the same store returned.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let since =
            |(kind, count): (&RequestKind, &RequestCount)| (*kind, count.zip(earlier.of(*kind), u64::saturating_sub));
        Self(self.0.iter().map(since).collect())
    }
}

/// Counts of one kind add up.
impl FromIterator<(RequestKind, RequestCount)> for Requests {
    fn from_iter<I: IntoIterator<Item = (RequestKind, RequestCount)>>(counts: I) -> Self {
        let mut all = Self::default();
        for (kind, count) in counts {
            all += Self(BTreeMap::from([(kind, count)]));
        }
        all
    }
}

impl AddAssign<Requests> for Requests {
    fn add_assign(&mut self, other: Self) {
        for (kind, count) in other.0 {
            let sum = self.of(kind) + count;
            self.0.insert(kind, sum);
        }
    }
}
