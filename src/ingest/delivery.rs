//! Deliveries of messages, and their outcomes.

use crate::error::{Error, ErrorKind, Repr};

/// A delivered message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The text that was sent.
    pub body: &'a str,
    /// The message group and the position in it, for a queue that keeps order. They make the
    /// message take effect exactly once.
    pub place: Option<(&'a str, u128)>,
    /// The redrive policy soon moves it to the dead letters unless it can be understood now.
    /// Messages behind it need not wait, and must not follow it there.
    pub leaving: bool,
}

/// The outcome of a delivery. Each message is in one of the two lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryOutcome {
    /// Messages whose ops are durable, by their index in the delivery: the caller may delete them.
    pub done: Vec<usize>,
    /// Messages that must come again.
    pub failed: Vec<Failed>,
    /// Ops that were appended.
    pub ops: u64,
    /// Messages whose ops the log held already.
    pub duplicates: u64,
    /// Records of a stream for which the mapping yields no op.
    pub skipped: u64,
    /// Events that call for no op: the test event of a bucket, an object that was removed.
    pub ignored: u64,
    /// Records of a stream that were appended, or must come again.
    pub records: u64,
}

/// A message that was not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// Its index in the delivery.
    pub index: usize,
    /// The reason.
    pub reason: String,
    /// The remedy.
    pub cause: Cause,
}

/// The remedy for a message that was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Mend it: it can never be appended as it is.
    NotUnderstood,
    /// Let it come again: it was not appended, or its outcome is unknown.
    NotAppended,
    /// Nothing: a message before it in its group failed, and it must not overtake that.
    HeldBack,
}

impl Failed {
    /// A message behind a failed one of its group.
    pub(super) fn held_back(index: usize) -> Self {
        Self { index, reason: "a message before it in its group failed".to_owned(), cause: Cause::HeldBack }
    }
}

impl Cause {
    /// The remedy after an error of an append.
    pub(super) fn of(error: &Error) -> Self {
        let for_good = error.kind() == ErrorKind::InvalidInput || matches!(error.repr(), Repr::SourcePassed { .. });
        if for_good { Self::NotUnderstood } else { Self::NotAppended }
    }
}
