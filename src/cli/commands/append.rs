//! `append`: ops from files or standard input, each line exactly once.
//!
//! Every line is appended under a source position: the source's name and the line's number. Whatever became of a run that was broken
//! off, the same lines under the same source take effect once. That is why a failure can name a command to go on with.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use clap::Args;
use deltafold::format::CollectionName;
use deltafold::{Ack, Env as _, ErrorKind, System, Writer, WriterOptions};
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::json;
use tokio::sync::watch;

use crate::cli::context::{Context, quoted};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::input::{Event, Input, read};
use crate::cli::output::Progress;
use crate::cli::output::units::{self, bytes, count, counted};

/// Lines that may wait for their acknowledgement.
const MAX_LINES: usize = 16_384;
/// Their bytes. The writer takes eight times as much before it says that it is busy.
const MAX_BYTES: usize = 16 << 20;
/// How long a segment waits for lines after its first, unless somebody waits for acknowledgements: few lines that come together are to cost the
/// requests of one append. Where many come, one is on its way meanwhile in any case.
const LINGER: Duration = Duration::from_millis(2);

/// Append ops, one a line, from files or standard input
#[derive(Debug, Args)]
#[command(
    after_help = "A line: {\"op\":\"put|upsert|add|patch|delete\",\"id\":…,\"embedding\":[…],\"metadata\":{…},\"document\":…}\n\
    In `patch` and `upsert` a null metadata value removes the key, and a null embedding or document is cleared."
)]
pub(crate) struct Append {
    /// The collection
    collection: CollectionName,
    /// Files, plain or compressed (zstd, gzip); `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// Leave out the lines before this one, counted from 1; with one file
    #[arg(long, value_name = "N", default_value_t = 1)]
    from_line: u64,
    /// Name the source: a line that was appended under this name and number before is not applied again; with one file
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Say with every acknowledgement, on a line of its own, up to which line the input is durable
    #[arg(long)]
    acks: bool,
}

/// What became of the lines of one input.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    /// The last line such that it and all before it are acknowledged.
    line: u64,
    /// Ops acknowledged.
    ops: u64,
    /// Of them, ops that the log held already.
    duplicates: u64,
    /// Bytes of their lines.
    bytes: u64,
}

impl Append {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.files.len() > 1 && (self.from_line > 1 || self.source.is_some()) {
            return Err(Failure::new(Exit::Usage, "`--from-line` and `--source` go with one file")
                .help("append the files one by one"));
        }
        let collection = context.collection(&self.collection).await?;
        let linger = if self.acks { Duration::ZERO } else { LINGER };
        let writer = collection.writer(WriterOptions { linger, ..WriterOptions::default() })?;
        let run = System.uid();
        let inputs: Vec<Input> = self.files.iter().map(|path| Input::of(path)).collect();
        let total = inputs.iter().map(Input::len).sum();
        let mut progress = Progress::new(context.output, "appending", "op", total);
        let stop = stop_on_interrupt();
        let mut sum = Tally::default();
        let mut read_before = 0;
        for (index, input) in inputs.iter().enumerate() {
            let source = match &self.source {
                Some(source) => source.clone(),
                None if inputs.len() == 1 => format!("run-{run}"),
                None => format!("run-{run}.{}", index + 1),
            };
            let rest = inputs.get(index + 1..).unwrap_or_default();
            let job = Job { context, command: &self, input, rest, source, stop: stop.clone() };
            let events = read(input, self.from_line, collection.config().rules(), stop.clone())?;
            let tally = job.run(&writer, events, &mut progress, sum, read_before).await?;
            read_before += input.len().unwrap_or(0);
            sum.ops += tally.ops;
            sum.duplicates += tally.duplicates;
            sum.bytes += tally.bytes;
        }
        writer.close().await?;
        self.report(context, &sum, &progress)
    }

    fn report(&self, context: &Context, sum: &Tally, progress: &Progress) -> Outcome {
        let elapsed = progress.elapsed();
        if context.output.json {
            let report = json!({
                "collection": self.collection.as_str(),
                "ops": sum.ops,
                "duplicates": sum.duplicates,
                "bytes": sum.bytes,
                "seconds": elapsed.as_secs_f64(),
            });
            let output = context.output;
            return Ok(if self.acks { output.json_line(&report) } else { output.document(&report) }?);
        }
        let took = units::duration(elapsed);
        let rates = progress.rates(sum.ops, sum.bytes, elapsed);
        let again = if sum.duplicates > 0 {
            format!("; {} of them had been appended before", count(sum.duplicates))
        } else {
            String::new()
        };
        Ok(context.output.line(format!("appended to {} in {took}: {rates}{again}", self.collection))?)
    }
}

/// Becomes true once the user interrupts.
fn stop_on_interrupt() -> watch::Receiver<bool> {
    let (set, stop) = watch::channel(false);
    #[expect(clippy::disallowed_methods, reason = "waits for a signal beside the command, and decides nothing else")]
    tokio::spawn(async move {
        // Where signals cannot be had, the program ends on them without ceremony.
        if tokio::signal::ctrl_c().await.is_ok() {
            set.send_replace(true);
        }
        set.closed().await;
    });
    stop
}

/// One input of a run.
struct Job<'a> {
    context: &'a Context,
    command: &'a Append,
    input: &'a Input,
    /// The inputs after this one.
    rest: &'a [Input],
    source: String,
    stop: watch::Receiver<bool>,
}

/// A line on its way: its number, its bytes, and what became of it.
type Sent = (u64, usize, deltafold::Result<Ack>);
type Waiting<'a> = FuturesOrdered<Pin<Box<dyn Future<Output = Sent> + Send + 'a>>>;

impl Job<'_> {
    /// Appends all lines in order. On a failure everything before it is acknowledged first, as far as the store goes along.
    async fn run(
        &self,
        writer: &Writer,
        mut events: tokio::sync::mpsc::Receiver<Event>,
        progress: &mut Progress,
        sum: Tally,
        read_before: u64,
    ) -> Outcome<Tally> {
        let mut stop = self.stop.clone();
        let mut waiting = Waiting::new();
        let mut waiting_bytes = 0;
        let mut tally = Tally { line: self.command.from_line.saturating_sub(1), ..Tally::default() };
        let mut read = 0;
        let end = loop {
            let room = waiting.len() < MAX_LINES && waiting_bytes < MAX_BYTES;
            let event = tokio::select! {
                Some(sent) = waiting.next(), if !waiting.is_empty() => {
                    let mut settled = Some(sent);
                    while let Some(sent) = settled {
                        waiting_bytes -= sent.1;
                        tally = self.settle(sent, tally)?;
                        settled = waiting.next().now_or_never().flatten();
                    }
                    self.acknowledged(&tally)?;
                    progress.at(read_before + read, sum.ops + tally.ops, sum.bytes + tally.bytes);
                    continue;
                }
                event = events.recv(), if room => event.unwrap_or(Event::End),
                // Standard input may be silent for ever.
                _ = stop.wait_for(|stop| *stop) => Event::Interrupted,
            };
            let batch = match event {
                Event::Lines(batch) => batch,
                Event::End => break Ok(()),
                Event::Interrupted => break Err(Failure::new(Exit::Interrupted, "interrupted")),
                Event::Failed(failure) => break Err(failure),
            };
            read = batch.read;
            for (number, length, op) in batch.lines {
                let source = &self.source;
                let mut append = Box::pin(async move {
                    (number, length, writer.append_from(source, u128::from(number), vec![op]).await)
                });
                // The first poll hands the op to the writer: so the log has the order of the lines.
                match futures::poll!(&mut append) {
                    std::task::Poll::Ready(sent) => waiting.push_back(Box::pin(std::future::ready(sent))),
                    std::task::Poll::Pending => waiting.push_back(append),
                }
                waiting_bytes += length;
            }
        };
        while let Some(sent) = waiting.next().await {
            tally = self.settle(sent, tally)?;
        }
        self.acknowledged(&tally)?;
        match end {
            Ok(()) => Ok(tally),
            Err(failure) => Err(self.stopped(failure, tally)),
        }
    }

    /// Tells a script how far it has come.
    fn acknowledged(&self, tally: &Tally) -> Outcome {
        let output = self.context.output;
        if !self.command.acks || tally.ops == 0 {
            return Ok(());
        }
        if output.json {
            let input = self.input.name();
            return Ok(output.json_line(&json!({ "input": input, "acknowledged_line": tally.line, "ops": tally.ops }))?);
        }
        Ok(output.line(format_args!("line {} and all before it are acknowledged", tally.line))?)
    }

    fn settle(&self, (number, length, outcome): Sent, tally: Tally) -> Outcome<Tally> {
        match outcome {
            Ok(ack) => Ok(Tally {
                line: number,
                ops: tally.ops + 1,
                duplicates: tally.duplicates + u64::from(ack.is_duplicate()),
                bytes: tally.bytes + length as u64,
            }),
            Err(error) => {
                let kind = error.kind();
                let mut failure = Failure::from(error);
                if kind == ErrorKind::Unknown {
                    failure = failure.help("going on as below finds out: a line that took effect does not do so again");
                }
                Err(self.stopped(failure, tally))
            }
        }
    }

    /// A failure, with what is acknowledged and how to go on.
    fn stopped(&self, failure: Failure, tally: Tally) -> Failure {
        let next = tally.line + 1;
        let command = format!(
            "deltafold {}append {} {} --source {} --from-line {next}",
            self.context.store_option(),
            self.command.collection,
            quoted(&self.input.name()),
            quoted(&self.source),
        );
        let acknowledged = if tally.line >= self.command.from_line {
            format!(
                "line {} and all before it are acknowledged: {}, {}",
                tally.line,
                counted(tally.ops, "op"),
                bytes(tally.bytes)
            )
        } else {
            "nothing of this input was appended".to_owned()
        };
        let failure = failure
            .detail("input", self.input.name())
            .detail("acknowledged_ops", tally.ops)
            .detail("source", self.source.as_str())
            .detail("resume_from_line", next)
            .help(acknowledged)
            .help(format!("resume with: {command}"));
        if self.rest.is_empty() {
            return failure;
        }
        let rest: Vec<String> = self.rest.iter().map(|input| quoted(&input.name())).collect();
        failure.help(format!("then append the rest: {}", rest.join(" ")))
    }
}
