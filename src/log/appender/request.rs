//! An append request: one caller's ops for one shard, and its share of the back-pressure limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deltafold_format::{Action, Change, Op, Patch, Record, Sequence, Timestamp, Value};
use tokio::sync::oneshot;

use super::group::ChangeGroup;
use crate::error::{Repr, Result};

/// Bytes of ops that wait in a writer: its back-pressure. Dropping it releases them.
#[derive(Debug)]
pub(in crate::log) struct Permit {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Permit {
    /// Takes `bytes` of a limit; an error if too much is waiting. A lone request may exceed the
    /// limit.
    pub(in crate::log) fn take(waiting: &Arc<AtomicUsize>, bytes: usize, limit: usize) -> Result<Self> {
        let taken = waiting.try_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            let sum = now.saturating_add(bytes);
            (now == 0 || sum <= limit).then_some(sum)
        });
        match taken {
            Ok(_) => Ok(Self { waiting: waiting.clone(), bytes }),
            Err(waiting) => Err(Repr::Busy { waiting, limit }.into()),
        }
    }

    /// Splits off the bytes of one of several requests.
    pub(in crate::log) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { waiting: self.waiting.clone(), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The result of an append to one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) enum AppendResult {
    /// The ops are in this segment.
    At(Sequence),
    /// The log held them already: the position of their producer was not new.
    Known,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy)]
pub(in crate::log) struct Answer {
    pub(in crate::log) result: AppendResult,
    /// Ops that the log held already.
    pub(in crate::log) duplicates: usize,
}

/// The idempotency key of a request: the id of its producer, and positions in its sequence.
#[derive(Debug, Clone)]
pub(in crate::log) struct Producer {
    pub(in crate::log) name: Arc<str>,
    pub(in crate::log) positions: Positions,
}

/// The positions of a request in the sequence of its producer.
#[derive(Debug, Clone)]
pub(in crate::log) enum Positions {
    /// One of all ops together.
    Together(u128),
    /// One of each op, ascending. Those that the log holds are left out once that is known.
    Each(Vec<u128>),
}

impl Producer {
    /// The first position that is not known to be in the log.
    pub(in crate::log) fn first(&self) -> Option<u128> {
        match &self.positions {
            Positions::Together(position) => Some(*position),
            Positions::Each(all) => all.first().copied(),
        }
    }

    /// The last position.
    pub(in crate::log) fn last(&self) -> Option<u128> {
        match &self.positions {
            Positions::Together(position) => Some(*position),
            Positions::Each(all) => all.last().copied(),
        }
    }
}

/// One caller's ops for one shard. They go into one segment, or nowhere.
#[derive(Debug)]
pub(in crate::log) struct AppendRequest {
    pub(in crate::log) ops: Vec<Op>,
    /// Estimated bytes of the ops.
    pub(in crate::log) bytes: usize,
    pub(in crate::log) producer: Option<Producer>,
    /// Groups of all its ops.
    pub(in crate::log) groups: Vec<ChangeGroup>,
    /// The slot that its segment must follow directly.
    pub(in crate::log) behind: Option<Sequence>,
    pub(in crate::log) accepted: Timestamp,
    pub(in crate::log) reply: oneshot::Sender<Result<Answer>>,
    pub(in crate::log) permit: Permit,
}

impl AppendRequest {
    /// Upper bound of the high-water marks that it leaves.
    pub(in crate::log) fn marks(&self) -> usize {
        let changes = self.groups.iter().filter_map(|group| group.key.as_ref());
        usize::from(self.producer.is_some()) + changes.map(|change| change.marks().count()).sum::<usize>()
    }
}

/// Estimated bytes of an op in memory and in a segment.
pub(in crate::log) fn bytes_of(op: &Op) -> usize {
    const EACH: usize = 64;
    EACH + op.id.len()
        + match &op.action {
            Action::Put(record) | Action::Add(record) => bytes_of_record(record),
            Action::Upsert(patch) | Action::Patch(patch) => bytes_of_patch(patch),
            Action::Delete => 0,
        }
}

fn bytes_of_record(record: &Record) -> usize {
    let metadata: usize = record.metadata.iter().map(|(key, value)| key.len() + bytes_of_value(value)).sum();
    metadata + record.embedding.as_ref().map_or(0, |e| e.len() * 4) + record.document.as_ref().map_or(0, String::len)
}

fn bytes_of_patch(patch: &Patch) -> usize {
    let value = |value: &Option<Value>| value.as_ref().map_or(0, bytes_of_value);
    let metadata: usize = patch.metadata.iter().map(|(key, set)| key.len() + value(set)).sum();
    let embedding = if let Change::Set(embedding) = &patch.embedding { embedding.len() * 4 } else { 0 };
    let document = if let Change::Set(document) = &patch.document { document.len() } else { 0 };
    metadata + embedding + document
}

fn bytes_of_value(value: &Value) -> usize {
    const EACH: usize = 16;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Strings(all) => all.iter().map(|text| text.len() + EACH).sum(),
        Value::I64s(all) => all.len() * 8,
        Value::F64s(all) => all.len() * 8,
        Value::Bools(all) => all.len(),
        Value::I64(_) | Value::F64(_) | Value::Bool(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounds on memory and on segments depend on these numbers. An embedding takes four bytes a
    /// dimension.
    #[test]
    fn an_op_weighs_its_content() {
        let embedding = vec![0.0; 1_000];
        let record = |embedding, document: Option<&str>| Record {
            embedding,
            metadata: [("key".to_owned(), Value::String("value".to_owned()))].into(),
            document: document.map(str::to_owned),
        };
        let patch = |embedding, document: Change<String>| Patch {
            embedding,
            metadata: [("key".to_owned(), Some(Value::I64s(vec![1, 2]))), ("none".to_owned(), None)].into(),
            document,
        };
        let each = 64 + 2;
        assert_eq!(bytes_of(&Op::delete("id")), each);
        let metadata = 3 + 16 + 5;
        assert_eq!(bytes_of(&Op::put("id", record(None, None))), each + metadata);
        assert_eq!(
            bytes_of(&Op::put("id", record(Some(embedding.clone()), Some("text")))),
            each + metadata + 4_000 + 4
        );
        let metadata = 3 + 16 + 16 + 4;
        assert_eq!(bytes_of(&Op::patch("id", patch(Change::Clear, Change::Keep))), each + metadata);
        let whole = patch(Change::Set(embedding), Change::Set("text".to_owned()));
        assert_eq!(bytes_of(&Op::upsert("id", whole)), each + metadata + 4_000 + 4);
    }
}
