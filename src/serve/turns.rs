//! Turns of reads and large writes: a large write waits for the end of a read under way.
//!
//! A read sees every write answered before it, so it must index their records first. Clients that
//! write large batches all the time bring more of them than one read after another can index. Then
//! a read takes seconds, and meanwhile more arrive.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::env;

/// Writes of this many ops wait.
const LARGE: usize = 32;
/// Longest time that a write waits for a read.
const PATIENCE: Duration = Duration::from_millis(100);

/// The reads of a collection that are under way.
#[derive(Debug, Default)]
pub(super) struct Turns {
    reads: AtomicUsize,
    ended: Notify,
}

/// A read under way, until it is dropped.
pub(super) struct Reading<'a>(&'a Turns);

impl Turns {
    /// Begins a read.
    pub(super) fn read(&self) -> Reading<'_> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Reading(self)
    }

    /// Waits before a write of so many ops, if it is large and a read is under way.
    pub(super) async fn before_write(&self, ops: usize) {
        // Made before the look, so that it hears of a read that ends behind it.
        let ended = self.ended.notified();
        if ops >= LARGE && self.reads.load(Ordering::SeqCst) > 0 {
            // A read that takes longer must not stop all writes.
            let _ = env::timeout(PATIENCE, ended).await;
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.reads.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Story: four clients wrote batches of 1,000, and a query beside them took four seconds.
    #[tokio::test]
    async fn a_large_write_waits_for_a_read_under_way() {
        let turns = Turns::default();
        let reading = turns.read();
        let mut large = Box::pin(turns.before_write(LARGE));
        assert!(futures::poll!(&mut large).is_pending());
        assert!(futures::poll!(Box::pin(turns.before_write(LARGE - 1))).is_ready());
        // The other read began later, and the write does not wait for it.
        let _other = turns.read();
        drop(reading);
        assert!(futures::poll!(&mut large).is_ready());
    }

    #[tokio::test]
    async fn a_large_write_outwaits_a_read_that_never_ends() {
        let turns = Turns::default();
        let _reading = turns.read();
        turns.before_write(LARGE).await;
    }
}
