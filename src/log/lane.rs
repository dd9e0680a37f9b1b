//! A lane: the task that appends to one shard for all callers of a writer. While one segment is on its way, the calls that come
//! gather for the next: group commit.

use std::sync::{Arc, Mutex, PoisonError};

use deltafold_format::Uid;
use tokio::sync::mpsc;

use super::appender::{Driver, Landed, Placing, check};
use super::backlog::Lag;
use super::batch::Batch;
use super::call::Placed;
use super::gather::Message;
use super::intake::Intake;
use super::writer::WriterOptions;
use crate::error::Result;
use crate::head::HeadState;
use crate::shard::Shard;

/// A batch in a slot that no head was checked for yet.
struct Unconfirmed {
    batch: Batch,
    landed: Landed,
}

/// See the module.
pub(super) struct Lane {
    driver: Driver,
    intake: Intake,
    /// Where to say how far folding is behind.
    lag: Arc<Mutex<Option<Lag>>>,
}

impl Lane {
    pub(super) fn new(
        shard: Shard,
        writer: Uid,
        options: WriterOptions,
        calls: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        let driver = Driver::new(shard.clone(), writer, options.max_backlog);
        Self { driver, intake: Intake::new(shard, writer, options, calls), lag: Arc::default() }
    }

    /// Says there how far folding is behind.
    pub(super) fn telling(self, lag: Arc<Mutex<Option<Lag>>>) -> Self {
        Self { lag, ..self }
    }

    /// Appends until all senders are gone and everything they sent is decided.
    pub(super) async fn run(mut self) {
        let mut unconfirmed: Option<Unconfirmed> = None;
        while let Some(mut batch) = self.intake.next_batch().await {
            let placing = match unconfirmed.take() {
                None => self.place(&mut batch).await,
                Some(earlier) => {
                    let checking = check(self.driver.shard().clone(), self.driver.head());
                    let (placing, checked) = futures::future::join(self.place(&mut batch), checking).await;
                    self.confirm(earlier, checked).await;
                    placing
                }
            };
            match placing {
                Placing::Landed(landed) if self.overlaps(&batch) => unconfirmed = Some(Unconfirmed { batch, landed }),
                Placing::Landed(landed) => {
                    let checked = check(self.driver.shard().clone(), self.driver.head()).await;
                    self.confirm(Unconfirmed { batch, landed }, checked).await;
                }
                Placing::Decided(decided) => self.decide(batch, &decided),
            }
        }
    }

    /// Whether the check of a batch that has landed is to run beside the next append, instead of before it.
    ///
    /// Only where the next batch is full anyway: else the callers that the check sets free could not join it any more. And never where
    /// sources are concerned: a slot found swept puts the batch behind its successor, and two positions of one source in the wrong order.
    fn overlaps(&self, batch: &Batch) -> bool {
        !batch.sourced() && self.intake.next_is_sourced() == Some(false)
    }

    async fn confirm(&mut self, landed: Unconfirmed, checked: Result<HeadState>) {
        let Unconfirmed { mut batch, landed } = landed;
        let decided = self.driver.confirm(&mut batch, landed, checked).await;
        if let Err(error) = &decided {
            tracing::warn!(%error, shard = %self.driver.shard().id(), "an append failed");
        }
        self.decide(batch, &decided);
    }

    /// Tells the callers, and how far folding is behind.
    fn decide(&mut self, batch: Batch, decided: &Result<Placed>) {
        if let Some(lag) = self.driver.lag() {
            *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = Some(lag);
        }
        batch.decide(decided, &mut self.driver.failed);
    }

    /// Places a batch, and gets those behind it ready meanwhile.
    async fn place(&mut self, batch: &mut Batch) -> Placing {
        self.intake.expect(self.driver.slot_behind(batch));
        self.intake.meanwhile(self.driver.place(batch)).await
    }
}
