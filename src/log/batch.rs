//! Calls gathered into a batch, and the segment they become.

use std::collections::HashMap;

use deltafold_format::{Encoded, InputError, Op, SegmentBody, SegmentStamp, Sequence, SourceMark, TimeRange, Uid};
use tokio::sync::oneshot;

use super::backlog::Weight;
use super::call::{Call, Placed, bytes_of};
use super::marks::Marks;
use super::member::{Failed, Member, raise};
use crate::env;
use crate::error::{Error, Result};
use crate::shard::Shard;
use crate::store::{Outcome, Staged, StoreError};

/// The answer to the creation of a segment.
#[derive(Debug)]
pub(super) enum Creation {
    Done,
    /// The slot is taken.
    Refused,
    /// The answer was lost.
    Unknown(StoreError),
    /// Nothing landed and nothing will.
    Failed(StoreError),
    /// The batch cannot be a segment.
    Invalid(Error),
}

impl From<Result<Outcome, StoreError>> for Creation {
    fn from(answer: Result<Outcome, StoreError>) -> Self {
        match answer {
            Ok(Outcome::Done(_)) => Self::Done,
            Ok(Outcome::Refused) => Self::Refused,
            Ok(Outcome::Unknown(error)) => Self::Unknown(error),
            Err(error) => Self::Failed(error),
        }
    }
}

/// Calls that become one segment, and are decided together.
#[derive(Debug)]
pub(super) struct Batch {
    members: Vec<Member>,
    /// The ops of the parts that are new; empty once encoded, where no part can become anything else any more.
    ops: Vec<Op>,
    /// The ops that are written, and about the bytes that they take.
    weight: Weight,
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
}

impl Batch {
    /// Encodes the calls' ops. Takes time in proportion to their bytes.
    pub(super) fn encode(number: u64, calls: Vec<Call>, barriers: Vec<oneshot::Sender<()>>, dimension: u32) -> Self {
        let times = calls.iter().map(|call| TimeRange { first: call.accepted, last: call.accepted });
        let times = times.reduce(TimeRange::union).unwrap_or_default();
        let mut ops = Vec::with_capacity(calls.iter().map(|call| call.ops.len()).sum());
        let mut members = Vec::with_capacity(calls.len());
        for call in calls {
            let (member, mut own) = Member::of(call);
            members.push(member);
            ops.append(&mut own);
        }
        let sourced = members.iter().any(|member| member.sources().next().is_some());
        let mut batch = Self {
            members,
            ops,
            weight: Weight::default(),
            dimension,
            times,
            sourced,
            body: Ok(None),
            barriers,
            number,
            ahead: None,
        };
        batch.encode_again();
        if !sourced {
            batch.ops = Vec::new();
        }
        batch
    }

    fn encode_again(&mut self) {
        let bytes = self.ops.iter().map(bytes_of).sum::<usize>();
        self.weight = Weight { ops: self.ops.len() as u64, bytes: bytes as u64 };
        self.body =
            if self.ops.is_empty() { Ok(None) } else { SegmentBody::encode(&self.ops, self.dimension).map(Some) };
    }

    /// The ops that it adds to the log.
    pub(super) fn weight(&self) -> Weight {
        self.weight
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
        let members = std::mem::take(&mut self.members);
        let mut changes = false;
        for member in members {
            let (member, changed) = member.sift(&mut ops, &mut self.ops, &before, marks, failed);
            changes |= changed;
            let Some(member) = member else { continue };
            for (mark, position) in member.marks() {
                raise(&mut before, mark, position);
            }
            self.members.push(member);
        }
        if changes {
            self.encode_again();
        }
    }

    /// What is to be written; `None` where that is nothing.
    pub(super) fn body(&self) -> Result<Option<&SegmentBody>> {
        self.body.as_ref().map(Option::as_ref).map_err(|error| error.clone().into())
    }

    /// Whether there is anything to write.
    pub(super) fn is_left(&self) -> Result<bool> {
        Ok(self.body()?.is_some())
    }

    /// The segment that it is in a slot, behind `passed` slots of other collections; `None` where there is nothing
    /// to write.
    pub(super) fn seal(&self, shard: &Shard, writer: Uid, slot: Sequence, passed: u32) -> Result<Option<Encoded>> {
        let Some(body) = self.body()? else { return Ok(None) };
        let stamp = SegmentStamp {
            collection: shard.config().uid,
            sequence: slot,
            writer,
            batch: self.number,
            times: self.times,
            marks: if self.sourced { self.marks() } else { Vec::new() },
            passed,
        };
        Ok(Some(body.seal(stamp)?))
    }

    /// Sends ahead the segment that it will be in a slot. If that fails, or it comes into another slot, it is sent when it is placed.
    pub(super) async fn stage(&mut self, shard: &Shard, writer: Uid, slot: Sequence) {
        // What is wrong with it is said when it is placed.
        let Ok(Some(segment)) = self.seal(shard, writer, slot, 0) else { return };
        match shard.store().stage(&shard.layout().segment(slot), &segment.chunks).await {
            Ok(staged) => self.ahead = staged.map(|staged| (slot, staged)),
            Err(error) => tracing::debug!(%error, "a segment could not be sent ahead"),
        }
    }

    /// Creates the segment in a slot: completes it where that is the slot it was sent ahead for.
    pub(super) async fn create(&mut self, shard: &Shard, writer: Uid, slot: Sequence, passed: u32) -> Creation {
        // A segment that is sent ahead follows one of its own writer.
        if let Some((_, staged)) = self.ahead.take_if(|(ahead, _)| *ahead == slot && passed == 0) {
            return staged.create().await.into();
        }
        self.give_up_ahead();
        match self.seal(shard, writer, slot, passed) {
            Ok(Some(segment)) => shard.store().create(&shard.layout().segment(slot), segment.chunks).await.into(),
            Ok(None) => unreachable!("a slot is chosen for a batch that has a body"),
            Err(error) => Creation::Invalid(error),
        }
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
    pub(super) fn decide(mut self, result: &Result<Placed>, failed: &mut Failed) {
        self.give_up_ahead();
        for member in self.members {
            member.decide(result, failed);
        }
        for barrier in self.barriers {
            let (Ok(()) | Err(())) = barrier.send(());
        }
    }
}
