//! A batch: append requests that become one segment.

use std::collections::HashMap;

use deltafold_format::{Encoded, InputError, Op, SegmentBody, SegmentStamp, Sequence, SourceMark, TimeRange, Uid};
use tokio::sync::oneshot;

use super::super::backlog::Weight;
use super::super::dedup::HighWaterMarks;
use super::entry::{BatchEntry, Failed, raise};
use super::request::{AppendRequest, AppendResult, bytes_of};
use crate::env;
use crate::error::{Error, Result};
use crate::shard::Shard;
use crate::store::{Outcome, Staged, StoreError};

/// The answer to the creation of a segment.
#[derive(Debug)]
pub(in crate::log) enum Creation {
    Done,
    /// The slot is taken.
    Refused,
    /// The answer was lost.
    Unknown(StoreError),
    /// Nothing landed, and nothing will.
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

/// Requests that become one segment and share one outcome.
#[derive(Debug)]
pub(in crate::log) struct Batch {
    entries: Vec<BatchEntry>,
    /// The ops of the new groups. Empty once encoded, if no group can change any more.
    ops: Vec<Op>,
    /// The ops to write, and their estimated bytes.
    weight: Weight,
    dimension: u32,
    times: TimeRange,
    sourced: bool,
    /// `None` if there is nothing to write.
    body: Result<Option<SegmentBody>, InputError>,
    /// Callers that wait until every earlier request is decided.
    barriers: Vec<oneshot::Sender<()>>,
    /// The slot that it must follow directly. Then it has only one request.
    pub(in crate::log) behind: Option<Sequence>,
    /// Its number among the writer's batches. It identifies the batch's attempts.
    pub(in crate::log) number: u64,
    /// The slot of the upload ahead, and the upload.
    pub(in crate::log) ahead: Option<(Sequence, Box<dyn Staged>)>,
}

impl Batch {
    /// Encodes the ops of the requests. Takes time in proportion to their bytes.
    pub(in crate::log) fn encode(
        number: u64,
        requests: Vec<AppendRequest>,
        barriers: Vec<oneshot::Sender<()>>,
        dimension: u32,
    ) -> Self {
        let times = requests.iter().map(|request| TimeRange { first: request.accepted, last: request.accepted });
        let times = times.reduce(TimeRange::union).unwrap_or_default();
        let behind = requests.iter().find_map(|request| request.behind);
        let mut ops = Vec::with_capacity(requests.iter().map(|request| request.ops.len()).sum());
        let mut entries = Vec::with_capacity(requests.len());
        for request in requests {
            let (entry, mut own) = BatchEntry::of(request);
            entries.push(entry);
            ops.append(&mut own);
        }
        let sourced = entries.iter().any(|entry| entry.positions().next().is_some());
        let mut batch = Self {
            entries,
            ops,
            weight: Weight::default(),
            dimension,
            times,
            sourced,
            body: Ok(None),
            barriers,
            behind,
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
    pub(in crate::log) fn weight(&self) -> Weight {
        self.weight
    }

    /// Whether any of its requests comes from a producer.
    pub(in crate::log) fn sourced(&self) -> bool {
        self.sourced
    }

    /// Whether it takes a slot unless a request fails.
    pub(in crate::log) fn always_lands(&self) -> bool {
        !self.sourced && self.behind.is_none()
    }

    /// Drops ops that the log holds already, and requests behind a failed position of their
    /// producer. The callers of the latter get the error at once.
    pub(in crate::log) fn deduplicate(&mut self, marks: &HighWaterMarks, failed: &mut Failed) {
        if !self.sourced {
            return;
        }
        let mut before: HashMap<String, u128> = HashMap::new();
        let mut ops = std::mem::take(&mut self.ops).into_iter();
        let entries = std::mem::take(&mut self.entries);
        let mut changes = false;
        for entry in entries {
            let (entry, changed) = entry.deduplicate(&mut ops, &mut self.ops, &before, marks, failed);
            changes |= changed;
            let Some(entry) = entry else { continue };
            for (mark, position) in entry.marks() {
                raise(&mut before, mark, position);
            }
            self.entries.push(entry);
        }
        if changes {
            self.encode_again();
        }
    }

    /// The encoded ops; `None` if there is nothing to write.
    pub(in crate::log) fn body(&self) -> Result<Option<&SegmentBody>> {
        self.body.as_ref().map(Option::as_ref).map_err(|error| error.clone().into())
    }

    /// Whether there is anything to write.
    pub(in crate::log) fn is_left(&self) -> Result<bool> {
        Ok(self.body()?.is_some())
    }

    /// The segment for a slot behind `passed` slots of other collections; `None` if there is
    /// nothing to write.
    pub(in crate::log) fn seal(
        &self,
        shard: &Shard,
        writer: Uid,
        slot: Sequence,
        passed: u32,
    ) -> Result<Option<Encoded>> {
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

    /// Uploads the segment ahead for a slot. If that fails, or the batch gets another slot, the
    /// upload happens when the slot is created.
    pub(in crate::log) async fn stage(&mut self, shard: &Shard, writer: Uid, slot: Sequence) {
        // The creation of the slot reports the error again.
        let Ok(Some(segment)) = self.seal(shard, writer, slot, 0) else { return };
        match shard.store().stage(&shard.layout().segment(slot), &segment.chunks).await {
            Ok(staged) => self.ahead = staged.map(|staged| (slot, staged)),
            Err(error) => tracing::debug!(%error, "a segment could not be uploaded ahead"),
        }
    }

    /// Creates the segment in a slot. Completes the upload ahead if it was for the same slot.
    pub(in crate::log) async fn create(&mut self, shard: &Shard, writer: Uid, slot: Sequence, passed: u32) -> Creation {
        // A segment uploaded ahead follows one of its own writer.
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

    /// Aborts the upload without waiting. A sweep removes its remains.
    fn give_up_ahead(&mut self) {
        if let Some((_, staged)) = self.ahead.take() {
            env::spawn(staged.give_up());
        }
    }

    /// The high-water marks that it leaves in the log.
    pub(in crate::log) fn marks(&self) -> Vec<SourceMark> {
        let mut highest: HashMap<&str, u128> = HashMap::new();
        for (mark, position) in self.entries.iter().flat_map(BatchEntry::marks) {
            highest.entry(mark).and_modify(|highest| *highest = (*highest).max(position)).or_insert(position);
        }
        let mut marks: Vec<SourceMark> =
            highest.into_iter().map(|(source, position)| SourceMark { source: source.to_owned(), position }).collect();
        marks.sort_by(|a, b| a.source.cmp(&b.source));
        marks
    }

    /// Answers every caller. After a failure, `failed` keeps the first position of each producer.
    pub(in crate::log) fn decide(mut self, result: &Result<AppendResult>, failed: &mut Failed) {
        self.give_up_ahead();
        for entry in self.entries {
            entry.decide(result, failed);
        }
        for barrier in self.barriers {
            let (Ok(()) | Err(())) = barrier.send(());
        }
    }
}
