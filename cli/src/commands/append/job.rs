//! The append of one input: its lines in flight, in order, and those that are turned away.

use std::pin::Pin;

use deltafold::format::{Sequence, ShardId};
use deltafold::{Ack, ErrorKind, Writer};
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::json;

use super::Append;
use crate::backlog::Keeper;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::{Batch, Event, Input, Reading, Rejects, Trust};
use crate::output::Progress;
use crate::signals::{self, Stop};

/// Lines in flight at most.
const MAX_LINES: usize = 16_384;
/// Bytes of lines in flight at most. The writer takes eight times as much before it reports that it
/// is busy.
const MAX_BYTES: usize = 16 << 20;
/// The outcome of the lines of one input.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    /// The unit of its ops, if any was read.
    pub(super) unit: &'static str,
    /// This line and all before it are acknowledged.
    pub(super) line: u64,
    /// Ops acknowledged.
    pub(super) ops: u64,
    /// Of these, the ops that the log held already.
    pub(super) duplicates: u64,
    /// Bytes of their lines.
    pub(super) bytes: u64,
    /// Lines that an earlier run turned away.
    pub(super) passed_over: u64,
    /// The first of them in the log.
    pub(super) first: Option<(ShardId, Sequence)>,
}

/// One input of a run.
pub(super) struct Job<'a> {
    pub(super) context: &'a Context,
    pub(super) command: &'a Append,
    pub(super) input: &'a Input,
    /// The inputs after this one.
    pub(super) rest: &'a [Input],
    pub(super) source: String,
    pub(super) stop: Stop,
    /// The trust in its lines before its end was read.
    pub(super) trust: Trust,
}

/// The parts of a run that its inputs share.
pub(super) struct Load<'a> {
    pub(super) writer: &'a Writer,
    pub(super) keeper: &'a mut Keeper,
    pub(super) rejects: Option<&'a mut Rejects>,
    pub(super) progress: &'a mut Progress,
}

/// Lines in flight together.
#[derive(Debug, Clone, Copy)]
struct Sent {
    unit: &'static str,
    passed_over: u64,
    /// The number of the last of them.
    last: u64,
    ops: usize,
    /// Bytes of the lines.
    bytes: usize,
}

/// Lines in flight, in their order, each with its outcome.
type Waiting<'a> = FuturesOrdered<Pin<Box<dyn Future<Output = (Sent, deltafold::Result<Ack>)> + Send + 'a>>>;

impl Job<'_> {
    /// Appends all lines in order. After a failure it first waits for the acknowledgements of
    /// everything before it, as far as the store cooperates.
    pub(super) async fn run(
        &self,
        load: Load<'_>,
        mut reading: Reading,
        sum: Tally,
        read_before: u64,
    ) -> Outcome<Tally> {
        let Load { writer, keeper, mut rejects, progress } = load;
        let mut stop = self.stop.clone();
        let mut waiting = Waiting::new();
        let (mut waiting_lines, mut waiting_bytes) = (0, 0);
        let mut tally = Tally { line: self.command.from_line.saturating_sub(1), ..Tally::default() };
        let mut read = 0;
        let end = loop {
            let room = waiting_lines < MAX_LINES
                && waiting_bytes < MAX_BYTES
                && !keeper.holds_back(writer, &self.command.backlog);
            let event = tokio::select! {
                Some(sent) = waiting.next(), if !waiting.is_empty() => {
                    let mut next = Some(sent);
                    while let Some((sent, outcome)) = next {
                        waiting_lines -= sent.ops;
                        waiting_bytes -= sent.bytes;
                        tally = self.count(sent, outcome, tally, &mut rejects)?;
                        next = waiting.next().now_or_never().flatten();
                    }
                    self.acknowledged(&tally, &mut rejects)?;
                    keeper.look(writer);
                    progress.at(read_before + read, sum.ops + tally.ops, sum.bytes + tally.bytes);
                    continue;
                }
                event = reading.next(), if room => event,
                folded = keeper.folded() => match folded {
                    Ok(()) => continue,
                    Err(failure) => Event::Failed(failure, self.trust),
                },
                // Standard input may stay silent for ever.
                _ = stop.wait_for(Option::is_some) => Event::Stopped,
            };
            let mut batch = match event {
                Event::Lines(batch) => batch,
                Event::Note(text) => {
                    self.context.output.note(text);
                    continue;
                }
                Event::End => break Ok(()),
                Event::Stopped => break Err((self.asked_to_stop(), self.trust)),
                Event::Failed(failure, trust) => break Err((failure, trust)),
            };
            read = batch.read;
            let full = match &mut rejects {
                Some(rejects) => self.turn_away(rejects, &mut batch),
                None => None,
            };
            let Batch { unit, passed_over, last, bytes, .. } = batch;
            let sent = Sent { unit, passed_over, last, ops: batch.ops.len(), bytes };
            let source = &self.source;
            let mut append = Box::pin(async move { (sent, writer.append_run(source, batch.ops).await) });
            // The first poll hands the ops to the writer, so the log has the order of the lines.
            match futures::poll!(&mut append) {
                std::task::Poll::Ready(sent) => waiting.push_back(Box::pin(std::future::ready(sent))),
                std::task::Poll::Pending => waiting.push_back(append),
            }
            waiting_lines += sent.ops;
            waiting_bytes += sent.bytes;
            if let Some(failure) = full {
                break Err((failure, self.trust));
            }
        };
        while let Some((sent, outcome)) = waiting.next().await {
            tally = self.count(sent, outcome, tally, &mut rejects)?;
        }
        self.acknowledged(&tally, &mut rejects)?;
        if let Some(rejects) = &mut rejects {
            rejects.flush().map_err(|failure| self.stopped(failure, tally, self.trust))?;
        }
        match end {
            Ok(()) => Ok(tally),
            Err((failure, trust)) => Err(self.stopped(failure, tally, trust)),
        }
    }

    /// Writes the rejects of a batch to their file, before its ops are on their way. Cuts the batch
    /// in front of a line that the file does not take, and returns the failure.
    fn turn_away(&self, rejects: &mut Rejects, batch: &mut Batch) -> Option<Failure> {
        let (kept, failure) = rejects.add(&self.source, &self.input.name(), batch.unit, &batch.rejects);
        if let Some(reject) = batch.rejects.get(kept) {
            let number = reject.number;
            batch.ops.retain(|(op, _)| *op < u128::from(number));
            batch.rejects.truncate(kept);
            batch.last = number.saturating_sub(1);
        }
        failure
    }

    fn asked_to_stop(&self) -> Failure {
        let signal = *self.stop.borrow();
        let exit = signal.map_or(Exit::Interrupted, signals::Signal::exit);
        Failure::new(exit, if exit == Exit::Terminated { "terminated" } else { "interrupted" })
    }

    /// Prints the last acknowledged line, for scripts.
    fn acknowledged(&self, tally: &Tally, rejects: &mut Option<&mut Rejects>) -> Outcome {
        let output = self.context.output;
        if !self.command.acks || tally.unit.is_empty() {
            return Ok(());
        }
        if let Some(rejects) = rejects {
            rejects.flush().map_err(|failure| self.stopped(failure, *tally, self.trust))?;
        }
        if output.json {
            let input = self.input.name();
            return Ok(output.json_line(&json!({ "input": input, "acknowledged_line": tally.line, "ops": tally.ops }))?);
        }
        let unit = tally.unit;
        Ok(output.line(format_args!("{unit} {} and all before it are acknowledged", tally.line))?)
    }

    /// Adds an outcome to the tally.
    fn count(
        &self,
        sent: Sent,
        outcome: deltafold::Result<Ack>,
        tally: Tally,
        rejects: &mut Option<&mut Rejects>,
    ) -> Outcome<Tally> {
        match outcome {
            Ok(ack) => Ok(Tally {
                unit: sent.unit,
                passed_over: tally.passed_over + sent.passed_over,
                first: tally.first.or_else(|| ack.segments().first().copied()),
                line: sent.last,
                ops: tally.ops + sent.ops as u64,
                duplicates: tally.duplicates + ack.duplicates() as u64,
                bytes: tally.bytes + sent.bytes as u64,
            }),
            Err(error) => {
                if let Some(rejects) = rejects {
                    rejects.flush().map_err(|failure| self.stopped(failure, tally, self.trust))?;
                }
                let kind = error.kind();
                let mut failure = Failure::from(error);
                if kind == ErrorKind::Unknown {
                    failure = failure.help("going on as below finds out: a line that took effect does not do so again");
                }
                Err(self.stopped(failure, tally, self.trust))
            }
        }
    }
}
