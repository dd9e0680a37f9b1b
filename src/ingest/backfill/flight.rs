//! Ops on their way into the log, in the order of their positions.

use deltafold_format::Op;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesOrdered, StreamExt as _};

use crate::error::Result;
use crate::log::{Ack, Writer};

/// Ops in flight at most.
const WAITING_OPS: usize = 16_384;

/// The size of a run in flight.
#[derive(Debug, Clone, Copy)]
struct Sent {
    ops: usize,
    bytes: usize,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Landed {
    pub(super) ops: u64,
    /// Ops that the log held already.
    pub(super) duplicates: u64,
}

pub(super) struct Flight<'a> {
    writer: &'a Writer,
    source: &'a str,
    runs: FuturesOrdered<BoxFuture<'static, (Sent, Result<Ack>)>>,
    ops: usize,
    bytes: usize,
    most_bytes: usize,
}

impl<'a> Flight<'a> {
    pub(super) fn new(writer: &'a Writer, source: &'a str, most_bytes: usize) -> Self {
        Self { writer, source, runs: FuturesOrdered::new(), ops: 0, bytes: 0, most_bytes }
    }

    pub(super) fn has_room(&self) -> bool {
        self.ops < WAITING_OPS && self.bytes < self.most_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Hands ops to the writer. `bytes` estimates their size.
    pub(super) fn send(&mut self, ops: Vec<(u128, Op)>, bytes: usize) {
        let sent = Sent { ops: ops.len(), bytes };
        self.ops += sent.ops;
        self.bytes += sent.bytes;
        let acknowledged = self.writer.start_run(self.source, ops);
        self.runs.push_back(async move { (sent, acknowledged.await) }.boxed());
    }

    /// The outcome of the first run. Must not be called without one.
    pub(super) async fn next(&mut self) -> Result<Landed> {
        let Some((sent, outcome)) = self.runs.next().await else { return futures::future::pending().await };
        self.ops -= sent.ops;
        self.bytes -= sent.bytes;
        let ack = outcome?;
        let duplicates = ack.duplicates();
        Ok(Landed { ops: sent.ops.saturating_sub(duplicates) as u64, duplicates: duplicates as u64 })
    }
}
