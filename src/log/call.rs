//! What one caller wants appended to one shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deltafold_format::{Action, Change, Op, Patch, Record, Sequence, Timestamp, Value};
use tokio::sync::oneshot;

use super::member::Part;
use crate::error::{Repr, Result};

/// Bytes that wait in a writer; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Permit {
    /// Takes `bytes` of a limit; an error where too much is waiting. What is alone may be larger than the limit.
    pub(super) fn take(waiting: &Arc<AtomicUsize>, bytes: usize, limit: usize) -> Result<Self> {
        let taken = waiting.try_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            let sum = now.saturating_add(bytes);
            (now == 0 || sum <= limit).then_some(sum)
        });
        match taken {
            Ok(_) => Ok(Self { waiting: waiting.clone(), bytes }),
            Err(waiting) => Err(Repr::Busy { waiting, limit }.into()),
        }
    }

    /// Passes on the part of it that belongs to one of several calls.
    pub(super) fn split(&mut self, bytes: usize) -> Self {
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

/// Where a call's ops are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// In this segment.
    At(Sequence),
    /// Somewhere already: their source position was not new.
    Known,
}

/// A source and the position in it that a call's ops come from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) position: u128,
}

/// One caller's ops for one shard. They go into one segment, or nowhere.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) ops: Vec<Op>,
    /// What they take, about.
    pub(super) bytes: usize,
    /// Where it was delivered from.
    pub(super) source: Option<Source>,
    /// All of its ops.
    pub(super) parts: Vec<Part>,
    pub(super) accepted: Timestamp,
    pub(super) reply: oneshot::Sender<Result<Placed>>,
    pub(super) permit: Permit,
}

impl Call {
    /// How many marks it leaves at most.
    pub(super) fn marks(&self) -> usize {
        let changes = self.parts.iter().filter_map(|part| part.trace.as_ref());
        usize::from(self.source.is_some()) + changes.map(|change| change.marks().count()).sum::<usize>()
    }
}

/// About what an op takes in memory and in a segment.
pub(super) fn bytes_of(op: &Op) -> usize {
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

    /// Bounds on memory and on segments rest on these numbers. An embedding takes four bytes a dimension.
    #[test]
    fn an_op_weighs_what_it_carries() {
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
