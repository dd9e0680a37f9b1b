//! The deadline of an invocation.

use std::time::Duration;

use deltafold_format::Timestamp;
use futures::future::{Either, select};

use crate::env::{self, Env, System};

/// The report of the result gets one part in this many of the time.
const MARGIN_ONE_IN: u32 = 10;
const MARGIN_MIN: Duration = Duration::from_millis(300);
const MARGIN_MAX: Duration = Duration::from_secs(3);

/// The deadline of an invocation. The service then stops the program, and its result is lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    /// The time to stop working.
    stop: Timestamp,
}

impl Deadline {
    /// The deadline of an invocation that just began. The service names the end in milliseconds
    /// since 1970, on the clock of this machine.
    pub(super) fn of(end_millis: u64) -> Self {
        let end = Timestamp::from_millis(i64::try_from(end_millis).unwrap_or(i64::MAX));
        let margin = margin(between(System.now(), end));
        let millis = i64::try_from(margin.as_millis()).unwrap_or(i64::MAX);
        Self { stop: Timestamp::from_millis(end.as_millis().saturating_sub(millis)) }
    }

    /// The remaining time to work.
    pub(super) fn left(self) -> Duration {
        between(System.now(), self.stop)
    }

    /// Ready when it is time to stop.
    pub(super) async fn passed(self) {
        env::sleep(self.left()).await;
    }

    /// The result of `work`, if it finishes in time.
    pub(super) async fn bound<T>(self, work: impl Future<Output = T>) -> Option<T> {
        match select(std::pin::pin!(work), std::pin::pin!(self.passed())).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.as_millis().saturating_sub(from.as_millis())).unwrap_or(0))
}

fn margin(left: Duration) -> Duration {
    (left / MARGIN_ONE_IN).clamp(MARGIN_MIN, MARGIN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_kept_within_bounds() {
        let seconds = Duration::from_secs;
        let cases = [(0, MARGIN_MIN), (1, MARGIN_MIN), (10, seconds(1)), (60, seconds(3)), (900, seconds(3))];
        for (left, expected) in cases {
            assert_eq!(margin(seconds(left)), expected, "{left}");
        }
    }

    #[tokio::test]
    async fn work_is_bounded() {
        assert_eq!(Deadline::of(0).left(), Duration::ZERO);
        assert_eq!(Deadline::of(0).bound(std::future::pending::<()>()).await, None);
        assert_eq!(Deadline::of(u64::MAX).bound(async { 1 }).await, Some(1));
    }
}
