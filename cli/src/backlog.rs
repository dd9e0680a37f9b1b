//! The backlog of a log that this process appends to: its options, and a fold beside the append.

use std::future::pending;

use clap::{Args, ValueEnum};
use deltafold::{BacklogLimit, Collection, CompactReport, ErrorKind, KeepUp, MemoryLimit, Writer, WriterOptions};
use tokio::task::JoinHandle;

use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use super::output::units::{count, parse_bytes};

/// A writer refuses ops at this multiple of the limit, where this process folds and falls behind.
const REFUSED_AT: u64 = 4;

/// The limits of a log, unless options set others.
const MAX_BACKLOG: u64 = 2 << 30;
const MAX_BACKLOG_OPS: u64 = 4_000_000;
const MAX_BACKLOG_SEGMENTS: u64 = 1_024;

/// The longest log that a command appends to, and the action beyond it.
#[derive(Debug, Clone, Args)]
pub(crate) struct BacklogArguments {
    /// The action where the log of a shard is over its limit
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = WhenBehind::Fold)]
    when_behind: WhenBehind,
    /// The limit, in decoded bytes of unfolded ops
    #[arg(long, value_name = "BYTES", default_value = "2GiB", value_parser = parse_bytes)]
    max_backlog: u64,
    /// The limit, in unfolded ops
    #[arg(long, value_name = "N", default_value_t = MAX_BACKLOG_OPS)]
    max_backlog_ops: u64,
    /// The limit, in unfolded segments
    #[arg(long, value_name = "N", default_value_t = MAX_BACKLOG_SEGMENTS)]
    max_backlog_segments: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WhenBehind {
    /// Fold the log beside the append, as `compact` does
    Fold,
    /// Refuse to append, with exit code 5
    Refuse,
    /// Append anyway
    GoOn,
}

impl Default for BacklogArguments {
    fn default() -> Self {
        Self {
            when_behind: WhenBehind::Fold,
            max_backlog: MAX_BACKLOG,
            max_backlog_ops: MAX_BACKLOG_OPS,
            max_backlog_segments: MAX_BACKLOG_SEGMENTS,
        }
    }
}

impl BacklogArguments {
    fn limit(&self) -> BacklogLimit {
        BacklogLimit::default().segments(self.max_backlog_segments).ops(self.max_backlog_ops).bytes(self.max_backlog)
    }

    /// The limit beyond which this process folds.
    pub(crate) fn folds_beyond(&self) -> Option<BacklogLimit> {
        (self.when_behind == WhenBehind::Fold).then(|| self.limit())
    }

    /// The options of a writer that keeps to the limit.
    pub(crate) fn writer(&self, options: WriterOptions) -> WriterOptions {
        let max_backlog = match self.when_behind {
            WhenBehind::Fold => self.limit().times(REFUSED_AT),
            WhenBehind::Refuse => self.limit(),
            WhenBehind::GoOn => BacklogLimit::NONE,
        };
        options.max_backlog(max_backlog)
    }
}

/// Folds beside an append, one fold at a time.
#[derive(Debug)]
pub(crate) struct Keeper {
    output: Output,
    /// Taken while a fold runs. `None` also where this process must not fold.
    idle: Option<KeepUp>,
    folding: Option<JoinHandle<(KeepUp, deltafold::Result<CompactReport>)>>,
    /// The last fold failed with a transient error.
    failed: bool,
    told: bool,
}

impl Keeper {
    pub(crate) fn new(collection: &Collection, arguments: &BacklogArguments, output: Output) -> Self {
        // Half of the memory, because the append goes on meanwhile.
        let half = MemoryLimit::new(collection.memory().bytes() / 2).unwrap_or(MemoryLimit::SMALLEST);
        let collection = collection.clone().with_memory(half);
        let idle = arguments.folds_beyond().map(|limit| collection.keep_up(limit));
        Self { output, idle, folding: None, failed: false, told: false }
    }

    /// Starts a fold if the log is over its limit and no fold is running.
    pub(crate) fn look(&mut self, writer: &Writer) {
        let lags = writer.lags();
        let Some(mut keep_up) = self.idle.take_if(|keep_up| keep_up.is_due(&lags)) else { return };
        if !self.told {
            self.told = true;
            let segments = lags.iter().map(|lag| lag.segments).max().unwrap_or(0);
            let text = format!("the log has {} segments that are not folded: folding it meanwhile", count(segments));
            self.output.note(text);
        }
        #[expect(clippy::disallowed_methods, reason = "folds beside the append, on another core where there is one")]
        let folding = tokio::spawn(async move {
            let folded = keep_up.fold(&lags).await;
            (keep_up, folded)
        });
        self.folding = Some(folding);
    }

    /// Whether the log is so long that the append must wait for the fold.
    pub(crate) fn holds_back(&self, writer: &Writer, arguments: &BacklogArguments) -> bool {
        let limit = arguments.limit().times(2);
        self.folding.is_some() && writer.lags().iter().any(|lag| limit.is_passed(lag))
    }

    /// Waits for the running fold, or for ever if there is none. Returns an error only if no retry
    /// mends it.
    pub(crate) async fn folded(&mut self) -> Outcome {
        let Some(folding) = &mut self.folding else { return pending().await };
        let done = folding.await;
        self.folding = None;
        let Ok((keep_up, folded)) = done else {
            return Err(Failure::new(Exit::Failed, "the fold beside the append broke off"));
        };
        self.idle = Some(keep_up);
        match folded {
            Ok(_) => self.failed = false,
            Err(error) if goes_by(error.kind()) => {
                self.failed = true;
                tracing::warn!(%error, "the log could not be folded; trying again later");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Finishes every due fold after the last append. Leaves a transient failure to the next
    /// append.
    pub(crate) async fn finish(&mut self, writer: &Writer) -> Outcome {
        self.look(writer);
        while self.folding.is_some() {
            self.folded().await?;
            if !self.failed {
                self.look(writer);
            }
        }
        Ok(())
    }
}

fn goes_by(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Conflict)
}
