//! Appends with back-pressure: a call waits for room instead of failing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use deltafold::format::Op;
use deltafold::{Ack, Error, IdempotencyKey, Writer};
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Failure;
use crate::input::source::Source;
use crate::report::Acks;

/// Bytes of one permit.
const UNIT: usize = 1 << 10;
/// Chunks of one call on their way.
const ON_THE_WAY: usize = 3;

/// A writer, and the room for ops that wait for their acknowledgement.
#[derive(Clone)]
pub(crate) struct Appends {
    writer: Writer,
    room: Arc<Semaphore>,
    units: u32,
}

/// The identity of the ops of a call, by which they take effect once.
pub(crate) enum Identity {
    None,
    /// All ops at one position of a source.
    At(String, u128),
    /// Each op at a position of its own.
    Run(String, Vec<u128>),
    /// A change with an idempotency key.
    Change(String, u128),
}

type Appending = Pin<Box<dyn Future<Output = (usize, Result<Ack, Error>)> + Send>>;

impl Appends {
    /// `bytes`: the most that may wait. The writer itself takes twice as much before it refuses.
    pub(crate) fn new(writer: Writer, bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX >> 4).max(1);
        Self { writer, room: Arc::new(Semaphore::new(units as usize)), units }
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Waits for room for these ops.
    async fn room(&self, ops: &[Op]) -> Result<OwnedSemaphorePermit, Failure> {
        let bytes: usize = ops.iter().map(size).sum();
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units);
        self.room.clone().acquire_many_owned(units).await.map_err(|_| Failure::Closed)
    }

    /// Hands ops over in the order of the calls. The future waits for their acknowledgement.
    pub(crate) async fn hand_over(&self, ops: Vec<Op>, identity: Identity) -> Result<Appending, Failure> {
        let room = self.room(&ops).await?;
        let (writer, count) = (self.writer.clone(), ops.len());
        let mut appending: Appending = Box::pin(async move {
            let ack = match identity {
                Identity::None => writer.append(ops).await,
                Identity::At(source, position) => writer.append_from(&source, position, ops).await,
                Identity::Run(source, positions) => {
                    writer.append_run(&source, positions.into_iter().zip(ops).collect()).await
                }
                Identity::Change(source, position) => {
                    writer.append_change(&IdempotencyKey { source, position }, ops).await
                }
            };
            drop(room);
            (count, ack)
        });
        // The first poll hands the ops over, which fixes their order.
        match futures::poll!(&mut appending) {
            std::task::Poll::Ready(done) => Ok(Box::pin(std::future::ready(done))),
            std::task::Poll::Pending => Ok(appending),
        }
    }

    /// Appends all ops of a source in order, and waits for their acknowledgement.
    pub(crate) async fn append_all(&self, mut source: Source) -> Result<Acks, Failure> {
        let mut acks = Acks::default();
        let mut on_the_way = FuturesOrdered::new();
        let ended = loop {
            let ops = match source.next().await {
                Ok(ops) => ops,
                Err(failure) => break Err(failure),
            };
            if ops.is_empty() {
                break Ok(());
            }
            if on_the_way.len() >= ON_THE_WAY
                && let Some(done) = on_the_way.next().await
                && let Err(failure) = settle(&mut acks, done)
            {
                break Err(failure);
            }
            match self.hand_over(ops, Identity::None).await {
                Ok(appending) => on_the_way.push_back(appending),
                Err(failure) => break Err(failure),
            }
        };
        // Those on their way are decided before the call ends, also after a failure.
        let mut ended = ended;
        while let Some(done) = on_the_way.next().await {
            let settled = settle(&mut acks, done);
            ended = ended.and(settled);
        }
        match ended {
            Ok(()) => Ok(acks),
            Err(failure) => Err(failure.after(acks.ops())),
        }
    }
}

fn settle(acks: &mut Acks, (ops, ack): (usize, Result<Ack, Error>)) -> Result<(), Failure> {
    acks.add(&ack?, ops);
    Ok(())
}

/// Estimated bytes of an op.
fn size(op: &Op) -> usize {
    let (metadata, document) = match &op.action {
        deltafold::format::Action::Put(record) | deltafold::format::Action::Add(record) => {
            (record.metadata.len(), record.document.as_ref().map_or(0, String::len))
        }
        deltafold::format::Action::Upsert(patch) | deltafold::format::Action::Patch(patch) => {
            (patch.metadata.len(), patch.document.value().map_or(0, String::len))
        }
        deltafold::format::Action::Delete => (0, 0),
    };
    let embedding = op.action.embedding().map_or(0, |embedding| embedding.len() * 4);
    64 + op.id.len() + embedding + document + metadata * 48
}
