//! The reads of a commit: the head, the marks of the log, a slot.

use deltafold_format::{Manifest, SegmentFront, Sequence};
use futures::future::join;

use super::super::super::backlog::Weight;
use super::super::super::dedup::writer_source;
use super::super::super::read::{ScanMode, read_headers};
use super::super::commit::{Content, End, LearnMode, Observation, OwnMark, Search, SlotRead, Snapshot};
use super::{Driver, Run};
use crate::env::Stopwatch;
use crate::error::Result;
use crate::head::HeadState;
use crate::shard::{Shard, Slot};

/// Bytes of headers in memory at once while the driver reads the log for its marks.
const LEARN_BYTES: u64 = 8 << 20;

impl Driver {
    /// Reads something, and checks the head beside it if `check_head` is set.
    pub(super) async fn beside<T>(
        &mut self,
        reading: impl Future<Output = Result<T>>,
        check_head: bool,
    ) -> Result<(T, Option<Sequence>)> {
        if !check_head {
            return Ok((reading.await?, None));
        }
        let (read, checked) = join(reading, check(self.shard.clone(), self.head())).await;
        let (read, head) = (read?, checked?);
        let log_start = head.head.truncated;
        self.head = Some(head);
        Ok((read, Some(log_start)))
    }

    pub(super) fn snapshot(&self, manifest: &Manifest) -> Snapshot {
        let source = writer_source(self.writer);
        let own = manifest.marks.iter().find(|mark| mark.source == source);
        let own = own.map(|mark| OwnMark {
            // The positions of a writer are the numbers of its batches.
            number: u64::try_from(mark.position).unwrap_or(u64::MAX),
            slot: mark.sequence,
        });
        Snapshot { applied: manifest.folded, own, eviction_watermark: manifest.marks_floor }
    }

    /// Learns marks and weights of the segments behind `after` from their headers, a part of the
    /// log at a time.
    pub(super) async fn learn(&mut self, after: Sequence, mode: LearnMode) -> Result<Search> {
        let mode = match mode {
            LearnMode::FromSnapshot => ScanMode::Listed,
            LearnMode::FromTail => ScanMode::Probe,
        };
        let mut last = after;
        loop {
            let read = read_headers(&self.shard, last, LEARN_BYTES, mode).await?;
            for (sequence, slot) in &read.slots {
                if let Slot::Segment(front) = slot {
                    self.marks.learn(front.header());
                    self.known.add(*sequence, Weight::of(front));
                }
                last = *sequence;
            }
            if read.swept {
                return Ok(Search::Swept);
            }
            if read.end {
                let slot = Sequence::new(last.get() + 1 + u64::from(read.foreign)).unwrap_or(last);
                return Ok(Search::At(End { slot, foreign: read.foreign }));
            }
        }
    }

    pub(super) async fn read_slot(
        &mut self,
        run: &mut Run<'_>,
        slot: Sequence,
        check_head: bool,
    ) -> Result<Observation> {
        let started = Stopwatch::start();
        let shard = self.shard.clone();
        let (read, log_start) = self.beside(shard.slot_header(slot), check_head).await?;
        let content = self.content(run, read);
        if content == Content::Absent {
            self.fairness.found_empty(&mut run.backoff, started);
        }
        Ok(Observation::Slot(SlotRead { content, log_start }))
    }

    /// The content of a slot. The header of another batch is kept until it is absorbed.
    pub(super) fn content(&self, run: &mut Run<'_>, slot: Slot<SegmentFront>) -> Content {
        run.taker = None;
        match slot {
            Slot::Absent => Content::Absent,
            Slot::Void => Content::Foreign,
            Slot::Segment(front) => {
                let header = front.header();
                let is_own = header.writer == self.writer && header.batch == run.batch.number;
                run.taker = Some(front);
                if is_own { Content::Own } else { Content::Other }
            }
        }
    }
}

/// The current head, given the one `seen` before, if any. One GET, conditional with a `seen` head.
pub(in super::super) async fn check(shard: Shard, seen: Option<HeadState>) -> Result<HeadState> {
    match seen {
        None => shard.head().await,
        Some(seen) => Ok(shard.head_unless(&seen).await?.unwrap_or(seen)),
    }
}
