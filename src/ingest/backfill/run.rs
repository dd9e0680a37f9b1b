//! The backfill: files are fetched and compared ahead, read, mapped on every core, and appended in
//! order.

use std::sync::Arc;

use deltafold_format::ShardId;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use tokio::sync::mpsc;

use super::chunk::{Chunk, Chunks, Ended, Most, read_lines};
use super::error::{BackfillError, RefusedItem};
use super::export::Export;
use super::flight::Flight;
use super::line::{Form, Origin};
use super::manifest::ExportKind;
use super::map::{MappedChunk, Mapper, file_of};
use super::options::{BackfillOptions, Backfilled, Items};
use super::scan::{Scan, read_scan};
use crate::collection::Collection;
use crate::compact::{CompactReport, KeepUp};
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::mapping::Mapping;
use crate::log::Writer;

/// Files that are fetched ahead of the one that is read.
const FILES_AHEAD: usize = 3;
/// Items of a chunk.
const CHUNK_ITEMS: usize = 512;

/// The most refused items that a dry run names.
const NAMED: usize = 20;

/// Appends the items of a table by a mapping, each once.
///
/// The items come into the log in the order of the manifest. A run that ended early, even by a
/// kill, leaves marks of how far it came; the same call again goes on there. An item takes effect
/// as if it had just been inserted; an item of an incremental export as the change that it shows.
///
/// In a collection ordered by revision the stream of the table may be consumed before, meanwhile or
/// afterwards, if it began before the export. In log order the stream's consumer must begin when
/// this has ended, at a place of the stream before the time of the export. Such a collection must
/// be empty when the first run begins.
///
/// Memory is bounded by the collection's limit. `each` gets the progress. When `stop` is ready, it
/// waits for the acknowledgements of what it has handed over, and returns.
///
/// `turn_away` gets adjacent items that were refused, before any item behind them is handed over.
/// It keeps them durably and returns how many it has kept. If it kept fewer than all, the backfill
/// ends in front of the first that it did not keep. `|_| 0` keeps none.
///
/// # Errors
///
/// [`BackfillError`]. Everything before the item or file to blame is in the log by then.
pub async fn backfill(
    collection: &Collection,
    mapping: &Mapping,
    items: Items,
    options: &BackfillOptions,
    stop: impl Future<Output = ()>,
    mut turn_away: impl FnMut(&[RefusedItem]) -> usize,
    mut each: impl FnMut(&Backfilled),
) -> Result<Backfilled, BackfillError> {
    check_mapping(collection, mapping)?;
    let origin = match &items {
        Items::Export(export) => origin_of(export, options),
        Items::Scan(scan) => {
            Origin { form: Form::Scan, table_arn: None, table: scan.table.clone(), revision: options.revision }
        }
    };
    let form = origin.form;
    let source = options.source.clone().unwrap_or_else(|| items.source());
    let first_file = if options.dry_run { 0 } else { start(collection, &source, form, options).await? };
    let mapper = Arc::new(Mapper {
        mapping: mapping.clone(),
        collection: collection.name().clone(),
        rules: collection.config().rules(),
        origin,
        turned_away: options.turned_away.clone(),
    });
    let writer = collection.writer(options.writer.clone())?;
    let memory = collection.memory().bytes();
    let share = |part: u64, most: usize| usize::try_from(memory / part).unwrap_or(usize::MAX).min(most);
    let (chunks, coming) = mpsc::channel(2);
    let most = Most { items: CHUNK_ITEMS, bytes: share(256, 1 << 20) };
    let mut done = Backfilled::default();
    let names: Names = match &items {
        Items::Export(export) => {
            done.of = Some(export.items());
            done.resumed = export.files.iter().take(first_file).map(|(file, _)| file.items).sum();
            Names::Export((0..export.files.len()).map(|index| export.name(index)).collect())
        }
        Items::Scan(scan) => Names::Scan(scan.name.clone()),
    };
    each(&done);
    let feeding: BoxFuture<'static, _> = match items {
        Items::Export(export) => Box::pin(feed(Arc::new(export), first_file, most, chunks)),
        Items::Scan(scan) => Box::pin(feed_scan(scan, most, chunks)),
    };
    let mapped = stream::unfold(coming, async |mut coming| coming.recv().await.map(|chunk| (chunk, coming)));
    let mapped = mapped.map(move |chunk: Chunk| {
        let mapper = mapper.clone();
        env::blocking(move || mapper.map(&chunk))
    });
    let run = Run {
        flight: Flight::new(&writer, &source, share(16, 16 << 20)),
        writer: &writer,
        keep_up: options.keep_up.map(|limit| collection.keep_up(limit)),
        folding: None,
        dry_run: options.dry_run,
        names,
        done,
    };
    let mapped = mapped.buffered(env::cores().min(8)).boxed();
    let outcome = run.until_end(feeding, mapped, stop, &mut turn_away, &mut each).await;
    writer.close().await?;
    outcome
}

/// A mapping without a rule for the collection would skip everything.
fn check_mapping(collection: &Collection, mapping: &Mapping) -> Result<()> {
    let known = mapping.collections();
    if known.contains(&collection.name()) {
        return Ok(());
    }
    let known: Vec<&str> = known.into_iter().map(|name| name.as_str()).collect();
    let (own, others) = (collection.name(), known.join(", "));
    Err(Error::invalid(format!("the mapping has no rule for collection `{own}`; its rules are for {others}")))
}

fn origin_of(export: &Export, options: &BackfillOptions) -> Origin {
    let (form, revision) = match export.kind() {
        ExportKind::Full => (Form::Full, options.revision.or(Some(export.summary.time_micros.into()))),
        ExportKind::Incremental => (Form::Incremental, options.revision),
    };
    let table_arn = Some(export.summary.table_arn.clone());
    Origin { form, table_arn, table: Some(export.table().to_owned()), revision }
}

/// The first file that the log does not hold as a whole. Refuses a first run that would put old
/// states over newer ones.
async fn start(
    collection: &Collection,
    source: &str,
    form: Form,
    options: &BackfillOptions,
) -> Result<usize, BackfillError> {
    let mut marks = Vec::new();
    for shard in (0..collection.config().shards).filter_map(ShardId::new) {
        let found = collection.high_water_marks(shard, &[source.to_owned()]).await?;
        marks.push(found.into_iter().flatten().next());
    }
    let is_new = marks.iter().all(Option::is_none);
    let needs_empty = !collection.config().ordering.is_revision() && form != Form::Incremental;
    if is_new && needs_empty && !options.over_existing {
        let status = collection.status().await?;
        if status.shards.iter().any(|shard| shard.tail.get() > 0) {
            let name = collection.name();
            return Err(BackfillError::Failed(Error::invalid(format!(
                "collection `{name}` is in log order and holds ops already; the items of the table would replace newer \
                 states of its records. Begin with an empty collection, or allow it where no item of the table is in it \
                 (`--over-existing`)"
            ))));
        }
    }
    // A shard without a mark may lack ops of the first file.
    Ok(marks.into_iter().map(|mark| mark.map_or(0, file_of)).min().unwrap_or(0))
}

/// Fetches the files in turn, some ahead, and hands over their items.
async fn feed(export: Arc<Export>, from: usize, most: Most, chunks: mpsc::Sender<Chunk>) -> Result<(), BackfillError> {
    let fetches = stream::iter(from..export.files.len()).map(|index| {
        let export = export.clone();
        // A task of its own goes on while another file is read.
        env::join(env::spawn(async move { export.fetch(index).await.map(|file| (index, file)) }))
    });
    let mut fetched = fetches.buffered(FILES_AHEAD);
    while let Some(next) = fetched.next().await {
        let (index, file) = next?;
        let sender = chunks.clone();
        let read = env::blocking(move || read_lines(file, Chunks::new(index, most, sender))).await;
        let expected = export.files.get(index).map_or(0, |(file, _)| file.items);
        let unusable = |reason: String| BackfillError::Unusable(format!("`{}`: {reason}", export.name(index)));
        match read {
            Ok(items) if items == expected => {}
            Ok(items) => {
                return Err(unusable(format!(
                    "it holds {items} items, and the manifest says {expected}; get it whole"
                )));
            }
            Err(Ended::Unwanted) => return Ok(()),
            Err(Ended::Broken(reason)) => return Err(unusable(reason)),
        }
    }
    Ok(())
}

async fn feed_scan(scan: Scan, most: Most, chunks: mpsc::Sender<Chunk>) -> Result<(), BackfillError> {
    let Scan { name, input, .. } = scan;
    match env::blocking(move || read_scan(input, Chunks::new(0, most, chunks))).await {
        Ok(_) | Err(Ended::Unwanted) => Ok(()),
        Err(Ended::Broken(reason)) => Err(BackfillError::Unusable(format!("`{name}`: {reason}"))),
    }
}

/// The names of files, for messages.
enum Names {
    Export(Vec<String>),
    Scan(String),
}

impl Names {
    fn of(&self, file: usize) -> String {
        match self {
            Self::Export(names) => names.get(file).cloned().unwrap_or_default(),
            Self::Scan(name) => name.clone(),
        }
    }
}

type Folding = BoxFuture<'static, (KeepUp, Result<CompactReport>)>;

struct Run<'a> {
    flight: Flight<'a>,
    writer: &'a Writer,
    /// Taken while a fold runs.
    keep_up: Option<KeepUp>,
    folding: Option<Folding>,
    dry_run: bool,
    names: Names,
    done: Backfilled,
}

impl Run<'_> {
    async fn until_end(
        mut self,
        mut feeding: BoxFuture<'static, Result<(), BackfillError>>,
        mapped: stream::BoxStream<'_, MappedChunk>,
        stop: impl Future<Output = ()>,
        turn_away: &mut impl FnMut(&[RefusedItem]) -> usize,
        each: &mut impl FnMut(&Backfilled),
    ) -> Result<Backfilled, BackfillError> {
        let mut stop = std::pin::pin!(stop);
        let mut mapped = Some(mapped);
        let (mut fed, mut failed, mut stopped) = (None, None, false);
        loop {
            let wants_more = mapped.is_some() && self.flight.has_room() && self.folding.is_none();
            tokio::select! {
                biased;
                landed = self.flight.next(), if !self.flight.is_empty() => {
                    let landed = landed?;
                    self.done.ops += landed.ops;
                    self.done.duplicates += landed.duplicates;
                    self.look();
                    each(&self.done);
                }
                folded = next_fold(&mut self.folding), if self.folding.is_some() => self.folded(folded)?,
                () = &mut stop, if mapped.is_some() => {
                    (stopped, mapped, fed) = (true, None, Some(Ok(())));
                }
                outcome = &mut feeding, if fed.is_none() => fed = Some(outcome),
                chunk = next_chunk(&mut mapped), if wants_more => match chunk {
                    None => mapped = None,
                    Some(chunk) => {
                        failed = self.take(chunk, turn_away);
                        each(&self.done);
                        if failed.is_some() {
                            (mapped, fed) = (None, Some(Ok(())));
                        }
                    }
                },
                else => break,
            }
        }
        if let Some(refused) = failed {
            return Err(BackfillError::Refused(Box::new(refused)));
        }
        if !stopped {
            fed.unwrap_or(Ok(()))?;
        }
        self.done.finished = !stopped;
        each(&self.done);
        Ok(self.done)
    }

    /// Hands over the ops of a chunk. Returns the item that ends the backfill, if there is one.
    fn take(
        &mut self,
        mut chunk: MappedChunk,
        turn_away: &mut impl FnMut(&[RefusedItem]) -> usize,
    ) -> Option<RefusedItem> {
        let mut last = None;
        if !chunk.refused.is_empty() {
            let name = self.names.of(chunk.file);
            chunk.refused.iter_mut().for_each(|item| item.file.clone_from(&name));
            if self.dry_run {
                let named = NAMED.saturating_sub(self.done.first_refused.len());
                self.done.first_refused.extend(chunk.refused.iter().take(named).cloned());
            } else {
                let kept = turn_away(&chunk.refused);
                last = chunk.cut(kept);
            }
            self.done.refused += (chunk.refused.len() + usize::from(last.is_some())) as u64;
        }
        self.done.items += chunk.items;
        self.done.skipped += chunk.skipped;
        self.done.bytes += chunk.bytes as u64;
        if self.dry_run {
            self.done.ops += chunk.ops.len() as u64;
        } else if !chunk.ops.is_empty() {
            self.flight.send(chunk.ops, chunk.bytes);
        }
        last
    }

    /// Starts a fold if the log is over its limit. No more ops are handed over meanwhile.
    fn look(&mut self) {
        let lags = self.writer.lags();
        if let Some(mut keep_up) = self.keep_up.take_if(|keep_up| keep_up.is_due(&lags)) {
            self.folding = Some(Box::pin(async move {
                let folded = keep_up.fold(&lags).await;
                (keep_up, folded)
            }));
        }
    }

    fn folded(&mut self, (keep_up, folded): (KeepUp, Result<CompactReport>)) -> Result<()> {
        self.folding = None;
        self.keep_up = Some(keep_up);
        match folded {
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Conflict) => {
                tracing::warn!(%error, "the log could not be folded; trying again later");
                Ok(())
            }
            folded => folded.map(drop),
        }
    }
}

async fn next_fold(folding: &mut Option<Folding>) -> (KeepUp, Result<CompactReport>) {
    match folding {
        Some(folding) => folding.await,
        None => futures::future::pending().await,
    }
}

async fn next_chunk(mapped: &mut Option<stream::BoxStream<'_, MappedChunk>>) -> Option<MappedChunk> {
    match mapped {
        Some(mapped) => mapped.next().await,
        None => None,
    }
}
