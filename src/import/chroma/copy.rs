//! Copies a collection of Chroma into a store, and compares every record afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltafold_format::{CollectionName, Op, ShardId};
use futures::StreamExt as _;

use super::digest::Digest;
use super::settings::Found;
use super::source::{OnMismatch, Source};
use crate::catalogue::{Catalogue, CatalogueError, Imported, place_of};
use crate::collection::{Collection, CreateOptions};
use crate::compact::CompactorOptions;
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{BacklogLimit, Writer, WriterOptions};
use crate::memory::MemoryLimit;
use crate::reader::{Order, ScanOptions};
use crate::setters::setters;
use crate::store::Store;

/// The options of [`copy`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The name of the new collection. Without one, the collection gets the place that the server
    /// reads, and keeps its name, its UUID and its metadata there.
    pub into: Option<CollectionName>,
    /// The handling of ids that only one half knows.
    pub on_mismatch: OnMismatch,
    /// Number of shards: 1 unless it says otherwise.
    pub shards: Option<u16>,
    /// The memory limit of the new collection's writer, compactor and reader.
    pub memory: MemoryLimit,
}

setters!(CopyOptions {
    into: into Option<CollectionName>,
    on_mismatch: OnMismatch,
    shards: into Option<u16>,
    memory: MemoryLimit,
});

/// The stage of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// An earlier copy broke off: compares the records that are there.
    Compare,
    /// Appends records.
    Append,
    /// Reads all records back and compares them.
    Verify,
}

/// The progress of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Records done.
    pub records: u64,
    /// Bytes of their embeddings and documents.
    pub bytes: u64,
    /// Records of the stage.
    pub of: u64,
}

/// The result of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The new collection; `None` where the old one never had an embedding, and only its entry
    /// in the server's catalogue was made.
    pub collection: Option<CollectionName>,
    /// Records of the new collection.
    pub records: u64,
    /// Of these, the records that an earlier copy had left.
    pub resumed: u64,
    /// Records that were left out, as only one half knew them.
    pub skipped: u64,
    /// The digest of all records in order, equal on both sides.
    pub digest: String,
}

/// The name that a collection gets in a store.
///
/// # Errors
///
/// `InvalidInput` where the server allows no collection of the old name, and `into` names no other.
pub fn target(found: &Found, into: Option<&CollectionName>) -> Result<CollectionName> {
    match into {
        Some(into) => Ok(into.clone()),
        None => place_of(found.id, found.name()).ok_or_else(|| {
            Error::invalid(format!(
                "the name `{}` has characters that a served collection may not have; name another with `into`",
                found.name().escape_debug()
            ))
        }),
    }
}

/// Copies a collection into a store.
///
/// Each record is a `put`, in the order of insertion. A copy that broke off is resumed: the records
/// that are there must be the first ones of the source. In the end all records are read back and
/// compared. Only then the collection is entered in the catalogue of the server.
///
/// # Errors
///
/// `InvalidInput` where the source is damaged, its halves do not fit and
/// [`on_mismatch`](CopyOptions::on_mismatch) is `Fail`, or a record breaks a limit; `AlreadyExists`
/// where the target holds something else; otherwise the errors of the store.
pub async fn copy(
    store: Arc<dyn Store>,
    mut source: Source,
    options: &CopyOptions,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Copied> {
    let found = source.found().clone();
    let survey = source.survey().clone();
    if !survey.fits() && options.on_mismatch == OnMismatch::Fail {
        return Err(mismatch(&source));
    }
    let name = target(&found, options.into.as_ref())?;
    let of = survey.records(options.on_mismatch);
    let skipped =
        if options.on_mismatch == OnMismatch::Skip { survey.without_embedding.0 + survey.only_embedding.0 } else { 0 };
    let catalogue = Catalogue::new(store.clone(), None, std::time::Duration::ZERO);
    let shards = options.shards.unwrap_or(1);
    let imported = Imported {
        tenant: found.tenant().to_owned(),
        database: found.database().to_owned(),
        id: found.id,
        name: found.name().to_owned(),
        metadata: found.row.metadata.clone(),
        configuration: found.configuration(),
        schema: found.row.schema.clone(),
        dimension: source.dimension(),
        shards,
    };
    if options.into.is_none() {
        catalogue.check_import(&imported).await.map_err(refused)?;
    }
    let Some(dimension) = source.dimension() else {
        if of > 0 || options.into.is_some() {
            return Err(Error::invalid(format!(
                "collection `{}` never had an embedding, so it has no dimension. Create a collection with `create`",
                found.name().escape_debug()
            )));
        }
        catalogue.enter_import(imported).await.map_err(refused)?;
        return Ok(Copied { collection: None, records: 0, resumed: 0, skipped, digest: Digest::default().to_string() });
    };
    let create = CreateOptions::new(dimension).metric(found.metric()).shards(shards);
    let collection = opened(store, &name, &create, options.memory).await?;
    let mut transfer = Transfer { collection, of, progress: &mut progress };
    let before = transfer.digests(Stage::Compare).await?;
    let resumed = before.values().map(Digest::records).sum();
    if resumed > 0 {
        source = transfer.check_prefix(source, options.on_mismatch, &before).await?;
    }
    let (_, expected) = transfer.append(source, options.on_mismatch, &before).await?;
    transfer.compact().await?;
    let stored = transfer.digests(Stage::Verify).await?;
    if stored != expected {
        return Err(differs(&name, "after the copy"));
    }
    if options.into.is_none() {
        catalogue.enter_import(imported).await.map_err(refused)?;
    }
    let (records, digest) = Digest::of_all(&stored);
    Ok(Copied { collection: Some(name), records, resumed, skipped, digest: digest.to_string() })
}

/// Opens the target, or makes it.
async fn opened(
    store: Arc<dyn Store>,
    name: &CollectionName,
    options: &CreateOptions,
    memory: MemoryLimit,
) -> Result<Collection> {
    let builder = Collection::builder(store, name).memory(memory);
    let collection = match builder.open().await {
        Err(error) if error.kind() == ErrorKind::NotFound => return builder.create(options).await,
        opened => opened?,
    };
    let config = collection.config();
    if (config.dimension, config.metric, config.shards, config.ordering)
        != (options.dimension, options.metric, options.shards, options.ordering)
    {
        return Err(differs(name, "in its dimension, metric, shards or ordering"));
    }
    Ok(collection)
}

fn differs(name: &CollectionName, how: &str) -> Error {
    Error::invalid(format!(
        "collection `{name}` differs from the directory {how}: it was written to, or the directory has changed since an \
         earlier import. Import into another name, or `drop {name}` and import again"
    ))
}

fn refused(error: CatalogueError) -> Error {
    match error {
        CatalogueError::Engine(error) => error,
        other => Error::invalid(format!("the catalogue of the server refuses the import: {other}")),
    }
}

/// The error about halves that do not fit.
fn mismatch(source: &Source) -> Error {
    let survey = source.survey();
    let some = |(count, ids): &(u64, Vec<String>)| {
        let shown: Vec<String> = ids.iter().map(|id| format!("`{}`", id.escape_debug())).collect();
        let more = if *count > ids.len() as u64 { ", …" } else { "" };
        format!("{count} ({}{more})", shown.join(", "))
    };
    let mut told = Vec::new();
    if survey.without_embedding.0 > 0 {
        told.push(format!("records without an embedding: {}", some(&survey.without_embedding)));
    }
    if survey.only_embedding.0 > 0 {
        told.push(format!("embeddings without a record: {}", some(&survey.only_embedding)));
    }
    Error::invalid(format!(
        "the two halves of collection `{}` do not fit; {}. Import with `skip` to leave them out, or with `keep` to \
         import the halves",
        source.found().name().escape_debug(),
        told.join("; ")
    ))
}

/// Records of each shard, as a digest in the order of insertion.
type Digests = BTreeMap<ShardId, Digest>;

/// A copy at work.
struct Transfer<'a> {
    collection: Collection,
    of: u64,
    progress: &'a mut (dyn FnMut(Progress) + Send),
}

impl Transfer<'_> {
    fn report(&mut self, stage: Stage, records: u64, bytes: u64) {
        (self.progress)(Progress { stage, records, bytes, of: self.of });
    }

    /// Reads all records of the target.
    async fn digests(&mut self, stage: Stage) -> Result<Digests> {
        let mut digests = Digests::new();
        let (mut records, mut bytes) = (0u64, 0);
        let reader = self.collection.reader().await?;
        let mut scan = reader.scan(ScanOptions::default().order(Order::Insertion));
        while let Some(entry) = scan.next().await {
            let entry = entry?;
            bytes += digests.entry(entry.shard).or_default().add(&entry.id, &entry.record);
            records += 1;
            if records.is_multiple_of(1_024) {
                self.report(stage, records, bytes);
            }
        }
        Ok(digests)
    }

    /// Checks that the records in the target are the first ones of the source.
    async fn check_prefix(&mut self, mut source: Source, on_mismatch: OnMismatch, there: &Digests) -> Result<Source> {
        let mut seen = Digests::new();
        source.rewind(on_mismatch);
        loop {
            let (back, batch) = next(source).await?;
            source = back;
            if batch.is_empty() || seen == *there {
                break;
            }
            for (id, record) in &batch {
                let shard = self.shard(id);
                let wanted = there.get(&shard).map_or(0, Digest::records);
                let digest = seen.entry(shard).or_default();
                if digest.records() < wanted {
                    digest.add(id, record);
                }
            }
            seen.retain(|_, digest| digest.records() > 0);
        }
        if seen == *there { Ok(source) } else { Err(differs(self.collection.name(), "in the records that it holds")) }
    }

    /// Appends all records but those in the target. Returns the digests of all.
    async fn append(
        &mut self,
        mut source: Source,
        on_mismatch: OnMismatch,
        there: &Digests,
    ) -> Result<(Source, Digests)> {
        let limit = BacklogLimit::default();
        let writer = self.collection.writer(WriterOptions::default().max_backlog(limit.times(4)))?;
        let mut keep_up = self.collection.keep_up(limit);
        let mut digests = Digests::new();
        let (mut records, mut bytes) = (0, 0);
        source.rewind(on_mismatch);
        let (back, mut batch) = next(source).await?;
        source = back;
        while !batch.is_empty() {
            let mut ops = Vec::with_capacity(batch.len());
            for (id, record) in batch {
                let shard = self.shard(&id);
                let digest = digests.entry(shard).or_default();
                bytes += digest.add(&id, &record);
                records += 1;
                if digest.records() > there.get(&shard).map_or(0, Digest::records) {
                    ops.push(Op::put(id, record));
                }
            }
            let (read, appended) = futures::join!(next(source), append(&writer, ops));
            appended?;
            (source, batch) = read?;
            self.report(Stage::Append, records, bytes);
            let lags = writer.lags();
            if keep_up.is_due(&lags) {
                keep_up.fold(&lags).await?;
            }
        }
        writer.close().await?;
        Ok((source, digests))
    }

    /// Folds the log, so that the first reader finds a snapshot.
    async fn compact(&self) -> Result<()> {
        self.collection.compactor(CompactorOptions::default()).run_once().await.map(drop)
    }

    fn shard(&self, id: &str) -> ShardId {
        ShardId::of(id, self.collection.config().shards)
    }
}

async fn append(writer: &Writer, ops: Vec<Op>) -> Result<()> {
    if !ops.is_empty() {
        writer.append(ops).await?;
    }
    Ok(())
}

/// Reads on, away from the async tasks.
async fn next(mut source: Source) -> Result<(Source, Vec<(String, deltafold_format::Record)>)> {
    env::blocking(move || {
        let batch = source.next_batch()?;
        Ok((source, batch))
    })
    .await
}
