//! An attempt to create a slot, and the pause after a failed one.

use std::pin::pin;

use deltafold_format::{SegmentFront, Sequence};
use futures::FutureExt;
use futures::future::{Either, select, try_join};

use super::super::batch::Creation;
use super::super::commit::{Created, Observation, SlotRead};
use super::{Driver, Run, check};
use crate::env::{self, Stopwatch};
use crate::error::{Error, Repr, Result};
use crate::head::HeadState;
use crate::shard::Slot;
use crate::store::StoreErrorKind;

impl Driver {
    /// Creates the batch in a slot. Reads the slot meanwhile if the fairness policy asks for a
    /// speculative read.
    pub(super) async fn create(&mut self, run: &mut Run<'_>, slot: Sequence, foreign: u32) -> Result<Observation> {
        let read_after = self.fairness.speculative_read(&run.backoff);
        let (shard, head) = (self.shard.clone(), self.head());
        let check_head = run.state.has_refusal();
        let started = Stopwatch::start();
        let creating = run.batch.create(&shard, self.writer, slot, foreign);
        let creating = env::attempting(run.failures + 1, creating).map(|created| (created, started.elapsed()));
        let reading = async {
            env::sleep(read_after.unwrap_or_default()).await;
            let head = async {
                match head {
                    seen if check_head => check(shard.clone(), seen).await.map(Some),
                    _ => Ok(None),
                }
            };
            // A failed read is repeated later if it matters.
            try_join(shard.slot_header(slot), head).await.ok()
        };
        let ((created, took), seen) = if read_after.is_some() {
            match select(pin!(creating), pin!(reading)).await {
                Either::Left((created @ (Creation::Refused, _), reading)) => (created, reading.await),
                Either::Left((created, _)) => (created, None),
                Either::Right((seen, creating)) => (creating.await, seen),
            }
        } else {
            (creating.await, None)
        };
        self.fairness.wrote(took);
        self.created(run, created, seen)
    }

    fn created(
        &mut self,
        run: &mut Run<'_>,
        created: Creation,
        seen: Option<(Slot<SegmentFront>, Option<HeadState>)>,
    ) -> Result<Observation> {
        run.taker = None;
        let created = match created {
            Creation::Done => Created::Done,
            Creation::Refused => match seen {
                Some((slot @ Slot::Segment(_), head)) => {
                    let log_start = head.as_ref().map(|head| head.head.truncated);
                    self.head = head.or(self.head.take());
                    Created::RefusedBy(SlotRead { content: self.content(run, slot), log_start })
                }
                _ => Created::Refused,
            },
            Creation::Unknown(error) => {
                run.failure = Some(error);
                Created::Unknown
            }
            Creation::Failed(error) => {
                run.failure = Some(error);
                Created::Failed
            }
            Creation::Invalid(error) => return Err(error),
        };
        Ok(Observation::Created(created))
    }
}

/// Pauses before another attempt, or gives up.
pub(super) async fn pause(run: &mut Run<'_>) -> Result<Observation> {
    let failure = run.failure.take();
    let is_hopeless = failure.as_ref().is_some_and(|error| error.kind() != StoreErrorKind::Transient);
    run.failures += 1;
    match run.pauses.next().filter(|_| !is_hopeless) {
        Some(pause) => {
            env::sleep(pause).await;
            Ok(Observation::Paused)
        }
        None => Err(failure.map_or_else(
            || Repr::Conflict("the slot at the log's end comes and goes; try again".to_owned()).into(),
            Error::from,
        )),
    }
}
