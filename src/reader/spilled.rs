//! Ops of the log beyond the memory limit: composed by id into a run in the temporary file.

use std::collections::HashMap;
use std::sync::Arc;

use deltafold_format::{EmbeddingEntry, EmbeddingRef, Embeddings, ObjectName, PartEntry, PartMeta, Sequence, Version};
use tokio::sync::OnceCell;

use super::compose::{EmbeddingSource, Row};
use super::layer::Layer;
use super::part_pieces::{self, Need};
use super::unread::Unread;
use crate::compact::RunWriter;
use crate::error::{Error, ErrorKind, Repr, Result};
use crate::scratch::{Scratch, ScratchStore, damaged};
use crate::shard::Shard;

/// Ops of the log in the temporary file.
#[derive(Debug, Clone)]
pub(super) enum Aside {
    /// Composed by id.
    Run(Arc<Spilled>),
    /// As they came from the store.
    Unread(Arc<Unread>),
}

impl Aside {
    /// Number of ops.
    pub(super) fn ops(&self) -> u64 {
        match self {
            Self::Run(run) => run.ops,
            Self::Unread(unread) => unread.len() as u64,
        }
    }

    /// Its first and its last slot.
    pub(super) fn slots(&self) -> (Sequence, Sequence) {
        match self {
            Self::Run(run) => (run.first, run.last),
            Self::Unread(unread) => unread.slots(),
        }
    }

    pub(super) fn run(&self) -> Option<&Spilled> {
        if let Self::Run(run) = self { Some(run) } else { None }
    }

    pub(super) fn unread(&self) -> Option<&Arc<Unread>> {
        if let Self::Unread(unread) = self { Some(unread) } else { None }
    }
}

/// A run that equals the fold of these segments, visible to one reader only.
#[derive(Debug)]
pub(crate) struct Spilled {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    /// Ops composed into it.
    pub(super) ops: u64,
    /// The shard, as if the temporary file were its store.
    shard: Shard,
    parts: Vec<PartEntry>,
    embeddings: HashMap<ObjectName, (EmbeddingEntry, OnceCell<Arc<Embeddings>>)>,
}

impl Spilled {
    /// Writes the ops of a layer.
    pub(super) async fn write(shard: &Shard, layer: &Layer, scratch: &Scratch) -> Result<Self> {
        let shard = shard.over(Arc::new(ScratchStore::new(scratch.clone())));
        let mut writer = RunWriter::new(shard.clone(), Version::ZERO);
        let mut at = 0;
        while at < layer.len() {
            let id = layer.id(at);
            let end = layer.end_of(id, at);
            if let Some(effect) = Row::Log(layer, at..end).effect()?.filter(|effect| !effect.is_nothing()) {
                let mut copies = Copies::default();
                for from in effect.embeddings() {
                    copies.copy(&mut writer, from).await?;
                }
                let effect = effect.map_embedding(&mut |from| copies.lookup(&from));
                writer.push(id, &effect).await?;
            }
            at = end;
        }
        let written = writer.finish().await?;
        let embeddings = written.embeddings.into_iter().map(|entry| (entry.name, (entry, OnceCell::new())));
        let (first, last) = layer.slots();
        let ops = layer.len() as u64;
        Ok(Self { first, last, ops, shard, parts: written.parts, embeddings: embeddings.collect() })
    }

    /// Its parts, in id order.
    pub(super) fn entries(&self) -> &[PartEntry] {
        &self.parts
    }

    /// A part, or its missing pieces, read from the temporary file.
    pub(super) async fn read_part(
        &self,
        entry: &PartEntry,
        have: Option<Arc<PartMeta>>,
        need: Need<'_>,
    ) -> Result<Arc<PartMeta>> {
        let part = part_pieces::load(&self.shard, entry, have, need).await.map_err(own)?;
        part.ok_or_else(|| damaged(&self.lost()))
    }

    /// The part with the pieces of a need and the documents of these rows.
    pub(super) async fn documents(
        &self,
        entry: &PartEntry,
        part: Arc<PartMeta>,
        need: Need<'_>,
        rows: impl Iterator<Item = usize>,
    ) -> Result<Arc<PartMeta>> {
        let part = part_pieces::load_documents(&self.shard, entry, part, need, rows).await.map_err(own)?;
        part.ok_or_else(|| damaged(&self.lost()))
    }

    /// An embedding object, if it belongs to this run.
    pub(super) async fn embeddings(&self, name: ObjectName) -> Result<Option<&Arc<Embeddings>>> {
        let Some((entry, cell)) = self.embeddings.get(&name) else { return Ok(None) };
        let read = || async {
            let read = self.shard.embeddings(entry).await.map_err(own)?;
            read.map(Arc::new).ok_or_else(|| damaged(&self.lost()))
        };
        cell.get_or_try_init(read).await.map(Some)
    }

    fn lost(&self) -> Error {
        Repr::Missing(self.shard.layout().head()).into()
    }
}

/// Damage of the temporary file is not damage of the collection.
fn own(error: Error) -> Error {
    if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat) { damaged(&error) } else { error }
}

/// The copies of the embeddings of one row: at most two, of the absent and of the present case.
#[derive(Default)]
struct Copies(Vec<((usize, u32), EmbeddingRef)>);

impl Copies {
    async fn copy(&mut self, writer: &mut RunWriter, from: &EmbeddingSource) -> Result<()> {
        let Some(numbers) = from.numbers() else { return Ok(()) };
        let key = key(from);
        if self.0.iter().all(|(known, _)| *known != key) {
            let to = writer.embed(numbers).await?;
            self.0.push((key, to));
        }
        Ok(())
    }

    fn lookup(&self, from: &EmbeddingSource) -> EmbeddingRef {
        let found = self.0.iter().find(|(known, _)| *known == key(from));
        found.expect("every embedding of the row was copied before it was mapped").1
    }
}

/// The identity of an embedding among the segments of one layer.
fn key(from: &EmbeddingSource) -> (usize, u32) {
    match from {
        EmbeddingSource::Log { segment, row } => (Arc::as_ptr(segment).addr(), *row),
        EmbeddingSource::Copied(numbers) => (Arc::as_ptr(numbers).addr(), 0),
        EmbeddingSource::Stored(at) => (0, at.row),
    }
}
