//! The parts and embedding objects of a snapshot, read when they are needed.

use std::collections::HashMap;
use std::sync::Arc;

use deltafold_format::{EmbeddingEntry, Embeddings, Manifest, ObjectName, PartEntry, PartMeta, PartObject};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use super::pools::Pools;
use crate::error::{Error, Repr, Result};
use crate::shard::Shard;

/// How many parts are read and decoded at once where all are wanted: enough to keep a store busy that answers late.
const READS: usize = 8;

type EmbeddingCell = Arc<OnceCell<Arc<Embeddings>>>;

/// The objects that a manifest lists.
///
/// Parts that were read are kept within the memory limit. An embedding object stays open once it was touched: a
/// mapping of its file in a local folder; elsewhere bytes in memory, or a mapping of a temporary file beyond the limit.
#[derive(Debug)]
pub(crate) struct Objects {
    shard: Shard,
    manifest: Arc<Manifest>,
    pools: Arc<Pools>,
    embeddings: HashMap<ObjectName, (EmbeddingEntry, EmbeddingCell)>,
}

/// How much of the columns of a reader's snapshots is in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warmth {
    /// How many parts the snapshots have.
    pub parts: u64,
    /// How many of them are in memory.
    pub kept: u64,
}

impl Warmth {
    /// Whether no part has to be read any more.
    pub fn is_complete(&self) -> bool {
        self.kept == self.parts
    }
}

impl Objects {
    /// The objects of `manifest`. Embedding objects that `older` has open stay open.
    pub(super) fn new(shard: Shard, manifest: Arc<Manifest>, pools: Arc<Pools>, older: Option<&Self>) -> Self {
        let embedding = |entry: &EmbeddingEntry| {
            let known = older.and_then(|older| older.embeddings.get(&entry.name));
            (entry.name, (entry.clone(), known.map(|(_, cell)| cell.clone()).unwrap_or_default()))
        };
        let embeddings = manifest.embeddings.iter().map(embedding).collect();
        Self { shard, manifest, pools, embeddings }
    }

    pub(crate) fn pools(&self) -> &Arc<Pools> {
        &self.pools
    }

    pub(crate) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The parts of a run, in id order.
    pub(crate) fn entries(&self, run: usize) -> &[PartEntry] {
        self.manifest.runs.get(run).map_or(&[], |run| &run.parts)
    }

    /// A part, kept from then on if `keep`. One GET where it is not kept yet.
    pub(crate) async fn part(&self, run: usize, part: usize, keep: bool) -> Result<Arc<PartMeta>> {
        let Some(entry) = self.entries(run).get(part) else {
            unreachable!("runs and parts are counted from the same manifest")
        };
        let key = (self.shard.id(), entry.name);
        if keep {
            return self.pools.parts.get(key, self.read_part(run, entry)).await;
        }
        match self.pools.parts.peek(&key) {
            Some(part) => Ok(part),
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

    /// Reads the parts that are not kept yet, and keeps them, while there is room.
    pub(super) async fn warm(&self) -> Result<()> {
        let runs = self.manifest.runs.iter().enumerate();
        let all: Vec<(usize, usize)> =
            runs.flat_map(|(number, run)| (0..run.parts.len()).map(move |part| (number, part))).collect();
        let read = stream::iter(all).map(|(run, part)| async move {
            if self.pools.parts.has_room() {
                self.part(run, part, true).await?;
            }
            Ok(())
        });
        read.buffer_unordered(READS).try_for_each(|()| async { Ok(()) }).await
    }

    /// How much of the columns is in memory.
    pub(super) fn warmth(&self) -> Warmth {
        let names = self.manifest.runs.iter().flat_map(|run| &run.parts).map(|entry| entry.name);
        names.fold(Warmth::default(), |warmth, name| Warmth {
            parts: warmth.parts + 1,
            kept: warmth.kept + u64::from(self.pools.parts.peek(&(self.shard.id(), name)).is_some()),
        })
    }

    /// An embedding object. One GET where it is not open yet.
    pub(super) async fn embeddings(&self, name: ObjectName) -> Result<&Arc<Embeddings>> {
        let Some((entry, cell)) = self.embeddings.get(&name) else {
            let key = self.shard.layout().manifest(self.manifest.name());
            let object = self.shard.layout().part(PartObject::Embeddings(name));
            return Err(Error::corrupt(&key, format!("its parts refer to `{object}`, which it does not list")));
        };
        let read = || async {
            match self.shard.embeddings_in(entry, &self.pools.embeddings).await? {
                Some(embeddings) => Ok(Arc::new(embeddings)),
                None => Err(self.gone(PartObject::Embeddings(name)).await),
            }
        };
        cell.get_or_try_init(read).await
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
