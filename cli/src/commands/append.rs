//! `append`: appends ops from files or standard input, each line exactly once. A row of a file of
//! columns is a line, too.
//!
//! It appends each line under a source position: the source's name and the line's number. The same
//! lines under the same source take effect once, even after a run that broke off. So a failure can
//! name a command to resume with. It names none where the acknowledged lines may be wrong
//! themselves.

mod failure;

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use clap::Args;
use deltafold::format::{CollectionName, Sequence, ShardId};
use deltafold::{Ack, Collection, Env as _, ErrorKind, System, Writer, WriterOptions};
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::json;

use crate::backlog::{BacklogArguments, Keeper};
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::{Event, Input, Reading, Trust, read};
use crate::output::Progress;
use crate::output::units::{self, count};
use crate::signals::{self, Stop};

/// Lines in flight at most.
const MAX_LINES: usize = 16_384;
/// Bytes of lines in flight at most. The writer takes eight times as much before it reports that it
/// is busy.
const MAX_BYTES: usize = 16 << 20;
/// A segment waits this long for lines after its first, unless a caller waits for acknowledgements.
/// A few lines that come together then cost the requests of one append.
const LINGER: Duration = Duration::from_millis(2);

/// Append ops, one a line, from files or standard input; or records, one a row, from Parquet and
/// Arrow files
#[derive(Debug, Args)]
#[command(
    after_help = "A line: {\"op\":\"put|upsert|add|patch|delete\",\"id\":…,\"embedding\":[…],\"metadata\":{…},\"document\":…}\n\
    In `patch` and `upsert` a null metadata value removes the key, and a null embedding or document is cleared.\n\n\
    A row of a `.parquet`, `.arrow` or `.feather` file puts a record. Columns are found by name: id; embedding or \
    vector; document or text; all others are metadata."
)]
pub(crate) struct Append {
    /// The collection
    collection: CollectionName,
    /// Files, plain or compressed (zstd, gzip: read and checked whole first); `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// Skip the lines (or rows) before this one, counted from 1; with one file
    #[arg(long, value_name = "N", default_value_t = 1)]
    from_line: u64,
    /// Name the source: a line takes effect once under one name and number; with one file
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The columns of Parquet and Arrow files, where their names do not tell: `FIELD=COLUMN,…` of
    /// id, embedding, document, revision, metadata. `metadata` may come often, and is then all
    /// metadata; `id=@row` takes the number of the row
    #[cfg(feature = "columnar")]
    #[arg(long, value_name = "FIELD=COLUMN,…", default_value = "")]
    columns: deltafold::columnar::Columns,
    /// Print a line with every acknowledgement: the last line up to which the input is durable
    #[arg(long)]
    acks: bool,
    #[command(flatten)]
    backlog: BacklogArguments,
}

/// The outcome of the lines of one input.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    /// This line and all before it are acknowledged.
    line: u64,
    /// Ops acknowledged.
    ops: u64,
    /// Of these, the ops that the log held already.
    duplicates: u64,
    /// Bytes of their lines.
    bytes: u64,
    /// The first of them in the log.
    first: Option<(ShardId, Sequence)>,
}

impl Append {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.files.len() > 1 && (self.from_line > 1 || self.source.is_some()) {
            return Err(Failure::new(Exit::Usage, "`--from-line` and `--source` go with one file")
                .help("append the files one by one"));
        }
        let collection = context.collection(&self.collection).await?;
        let linger = if self.acks { Duration::ZERO } else { LINGER };
        let options = self.backlog.writer(WriterOptions::default().linger(linger));
        let writer = collection.writer(options)?;
        let mut keeper = Keeper::new(&collection, &self.backlog, context.output);
        let run = System.uid();
        let inputs: Vec<Input> = self.files.iter().map(|path| Input::of(path)).collect();
        let total = inputs.iter().map(Input::len).sum();
        let mut progress = Progress::new(context.output, "appending", "op", total);
        let stop = signals::listen();
        let mut sum = Tally::default();
        let mut read_before = 0;
        let mut unchecked = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let source = match &self.source {
                Some(source) => source.clone(),
                None if inputs.len() == 1 => format!("run-{run}"),
                None => format!("run-{run}.{}", index + 1),
            };
            let rest = inputs.get(index + 1..).unwrap_or_default();
            let reading = self.reading(input, &collection, stop.clone())?;
            if reading.lacks_checksum {
                unchecked.push(input.name());
                let name = input.name();
                context
                    .output
                    .note(format!("`{name}` carries no checksum: damage that leaves it readable goes unnoticed"));
            }
            let trust = reading.trust;
            let job = Job { context, command: &self, input, rest, source, stop: stop.clone(), trust };
            let tally = job.run(&writer, &mut keeper, reading, &mut progress, sum, read_before).await?;
            read_before += input.len().unwrap_or(0);
            sum.ops += tally.ops;
            sum.duplicates += tally.duplicates;
            sum.bytes += tally.bytes;
        }
        // Every line is acknowledged. The user may interrupt the remaining folds.
        let mut stop = stop;
        tokio::select! {
            folded = keeper.finish(&writer) => folded?,
            _ = stop.wait_for(Option::is_some) => {}
        }
        writer.close().await?;
        self.report(context, &sum, &progress, &unchecked)
    }

    fn reading(&self, input: &Input, collection: &Collection, stop: Stop) -> Outcome<Reading> {
        let (rules, memory) = (collection.config().rules(), collection.memory());
        if !input.is_table() {
            return read(input, self.from_line, rules, memory, stop);
        }
        #[cfg(feature = "columnar")]
        if let Some(format) = deltafold::columnar::TableFormat::of_name(&input.name()) {
            return crate::input::read_table(input, format, &self.columns, self.from_line, rules, memory, stop);
        }
        let problem = format!("this program was built without Parquet and Arrow, so it cannot read `{}`", input.name());
        Err(Failure::new(Exit::Usage, problem).help("build it with the feature `columnar`"))
    }

    fn report(&self, context: &Context, sum: &Tally, progress: &Progress, unchecked: &[String]) -> Outcome {
        let elapsed = progress.elapsed();
        if context.output.json {
            let report = json!({
                "collection": self.collection.as_str(),
                "ops": sum.ops,
                "duplicates": sum.duplicates,
                "bytes": sum.bytes,
                "seconds": elapsed.as_secs_f64(),
                "without_checksum": unchecked,
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

/// One input of a run.
struct Job<'a> {
    context: &'a Context,
    command: &'a Append,
    input: &'a Input,
    /// The inputs after this one.
    rest: &'a [Input],
    source: String,
    stop: Stop,
    /// The trust in its lines before its end was read.
    trust: Trust,
}

/// Lines in flight together.
#[derive(Debug, Clone, Copy)]
struct Sent {
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
    async fn run(
        &self,
        writer: &Writer,
        keeper: &mut Keeper,
        mut reading: Reading,
        progress: &mut Progress,
        sum: Tally,
        read_before: u64,
    ) -> Outcome<Tally> {
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
                        tally = self.count(sent, outcome, tally)?;
                        next = waiting.next().now_or_never().flatten();
                    }
                    self.acknowledged(&tally)?;
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
            let batch = match event {
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
            let sent = Sent { last: batch.last, ops: batch.ops.len(), bytes: batch.bytes };
            let source = &self.source;
            let mut append = Box::pin(async move { (sent, writer.append_run(source, batch.ops).await) });
            // The first poll hands the ops to the writer, so the log has the order of the lines.
            match futures::poll!(&mut append) {
                std::task::Poll::Ready(sent) => waiting.push_back(Box::pin(std::future::ready(sent))),
                std::task::Poll::Pending => waiting.push_back(append),
            }
            waiting_lines += sent.ops;
            waiting_bytes += sent.bytes;
        };
        while let Some((sent, outcome)) = waiting.next().await {
            tally = self.count(sent, outcome, tally)?;
        }
        self.acknowledged(&tally)?;
        match end {
            Ok(()) => Ok(tally),
            Err((failure, trust)) => Err(self.stopped(failure, tally, trust)),
        }
    }

    fn asked_to_stop(&self) -> Failure {
        let signal = *self.stop.borrow();
        let exit = signal.map_or(Exit::Interrupted, signals::Signal::exit);
        Failure::new(exit, if exit == Exit::Terminated { "terminated" } else { "interrupted" })
    }

    /// Prints the last acknowledged line, for scripts.
    fn acknowledged(&self, tally: &Tally) -> Outcome {
        let output = self.context.output;
        if !self.command.acks || tally.ops == 0 {
            return Ok(());
        }
        if output.json {
            let input = self.input.name();
            return Ok(output.json_line(&json!({ "input": input, "acknowledged_line": tally.line, "ops": tally.ops }))?);
        }
        let unit = self.input.unit();
        Ok(output.line(format_args!("{unit} {} and all before it are acknowledged", tally.line))?)
    }

    /// Adds an outcome to the tally.
    fn count(&self, sent: Sent, outcome: deltafold::Result<Ack>, tally: Tally) -> Outcome<Tally> {
        match outcome {
            Ok(ack) => Ok(Tally {
                first: tally.first.or_else(|| ack.segments().first().copied()),
                line: sent.last,
                ops: tally.ops + sent.ops as u64,
                duplicates: tally.duplicates + ack.duplicates() as u64,
                bytes: tally.bytes + sent.bytes as u64,
            }),
            Err(error) => {
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
