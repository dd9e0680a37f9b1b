//! The parts and embedding objects of a snapshot, read on demand.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use deltafold_format::{EmbeddingEntry, Embeddings, Manifest, ObjectName, PartEntry, PartMeta, PartObject};
use futures::future::try_join;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::part_pieces::{self, Need};
use super::pools::Pools;
use super::sections::{Opened, Tier};
use crate::error::{Error, Repr, Result};
use crate::shard::Shard;

/// Parts read and decoded at once by a call that needs all: enough to keep a slow store busy. All
/// reads together bound their bytes in flight.
const READS: usize = 64;

/// The objects that a manifest lists.
///
/// Parts stay in memory within the memory limit, and so do the sections of embedding objects. In a
/// local folder an embedding object is a mapping of its file.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(super) shard: Shard,
    pub(super) manifest: Arc<Manifest>,
    pub(super) pools: Arc<Pools>,
    embeddings: HashMap<ObjectName, Arc<Opened>>,
    /// The manifest that the reader found after this one.
    newer: OnceLock<Arc<Manifest>>,
}

impl Drop for Objects {
    /// No snapshot uses the manifest any more. Parts that the newer one does not list, too, are
    /// dropped: no read will ask for them again.
    fn drop(&mut self) {
        let Some(newer) = self.newer.get() else { return };
        let kept: HashSet<ObjectName> = part_names(newer).collect();
        for gone in part_names(&self.manifest).filter(|name| !kept.contains(name)) {
            self.pools.parts.forget(&(self.shard.id(), gone));
        }
    }
}

/// The names of all parts that a manifest lists.
fn part_names(manifest: &Manifest) -> impl Iterator<Item = ObjectName> {
    manifest.runs.iter().flat_map(|run| &run.parts).map(|part| part.name)
}

/// Embedding objects opened at once.
pub(crate) const OPENS: usize = 16;

/// The objects to read during an open, beside the last check of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    Nothing,
    /// All columns.
    Columns,
    /// The fronts of all parts, and a tier of the embedding objects.
    Search(Tier),
}

impl Objects {
    /// The objects of `manifest`. Embedding objects keep the tiers that `older` holds.
    pub(super) fn new(shard: Shard, manifest: Arc<Manifest>, pools: Arc<Pools>, older: Option<&Self>) -> Self {
        let embedding = |entry: &EmbeddingEntry| {
            let known = older.and_then(|older| older.embeddings.get(&entry.name)).cloned();
            (entry.name, known.unwrap_or_else(|| Opened::new(entry.clone())))
        };
        let embeddings = manifest.embeddings.iter().map(embedding).collect();
        if let Some(older) = older {
            // Clones of a reader may find different ones. Each of them is newer.
            let _ = older.newer.set(manifest.clone());
        }
        Self { shard, manifest, pools, embeddings, newer: OnceLock::new() }
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

    /// A part with the pieces of a need, kept in memory from then on if `keep`. One GET if none of
    /// it is in memory, otherwise one for each group of missing pieces.
    pub(crate) async fn part(&self, run: usize, part: usize, need: Need<'_>, keep: bool) -> Result<Arc<PartMeta>> {
        let entry = self.entry(run, part);
        let key = (self.shard.id(), entry.name);
        if keep {
            let met = |part: &PartMeta| need.is_met(part);
            return self.pools.parts.get(key, met, |have| self.read_part(run, entry, have, need)).await;
        }
        let have = self.pools.parts.peek(&key);
        match have.as_ref().filter(|part| need.is_met(part)) {
            Some(part) => Ok(part.clone()),
            None => self.read_part(run, entry, have, need).await,
        }
    }

    /// The part with the pieces of a need and the documents of these rows, all fetched at once: a
    /// GET for each group of missing pieces. Documents are not kept.
    pub(crate) async fn documents(
        &self,
        run: usize,
        number: usize,
        part: Arc<PartMeta>,
        need: Need<'_>,
        rows: impl Iterator<Item = usize>,
    ) -> Result<Arc<PartMeta>> {
        let entry = self.entry(run, number);
        let documents = entry.bytes.saturating_sub(entry.columns_end);
        let _fetching = self.pools.sections.fetching(documents.saturating_mul(2)).await;
        match part_pieces::load_documents(&self.shard, entry, part.clone(), need, rows).await? {
            Some(loaded) => {
                if !need.is_met(&part) {
                    self.pools.parts.add(&(self.shard.id(), entry.name), &loaded);
                }
                Ok(loaded)
            }
            None => Err(self.gone(PartObject::Meta(entry.name)).await),
        }
    }

    fn entry(&self, run: usize, part: usize) -> &PartEntry {
        let Some(entry) = self.entries(run).get(part) else {
            unreachable!("runs and parts are counted from the same manifest")
        };
        entry
    }

    async fn read_part(
        &self,
        run: usize,
        entry: &PartEntry,
        have: Option<Arc<PartMeta>>,
        need: Need<'_>,
    ) -> Result<Arc<PartMeta>> {
        let object = PartObject::Meta(entry.name);
        // Its stored bytes, and its columns.
        let end = match need {
            Need::Front | Need::Keys(_) => entry.front_bytes,
            Need::Columns => entry.columns_end,
            Need::Whole => entry.bytes,
        };
        let _fetching = self.pools.sections.fetching(end.saturating_mul(2)).await;
        let read = part_pieces::load(&self.shard, entry, have, need).await?;
        let Some(part) = read else { return Err(self.gone(object).await) };
        if self.manifest.runs.get(run).is_some_and(|run| run.resolved) && !part.resolved() && !part.has_revisions() {
            let key = self.shard.layout().part(object);
            return Err(Error::corrupt(&key, "it is in the base and holds rows that are not whole records"));
        }
        Ok(part)
    }

    /// Reads the objects that `ahead` selects.
    pub(super) async fn read_ahead(&self, ahead: Ahead) -> Result<()> {
        match ahead {
            Ahead::Nothing => Ok(()),
            Ahead::Columns => self.warm(Need::Columns).await,
            Ahead::Search(tier) => try_join(self.warm(Need::Front), self.open_all(&[tier], 0)).await.map(|_| ()),
        }
    }

    /// Opens all embedding objects with a live row, with these tiers. Does nothing if the store
    /// maps them.
    pub(crate) async fn open_all(&self, tiers: &[Tier], used: u64) -> Result<()> {
        if self.shard.store().maps_objects() {
            return Ok(());
        }
        // Comes before any fetch, so that no tier in use is evicted for another.
        self.live_objects().for_each(|(opened, _)| drop(opened.held(tiers, used)));
        let opens: Vec<_> = self.live_objects().map(|(opened, _)| self.open(opened, tiers, used)).collect();
        stream::iter(opens).buffer_unordered(OPENS).try_for_each(|_| async { Ok(()) }).await
    }

    /// An embedding object with at least these tiers.
    pub(super) async fn open(&self, opened: &Arc<Opened>, tiers: &[Tier], used: u64) -> Result<Embeddings> {
        match opened.open(&self.shard, &self.pools.sections, tiers, used).await? {
            Some(embeddings) => Ok(embeddings),
            None => Err(self.gone(PartObject::Embeddings(opened.name())).await),
        }
    }

    /// Reads the pieces of a need of all parts that are not in memory, and keeps them while there
    /// is room.
    pub(crate) async fn warm(&self, need: Need<'_>) -> Result<()> {
        let runs = self.manifest.runs.iter().enumerate();
        let all: Vec<(usize, usize)> =
            runs.flat_map(|(number, run)| (0..run.parts.len()).map(move |part| (number, part))).collect();
        let read = stream::iter(all).map(|(run, part)| async move {
            if self.pools.parts.has_room() {
                self.part(run, part, need, true).await?;
            }
            Ok(())
        });
        read.buffer_unordered(READS).try_for_each(|()| async { Ok(()) }).await
    }

    /// The embedding objects with a live row.
    pub(super) fn live_objects(&self) -> impl Iterator<Item = (&Arc<Opened>, &EmbeddingEntry)> {
        let live = self.manifest.embeddings.iter().filter(|entry| entry.live > 0);
        live.filter_map(|entry| Some((self.embeddings.get(&entry.name)?, entry)))
    }

    /// An embedding object.
    pub(crate) fn embeddings(&self, name: ObjectName) -> Result<&Arc<Opened>> {
        self.embeddings.get(&name).ok_or_else(|| {
            let key = self.shard.layout().manifest(self.manifest.name());
            let object = self.shard.layout().part(PartObject::Embeddings(name));
            Error::corrupt(&key, format!("its parts refer to `{object}`, which it does not list"))
        })
    }

    /// The reason why an object of this snapshot is absent: the snapshot was swept, or the object
    /// was lost.
    pub(super) async fn gone(&self, object: PartObject) -> Error {
        let current = match self.shard.current().await {
            Ok((_, current)) => current,
            Err(error) => return error,
        };
        let ours = self.manifest.name();
        let kept = ours.version >= current.sweep_floor
            || current.pins.iter().any(|pin| (pin.version, pin.nonce) == (ours.version, ours.nonce))
            || crate::shard::objects::objects(&current).contains(&object);
        if kept {
            Repr::Missing(self.shard.layout().part(object)).into()
        } else {
            Repr::Superseded { shard: self.shard.id(), version: ours.version }.into()
        }
    }
}
