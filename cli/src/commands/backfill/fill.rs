//! The items of a table on their way into a collection, for `backfill` and for the end of a reset.

use std::path::{Path, PathBuf};

use clap::Args;
use deltafold::format::CollectionName;
use deltafold::ingest::{
    BackfillError, BackfillOptions, Backfilled, Export, Items, Mapping, RefusedItem, Scan, backfill,
};
use deltafold::{Collection, Env as _, System, WriterOptions};

use super::told::{About, Told};
use crate::backlog::BacklogArguments;
use crate::commands::map::read_mapping;
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::{Reject, Rejects, RejectsArguments};
use crate::output::Progress;
use crate::output::units::count;
use crate::quote::{option, quoted, quoted_path};
use crate::signals;

/// The items to take over, and their source.
#[derive(Debug, Clone, Args)]
pub(crate) struct FillArguments {
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
    /// The revision of all items, where the mapping takes revisions from the stream [default: the
    /// time of the export in microseconds; 0 for a scan]
    #[arg(long, value_name = "N")]
    revision: Option<u128>,
    /// The name of the source: an item takes effect once under one name and place [default: that of
    /// the export; a digest of the scan]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    rejects: RejectsArguments,
}

/// The terms of a backfill.
pub(crate) struct Terms {
    pub(crate) dry_run: bool,
    pub(crate) over_existing: bool,
    pub(crate) backlog: BacklogArguments,
}

/// A backfill that is about to begin.
pub(crate) struct Fill {
    name: CollectionName,
    mapping_path: PathBuf,
    mapping: Mapping,
    arguments: FillArguments,
    items: Items,
    /// The name of the source.
    source: String,
    about: About,
    rejects: Option<Rejects>,
}

impl FillArguments {
    /// Whether one of them was given.
    #[cfg(feature = "sqs")]
    pub(crate) fn is_given(&self) -> bool {
        self.export.is_some()
            || self.scan.is_some()
            || self.revision.is_some()
            || self.source.is_some()
            || self.rejects.path().is_some()
    }

    /// Opens mapping and items. The file of rejects is only looked at.
    pub(crate) async fn open(self, name: &CollectionName, mapping_path: &Path) -> Outcome<Fill> {
        let mapping = read_mapping(mapping_path)?;
        let items = self.items().await?;
        let source = self.source.clone().unwrap_or_else(|| items.source());
        self.rejects.check(Some(&source))?;
        let (about, mapping_path) = (About::of(&items, self.table.as_ref()), mapping_path.to_owned());
        Ok(Fill { name: name.clone(), mapping_path, mapping, arguments: self, items, source, about, rejects: None })
    }

    async fn items(&self) -> Outcome<Items> {
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

/// `reset` checks and tells these before it ends by a backfill.
#[cfg(feature = "sqs")]
impl Fill {
    /// The items in words: the table and the time, or the scan.
    pub(crate) fn what(&self) -> String {
        self.about.what()
    }

    /// Whether the mapping has a rule for the collection.
    pub(crate) fn is_for_collection(&self) -> bool {
        self.mapping.collections().contains(&&self.name)
    }
}

impl Fill {
    /// Opens the file of rejects, or makes it.
    pub(crate) fn with_rejects(mut self) -> Outcome<Self> {
        self.rejects = self.arguments.rejects.open(Some(&self.source), "item")?;
        Ok(self)
    }

    /// Takes the items over.
    pub(crate) async fn run(self, context: &Context, collection: &Collection, terms: &Terms) -> Outcome<Told> {
        let again = self.again(context, terms);
        let mend = self.mend(context, collection);
        let Self { mapping, items, source, about, mut rejects, arguments, .. } = self;
        let options = BackfillOptions::default()
            .source(source.clone())
            .revision(arguments.revision)
            .over_existing(terms.over_existing)
            .dry_run(terms.dry_run)
            .turned_away(rejects.as_ref().map_or_else(Default::default, Rejects::before))
            .writer(terms.backlog.writer(WriterOptions::default()))
            .keep_up(terms.backlog.folds_beyond());
        let word = if terms.dry_run { "checking" } else { "backfilling" };
        let mut progress = Progress::new(context.output, word, "item", about.items);
        let mut last = Backfilled::default();
        let stop = signals::listen();
        let mut stopping = stop.clone();
        let stopped = async move {
            if stopping.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let mut unkept = None;
        let turn_away = |refused: &[RefusedItem]| match &mut rejects {
            None => 0,
            Some(rejects) => {
                let (kept, failure) = keep(rejects, &source, about.unit, refused);
                unkept = failure;
                kept
            }
        };
        let outcome = backfill(collection, &mapping, items, &options, stopped, turn_away, |done| {
            progress.at(done.resumed + done.items, done.items, done.bytes);
            last.clone_from(done);
        });
        let remaining = |failure: Failure, done: &Backfilled| remaining(failure, done, &again);
        match outcome.await {
            Ok(done) if done.finished => {
                Ok(Told { about, done, elapsed: progress.elapsed(), rejects, mend, is_dry: terms.dry_run })
            }
            Ok(done) => {
                let signal = *stop.borrow();
                let exit = signal.map_or(Exit::Interrupted, signals::Signal::exit);
                let word = signal.map_or("interrupted", signals::Signal::word);
                Err(remaining(Failure::new(exit, word), &done))
            }
            Err(error) => Err(remaining(unkept.unwrap_or_else(|| failure(error)), &last)),
        }
    }

    /// The command that goes on with this backfill.
    pub(crate) fn again(&self, context: &Context, terms: &Terms) -> String {
        let FillArguments { export, scan, table, revision, source, rejects } = &self.arguments;
        let mut command = self.command(context);
        if let Some(address) = export {
            command.push_str(&format!(" {}", option("--export", address)));
        }
        if let Some(path) = scan {
            command.push_str(&format!(" --scan {}", path_argument(path)));
        }
        if let Some(table) = table {
            command.push_str(&format!(" {}", option("--table", table)));
        }
        if let Some(revision) = revision {
            command.push_str(&format!(" --revision {revision}"));
        }
        // Standard input has another name each time.
        if source.is_some() || scan.as_ref().is_some_and(|path| path.as_os_str() == "-") {
            command.push_str(&format!(" {}", option("--source", &self.source)));
        }
        if terms.over_existing {
            command.push_str(" --over-existing");
        }
        command + &rejects.again()
    }

    /// The command that takes in the texts of the file of rejects from standard input.
    fn mend(&self, context: &Context, collection: &Collection) -> String {
        let mut command = self.command(context) + " --scan -";
        if let Some(table) = &self.about.table {
            command.push_str(&format!(" {}", option("--table", table)));
        }
        if let Some(revision) = self.arguments.revision.or(self.about.revision) {
            command.push_str(&format!(" --revision {revision}"));
        }
        if !collection.config().ordering.is_revision() {
            command.push_str(" --over-existing");
        }
        command
    }

    fn command(&self, context: &Context) -> String {
        let (store, mapping) = (context.store_option(), quoted_path(self.mapping_path.as_os_str()));
        format!("deltafold {store}backfill {} --mapping {mapping}", quoted(self.name.as_str()))
    }
}

/// A path as the value of an option, where `-` is standard input.
fn path_argument(path: &Path) -> String {
    if path.as_os_str() == "-" { "-".to_owned() } else { quoted_path(path.as_os_str()) }
}

/// Writes refused items to the file of rejects, and makes them durable: the next run does not read
/// a file again that is in the log as a whole.
fn keep(rejects: &mut Rejects, source: &str, unit: &str, refused: &[RefusedItem]) -> (usize, Option<Failure>) {
    let lines: Vec<Reject> = refused.iter().map(Reject::item).collect();
    let input = refused.first().map(|item| item.file.as_str()).unwrap_or_default();
    let (kept, failure) = rejects.add(source, input, unit, &lines);
    match rejects.flush() {
        Ok(()) => (kept, failure),
        Err(failure) => (0, Some(failure)),
    }
}

fn failure(error: BackfillError) -> Failure {
    match error {
        BackfillError::Failed(error) => error.into(),
        BackfillError::Missing(reason) => Failure::new(Exit::NotFound, reason),
        BackfillError::Refused(item) => Failure::new(Exit::BadInput, &*item)
            .detail("file", item.file)
            .detail("line", item.line)
            .detail("key", item.key)
            .detail("reason", item.reason)
            .help(
                "mend the mapping or the item; `--dry-run` names all items that are refused, and `--rejects FILE` goes \
                 on without them",
            ),
        other => Failure::new(Exit::BadInput, other),
    }
}

/// A failure with what is in the log by then, and the command to go on with.
fn remaining(failure: Failure, done: &Backfilled, again: &str) -> Failure {
    let failure = failure.detail("ops", done.ops).detail("items", done.items).detail("resumed", done.resumed);
    if done.ops + done.duplicates + done.resumed == 0 {
        return failure;
    }
    let before = count(done.ops + done.duplicates);
    failure.help(format!(
        "{before} ops are in the log; the same command again goes on, and none takes effect twice: {again}"
    ))
}
