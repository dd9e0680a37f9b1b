//! Calls gathered into a batch, and the segment they become.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deltafold_format::{
    Action, Change, InputError, Op, Patch, Record, SegmentBody, Sequence, SourceMark, TimeRange, Timestamp, Value,
};
use tokio::sync::oneshot;

use super::marks::Marks;
use crate::error::{Error, ErrorKind, Repr, Result};
use crate::simulation::Guard;

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
    pub(super) source: Option<Source>,
    pub(super) accepted: Timestamp,
    pub(super) reply: oneshot::Sender<Result<Placed>>,
    pub(super) permit: Permit,
}

/// A call in a batch; its ops are in the batch's list.
#[derive(Debug)]
struct Member {
    ops: usize,
    source: Option<Source>,
    /// The log holds its position already.
    known: bool,
    reply: oneshot::Sender<Result<Placed>>,
    permit: Permit,
}

/// Calls that become one segment, and are decided together.
#[derive(Debug)]
pub(super) struct Batch {
    members: Vec<Member>,
    /// The ops of the members that are not known; empty once encoded, where nothing can become known any more.
    ops: Vec<Op>,
    dimension: u32,
    times: TimeRange,
    sourced: bool,
    /// `None` where there is nothing to write.
    body: Result<Option<SegmentBody>, InputError>,
    /// Those who wait for everything before it to be decided.
    barriers: Vec<oneshot::Sender<()>>,
    /// Its number among the writer's batches, from its first attempt on.
    pub(super) number: Option<u64>,
    /// An attempt may have landed, or may still land.
    pub(super) doubt: bool,
}

/// Positions of sources whose append failed: what follows them has to wait until they come again.
pub(super) type Failed = HashMap<Arc<str>, u128>;

impl Batch {
    /// Encodes the calls' ops. Takes time in proportion to their bytes.
    pub(super) fn encode(calls: Vec<Call>, barriers: Vec<oneshot::Sender<()>>, dimension: u32) -> Self {
        let times = calls.iter().map(|call| TimeRange { first: call.accepted, last: call.accepted });
        let times = times.reduce(TimeRange::union).unwrap_or_default();
        let mut ops = Vec::with_capacity(calls.iter().map(|call| call.ops.len()).sum());
        let mut members = Vec::with_capacity(calls.len());
        for Call { ops: mut own, source, reply, permit, .. } in calls {
            members.push(Member { ops: own.len(), source, known: false, reply, permit });
            ops.append(&mut own);
        }
        let sourced = members.iter().any(|member| member.source.is_some());
        let mut batch =
            Self { members, ops, dimension, times, sourced, body: Ok(None), barriers, number: None, doubt: false };
        batch.encode_again();
        if !sourced {
            batch.ops = Vec::new();
        }
        batch
    }

    fn encode_again(&mut self) {
        self.body =
            if self.ops.is_empty() { Ok(None) } else { SegmentBody::encode(&self.ops, self.dimension).map(Some) };
    }

    /// Whether any of its calls comes from a source.
    pub(super) fn sourced(&self) -> bool {
        self.sourced
    }

    /// Leaves out what the log holds already, and what follows a failed position of its source; those callers are told at once.
    pub(super) fn sift(&mut self, marks: &Marks, failed: &mut Failed) {
        if !self.sourced {
            return;
        }
        let mut highest: HashMap<Arc<str>, u128> = HashMap::new();
        let mut ops = std::mem::take(&mut self.ops).into_iter();
        let mut members = Vec::with_capacity(self.members.len());
        let mut changed = false;
        for mut member in std::mem::take(&mut self.members) {
            let own: Vec<Op> = ops.by_ref().take(member.ops).collect();
            let Some(Source { name, position }) = member.source.clone().filter(|_| !member.known) else {
                self.ops.extend(own);
                members.push(member);
                continue;
            };
            match failed.get(&name) {
                Some(first) if position > *first && Guard::FailedHoldsBack.holds() => {
                    changed = true;
                    let error = Repr::SourceBroken { source_name: name.to_string(), position: *first };
                    drop(member.permit);
                    // A caller that is gone has nothing to hear.
                    drop(member.reply.send(Err(error.into())));
                    continue;
                }
                Some(_) => drop(failed.remove(&name)),
                None => {}
            }
            let before = highest.get(&name).is_some_and(|highest| *highest >= position);
            if before || marks.hold(&name, position) {
                changed = true;
                member.known = true;
                member.ops = 0;
            } else {
                highest.insert(name, position);
                self.ops.extend(own);
            }
            members.push(member);
        }
        self.members = members;
        if changed {
            self.encode_again();
        }
    }

    /// What is to be written; `None` where that is nothing.
    pub(super) fn body(&self) -> Result<Option<&SegmentBody>> {
        self.body.as_ref().map(Option::as_ref).map_err(|error| error.clone().into())
    }

    pub(super) fn times(&self) -> TimeRange {
        self.times
    }

    /// The highest position of each source that it holds.
    pub(super) fn marks(&self) -> Vec<SourceMark> {
        let mut highest: HashMap<&str, u128> = HashMap::new();
        for Source { name, position } in self.members.iter().filter(|m| !m.known).filter_map(|m| m.source.as_ref()) {
            highest.entry(name).and_modify(|highest| *highest = (*highest).max(*position)).or_insert(*position);
        }
        let mut marks: Vec<SourceMark> =
            highest.into_iter().map(|(source, position)| SourceMark { source: source.to_owned(), position }).collect();
        marks.sort_by(|a, b| a.source.cmp(&b.source));
        marks
    }

    /// Tells every caller. After a failure the first position of each source is remembered.
    pub(super) fn decide(self, result: &Result<Option<Sequence>>, failed: &mut Failed) {
        for member in self.members {
            let answer = match result {
                Ok(Some(sequence)) if !member.known => Ok(Placed::At(*sequence)),
                Ok(_) => Ok(Placed::Known),
                Err(error) => {
                    // What can never be appended would hold up its source for good.
                    if let Some(Source { name, position }) = member.source
                        && error.kind() != ErrorKind::InvalidInput
                    {
                        failed.entry(name).or_insert(position);
                    }
                    Err(Error::clone(error))
                }
            };
            // First, so that the caller finds room for its next call.
            drop(member.permit);
            // A caller that is gone has nothing to hear.
            drop(member.reply.send(answer));
        }
        for barrier in self.barriers {
            let (Ok(()) | Err(())) = barrier.send(());
        }
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
