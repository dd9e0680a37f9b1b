//! The appender of a shard: the task that appends for all callers of a writer.
//!
//! Requests queue while a segment is in flight, and share the next one: group commit. A request
//! goes through these files:
//!
//! | file | part |
//! |---|---|
//! | `request` | one caller's ops for the shard, and the bytes that may wait |
//! | `builder` | the requests of the next segment |
//! | `queue` | batches in their order, encoded and uploaded ahead |
//! | `batch`, `entry` | a batch, and what of each request in it is written |
//! | `run` | a request whose ops have a position each |
//! | `commit` | the pure machine that decides where the batch lands |
//! | `driver` | the requests to the store that the machine asks for |
//! | `fairness` | when to try, among many writers |

mod ahead;
mod batch;
mod builder;
pub(crate) mod commit;
mod driver;
mod entry;
mod fairness;
mod group;
mod queue;
mod request;
mod run;

use std::sync::{Arc, Mutex, PoisonError};

use deltafold_format::Uid;
use tokio::sync::mpsc;

pub(super) use builder::Message;
pub(super) use group::ChangeGroup;
pub(super) use request::{Answer, AppendRequest, AppendResult, Permit, Positions, Producer, bytes_of};

use super::backlog::Lag;
use super::options::WriterOptions;
use crate::error::Result;
use crate::head::HeadState;
use crate::shard::Shard;
use batch::Batch;
use driver::{Driver, Landed, Progress, check};
use queue::BatchQueue;

/// A batch in a slot that no head was checked for yet.
struct Unconfirmed {
    batch: Batch,
    landed: Landed,
}

/// See the module.
pub(super) struct Appender {
    driver: Driver,
    queue: BatchQueue,
    /// Receives the backlog of the shard.
    lag: Arc<Mutex<Option<Lag>>>,
}

impl Appender {
    pub(super) fn new(
        shard: Shard,
        writer: Uid,
        options: WriterOptions,
        requests: mpsc::UnboundedReceiver<Message>,
        lag: Arc<Mutex<Option<Lag>>>,
    ) -> Self {
        let driver = Driver::new(shard.clone(), writer, options.max_backlog);
        Self { driver, queue: BatchQueue::new(shard, writer, options, requests), lag }
    }

    /// Appends until all senders are gone and every request is decided.
    pub(super) async fn run(mut self) {
        let mut unconfirmed: Option<Unconfirmed> = None;
        while let Some(mut batch) = self.queue.next_batch().await {
            let progress = match unconfirmed.take() {
                None => self.commit(&mut batch).await,
                Some(earlier) => {
                    let checking = check(self.driver.shard().clone(), self.driver.head());
                    let (progress, checked) = futures::future::join(self.commit(&mut batch), checking).await;
                    self.confirm(earlier, checked).await;
                    progress
                }
            };
            match progress {
                Progress::Landed(landed) if self.overlaps(&batch) => unconfirmed = Some(Unconfirmed { batch, landed }),
                Progress::Landed(landed) => {
                    let checked = check(self.driver.shard().clone(), self.driver.head()).await;
                    self.confirm(Unconfirmed { batch, landed }, checked).await;
                }
                Progress::Decided(decided) => self.decide(batch, &decided),
            }
        }
    }

    /// Whether the check of a landed batch runs beside the next commit, not in front of it.
    ///
    /// That helps only if the next batch is full anyway. Otherwise the callers that the check
    /// releases could not join it any more. Batches of producers never overlap. A slot found swept
    /// would put its batch behind the next one, and with it two positions of one producer in the
    /// wrong order.
    fn overlaps(&self, batch: &Batch) -> bool {
        batch.always_lands() && self.queue.next_always_lands() == Some(true)
    }

    async fn confirm(&mut self, unconfirmed: Unconfirmed, checked: Result<HeadState>) {
        let Unconfirmed { mut batch, landed } = unconfirmed;
        let decided = self.driver.confirm(&mut batch, landed, checked).await;
        if let Err(error) = &decided {
            tracing::warn!(%error, shard = %self.driver.shard().id(), "an append failed");
        }
        self.decide(batch, &decided);
    }

    /// Answers the callers, and publishes the backlog.
    fn decide(&mut self, batch: Batch, decided: &Result<AppendResult>) {
        if let Some(lag) = self.driver.lag() {
            *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = Some(lag);
        }
        batch.decide(decided, &mut self.driver.failed);
    }

    /// Commits a batch, and prepares those behind it meanwhile.
    async fn commit(&mut self, batch: &mut Batch) -> Progress {
        self.queue.expect(self.driver.slot_behind(batch));
        self.queue.meanwhile(self.driver.commit(batch)).await
    }
}
