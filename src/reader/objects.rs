//! The parts and embedding objects of a snapshot, read when they are needed.

use std::collections::HashMap;
use std::sync::Arc;

use deltafold_format::{EmbeddingEntry, Embeddings, Manifest, ObjectName, PartEntry, PartMeta, PartObject};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use crate::error::{Error, Repr, Result};
use crate::shard::Shard;

/// How many parts are read and decoded at once where all are wanted: enough to keep a store busy that answers late.
const READS: usize = 8;

type PartCell = Arc<OnceCell<Arc<PartMeta>>>;
type EmbeddingCell = Arc<OnceCell<Arc<Embeddings>>>;

/// What a manifest lists, each object read at most once. Snapshots share what they have in common.
///
/// A part that was kept takes the memory of its columns. An embedding object stays open once it was touched: a mapping of its file in a
/// local folder, its bytes in memory elsewhere.
#[derive(Debug)]
pub(super) struct Objects {
    shard: Shard,
    manifest: Arc<Manifest>,
    /// As the manifest's runs and their parts.
    parts: Vec<Vec<PartCell>>,
    embeddings: HashMap<ObjectName, (EmbeddingEntry, EmbeddingCell)>,
}

impl Objects {
    /// The objects of `manifest`; those that `older` has read already are not read again.
    pub(super) fn new(shard: Shard, manifest: Arc<Manifest>, older: Option<&Self>) -> Self {
        let mut known: HashMap<ObjectName, PartCell> = HashMap::new();
        if let Some(older) = older {
            for (run, cells) in older.manifest.runs.iter().zip(&older.parts) {
                known.extend(run.parts.iter().map(|part| part.name).zip(cells.iter().cloned()));
            }
        }
        let cell = |part: &PartEntry| known.get(&part.name).cloned().unwrap_or_default();
        let parts = manifest.runs.iter().map(|run| run.parts.iter().map(cell).collect()).collect();
        let embedding = |entry: &EmbeddingEntry| {
            let known = older.and_then(|older| older.embeddings.get(&entry.name));
            (entry.name, (entry.clone(), known.map(|(_, cell)| cell.clone()).unwrap_or_default()))
        };
        let embeddings = manifest.embeddings.iter().map(embedding).collect();
        Self { shard, manifest, parts, embeddings }
    }

    pub(super) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The parts of a run, in id order.
    pub(super) fn entries(&self, run: usize) -> &[PartEntry] {
        self.manifest.runs.get(run).map_or(&[], |run| &run.parts)
    }

    /// A part, kept from then on if `keep`. One GET where it is not kept yet.
    pub(super) async fn part(&self, run: usize, part: usize, keep: bool) -> Result<Arc<PartMeta>> {
        let entry = self.entries(run).get(part);
        let cell = self.parts.get(run).and_then(|cells| cells.get(part));
        let (Some(entry), Some(cell)) = (entry, cell) else {
            unreachable!("runs and parts are counted from the same manifest as their cells")
        };
        if keep {
            return cell.get_or_try_init(|| self.read_part(run, entry)).await.cloned();
        }
        match cell.get() {
            Some(part) => Ok(part.clone()),
            None => self.read_part(run, entry).await,
        }
    }

    async fn read_part(&self, run: usize, entry: &PartEntry) -> Result<Arc<PartMeta>> {
        let object = PartObject::Meta(entry.name);
        let Some(part) = self.shard.part(entry).await? else { return Err(self.gone(object).await) };
        if self.manifest.runs.get(run).is_some_and(|run| run.resolved) && !part.resolved() && !part.has_revisions() {
            let key = self.shard.layout().part(object);
            return Err(Error::corrupt(&key, "it is in the base and holds rows that are not whole records"));
        }
        Ok(Arc::new(part))
    }

    /// Reads every part that is not kept yet, and keeps it.
    pub(super) async fn warm(&self) -> Result<()> {
        let runs = self.parts.iter().enumerate();
        let all: Vec<(usize, usize)> =
            runs.flat_map(|(run, parts)| (0..parts.len()).map(move |part| (run, part))).collect();
        let read = stream::iter(all).map(|(run, part)| self.part(run, part, true));
        read.buffer_unordered(READS).try_for_each(|_| async { Ok(()) }).await
    }

    /// An embedding object. One GET where it is not open yet.
    pub(super) async fn embeddings(&self, name: ObjectName) -> Result<&Embeddings> {
        let Some((entry, cell)) = self.embeddings.get(&name) else {
            let key = self.shard.layout().manifest(self.manifest.name());
            let object = self.shard.layout().part(PartObject::Embeddings(name));
            return Err(Error::corrupt(&key, format!("its parts refer to `{object}`, which it does not list")));
        };
        let read = || async {
            match self.shard.embeddings(entry).await? {
                Some(embeddings) => Ok(Arc::new(embeddings)),
                None => Err(self.gone(PartObject::Embeddings(name)).await),
            }
        };
        cell.get_or_try_init(read).await.map(|embeddings| &**embeddings)
    }

    /// Why an object of this snapshot is not there: the snapshot was swept, or the object was lost.
    async fn gone(&self, object: PartObject) -> Error {
        let current = match self.shard.current().await {
            Ok((_, current)) => current,
            Err(error) => return error,
        };
        let ours = self.manifest.name();
        let kept = ours.version >= current.sweep_floor
            || current.pins.iter().any(|pin| (pin.version, pin.nonce) == (ours.version, ours.nonce))
            || crate::snapshot::objects(&current).contains(&object);
        if kept {
            Repr::Missing(self.shard.layout().part(object)).into()
        } else {
            Repr::Superseded { shard: self.shard.id(), version: ours.version }.into()
        }
    }
}
