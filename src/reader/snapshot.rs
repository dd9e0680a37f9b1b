//! One shard at one moment: a manifest and what the log holds behind it.

use std::sync::Arc;

use deltafold_format::{Effect, EmbeddingRef, PartMeta, PartObject, Place, Stored};
use tokio::sync::OnceCell;

use super::compose::{Composer, EmbeddingSource, Row, under};
use super::entry::Entry;
use super::layer::Overlay;
use super::objects::Objects;
use crate::error::{Error, Result};
use crate::shard::Shard;

/// One shard at one moment. Never changes, whatever is appended, folded or swept meanwhile; what is swept is an error, never another answer.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) shard: Shard,
    pub(super) objects: Arc<Objects>,
    pub(super) overlay: Overlay,
    pub(super) count: OnceCell<u64>,
}

impl Snapshot {
    pub(super) fn new(shard: Shard, objects: Arc<Objects>, overlay: Overlay) -> Self {
        Self { shard, objects, overlay, count: OnceCell::new() }
    }

    /// How many runs it has; they are numbered from the oldest.
    pub(super) fn runs(&self) -> usize {
        self.objects.manifest().runs.len()
    }

    /// Every op in it.
    pub(super) fn ops(&self) -> u64 {
        self.objects.manifest().ops + self.overlay.ops()
    }

    /// The record `id`. One GET for each part looked into that was not read before: at most one a run.
    pub(super) async fn get(&self, id: &str) -> Result<Option<Stored<EmbeddingSource, Place>>> {
        let mut composer = Composer::default();
        for layer in self.overlay.layers().iter().rev() {
            let ops = layer.find(id);
            if !ops.is_empty() && !composer.is_final() {
                composer.under(Row::Log(layer, ops));
            }
        }
        for run in (0..self.runs()).rev() {
            if composer.is_final() {
                break;
            }
            if let Some((part, row)) = self.find(run, id).await? {
                composer.under(Row::Part(&part, row));
            }
        }
        Ok(composer.finish())
    }

    /// Whether there is a record `id`: what `get` costs, without making the record.
    pub(super) async fn contains(&self, id: &str) -> Result<bool> {
        let mut outline: Option<Effect<()>> = None;
        for layer in self.overlay.layers().iter().rev() {
            let ops = layer.find(id);
            if !ops.is_empty() {
                outline = under(outline, Row::Log(layer, ops).outline());
            }
        }
        for run in (0..self.runs()).rev() {
            if outline.as_ref().is_some_and(Effect::is_replace) {
                break;
            }
            if let Some((part, row)) = self.find(run, id).await? {
                outline = under(outline, Row::Part(&part, row).outline());
            }
        }
        Ok(outline.and_then(Effect::resolve).is_some())
    }

    /// The row of an id in a run.
    pub(super) async fn find(&self, run: usize, id: &str) -> Result<Option<(Arc<PartMeta>, usize)>> {
        let entries = self.objects.entries(run);
        let part = entries.partition_point(|entry| entry.max_id.as_str() < id);
        if entries.get(part).is_none_or(|entry| id < entry.min_id.as_str()) {
            return Ok(None);
        }
        let part = self.objects.part(run, part, true).await?;
        Ok(part.find(id).ok().map(|row| (part, row)))
    }

    /// A record for the caller, with its embedding if wanted.
    pub(super) async fn entry(
        &self,
        id: String,
        stored: Stored<EmbeddingSource, Place>,
        embedding: bool,
    ) -> Result<Entry> {
        let (mut record, inserted, changed) = (stored.record, stored.inserted, stored.changed);
        let source = record.embedding.take().filter(|_| embedding);
        let embedding = match source {
            None => None,
            Some(EmbeddingSource::Log { segment, row }) => Some(segment.vector(row).to_vec()),
            Some(EmbeddingSource::Stored(at)) => Some(self.embedding(at).await?),
        };
        let mut record = record.map_embedding(|_| Vec::new());
        record.embedding = embedding;
        Ok(Entry { id, record, inserted, changed, shard: self.shard.id() })
    }

    async fn embedding(&self, at: EmbeddingRef) -> Result<Vec<f32>> {
        let row = self.objects.embeddings(at.object).await?.row(at.row);
        let row =
            row.map_err(|error| Error::format(&self.shard.layout().part(PartObject::Embeddings(at.object)), error))?;
        Ok(row.into_owned())
    }
}
