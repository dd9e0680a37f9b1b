//! The lines of an object on their way into the log: runs in flight, in the order of the object.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use deltafold_format::Op;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::mpsc;

use super::lines::LineOp;
use crate::error::{Error, Result};
use crate::log::{Ack, Writer};

/// Lines of an object in flight, and their bytes, at most.
const WAITING_LINES: usize = 8_192;
const WAITING_BYTES: usize = 16 << 20;

/// Progress of an object.
#[derive(Default)]
pub(super) struct Progress {
    /// This line and all before it are in the log.
    pub(super) line: AtomicU64,
    /// Ops that were appended.
    pub(super) ops: AtomicU64,
}

/// A run in flight: its first and last line, its ops, and the bytes of its lines.
#[derive(Debug, Clone, Copy)]
struct Sent {
    first: u64,
    last: u64,
    ops: usize,
    bytes: usize,
}

/// The lines of a run that failed, with the reason. None of the lines before them is missing in the
/// log.
#[derive(Debug)]
pub(super) struct Failed {
    first: u64,
    last: u64,
    pub(super) error: Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => write!(f, "line {first}: ")?,
            (first, last) => write!(f, "lines {first} to {last}: ")?,
        }
        self.error.fmt(f)
    }
}

/// Runs in flight, in the order of their lines.
struct InFlight<'a> {
    runs: FuturesOrdered<BoxFuture<'static, (Sent, Result<Ack>)>>,
    lines: usize,
    bytes: usize,
    progress: &'a Progress,
}

impl InFlight<'_> {
    fn is_full(&self) -> bool {
        self.lines >= WAITING_LINES || self.bytes >= WAITING_BYTES
    }

    /// Notes the outcome of the first run.
    fn count(&mut self, sent: Sent, outcome: Result<Ack>) -> Result<(), Failed> {
        self.lines -= sent.ops;
        self.bytes -= sent.bytes;
        let ack = outcome.map_err(|error| Failed { first: sent.first, last: sent.last, error })?;
        self.progress.line.store(sent.last, Ordering::Relaxed);
        self.progress.ops.fetch_add(sent.ops.saturating_sub(ack.duplicates()) as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Appends runs of lines in the order of arrival, each op at the position of its line. Returns the
/// last line, or the first run that failed.
pub(super) async fn append_runs(
    writer: &Writer,
    source: &str,
    mut lines: mpsc::Receiver<Vec<LineOp>>,
    progress: &Progress,
) -> Result<u64, Failed> {
    let mut flight = InFlight { runs: FuturesOrdered::new(), lines: 0, bytes: 0, progress };
    let (mut last, mut is_open) = (0, true);
    loop {
        // Acknowledgements come first. They keep the progress current: `stop` may come at any time.
        let run = tokio::select! {
            biased;
            Some((sent, outcome)) = flight.runs.next(), if !flight.runs.is_empty() => {
                flight.count(sent, outcome)?;
                continue;
            }
            run = lines.recv(), if is_open && !flight.is_full() => run,
            else => return Ok(last),
        };
        is_open = run.is_some();
        if let Some((sent, ops)) = run.and_then(positioned) {
            last = sent.last;
            flight.lines += sent.ops;
            flight.bytes += sent.bytes;
            let acknowledged = writer.start_run(source, ops);
            flight.runs.push_back(async move { (sent, acknowledged.await) }.boxed());
        }
    }
}

/// The ops of a run, each at the position of its line. `None` if there are none.
fn positioned(run: Vec<LineOp>) -> Option<(Sent, Vec<(u128, Op)>)> {
    let (first, last) = (run.first()?.line, run.last()?.line);
    let sent = Sent { first, last, ops: run.len(), bytes: run.iter().map(|line| line.bytes).sum() };
    Some((sent, run.into_iter().map(|LineOp { line, op, .. }| (line.into(), op)).collect()))
}
