//! `append`: appends ops from files or standard input, each line exactly once. A row of a file of
//! columns is a line, too.
//!
//! It appends each line under a source position: the source's name and the line's number. The same
//! lines under the same source take effect once, even after a run that broke off. So a failure can
//! name a command to resume with. It names none where the acknowledged lines may be wrong
//! themselves.

mod failure;
mod job;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use deltafold::format::CollectionName;
use deltafold::jsonl::DefaultOp;
use deltafold::{Collection, Env as _, System, WriterOptions};
use serde_json::json;

use crate::backlog::{BacklogArguments, Keeper};
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::{Input, Reading, Rejects, RejectsArguments, Rules, read};
use crate::output::Progress;
use crate::output::units::{self, count};
use crate::signals::{self, Stop};
use job::{Job, Load, Tally};

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
    /// The op of lines that name none, such as those of `deltafold scan`: put, add, upsert or patch
    #[arg(long, value_name = "OP", value_parser = default_op)]
    op: Option<DefaultOp>,
    #[command(flatten)]
    rejects: RejectsArguments,
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

impl Append {
    /// The options that a command to resume with must repeat.
    fn again(&self) -> String {
        let mut options = String::new();
        if let Some(op) = self.op {
            options.push_str(&format!(" --op {}", op.name()));
        }
        #[cfg(feature = "columnar")]
        if self.columns != deltafold::columnar::Columns::default() {
            options.push_str(&format!(" --columns {}", crate::quote::quoted(&self.columns.to_string())));
        }
        options.push_str(&self.rejects.again());
        options
    }

    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.files.len() > 1 && (self.from_line > 1 || self.source.is_some()) {
            return Err(Failure::new(Exit::Usage, "`--from-line` and `--source` go with one file")
                .help("append the files one by one"));
        }
        let collection = context.collection(&self.collection).await?;
        let mut rejects = self.rejects.open(self.source.as_deref(), "line")?;
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
                let append = format!("deltafold {}append {} -", context.store_option(), self.collection);
                Err(rejects.turned_away("mend the texts in it", &append))
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
