//! Counts of the requests to a queue. SQS bills every request, including empty receives.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A kind of request to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QueueAction {
    /// Up to 10 messages received.
    Receive,
    /// Up to 10 sent.
    Send,
    /// Up to 10 deleted.
    Delete,
    /// Up to 10 with a new visibility timeout.
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

/// The counts of one kind of request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActionCount {
    /// Requests, including failures and retries.
    pub calls: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Messages in them.
    pub messages: u64,
}

/// The requests to a queue since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueRequests([ActionCount; QueueAction::ALL.len()]);

impl QueueRequests {
    /// Of one action.
    pub fn of(&self, action: QueueAction) -> ActionCount {
        self.0[action as usize]
    }

    /// The kinds of request made at least once.
    pub fn iter(&self) -> impl Iterator<Item = (QueueAction, ActionCount)> + '_ {
        QueueAction::ALL.into_iter().map(|action| (action, self.of(action))).filter(|(_, count)| count.calls > 0)
    }

    /// All requests. SQS bills this number if no message is larger than 64 KiB.
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

/// The counts that all clones of a queue share.
#[derive(Debug, Clone, Default)]
pub(super) struct Count(Arc<[Counters; QueueAction::ALL.len()]>);

impl Count {
    /// Counts one request with this answer; `messages` is the number it carried.
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
