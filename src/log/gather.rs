//! Calls gathered for the next segment.

use std::pin::Pin;

use deltafold_format::limits::MAX_SEGMENT_MARKS;
use tokio::sync::oneshot;

use super::call::Call;
use super::writer::WriterOptions;
use crate::env;

/// What callers send.
#[derive(Debug)]
pub(super) enum Message {
    Call(Call),
    /// To be answered when everything before it is decided.
    Barrier(oneshot::Sender<()>),
}

/// Calls for the next segment.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) calls: Vec<Call>,
    ops: usize,
    pub(super) bytes: usize,
    /// At least as many as the marks that they leave.
    marks: usize,
    /// Any of them comes from a source.
    sourced: bool,
    pub(super) barriers: Vec<oneshot::Sender<()>>,
    /// The call that did not fit any more.
    next: Option<Call>,
    pub(super) linger: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.barriers.is_empty()
    }

    /// Takes no more.
    pub(super) fn is_full(&self, options: &WriterOptions) -> bool {
        self.next.is_some()
            || !self.barriers.is_empty()
            || self.ops >= options.max_batch_ops
            || self.bytes >= options.max_batch_bytes
            || self.marks >= MAX_SEGMENT_MARKS
    }

    pub(super) fn push(&mut self, message: Message, options: &WriterOptions) {
        match message {
            Message::Call(call) => self.push_call(call, options),
            Message::Barrier(barrier) => self.barriers.push(barrier),
        }
    }

    fn push_call(&mut self, call: Call, options: &WriterOptions) {
        let marks = call.marks();
        let fits = self.ops + call.ops.len() <= options.max_batch_ops
            && self.bytes + call.bytes <= options.max_batch_bytes
            && self.marks + marks <= MAX_SEGMENT_MARKS;
        if !fits && !self.calls.is_empty() {
            self.next = Some(call);
            return;
        }
        if self.calls.is_empty() && !options.linger.is_zero() {
            self.linger = Some(Box::pin(env::sleep(options.linger)));
        }
        let last = self.calls.last().and_then(|last| last.source.as_ref());
        let again = call.source.as_ref().is_some_and(|source| last.is_some_and(|last| last.name == source.name));
        self.marks += marks - usize::from(again);
        self.sourced |= marks > 0;
        self.ops += call.ops.len();
        self.bytes += call.bytes;
        self.calls.push(call);
    }

    pub(super) fn sourced(&self) -> bool {
        self.sourced
    }

    /// Takes the batch out; what did not fit begins the next one.
    pub(super) fn take(&mut self, options: &WriterOptions) -> Self {
        let mut taken = std::mem::take(self);
        if let Some(call) = taken.next.take() {
            self.push_call(call, options);
        }
        taken
    }
}
