//! The lag and the version of a collection over time, as the server saw them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;

use crate::env::{Env as _, System};
use crate::reader::ReadPosition;

/// Samples kept. When they are full, every second one goes, so that they cover more time.
const KEPT: usize = 512;
/// Least milliseconds between two samples.
const APART: i64 = 1_000;

/// The state of a collection at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Sample {
    /// Milliseconds since 1970, by the server's clock.
    pub(super) at: i64,
    /// Versions published, all shards together.
    pub(super) version: u64,
    /// Segments that are not folded yet, all shards together.
    pub(super) lag: u64,
}

/// Samples, oldest first. They come from reads that clients asked for, and cost no request.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<VecDeque<Sample>>);

impl Samples {
    /// Adds the positions of a reader.
    pub(super) fn add(&self, positions: &[ReadPosition]) {
        let version = positions.iter().map(|position| position.version.get()).sum();
        let lag = positions.iter().map(|position| position.tail.get().saturating_sub(position.folded.get())).sum();
        self.push(Sample { at: System.now().as_millis(), version, lag });
    }

    fn push(&self, sample: Sample) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The newest state counts until the next sample is due.
        let replaces = all.len() > 1
            && all.iter().rev().nth(1).is_some_and(|before| (0..APART).contains(&(sample.at - before.at)));
        if replaces {
            all.pop_back();
        } else if all.len() >= KEPT {
            let mut keep = false;
            all.retain(|_| {
                keep = !keep;
                keep
            });
        }
        all.push_back(sample);
    }

    pub(super) fn all(&self) -> Vec<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    pub(super) fn last(&self) -> Option<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).back().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_cover_all_time_in_bounded_memory() {
        let samples = Samples::default();
        for at in 0..10_000 {
            samples.push(Sample { at: at * APART, version: 1, lag: 0 });
        }
        let all = samples.all();
        assert!((KEPT / 2..=KEPT).contains(&all.len()), "{}", all.len());
        assert_eq!((all[0].at, all[all.len() - 1].at), (0, 9_999 * APART));
        assert!(all.is_sorted_by_key(|sample| sample.at));
    }

    #[test]
    fn samples_close_together_become_one() {
        let samples = Samples::default();
        for at in 0..1_000 {
            samples.push(Sample { at: at * APART / 100, version: 1, lag: u64::try_from(at).unwrap() });
        }
        assert!(samples.all().len() <= 12, "{}", samples.all().len());
        assert_eq!(samples.last().map(|sample| sample.lag), Some(999));
    }
}
