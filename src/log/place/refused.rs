//! Who has a slot that was refused, and whether that decides anything: a refusal may be the echo of this writer's own success, and what stands in a slot counts only if it was not swept.

use deltafold_format::{SegmentFront, Sequence};
use futures::future::join;

use super::super::backlog::Weight;
use super::super::batch::Batch;
use super::{Glance, Placer};
use crate::error::Result;
use crate::shard::Slot;
use crate::simulation::Guard;

/// What became of a slot that was to be created and exists.
pub(super) enum Taken {
    /// The batch is in the log: here, or where an earlier attempt landed.
    Ours(Sequence),
    /// It is somebody else's; the tail has moved on.
    Lost,
    /// It was swept, and with it perhaps an earlier attempt.
    Swept,
    /// It is gone, and was not swept: some other caller's write is under way.
    Gone,
}

impl Placer {
    /// Finds out who has a slot. Where that cannot be told it may be this batch: a refusal may be the echo of its own success, as something below tried twice.
    pub(super) async fn refused(&mut self, batch: &mut Batch, n: Sequence, seen: Option<Glance>) -> Result<Taken> {
        let taken = self.taken(batch, n, seen).await;
        batch.doubt |= taken.is_err();
        taken
    }

    /// Looks into a slot that is taken. What was seen in it before the refusal is still there, or was swept, and then whatever else is there now counts for nothing.
    async fn taken(&mut self, batch: &mut Batch, n: Sequence, seen: Option<Glance>) -> Result<Taken> {
        let (slot, swept) = match seen {
            Some(Glance { slot: slot @ Slot::Segment(_), head }) => {
                if let (Some(tail), Some(head)) = (&mut self.tail, head) {
                    tail.head = head;
                }
                let swept = batch.refused.is_some_and(|refused| self.is_known_swept(refused));
                if !swept {
                    batch.refused = None;
                }
                (slot, swept)
            }
            _ => {
                let shard = self.shard.clone();
                self.beside(batch, shard.slot_header(n)).await?
            }
        };
        if swept && let Some(landed) = self.look_up(batch, n).await? {
            return Ok(Taken::Ours(landed));
        }
        match &slot {
            Slot::Segment(front) if self.is_ours(batch, front) => Ok(Taken::Ours(n)),
            Slot::Absent => {
                let head = self.shard.head().await?;
                Ok(if n < head.head.truncated { Taken::Swept } else { Taken::Gone })
            }
            slot => {
                let decides = self.marks.is_some() || batch.doubt;
                if !self.passed(batch, n, slot).await? {
                    return Ok(Taken::Swept);
                }
                if decides {
                    // Whose it is is decided, so no earlier attempt can be in it, or come.
                    batch.doubt = false;
                } else {
                    batch.refused = Some(n);
                }
                Ok(Taken::Lost)
            }
        }
    }

    /// Reads something, and looks at the head beside that if a refusal is to be decided. True where the slot was swept, so that who was seen in it tells nothing.
    pub(super) async fn beside<T>(
        &mut self,
        batch: &mut Batch,
        reading: impl Future<Output = Result<T>>,
    ) -> Result<(T, bool)> {
        let Some(refused) = batch.refused else { return Ok((reading.await?, false)) };
        let (read, swept) = join(reading, self.is_swept(refused)).await;
        let (read, swept) = (read?, swept?);
        if !swept {
            batch.refused = None;
        }
        Ok((read, swept))
    }

    /// Decides a refusal. Where the slot was swept since, the refusal may have been the echo of a success: then where the batch is, if it is in the log.
    pub(super) async fn decide_refused(&mut self, batch: &mut Batch) -> Result<Option<Sequence>> {
        let Some(refused) = batch.refused else { return Ok(None) };
        if self.is_swept(refused).await? {
            return self.look_up(batch, refused).await;
        }
        batch.refused = None;
        Ok(None)
    }

    fn is_ours(&self, batch: &Batch, front: &SegmentFront) -> bool {
        let header = front.header();
        header.writer == self.writer && header.batch == batch.number && Guard::BatchId.holds()
    }

    /// Slot `n` is somebody else's: what it holds of the batch's sources is not appended again. False where it was swept, so that nothing in it counts: somebody may
    /// have left it there who slept through the sweep, and an earlier attempt of this batch may have been there before.
    pub(super) async fn passed(&mut self, batch: &mut Batch, n: Sequence, slot: &Slot<SegmentFront>) -> Result<bool> {
        if (self.marks.is_some() || batch.doubt) && self.is_swept(n).await? {
            return Ok(false);
        }
        if let Slot::Segment(front) = slot {
            self.turns.taken(front.header().writer, n);
            self.known.add(n, Weight::of(front));
            if let Some(marks) = &mut self.marks {
                marks.learn(front.header());
                batch.sift(marks, &mut self.failed);
            }
            self.pass(n);
        } else {
            self.pass_foreign(n);
        }
        Ok(true)
    }
}
