//! `append`: appends ops from files or standard input, each line exactly once. A row of a file of
//! columns is a line, too.
//!
//! It appends each line under a source position: the source's name and the line's number. The same
//! lines under the same source take effect once, even after a run that broke off. So a failure can
//! name a command to resume with. It names none where the acknowledged lines may be wrong
//! themselves.

mod failure;
mod rejects;

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use clap::Args;
use deltafold::format::{CollectionName, Sequence, ShardId};
use deltafold::jsonl::DefaultOp;
use deltafold::{Ack, Collection, Env as _, ErrorKind, System, Writer, WriterOptions};
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::json;

use crate::backlog::{BacklogArguments, Keeper};
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::{Batch, Event, Input, Reading, Rules, Trust, read};
use crate::output::Progress;
use crate::output::units::{self, count};
use crate::quote::quoted_path;
use crate::signals::{self, Stop};
use rejects::Rejects;

/// Lines in flight at most.
const MAX_LINES: usize = 16_384;
/// Bytes of lines in flight at most. The writer takes eight times as much before it reports that it
/// is busy.
const MAX_BYTES: usize = 16 << 20;
/// A segment waits this long for lines after its first, unless a caller waits for acknowledgements.
/// A few lines that come together then cost the requests of one append.
const LINGER: Duration = Duration::from_millis(2);

/// Lines in a file of rejects, unless `--max-rejects` sets another limit.
const MAX_REJECTS: u64 = 1_000_000;

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
    /// The op of lines that name none, such as those of `deltafold scan`: put, add, upsert or patch
    #[arg(long, value_name = "OP", value_parser = default_op)]
    op: Option<DefaultOp>,
    /// Turn lines away that are not ops, and go on: they are written to this file, each with its
    /// number, reason, field and text. The exit code is then 7
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Stop at the line that would be one more in the file of rejects; 8 bytes of memory each
    #[arg(long, value_name = "N", default_value_t = MAX_REJECTS, requires = "rejects")]
    max_rejects: u64,
    /// Print a line with every acknowledgement: the last line up to which the input is durable
    #[arg(long)]
    acks: bool,
    #[command(flatten)]
    backlog: BacklogArguments,
}

fn default_op(name: &str) -> Result<DefaultOp, String> {
    let found = DefaultOp::ALL.into_iter().find(|op| op.name() == name);
    found.ok_or_else(|| "expected put, add, upsert or patch".to_owned())
}

/// The outcome of the lines of one input.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    /// The unit of its ops, if any was read.
    unit: &'static str,
    /// This line and all before it are acknowledged.
    line: u64,
    /// Ops acknowledged.
    ops: u64,
    /// Of these, the ops that the log held already.
    duplicates: u64,
    /// Bytes of their lines.
    bytes: u64,
    /// Lines that an earlier run turned away.
    passed_over: u64,
    /// The first of them in the log.
    first: Option<(ShardId, Sequence)>,
}

impl Append {
    /// The options that a command to resume with must repeat.
    fn again(&self) -> String {
        let mut options = String::new();
        if let Some(op) = self.op {
            options.push_str(&format!(" --op {}", op.name()));
        }
        if let Some(path) = &self.rejects {
            options.push_str(&format!(" --rejects {}", quoted_path(path.as_os_str())));
            if self.max_rejects != MAX_REJECTS {
                options.push_str(&format!(" --max-rejects {}", self.max_rejects));
            }
        }
        options
    }

    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.files.len() > 1 && (self.from_line > 1 || self.source.is_some()) {
            return Err(Failure::new(Exit::Usage, "`--from-line` and `--source` go with one file")
                .help("append the files one by one"));
        }
        let collection = context.collection(&self.collection).await?;
        let rejects = self.rejects.as_ref();
        let mut rejects =
            rejects.map(|path| Rejects::open(path, self.source.as_deref(), self.max_rejects)).transpose()?;
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
            let reading = self.reading(input, &collection, rejects.as_ref(), stop.clone())?;
            if reading.lacks_checksum {
                unchecked.push(input.name());
                let name = input.name();
                context
                    .output
                    .note(format!("`{name}` carries no checksum: damage that leaves it readable goes unnoticed"));
            }
            let trust = reading.trust;
            let job = Job { context, command: &self, input, rest, source, stop: stop.clone(), trust };
            let load =
                Load { writer: &writer, keeper: &mut keeper, rejects: rejects.as_mut(), progress: &mut progress };
            let tally = job.run(load, reading, sum, read_before).await?;
            read_before += input.len().unwrap_or(0);
            sum.ops += tally.ops;
            sum.duplicates += tally.duplicates;
            sum.bytes += tally.bytes;
            sum.passed_over += tally.passed_over;
        }
        // Every line is acknowledged. The user may interrupt the remaining folds.
        let mut stop = stop;
        tokio::select! {
            folded = keeper.finish(&writer) => folded?,
            _ = stop.wait_for(Option::is_some) => {}
        }
        writer.close().await?;
        self.report(context, &sum, rejects.as_ref(), &progress, &unchecked)?;
        match rejects.filter(|rejects| rejects.held() > 0) {
            Some(rejects) => {
                Err(rejects.turned_away(&format!("deltafold {}append {}", context.store_option(), self.collection)))
            }
            None => Ok(()),
        }
    }

    fn reading(
        &self,
        input: &Input,
        collection: &Collection,
        rejects: Option<&Rejects>,
        stop: Stop,
    ) -> Outcome<Reading> {
        let memory = collection.memory();
        let rules = Rules {
            rules: collection.config().rules(),
            default: self.op,
            goes_on: rejects.is_some(),
            turned_away: rejects.map_or_else(Default::default, Rejects::before),
        };
        let Some(table) = input.table() else { return read(input, self.from_line, rules, memory, stop) };
        #[cfg(feature = "columnar")]
        {
            use deltafold::columnar::TableFormat;
            let format = match table {
                crate::input::Table::Parquet => TableFormat::Parquet,
                crate::input::Table::Arrow => TableFormat::Arrow,
            };
            crate::input::read_table(input, format, &self.columns, self.from_line, rules, memory, stop)
        }
        #[cfg(not(feature = "columnar"))]
        Err(self.without_columns(input, table))
    }

    #[cfg(not(feature = "columnar"))]
    fn without_columns(&self, input: &Input, _: crate::input::Table) -> Failure {
        let problem = format!("this program was built without Parquet and Arrow, so it cannot read `{}`", input.name());
        Failure::new(Exit::Usage, problem).help("build it with the feature `columnar`")
    }

    fn report(
        &self,
        context: &Context,
        sum: &Tally,
        rejects: Option<&Rejects>,
        progress: &Progress,
        unchecked: &[String],
    ) -> Outcome {
        let rejected = rejects.map_or(0, Rejects::added);
        let elapsed = progress.elapsed();
        if context.output.json {
            let report = json!({
                "collection": self.collection.as_str(),
                "ops": sum.ops,
                "duplicates": sum.duplicates,
                "bytes": sum.bytes,
                "rejected": rejected,
                "rejected_before": sum.passed_over,
                "rejects": rejects.map(|rejects| rejects.path().display().to_string()),
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
        let away = match (rejected, sum.passed_over) {
            (0, 0) => String::new(),
            (rejected, 0) => format!("; {} turned away", count(rejected)),
            (rejected, before) => format!("; {} turned away, and {} before", count(rejected), count(before)),
        };
        Ok(context.output.line(format!("appended to {} in {took}: {rates}{again}{away}", self.collection))?)
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

/// The parts of a run that its inputs share.
struct Load<'a> {
    writer: &'a Writer,
    keeper: &'a mut Keeper,
    rejects: Option<&'a mut Rejects>,
    progress: &'a mut Progress,
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
    async fn run(&self, load: Load<'_>, mut reading: Reading, sum: Tally, read_before: u64) -> Outcome<Tally> {
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
                None => Ok(None),
            };
            let full = match full {
                Ok(full) => full,
                Err(failure) => break Err((failure, self.trust)),
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
    /// in front of a line for which the file has no room, and returns the failure.
    fn turn_away(&self, rejects: &mut Rejects, batch: &mut Batch) -> Outcome<Option<Failure>> {
        let input = self.input.name();
        for (index, reject) in batch.rejects.iter().enumerate() {
            if !rejects.has_room() {
                let full = rejects.full(&input, batch.unit, reject);
                let number = reject.number;
                batch.ops.retain(|(op, _)| *op < u128::from(number));
                batch.rejects.truncate(index);
                batch.last = number.saturating_sub(1);
                return Ok(Some(full));
            }
            rejects.add(&self.source, &input, std::slice::from_ref(reject))?;
        }
        Ok(None)
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
