//! The batch builder gathers append requests for the next segment.

use std::pin::Pin;

use deltafold_format::limits::MAX_SEGMENT_MARKS;
use tokio::sync::oneshot;

use super::super::options::WriterOptions;
use super::request::AppendRequest;
use crate::env;

/// A caller's message.
#[derive(Debug)]
pub(in crate::log) enum Message {
    Append(AppendRequest),
    /// Is answered when every earlier request is decided.
    Barrier(oneshot::Sender<()>),
}

/// Requests for the next segment.
#[derive(Default)]
pub(in crate::log) struct BatchBuilder {
    pub(in crate::log) requests: Vec<AppendRequest>,
    ops: usize,
    pub(in crate::log) bytes: usize,
    /// Upper bound of the high-water marks that the requests leave.
    marks: usize,
    /// A request comes from a producer.
    sourced: bool,
    pub(in crate::log) barriers: Vec<oneshot::Sender<()>>,
    /// The request that did not fit any more.
    next: Option<AppendRequest>,
    pub(in crate::log) linger: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl BatchBuilder {
    pub(in crate::log) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.barriers.is_empty()
    }

    /// Whether the batch accepts no more requests.
    pub(in crate::log) fn is_full(&self, options: &WriterOptions) -> bool {
        self.next.is_some()
            || !self.barriers.is_empty()
            || self.ops >= options.max_batch_ops
            || self.bytes >= options.max_batch_bytes
            || self.marks >= MAX_SEGMENT_MARKS
            || self.is_conditional()
    }

    /// Whether its request must follow a slot directly. Such a request is alone in its batch.
    fn is_conditional(&self) -> bool {
        self.requests.last().is_some_and(|request| request.behind.is_some())
    }

    pub(in crate::log) fn push(&mut self, message: Message, options: &WriterOptions) {
        match message {
            Message::Append(request) => self.push_request(request, options),
            Message::Barrier(barrier) => self.barriers.push(barrier),
        }
    }

    fn push_request(&mut self, request: AppendRequest, options: &WriterOptions) {
        let marks = request.marks();
        let fits = self.ops + request.ops.len() <= options.max_batch_ops
            && self.bytes + request.bytes <= options.max_batch_bytes
            && self.marks + marks <= MAX_SEGMENT_MARKS
            && request.behind.is_none();
        if !fits && !self.requests.is_empty() {
            self.next = Some(request);
            return;
        }
        if self.requests.is_empty() && !options.linger.is_zero() {
            self.linger = Some(Box::pin(env::sleep(options.linger)));
        }
        let last = self.requests.last().and_then(|last| last.producer.as_ref());
        let again =
            request.producer.as_ref().is_some_and(|producer| last.is_some_and(|last| last.name == producer.name));
        self.marks += marks - usize::from(again);
        self.sourced |= marks > 0;
        self.ops += request.ops.len();
        self.bytes += request.bytes;
        self.requests.push(request);
    }

    /// Whether the batch takes a slot unless a request fails.
    pub(in crate::log) fn always_lands(&self) -> bool {
        !self.sourced && !self.is_conditional()
    }

    /// Takes the batch out. The request that did not fit begins the next one.
    pub(in crate::log) fn take(&mut self, options: &WriterOptions) -> Self {
        let mut taken = std::mem::take(self);
        if let Some(request) = taken.next.take() {
            self.push_request(request, options);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use deltafold_format::{Op, Sequence, Timestamp};

    use super::*;
    use crate::log::appender::group::ChangeGroup;
    use crate::log::appender::request::{Permit, Positions, Producer};
    use crate::log::dedup::{DedupKey, IdempotencyKey};

    /// A request without ops from `producer`, with a change for each number. The number counts the
    /// records of the change.
    fn request(producer: Option<&str>, changes: &[usize]) -> AppendRequest {
        let groups = changes.iter().map(|records| {
            let key = IdempotencyKey { source: "stream".to_owned(), position: 7 };
            let ids: Vec<String> = (0..*records).map(|id| id.to_string()).collect();
            ChangeGroup::new(0, Some(DedupKey::new(&key, ids.iter().map(String::as_str))))
        });
        AppendRequest {
            ops: Vec::new(),
            bytes: 0,
            producer: producer.map(|name| Producer { name: name.into(), positions: Positions::Together(1) }),
            groups: groups.chain([ChangeGroup::new(0, None)]).collect(),
            behind: None,
            accepted: Timestamp::default(),
            reply: oneshot::channel().0,
            permit: Permit::take(&Arc::default(), 0, 1).unwrap(),
        }
    }

    fn push(builder: &mut BatchBuilder, request: AppendRequest) {
        builder.push(Message::Append(request), &WriterOptions::default());
    }

    fn is_full(builder: &BatchBuilder) -> bool {
        builder.is_full(&WriterOptions::default())
    }

    /// Pushes requests of one op and 10 bytes each until the segment is full.
    fn fill(options: &WriterOptions) -> BatchBuilder {
        let mut builder = BatchBuilder::default();
        while !builder.is_full(options) && builder.requests.len() < 100 {
            let ops = vec![Op::delete("a")];
            builder.push(Message::Append(AppendRequest { ops, bytes: 10, ..request(None, &[]) }), options);
        }
        builder
    }

    #[test]
    fn a_segment_is_full_at_its_ops_or_its_bytes() {
        let few_ops = WriterOptions { max_batch_ops: 4, ..WriterOptions::default() };
        let full = fill(&few_ops);
        assert_eq!((full.requests.len(), full.next.is_none()), (4, true), "no further request is needed to see it");
        let few_bytes = WriterOptions { max_batch_bytes: 70, ..WriterOptions::default() };
        let full = fill(&few_bytes);
        assert_eq!((full.requests.len(), full.next.is_none()), (7, true));
        // The request that passes the bound waits for the next segment.
        let not_whole = WriterOptions { max_batch_bytes: 75, ..WriterOptions::default() };
        let mut builder = fill(&not_whole);
        assert_eq!(builder.take(&not_whole).requests.len(), 7);
        assert_eq!(builder.requests.len(), 1);
        assert!(!builder.is_full(&not_whole));

        let two_ops = WriterOptions { max_batch_ops: 2, ..WriterOptions::default() };
        let mut builder = BatchBuilder::default();
        for ops in [1, 2] {
            let ops = vec![Op::delete("a"); ops];
            builder.push(Message::Append(AppendRequest { ops, ..request(None, &[]) }), &two_ops);
        }
        assert!(builder.is_full(&two_ops));
        assert_eq!(builder.requests.len(), 1);
    }

    /// A request that must follow a slot directly would miss it behind another one.
    #[test]
    fn a_conditional_request_is_alone_in_its_batch() {
        let mut builder = BatchBuilder::default();
        push(&mut builder, request(None, &[]));
        push(&mut builder, AppendRequest { behind: Some(Sequence::FIRST), ..request(None, &[]) });
        assert!(is_full(&builder));
        assert_eq!(builder.take(&WriterOptions::default()).requests.len(), 1);
        assert!(is_full(&builder) && !builder.always_lands());
        let taken = builder.take(&WriterOptions::default());
        assert_eq!(taken.requests.first().and_then(|request| request.behind), Some(Sequence::FIRST));
    }

    /// A caller that flushes waits for the barrier, so the batch gathers no request behind it.
    #[test]
    fn a_barrier_ends_a_segment() {
        let mut builder = BatchBuilder::default();
        builder.push(Message::Barrier(oneshot::channel().0), &WriterOptions::default());
        assert!(is_full(&builder));
    }

    #[tokio::test]
    async fn only_a_lingering_writer_waits() {
        for linger in [Duration::ZERO, Duration::from_secs(1)] {
            let options = WriterOptions { linger, ..WriterOptions::default() };
            let mut builder = BatchBuilder::default();
            builder.push(Message::Append(request(None, &[])), &options);
            assert_eq!(builder.linger.is_some(), !linger.is_zero());
        }
    }

    /// A change leaves a mark of its source, one of itself, and one of each record.
    #[test]
    fn a_request_counts_the_marks_of_its_source_and_changes() {
        assert_eq!(request(None, &[]).marks(), 0);
        assert_eq!(request(Some("a"), &[]).marks(), 1);
        assert_eq!(request(None, &[1, 3]).marks(), 3 + 5);
        assert_eq!(request(Some("a"), &[1, 3]).marks(), 1 + 3 + 5);
    }

    #[test]
    fn a_segment_is_full_at_its_number_of_marks() {
        let mut builder = BatchBuilder::default();
        push(&mut builder, request(None, &[]));
        assert!(!builder.sourced);
        for number in 1..MAX_SEGMENT_MARKS {
            // The second request of a producer in a row raises its mark, and leaves no other.
            for _ in 0..2 {
                push(&mut builder, request(Some(&number.to_string()), &[]));
            }
            assert!(!is_full(&builder), "{number}");
        }
        assert!(builder.sourced);
        push(&mut builder, request(Some("last"), &[]));
        assert!(is_full(&builder));
        assert_eq!(builder.requests.len(), 2 * MAX_SEGMENT_MARKS);
    }

    #[test]
    fn a_request_with_too_many_marks_begins_the_next_segment() {
        let mut builder = BatchBuilder::default();
        push(&mut builder, request(None, &[MAX_SEGMENT_MARKS - 12]));
        push(&mut builder, request(Some("a"), &[7]));
        assert!(is_full(&builder), "10 marks fit behind the others, no more");
        assert_eq!(builder.take(&WriterOptions::default()).requests.len(), 2);
        assert!(builder.is_empty());

        push(&mut builder, request(None, &[MAX_SEGMENT_MARKS - 12]));
        push(&mut builder, request(Some("a"), &[8]));
        assert!(is_full(&builder));
        assert_eq!(builder.take(&WriterOptions::default()).requests.len(), 1);
        assert_eq!(builder.requests.len(), 1, "the second request waits in the next segment");
        assert!(builder.sourced && !is_full(&builder));
    }

    #[test]
    fn a_request_of_more_marks_than_a_segment_goes_alone() {
        let mut builder = BatchBuilder::default();
        push(&mut builder, request(None, &[MAX_SEGMENT_MARKS]));
        assert_eq!(builder.requests.len(), 1);
        assert!(is_full(&builder));
    }
}
