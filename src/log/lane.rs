//! A lane: the task that appends to one shard for all callers of a writer. While one segment is on its way, the calls that come
//! gather for the next: group commit.

use std::sync::{Arc, Mutex, PoisonError};

use deltafold_format::{Sequence, Uid};
use tokio::sync::mpsc;

use super::backlog::Lag;
use super::batch::Batch;
use super::gather::Message;
use super::intake::Intake;
use super::place::{Placer, check};
use super::writer::WriterOptions;
use crate::error::Result;
use crate::shard::Shard;

/// A batch that is in a slot which no head was checked for yet.
struct Unconfirmed {
    batch: Batch,
    slot: Sequence,
}

/// See the module.
pub(super) struct Lane {
    placer: Placer,
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
        let placer = Placer::new(shard.clone(), writer, options.max_backlog);
        Self { placer, intake: Intake::new(shard, writer, options, calls), lag: Arc::default() }
    }

    /// Says there how far folding is behind.
    pub(super) fn telling(self, lag: Arc<Mutex<Option<Lag>>>) -> Self {
        Self { lag, ..self }
    }

    /// Appends until all senders are gone and everything they sent is decided.
    pub(super) async fn run(mut self) {
        let mut unconfirmed: Option<Unconfirmed> = None;
        while let Some(mut batch) = self.intake.next_batch().await {
            let placed = match unconfirmed.take() {
                None => self.place(&mut batch).await,
                Some(earlier) => {
                    let checking = check(self.placer.shard().clone(), self.placer.head());
                    let (placed, checked) = futures::future::join(self.place(&mut batch), checking).await;
                    self.confirm(earlier, checked).await;
                    placed
                }
            };
            match placed {
                Ok(Some(slot)) if self.overlaps(&batch) => unconfirmed = Some(Unconfirmed { batch, slot }),
                Ok(Some(slot)) => {
                    let checked = check(self.placer.shard().clone(), self.placer.head()).await;
                    self.confirm(Unconfirmed { batch, slot }, checked).await;
                }
                placed => {
                    self.tell();
                    batch.decide(&placed, &mut self.placer.failed);
                }
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

    async fn confirm(&mut self, landed: Unconfirmed, checked: Result<Option<crate::head::HeadState>>) {
        let Unconfirmed { mut batch, slot } = landed;
        let confirmed = match checked {
            Ok(seen) => self.placer.confirm(&mut batch, slot, seen).await.map(Some),
            Err(error) => Err(error),
        };
        match &confirmed {
            Ok(_) => self.tell(),
            Err(error) => {
                tracing::warn!(%error, shard = %self.placer.shard().id(), "an append failed");
                self.placer.forget();
            }
        }
        batch.decide(&confirmed, &mut self.placer.failed);
    }

    fn tell(&mut self) {
        if let Some(lag) = self.placer.lag() {
            *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = Some(lag);
        }
    }

    /// Places a batch, and gets those behind it ready meanwhile.
    async fn place(&mut self, batch: &mut Batch) -> Result<Option<Sequence>> {
        self.intake.expect(self.placer.slot_behind(batch));
        self.intake.meanwhile(self.placer.place(batch)).await
    }
}
