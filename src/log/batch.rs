//! Calls gathered into a batch, and the segment they become.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deltafold_format::{
    Action, Change, Encoded, InputError, Op, Patch, Record, SegmentBody, SegmentStamp, Sequence, SourceMark, TimeRange,
    Timestamp, Uid, Value,
};
use tokio::sync::oneshot;

use super::marks::Marks;
use super::origin::{SOURCE, Trace, Verdict};
use crate::env;
use crate::error::{Error, ErrorKind, Repr, Result};
use crate::shard::Shard;
use crate::simulation::Guard;
use crate::store::{Outcome, Staged, StoreError};

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

/// Some of a call's ops, in their order: those of one change, or such as do not say where they stand.
#[derive(Debug)]
pub(super) struct Part {
    ops: usize,
    pub(super) trace: Option<Trace>,
    standing: Standing,
}

/// What is to be done with a part.
#[derive(Debug)]
enum Standing {
    /// It is written.
    New,
    /// Something before it in its batch is the same, or comes behind it in its source: it takes effect with that, and what becomes of that is open. So its ops are kept.
    Covered(Vec<Op>),
    /// The log holds it already.
    Held,
}

impl Part {
    pub(super) fn new(ops: usize, trace: Option<Trace>) -> Self {
        Self { ops, trace, standing: Standing::New }
    }

    fn is_new(&self) -> bool {
        matches!(self.standing, Standing::New)
    }
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

/// A call in a batch; its ops are in the batch's list.
#[derive(Debug)]
struct Member {
    source: Option<Source>,
    /// Those that are not new have no ops in the batch's list.
    parts: Vec<Part>,
    reply: oneshot::Sender<Result<Placed>>,
    permit: Permit,
}

impl Member {
    /// Nothing of it is written.
    fn is_known(&self) -> bool {
        !self.parts.iter().any(Part::is_new)
    }

    /// The log holds all of it already.
    fn is_held(&self) -> bool {
        self.parts.iter().all(|part| matches!(part.standing, Standing::Held))
    }

    fn traces(&self) -> impl Iterator<Item = &Trace> {
        self.parts.iter().filter_map(|part| part.trace.as_ref())
    }

    /// The sources whose order it keeps, and its positions there.
    fn sources(&self) -> impl Iterator<Item = (&str, u128)> {
        let source = self.source.iter().map(|source| (&*source.name, source.position));
        source.chain(self.traces().map(|trace| (trace.source.as_str(), trace.position)))
    }

    /// The marks of what of it is written.
    fn marks(&self) -> impl Iterator<Item = (&str, u128)> {
        let source = self.source.iter().filter(|_| !self.is_known());
        let traces = self.parts.iter().filter(|part| part.is_new()).filter_map(|part| part.trace.as_ref());
        let traces = traces.flat_map(|trace| trace.marks().map(|mark| (mark, trace.position)));
        source.map(|source| (&*source.name, source.position)).chain(traces)
    }

    /// Why it cannot be appended: what failed before it in its source.
    fn broken(&self, failed: &Failed) -> Option<Error> {
        let (name, first) = self.sources().find_map(|(name, position)| {
            let first = *failed.get(name)?;
            (position > first && Guard::FailedHoldsBack.holds()).then_some((name, first))
        })?;
        Some(
            Repr::SourceBroken { source_name: name.strip_prefix(SOURCE).unwrap_or(name).to_owned(), position: first }
                .into(),
        )
    }

    /// Finds out what is to be done with each part, by what the log holds and what comes before it in its batch. An error where that cannot be told.
    fn look(&mut self, marks: &Marks, before: &HashMap<String, u128>) -> Result<()> {
        if let Some(Source { name, position }) = &self.source {
            let is_held = marks.hold(name, *position);
            if is_held || before.get(&**name).is_some_and(|highest| highest >= position) {
                let standing = || if is_held { Standing::Held } else { Standing::Covered(Vec::new()) };
                self.parts.iter_mut().for_each(|part| part.standing = standing());
                return Ok(());
            }
        }
        // Of one call, too, each change may be behind another.
        let mut own: HashMap<String, u128> = HashMap::new();
        for part in self.parts.iter_mut().filter(|part| !matches!(part.standing, Standing::Held)) {
            part.standing = Standing::New;
            let Some(trace) = &part.trace else { continue };
            let in_log = |mark: &str| marks.position(mark);
            let position_of = |mark: &str| {
                let here = own.get(mark).copied().max(before.get(mark).copied());
                here.max(in_log(mark))
            };
            match trace.judge(position_of) {
                Verdict::New => trace.marks().for_each(|mark| raise(&mut own, mark, trace.position)),
                Verdict::Held if trace.judge(in_log) == Verdict::Held => part.standing = Standing::Held,
                Verdict::Held => part.standing = Standing::Covered(Vec::new()),
                Verdict::Passed if !Guard::PassedIsRefused.holds() => {}
                Verdict::Passed => {
                    let source_name = trace.source.strip_prefix(SOURCE).unwrap_or(&trace.source).to_owned();
                    return Err(Repr::SourcePassed { source_name, position: trace.position }.into());
                }
            }
        }
        Ok(())
    }
}

fn raise(marks: &mut HashMap<String, u128>, mark: &str, position: u128) {
    match marks.get_mut(mark) {
        Some(known) => *known = (*known).max(position),
        None => drop(marks.insert(mark.to_owned(), position)),
    }
}

/// Calls that become one segment, and are decided together.
#[derive(Debug)]
pub(super) struct Batch {
    members: Vec<Member>,
    /// The ops of the parts that are new; empty once encoded, where no part can become anything else any more.
    ops: Vec<Op>,
    dimension: u32,
    times: TimeRange,
    sourced: bool,
    /// `None` where there is nothing to write.
    body: Result<Option<SegmentBody>, InputError>,
    /// Those who wait for everything before it to be decided.
    barriers: Vec<oneshot::Sender<()>>,
    /// Its number among the writer's batches: with that its attempts are known.
    pub(super) number: u64,
    /// What of it was sent ahead, and for which slot.
    pub(super) ahead: Option<(Sequence, Box<dyn Staged>)>,
    /// An attempt may have landed, or may still land.
    pub(super) doubt: bool,
    /// The slot that was refused last, with somebody else in it. Unless it was swept before that was seen, no attempt has landed there: a look at the head decides it, and until then no slot but the next is tried.
    pub(super) refused: Option<Sequence>,
}

/// Positions of sources whose append failed: what follows them has to wait until they come again.
pub(super) type Failed = HashMap<String, u128>;

impl Batch {
    /// Encodes the calls' ops. Takes time in proportion to their bytes.
    pub(super) fn encode(number: u64, calls: Vec<Call>, barriers: Vec<oneshot::Sender<()>>, dimension: u32) -> Self {
        let times = calls.iter().map(|call| TimeRange { first: call.accepted, last: call.accepted });
        let times = times.reduce(TimeRange::union).unwrap_or_default();
        let mut ops = Vec::with_capacity(calls.iter().map(|call| call.ops.len()).sum());
        let mut members = Vec::with_capacity(calls.len());
        for Call { ops: mut own, source, parts, reply, permit, .. } in calls {
            members.push(Member { source, parts, reply, permit });
            ops.append(&mut own);
        }
        let sourced = members.iter().any(|member| member.sources().next().is_some());
        let mut batch = Self {
            members,
            ops,
            dimension,
            times,
            sourced,
            body: Ok(None),
            barriers,
            number,
            ahead: None,
            doubt: false,
            refused: None,
        };
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
        let mut before: HashMap<String, u128> = HashMap::new();
        let mut ops = std::mem::take(&mut self.ops).into_iter();
        let mut members = Vec::with_capacity(self.members.len());
        let mut changed = false;
        for mut member in std::mem::take(&mut self.members) {
            let was_new: Vec<bool> = member.parts.iter().map(Part::is_new).collect();
            let own = member.parts.iter_mut().map(|part| match &mut part.standing {
                Standing::New => ops.by_ref().take(part.ops).collect(),
                Standing::Covered(kept) => std::mem::take(kept),
                Standing::Held => Vec::new(),
            });
            let own: Vec<Vec<Op>> = own.collect();
            if !member.is_held() {
                let looked = match member.broken(failed) {
                    Some(error) => Err(error),
                    None => {
                        for (name, _) in member.sources() {
                            failed.remove(name);
                        }
                        member.look(marks, &before)
                    }
                };
                if let Err(error) = looked {
                    changed |= was_new.contains(&true);
                    drop(member.permit);
                    // A caller that is gone has nothing to hear.
                    drop(member.reply.send(Err(error)));
                    continue;
                }
            }
            for ((part, own), was_new) in member.parts.iter_mut().zip(own).zip(was_new) {
                changed |= part.is_new() != was_new;
                match &mut part.standing {
                    Standing::New => self.ops.extend(own),
                    Standing::Covered(kept) => *kept = own,
                    Standing::Held => {}
                }
            }
            for (mark, position) in member.marks() {
                raise(&mut before, mark, position);
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

    /// The segment that it is in a slot; `None` where there is nothing to write.
    pub(super) fn seal(&self, shard: &Shard, writer: Uid, slot: Sequence) -> Result<Option<Encoded>> {
        let Some(body) = self.body()? else { return Ok(None) };
        let stamp = SegmentStamp {
            collection: shard.config().uid,
            sequence: slot,
            writer,
            batch: self.number,
            times: self.times,
            marks: if self.sourced { self.marks() } else { Vec::new() },
        };
        Ok(Some(body.seal(stamp)?))
    }

    /// Sends ahead the segment that it will be in a slot. If that fails, or it comes into another slot, it is sent when it is placed.
    pub(super) async fn stage(&mut self, shard: &Shard, writer: Uid, slot: Sequence) {
        // What is wrong with it is said when it is placed.
        let Ok(Some(segment)) = self.seal(shard, writer, slot) else { return };
        match shard.store().stage(&shard.layout().segment(slot), &segment.chunks).await {
            Ok(staged) => self.ahead = staged.map(|staged| (slot, staged)),
            Err(error) => tracing::debug!(%error, "a segment could not be sent ahead"),
        }
    }

    /// Creates the segment in a slot: completes it where that is the slot it was sent ahead for.
    pub(super) async fn create(
        &mut self,
        shard: &Shard,
        writer: Uid,
        slot: Sequence,
    ) -> Result<Result<Outcome, StoreError>> {
        if let Some((_, staged)) = self.ahead.take_if(|(ahead, _)| *ahead == slot) {
            return Ok(staged.create().await);
        }
        self.give_up_ahead();
        let Some(segment) = self.seal(shard, writer, slot)? else {
            unreachable!("a slot is chosen for a batch that has a body")
        };
        Ok(shard.store().create(&shard.layout().segment(slot), segment.chunks).await)
    }

    /// Nobody waits for that: what is left of it, sweep takes away.
    fn give_up_ahead(&mut self) {
        if let Some((_, staged)) = self.ahead.take() {
            env::spawn(staged.give_up());
        }
    }

    /// The highest position of each source that it holds.
    pub(super) fn marks(&self) -> Vec<SourceMark> {
        let mut highest: HashMap<&str, u128> = HashMap::new();
        for (mark, position) in self.members.iter().flat_map(Member::marks) {
            highest.entry(mark).and_modify(|highest| *highest = (*highest).max(position)).or_insert(position);
        }
        let mut marks: Vec<SourceMark> =
            highest.into_iter().map(|(source, position)| SourceMark { source: source.to_owned(), position }).collect();
        marks.sort_by(|a, b| a.source.cmp(&b.source));
        marks
    }

    /// Tells every caller. After a failure the first position of each source is remembered.
    pub(super) fn decide(mut self, result: &Result<Option<Sequence>>, failed: &mut Failed) {
        self.give_up_ahead();
        for member in self.members {
            let answer = match result {
                Ok(Some(sequence)) if !member.is_known() => Ok(Placed::At(*sequence)),
                Ok(_) => Ok(Placed::Known),
                Err(error) => {
                    // What can never be appended would hold up its source for good.
                    if error.kind() != ErrorKind::InvalidInput {
                        for (name, position) in member.sources() {
                            failed.entry(name.to_owned()).or_insert(position);
                        }
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
