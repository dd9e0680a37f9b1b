//! Whether a slot that was created counts: the look at the head before an acknowledgement, and what is done where the slot was swept.

use deltafold_format::Sequence;

use super::super::batch::Batch;
use super::super::writer_source;
use super::{Placer, unknown};
use crate::error::{Repr, Result};
use crate::head::HeadState;
use crate::shard::Shard;
use crate::simulation::Guard;

impl Placer {
    /// Slot `n`, or the one before it that was refused, lies below what is truncated: whatever is there now is never read. Yet an attempt may have landed *before* that, been folded and swept. Every
    /// writer is a source itself, so the manifest knows: then where the batch is. Else `None`: it is in neither, and the tail is to be looked up anew.
    pub(super) async fn look_up(&mut self, batch: &mut Batch, n: Sequence) -> Result<Option<Sequence>> {
        let refused = batch.refused.filter(|refused| *refused != n);
        let (_, manifest) = self.shard.current().await?;
        let source = writer_source(self.writer);
        let mark = manifest.marks.iter().find(|mark| mark.source == source && Guard::WriterMark.holds());
        let number = u128::from(batch.number);
        match mark {
            Some(mark) if mark.position == number => {
                // Nowhere else an attempt can have counted. The mark may name a later slot: that of a batch before this one, which was placed anew behind it.
                let slot = match refused {
                    None => n,
                    Some(refused) if mark.sequence == refused => refused,
                    Some(_) if mark.sequence == n => n,
                    Some(_) => {
                        return Err(unknown(&"it was folded from one of two slots, and which one was forgotten"));
                    }
                };
                self.shard.settle_head().await?;
                batch.refused = None;
                return Ok(Some(slot));
            }
            // The batch behind it was on its way already. Whether that one landed alone, nothing tells.
            Some(mark) if mark.position > number => return Err(unknown(&"a later batch of the writer was folded")),
            _ if manifest.marks_floor >= refused.unwrap_or(n).min(n) => {
                return Err(unknown(&"so many writers came since that the manifest forgot this one"));
            }
            _ => {}
        }
        batch.refused = None;
        self.forget();
        Ok(None)
    }

    /// Waits for an acknowledgement: slot `n` counts if the head, read after it was created, does not truncate it. `seen` is that head, `None` where it is the one
    /// known. Where it does truncate it, the batch is placed anew. Returns where the batch is at last.
    ///
    /// Without this, a writer that slept while its slot was folded and swept would report success for what nobody will ever read: create-if-absent only
    /// remembers what still exists.
    pub(in crate::log) async fn confirm(
        &mut self,
        batch: &mut Batch,
        n: Sequence,
        seen: Option<HeadState>,
    ) -> Result<Sequence> {
        let (mut n, mut seen) = (n, seen);
        loop {
            let head = match seen.take().or_else(|| self.head()) {
                Some(head) => head,
                // Forgotten, as a batch before this one failed.
                None => self.shard.head().await.map_err(|error| unknown(&error))?,
            };
            if let Some(tail) = &mut self.tail {
                tail.head.clone_from(&head);
            }
            if n >= head.head.truncated || !Guard::HeadCheck.holds() {
                return Ok(n);
            }
            tracing::info!(shard = %self.shard.id(), slot = n.get(), "the slot was swept before; appending anew");
            let placed = match self.look_up(batch, n).await {
                Ok(Some(folded)) => return Ok(folded),
                Ok(None) => self.place(batch).await,
                Err(error) => Err(error),
            };
            // It landed once, though where nobody reads: no other answer than "unknown" is safe for a failure.
            let placed = placed.map_err(|error| unknown(&error))?;
            n = placed.unwrap_or(n);
            if placed.is_none() {
                return Ok(n);
            }
            seen = check(self.shard.clone(), self.head()).await?;
        }
    }
}

/// The head, if it has changed since it was seen: what an acknowledgement waits for. An error leaves open whether what landed counts.
pub(in crate::log) async fn check(shard: Shard, seen: Option<HeadState>) -> Result<Option<HeadState>> {
    let Some(seen) = seen else { return Ok(None) };
    shard.head_unless(&seen).await.map_err(|error| match error.repr() {
        Repr::Dropped(_) => error,
        _ => unknown(&error),
    })
}
