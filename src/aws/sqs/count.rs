//! What a queue was asked, counted: SQS bills every request, the empty receives included.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a queue can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QueueAction {
    /// Up to 10 messages received.
    Receive,
    /// Up to 10 sent.
    Send,
    /// Up to 10 deleted.
    Delete,
    /// Up to 10 put off, or kept for longer.
    ChangeVisibility,
    /// Everything else: attributes, purge, moves.
    Other,
}

impl QueueAction {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Receive, Self::Send, Self::Delete, Self::ChangeVisibility, Self::Other];

    /// Its name in metrics and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Delete => "delete",
            Self::ChangeVisibility => "change_visibility",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for QueueAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How often one thing was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActionCount {
    /// Requests, failed ones and retries included.
    pub calls: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Messages that they carried.
    pub messages: u64,
}

/// What a queue was asked since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueRequests([ActionCount; QueueAction::ALL.len()]);

impl QueueRequests {
    /// Of one action.
    pub fn of(&self, action: QueueAction) -> ActionCount {
        self.0[action as usize]
    }

    /// Those that were asked at all.
    pub fn iter(&self) -> impl Iterator<Item = (QueueAction, ActionCount)> + '_ {
        QueueAction::ALL.into_iter().map(|action| (action, self.of(action))).filter(|(_, count)| count.calls > 0)
    }

    /// All requests: what is billed, where no message is larger than 64 KiB.
    pub fn calls(&self) -> u64 {
        self.0.iter().map(|count| count.calls).sum()
    }
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    failed: AtomicU64,
    messages: AtomicU64,
}

/// Counts for all clones of a queue.
#[derive(Debug, Clone, Default)]
pub(super) struct Count(Arc<[Counters; QueueAction::ALL.len()]>);

impl Count {
    /// Counts one request that was answered so; `messages` tells how many it carried.
    pub(super) fn answered<T, E>(
        &self,
        action: QueueAction,
        answer: Result<T, E>,
        messages: impl Fn(&T) -> usize,
    ) -> Result<T, E> {
        let counters = &self.0[action as usize];
        counters.calls.fetch_add(1, Relaxed);
        match &answer {
            Ok(done) => {
                counters.messages.fetch_add(messages(done) as u64, Relaxed);
            }
            Err(_) => {
                counters.failed.fetch_add(1, Relaxed);
            }
        }
        let outcome = if answer.is_ok() { "done" } else { "failed" };
        metrics::counter!("deltafold_queue_requests_total", "action" => action.name(), "outcome" => outcome)
            .increment(1);
        answer
    }

    pub(super) fn requests(&self) -> QueueRequests {
        let read = |counters: &Counters| ActionCount {
            calls: counters.calls.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            messages: counters.messages.load(Relaxed),
        };
        QueueRequests(QueueAction::ALL.map(|action| read(&self.0[action as usize])))
    }
}
