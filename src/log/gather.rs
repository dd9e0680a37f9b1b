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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use deltafold_format::{Op, Timestamp};

    use super::*;
    use crate::log::call::{Permit, Source};
    use crate::log::member::Part;
    use crate::log::origin::{Origin, Trace};

    /// A call without ops from `source`, of a change for each number: a change of so many records.
    fn call(source: Option<&str>, changes: &[usize]) -> Call {
        let parts = changes.iter().map(|records| {
            let origin = Origin { source: "stream".to_owned(), position: 7 };
            let ids: Vec<String> = (0..*records).map(|id| id.to_string()).collect();
            Part::new(0, Some(Trace::new(&origin, ids.iter().map(String::as_str))))
        });
        Call {
            ops: Vec::new(),
            bytes: 0,
            source: source.map(|name| Source { name: name.into(), position: 1 }),
            parts: parts.chain([Part::new(0, None)]).collect(),
            accepted: Timestamp::default(),
            reply: oneshot::channel().0,
            permit: Permit::take(&Arc::default(), 0, 1).unwrap(),
        }
    }

    fn push(gathered: &mut Gathered, call: Call) {
        gathered.push(Message::Call(call), &WriterOptions::default());
    }

    fn is_full(gathered: &Gathered) -> bool {
        gathered.is_full(&WriterOptions::default())
    }

    /// Calls of one op and 10 bytes each, pushed until the segment takes no more.
    fn fill(options: &WriterOptions) -> Gathered {
        let mut gathered = Gathered::default();
        while !gathered.is_full(options) && gathered.calls.len() < 100 {
            let ops = vec![Op::delete("a")];
            gathered.push(Message::Call(Call { ops, bytes: 10, ..call(None, &[]) }), options);
        }
        gathered
    }

    #[test]
    fn a_segment_is_full_at_its_ops_or_its_bytes() {
        let few_ops = WriterOptions { max_batch_ops: 4, ..WriterOptions::default() };
        let full = fill(&few_ops);
        assert_eq!((full.calls.len(), full.next.is_none()), (4, true), "no further call is needed to see it");
        let few_bytes = WriterOptions { max_batch_bytes: 70, ..WriterOptions::default() };
        let full = fill(&few_bytes);
        assert_eq!((full.calls.len(), full.next.is_none()), (7, true));
        // The call that passes the bound waits for the next segment.
        let not_whole = WriterOptions { max_batch_bytes: 75, ..WriterOptions::default() };
        let mut gathered = fill(&not_whole);
        assert_eq!(gathered.take(&not_whole).calls.len(), 7);
        assert_eq!(gathered.calls.len(), 1);
        assert!(!gathered.is_full(&not_whole));

        let two_ops = WriterOptions { max_batch_ops: 2, ..WriterOptions::default() };
        let mut gathered = Gathered::default();
        for ops in [1, 2] {
            let ops = vec![Op::delete("a"); ops];
            gathered.push(Message::Call(Call { ops, ..call(None, &[]) }), &two_ops);
        }
        assert!(gathered.is_full(&two_ops));
        assert_eq!(gathered.calls.len(), 1);
    }

    /// Whoever flushes waits for the barrier, so nothing is gathered behind it.
    #[test]
    fn a_barrier_ends_a_segment() {
        let mut gathered = Gathered::default();
        gathered.push(Message::Barrier(oneshot::channel().0), &WriterOptions::default());
        assert!(is_full(&gathered));
    }

    #[tokio::test]
    async fn only_a_writer_that_lingers_waits() {
        for linger in [Duration::ZERO, Duration::from_secs(1)] {
            let options = WriterOptions { linger, ..WriterOptions::default() };
            let mut gathered = Gathered::default();
            gathered.push(Message::Call(call(None, &[])), &options);
            assert_eq!(gathered.linger.is_some(), !linger.is_zero());
        }
    }

    /// A change leaves a mark of its source, one of itself, and one of each record.
    #[test]
    fn a_call_counts_the_marks_of_its_source_and_changes() {
        assert_eq!(call(None, &[]).marks(), 0);
        assert_eq!(call(Some("a"), &[]).marks(), 1);
        assert_eq!(call(None, &[1, 3]).marks(), 3 + 5);
        assert_eq!(call(Some("a"), &[1, 3]).marks(), 1 + 3 + 5);
    }

    #[test]
    fn a_segment_is_full_at_its_number_of_marks() {
        let mut gathered = Gathered::default();
        push(&mut gathered, call(None, &[]));
        assert!(!gathered.sourced());
        for number in 1..MAX_SEGMENT_MARKS {
            // The second call of a source in a row raises its mark, and leaves no other.
            for _ in 0..2 {
                push(&mut gathered, call(Some(&number.to_string()), &[]));
            }
            assert!(!is_full(&gathered), "{number}");
        }
        assert!(gathered.sourced());
        push(&mut gathered, call(Some("last"), &[]));
        assert!(is_full(&gathered));
        assert_eq!(gathered.calls.len(), 2 * MAX_SEGMENT_MARKS);
    }

    #[test]
    fn a_call_with_too_many_marks_begins_the_next_segment() {
        let mut gathered = Gathered::default();
        push(&mut gathered, call(None, &[MAX_SEGMENT_MARKS - 12]));
        push(&mut gathered, call(Some("a"), &[7]));
        assert!(is_full(&gathered), "10 marks fit behind the others, no more");
        assert_eq!(gathered.take(&WriterOptions::default()).calls.len(), 2);
        assert!(gathered.is_empty());

        push(&mut gathered, call(None, &[MAX_SEGMENT_MARKS - 12]));
        push(&mut gathered, call(Some("a"), &[8]));
        assert!(is_full(&gathered));
        assert_eq!(gathered.take(&WriterOptions::default()).calls.len(), 1);
        assert_eq!(gathered.calls.len(), 1, "the second call waits in the next segment");
        assert!(gathered.sourced() && !is_full(&gathered));
    }

    #[test]
    fn a_call_of_more_marks_than_a_segment_goes_alone() {
        let mut gathered = Gathered::default();
        push(&mut gathered, call(None, &[MAX_SEGMENT_MARKS]));
        assert_eq!(gathered.calls.len(), 1);
        assert!(is_full(&gathered));
    }
}
