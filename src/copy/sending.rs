//! Ops on their way into the target. A few calls wait together, and the target's log keeps their
//! order.

use deltafold_format::{Action, Op};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};

use crate::compact::KeepUp;
use crate::error::{ErrorKind, Result};
use crate::log::{Ack, Writer};

/// Calls in flight at most.
const MAX_CALLS: usize = 64;
/// Bytes of ops in flight at most. A writer takes twice as much, even at the smallest limit of
/// memory.
const MAX_BYTES: usize = 16 << 20;

/// An acknowledged call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) ops: u64,
    pub(super) duplicates: u64,
    /// Whether some of the ops may be repetitions.
    pub(super) may_repeat: bool,
    bytes: usize,
}

pub(super) struct Sending {
    writer: Writer,
    keep_up: KeepUp,
    waiting: FuturesOrdered<BoxFuture<'static, (Sent, Result<Ack>)>>,
    bytes: usize,
}

impl Sending {
    pub(super) fn new(writer: Writer, keep_up: KeepUp) -> Self {
        Self { writer, keep_up, waiting: FuturesOrdered::new(), bytes: 0 }
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether more ops should wait for acknowledgements.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_CALLS || self.bytes >= MAX_BYTES
    }

    /// Hands over ops, each with its position in the source.
    pub(super) fn push(&mut self, source: &str, ops: Vec<(u128, Op)>, may_repeat: bool) {
        if ops.is_empty() {
            return;
        }
        let bytes = ops.iter().map(|(_, op)| bytes_of(op)).sum();
        let sent = Sent { ops: ops.len() as u64, duplicates: 0, may_repeat, bytes };
        let acknowledged = self.writer.start_run(source, ops);
        self.bytes += bytes;
        self.waiting.push_back(Box::pin(async move { (sent, acknowledged.await) }));
    }

    /// Hands over ops without effect, all at one position, and waits for them.
    pub(super) async fn note(&mut self, source: &str, position: u128, ops: Vec<Op>) -> Result<Ack> {
        self.writer.append_from(source, position, ops).await
    }

    /// The next acknowledgement; `None` if nothing waits. A caller that drops the future loses
    /// none.
    pub(super) async fn next(&mut self) -> Option<Result<Sent>> {
        let (sent, acked) = self.waiting.next().await?;
        self.bytes -= sent.bytes;
        Some(acked.map(|ack| Sent { duplicates: ack.duplicates() as u64, ..sent }))
    }

    /// Folds the target's log if it is too long.
    pub(super) async fn keep_up(&mut self) -> Result<()> {
        let lags = self.writer.lags();
        if !self.keep_up.is_due(&lags) {
            return Ok(());
        }
        match self.keep_up.fold(&lags).await {
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable | ErrorKind::Unknown) => {
                tracing::warn!(%error, "the target's log could not be folded; the copy tries again later");
                Ok(())
            }
            folded => folded.map(drop),
        }
    }
}

/// Estimated bytes of memory of an op.
pub(super) fn bytes_of(op: &Op) -> usize {
    let embedding = op.action.embedding().map_or(0, |embedding| size_of_val(&embedding[..]));
    let document = match &op.action {
        Action::Put(record) | Action::Add(record) => record.document.as_ref().map_or(0, String::len),
        Action::Upsert(patch) | Action::Patch(patch) => patch.document.value().map_or(0, String::len),
        Action::Delete => 0,
    };
    256 + op.id.len() + embedding + document
}
