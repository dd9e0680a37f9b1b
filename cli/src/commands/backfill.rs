//! `backfill`: takes over the items of a DynamoDB table from an export or a scan.

use std::path::PathBuf;

use clap::Args;
use deltafold::format::CollectionName;
use deltafold::ingest::{
    BackfillError, BackfillOptions, Backfilled, Export, ExportKind, Items, RefusedItem, Scan, backfill,
};
use deltafold::{Collection, Env as _, System, WriterOptions};
use serde_json::{Value, json};

use crate::backlog::BacklogArguments;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Progress;
use crate::output::units::{count, counted, duration};
use crate::signals;

/// Take over the items of a DynamoDB table: from an export to S3, or from the output of a scan
#[derive(Debug, Args)]
#[command(
    after_help = "An export is the folder AWSDynamoDB/ID with its manifests, full or incremental, in DynamoDB JSON. \
    Every file is compared with its checksum before its first item is appended. The same command again goes on where \
    one stopped, and no item takes effect twice.\n\n\
    The stream of the table must have been switched on before the export began. In a collection ordered by revision \
    its consumer may run meanwhile. In log order start the consumer when this has ended, at the stream's beginning."
)]
pub(crate) struct Backfill {
    /// The collection
    collection: CollectionName,
    /// The mapping file, the same as for the stream of the table
    #[arg(long, value_name = "FILE")]
    mapping: PathBuf,
    #[command(flatten)]
    input: InputArguments,
    /// Read, map and count, and append nothing
    #[arg(long)]
    dry_run: bool,
    /// In log order: begin although the collection holds ops. Items replace newer states of their
    /// records
    #[arg(long)]
    over_existing: bool,
    /// The revision of all items, where the mapping takes revisions from the stream [default: the
    /// time of the export in microseconds; 0 for a scan]
    #[arg(long, value_name = "N")]
    revision: Option<u128>,
    /// The name of the source: an item takes effect once under one name and place [default: that of
    /// the export; a digest of the scan]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    backlog: BacklogArguments,
}

/// The items to take over.
#[derive(Debug, Clone, Args)]
struct InputArguments {
    /// An export: s3://BUCKET/PREFIX/AWSDynamoDB/ID, with the parameters of a store; or a folder
    #[arg(long, value_name = "ADDRESS", conflicts_with = "scan")]
    export: Option<String>,
    /// The output of `aws dynamodb scan`: pages, or items one a line, plain or gzip; `-` is
    /// standard input
    #[arg(long, value_name = "FILE")]
    scan: Option<PathBuf>,
    /// The name of the table that was scanned, for rules with `table`
    #[arg(long, value_name = "NAME", requires = "scan")]
    table: Option<String>,
}

impl InputArguments {
    async fn open(&self) -> Outcome<Items> {
        match (&self.export, &self.scan) {
            (Some(address), _) => Ok(Items::Export(Export::open(address).await.map_err(failure)?)),
            (None, Some(path)) if path.as_os_str() == "-" => {
                let source = format!("scan-{}", System.uid());
                Ok(Items::Scan(Scan::new("-", source, std::io::stdin()).of_table(self.table.clone())))
            }
            (None, Some(path)) => {
                let scan = tokio::task::block_in_place(|| Scan::open(path)).map_err(failure)?;
                Ok(Items::Scan(scan.of_table(self.table.clone())))
            }
            (None, None) => Err(Failure::new(Exit::Usage, "name the items: `--export ADDRESS` or `--scan FILE`")),
        }
    }
}

impl Backfill {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let mapping = super::map::read_mapping(&self.mapping)?;
        let collection = context.collection(&self.collection).await?;
        let items = self.input.open().await?;
        let about = About::of(&items);
        let options = BackfillOptions::default()
            .source(self.source.clone())
            .revision(self.revision)
            .over_existing(self.over_existing)
            .dry_run(self.dry_run)
            .writer(self.backlog.writer(WriterOptions::default()))
            .keep_up(self.backlog.folds_beyond());
        let word = if self.dry_run { "checking" } else { "backfilling" };
        let mut progress = Progress::new(context.output, word, "item", about.items);
        let mut last = Backfilled::default();
        let stop = signals::listen();
        let mut stopping = stop.clone();
        let stopped = async move {
            if stopping.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let outcome = backfill(&collection, &mapping, items, &options, stopped, |done| {
            progress.at(done.resumed + done.items, done.items, done.bytes);
            last.clone_from(done);
        });
        let done = match outcome.await {
            Ok(done) if done.finished => done,
            Ok(done) => {
                let signal = *stop.borrow();
                let exit = signal.map_or(Exit::Interrupted, signals::Signal::exit);
                let word = signal.map_or("interrupted", signals::Signal::word);
                return Err(remaining(Failure::new(exit, word), &done));
            }
            Err(error) => return Err(remaining(failure(error), &last)),
        };
        self.tell(context, &collection, &about, &done, &progress)?;
        if done.refused > 0 {
            let failure = Failure::new(Exit::BadInput, format!("{} refused", counted(done.refused, "item")));
            return Err(failure
                .detail("refused", done.refused)
                .help("mend the mapping or the items; a rule leaves items out by `match` and `unless`"));
        }
        Ok(())
    }

    fn tell(
        &self,
        context: &Context,
        collection: &Collection,
        about: &About,
        done: &Backfilled,
        progress: &Progress,
    ) -> Outcome {
        let output = context.output;
        if output.json {
            let refused: Vec<Value> = done.first_refused.iter().map(document).collect();
            return Ok(output.document(&json!({
                "collection": self.collection.as_str(),
                "kind": about.kind,
                "table": about.table,
                "time": about.time,
                "dry_run": self.dry_run,
                "items": done.items,
                "resumed": done.resumed,
                "ops": done.ops,
                "duplicates": done.duplicates,
                "skipped": done.skipped,
                "refused": done.refused,
                "first_refused": refused,
                "bytes": done.bytes,
                "seconds": progress.elapsed().as_secs_f64(),
            }))?);
        }
        for item in &done.first_refused {
            output.note(item.to_string());
        }
        let items = counted(done.items, "item");
        let took = duration(progress.elapsed());
        let appended = if self.dry_run { "would be appended" } else { "appended" };
        let mut line = format!(
            "{items} of {} in {took}: {} {appended} to {}",
            about.what(),
            counted(done.ops, "op"),
            self.collection
        );
        for (number, what) in [
            (done.skipped, "skipped by the mapping"),
            (done.duplicates, "appended before"),
            (done.resumed, "in files that were taken over before"),
        ] {
            if number > 0 {
                line.push_str(&format!("; {} {what}", count(number)));
            }
        }
        output.line(line)?;
        if !self.dry_run && done.refused == 0 {
            self.tell_next(context, collection, about);
        }
        Ok(())
    }

    /// The next step: the stream of the table.
    fn tell_next(&self, context: &Context, collection: &Collection, about: &About) {
        let since: &str = match &about.time {
            Some(time) => time.as_str(),
            None => "the scan began",
        };
        context.output.note(if collection.config().ordering.is_revision() {
            format!("the stream's changes count above this state; the stream must have been on before {since}")
        } else {
            format!("start the consumer of the stream now, at a place of the stream before {since}; it must not have run until now")
        });
    }
}

/// The input, for messages.
struct About {
    kind: &'static str,
    table: Option<String>,
    time: Option<String>,
    items: Option<u64>,
}

impl About {
    fn of(items: &Items) -> Self {
        match items {
            Items::Export(export) => {
                let kind = if export.kind() == ExportKind::Incremental { "incremental_export" } else { "full_export" };
                let (table, time) = (Some(export.table().to_owned()), Some(export.time().to_owned()));
                Self { kind, table, time, items: Some(export.items()) }
            }
            _ => Self { kind: "scan", table: None, time: None, items: None },
        }
    }

    fn what(&self) -> String {
        match (&self.table, &self.time) {
            (Some(table), Some(time)) if self.kind == "full_export" => format!("table {table} as of {time}"),
            (Some(table), Some(time)) => format!("the changes of table {table} up to {time}"),
            _ => "the scan".to_owned(),
        }
    }
}

fn document(item: &RefusedItem) -> Value {
    json!({ "file": item.file, "line": item.line, "key": item.key, "reason": item.reason })
}

fn failure(error: BackfillError) -> Failure {
    match error {
        BackfillError::Failed(error) => error.into(),
        BackfillError::Missing(reason) => Failure::new(Exit::NotFound, reason),
        BackfillError::Refused(item) => Failure::new(Exit::BadInput, &item)
            .detail("file", item.file)
            .detail("line", item.line)
            .detail("key", item.key)
            .detail("reason", item.reason)
            .help("mend the mapping or the item; `--dry-run` names all items that are refused"),
        other => Failure::new(Exit::BadInput, other),
    }
}

/// A failure with what is in the log by then.
fn remaining(failure: Failure, done: &Backfilled) -> Failure {
    let failure = failure.detail("ops", done.ops).detail("items", done.items).detail("resumed", done.resumed);
    if done.ops + done.duplicates + done.resumed == 0 {
        return failure;
    }
    let before = count(done.ops + done.duplicates);
    failure.help(format!("{before} ops are in the log; the same command again goes on, and none takes effect twice"))
}
