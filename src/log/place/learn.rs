//! Finding the end of the log, and what it holds of sources.

use deltafold_format::Sequence;

use super::super::backlog::{Known, Weight};
use super::super::batch::Batch;
use super::super::marks::Marks;
use super::super::tail::{Free, Tail, find_tail, read_headers};
use super::{KnownTail, Placer};
use crate::error::Result;
use crate::shard::{Shard, Slot};
use crate::simulation::Guard;

/// Bytes of headers in memory at once while the log is read for its sources.
const LEARN_BYTES: u64 = 8 << 20;

impl Placer {
    /// Knows the tail, and of a batch from sources what the log holds of them.
    pub(super) async fn find(&mut self, batch: &mut Batch) -> Result<()> {
        while self.tail.is_none() {
            let head = self.shard.head().await?;
            self.shard.settle_registers().await?;
            if let Some(Free { slot: next, passed }) = find_tail(&self.shard, head.head.folded).await? {
                self.tail = Some(KnownTail { next, passed, head });
                self.marks = None;
            }
        }
        if batch.sourced() {
            if self.marks.is_none() {
                self.learn_all().await?;
            }
            if let Some(marks) = &self.marks {
                batch.sift(marks, &mut self.failed);
            }
        }
        Ok(())
    }

    /// Reads what manifest and log hold of the sources, up to the end of the log.
    async fn learn_all(&mut self) -> Result<()> {
        loop {
            let (head, manifest) = self.shard.current().await?;
            let mut marks = Marks::of(&manifest);
            let (free, swept) =
                learn_behind(&self.shard, &mut marks, &mut self.known, manifest.folded, Tail::Cold).await?;
            // What was folded and swept since the manifest was read may have been overlooked, and what stands in a swept slot may be anything.
            let now = self.shard.head_unless(&head).await?;
            let kept = !swept && now.is_none_or(|now| now.head.truncated <= manifest.folded.next());
            if kept || !Guard::MarksRecheck.holds() {
                let Free { slot: next, passed } = free;
                self.marks = Some(marks);
                self.tail = Some(KnownTail { next, passed, head });
                return Ok(());
            }
        }
    }

    /// Whether slot `n` lies below what is truncated by now. One conditional GET. If not, what was read of it before is the log's.
    pub(super) async fn is_swept(&mut self, n: Sequence) -> Result<bool> {
        let Some(tail) = &mut self.tail else { return Ok(true) };
        if let Some(head) = self.shard.head_unless(&tail.head).await? {
            tail.head = head;
        }
        Ok(self.is_known_swept(n))
    }

    /// The same by the head that was seen last.
    pub(super) fn is_known_swept(&self, n: Sequence) -> bool {
        self.tail.as_ref().is_none_or(|tail| n < tail.head.head.truncated) && Guard::PassedIsRead.holds()
    }

    /// Moves on to the end of the log.
    pub(super) async fn catch_up(&mut self, batch: &mut Batch) -> Result<()> {
        let Some(tail) = &mut self.tail else { return Ok(()) };
        let before = tail.next.get().saturating_sub(1 + u64::from(tail.passed));
        let before = Sequence::new(before).unwrap_or_default();
        if let Some(mut marks) = self.marks.take() {
            let next = tail.next;
            let (free, swept) = learn_behind(&self.shard, &mut marks, &mut self.known, before, Tail::Probe).await?;
            (tail.next, tail.passed) = (free.slot, free.passed);
            if swept || self.is_swept(next).await? {
                self.forget();
            } else {
                batch.sift(&marks, &mut self.failed);
                self.marks = Some(marks);
            }
        } else {
            let shard = self.shard.clone();
            let (found, _) = self.beside(batch, find_tail(&shard, before)).await?;
            if let (Some(tail), Some(free)) = (&mut self.tail, found) {
                (tail.next, tail.passed) = (free.slot, free.passed);
            }
        }
        Ok(())
    }
}

/// Learns marks and weights of the segments behind `after` from their headers, a part of the log at a
/// time. Returns the slot behind them, and whether one of them was swept.
async fn learn_behind(
    shard: &Shard,
    marks: &mut Marks,
    known: &mut Known,
    after: Sequence,
    how: Tail,
) -> Result<(Free, bool)> {
    let mut last = after;
    loop {
        let read = read_headers(shard, last, LEARN_BYTES, how).await?;
        for (sequence, slot) in &read.slots {
            if let Slot::Segment(front) = slot {
                marks.learn(front.header());
                known.add(*sequence, Weight::of(front));
            }
            last = *sequence;
        }
        if read.swept || read.end {
            let slot = Sequence::new(last.get() + 1 + u64::from(read.foreign)).unwrap_or(last);
            return Ok((Free { slot, passed: read.foreign }, read.swept));
        }
    }
}
