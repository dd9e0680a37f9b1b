//! One shard at one moment: a manifest and what the log holds behind it.

use std::iter;
use std::sync::Arc;

use deltafold_format::{Effect, PartEntry, PartMeta, Place, Stored};
use tokio::sync::OnceCell;

use super::attachment::Attachment;
use super::compose::{Composer, EmbeddingSource, Row, under};
use super::embedding::Reads;
use super::entry::Entry;
use super::objects::Objects;
use super::overlay::Overlay;
use super::part_pieces::Need;
use super::spilled::{Aside, Spilled};
use super::unread::Unread;
use crate::error::Result;
use crate::shard::Shard;

/// One shard at one moment. Never changes, whatever is appended, folded or swept meanwhile; what is swept is an error, never another answer.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) shard: Shard,
    pub(crate) objects: Arc<Objects>,
    pub(crate) overlay: Overlay,
    pub(super) count: OnceCell<u64>,
    pub(crate) attachment: Attachment,
}

impl Snapshot {
    pub(super) fn new(shard: Shard, objects: Arc<Objects>, overlay: Overlay) -> Self {
        Self { shard, objects, overlay, count: OnceCell::new(), attachment: Attachment::default() }
    }

    /// The snapshot that follows this one.
    pub(super) fn followed_by(&self, objects: Arc<Objects>, overlay: Overlay) -> Self {
        let attachment = Attachment::following(&self.attachment);
        Self { attachment, ..Self::new(self.shard.clone(), objects, overlay) }
    }

    /// How many runs it has, those in the temporary file among them; they are numbered from the oldest.
    pub(super) fn runs(&self) -> usize {
        self.stored_runs() + self.overlay.aside().len()
    }

    /// How many of them the manifest lists; those are the older ones.
    fn stored_runs(&self) -> usize {
        self.objects.manifest().runs.len()
    }

    /// The run in the temporary file that has this number.
    fn spilled(&self, run: usize) -> Option<&Spilled> {
        self.aside(run).and_then(Aside::run)
    }

    /// The segments in the temporary file that have this number among the runs.
    pub(super) fn unread(&self, run: usize) -> Option<&Arc<Unread>> {
        self.aside(run).and_then(Aside::unread)
    }

    fn aside(&self, run: usize) -> Option<&Aside> {
        run.checked_sub(self.stored_runs()).and_then(|run| self.overlay.aside().get(run))
    }

    /// The parts of a run, in id order.
    pub(crate) fn entries(&self, run: usize) -> &[PartEntry] {
        self.spilled(run).map_or_else(|| self.objects.entries(run), Spilled::entries)
    }

    /// A part with the pieces of a need, kept from then on if `keep`: [`Objects::part`]. No request in the temporary file.
    pub(crate) async fn part(&self, run: usize, part: usize, need: Need<'_>, keep: bool) -> Result<Arc<PartMeta>> {
        let Some((spilled, entry)) = self.spilled_part(run, part) else {
            return self.objects.part(run, part, need, keep).await;
        };
        let (parts, key) = (&self.objects.pools().parts, (self.shard.id(), entry.name));
        if keep {
            let met = |part: &PartMeta| need.is_met(part);
            return parts.get(key, met, |have| spilled.read_part(entry, have, need)).await;
        }
        let have = parts.peek(&key);
        match have.as_ref().filter(|part| need.is_met(part)) {
            Some(part) => Ok(part.clone()),
            None => spilled.read_part(entry, have, need).await,
        }
    }

    /// The part with the pieces of a need and the documents of these rows: [`Objects::documents`].
    pub(crate) async fn documents(
        &self,
        run: usize,
        number: usize,
        part: Arc<PartMeta>,
        need: Need<'_>,
        rows: impl Iterator<Item = usize>,
    ) -> Result<Arc<PartMeta>> {
        match self.spilled_part(run, number) {
            Some((spilled, entry)) => spilled.documents(entry, part, need, rows).await,
            None => self.objects.documents(run, number, part, need, rows).await,
        }
    }

    fn spilled_part(&self, run: usize, part: usize) -> Option<(&Spilled, &PartEntry)> {
        let spilled = self.spilled(run)?;
        Some((spilled, spilled.entries().get(part)?))
    }

    /// Every op in it.
    pub(super) fn ops(&self) -> u64 {
        self.objects.manifest().ops + self.overlay.ops()
    }

    /// The record `id`. For each run that has it: a GET of the front with the columns of a part that was not read
    /// before, and a GET of the block that holds the document. Runs whose content older rows cannot show through take the
    /// front alone.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<Stored<EmbeddingSource, Place>>> {
        self.read(id, true).await
    }

    /// The same with an empty text in place of its document, which is not read.
    pub(crate) async fn get_without_document(&self, id: &str) -> Result<Option<Stored<EmbeddingSource, Place>>> {
        self.read(id, false).await
    }

    async fn read(&self, id: &str, document: bool) -> Result<Option<Stored<EmbeddingSource, Place>>> {
        let mut composer = Composer::default();
        for layer in self.overlay.layers().iter().rev() {
            let ops = layer.find(id);
            if !ops.is_empty() && !composer.is_final() {
                composer.under(Row::Log(layer, ops))?;
            }
        }
        for run in (0..self.runs()).rev() {
            if composer.is_final() {
                break;
            }
            if let Some(unread) = self.unread(run) {
                unread.compose(unread.find(id), &mut composer).await?;
            } else if composer.needs_content() {
                match self.content(run, id, document).await? {
                    Some((part, row)) if document => composer.under(Row::Part(&part, row))?,
                    Some((part, row)) => composer.under(Row::WithoutDocuments(&part, row))?,
                    None => {}
                }
            } else if let Some((part, row)) = self.find(run, id).await? {
                composer.under(Row::Part(&part, row))?;
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
            if let Some(unread) = self.unread(run) {
                outline = under(outline, unread.outline(unread.find(id)));
            } else if let Some((part, row)) = self.find(run, id).await? {
                outline = under(outline, Row::Part(&part, row).outline());
            }
        }
        Ok(outline.and_then(Effect::resolve).is_some())
    }

    /// The row of an id in a run, in a part of which the front is loaded.
    async fn find(&self, run: usize, id: &str) -> Result<Option<(Arc<PartMeta>, usize)>> {
        let Some((number, _)) = self.part_of(run, id) else { return Ok(None) };
        let part = self.part(run, number, Need::Front, true).await?;
        Ok(part.find(id).ok().map(|row| (part, row)))
    }

    /// The same in a part of which all columns are loaded, and the documents of the row if they are wanted. A part that is
    /// not kept takes one GET for the front with all columns, and one for a document.
    async fn content(&self, run: usize, id: &str, document: bool) -> Result<Option<(Arc<PartMeta>, usize)>> {
        let Some((number, entry)) = self.part_of(run, id) else { return Ok(None) };
        let part = match self.objects.pools().parts.peek(&(self.shard.id(), entry.name)) {
            // The front tells whether the id is there, and where its document lies.
            Some(part) => part,
            None => self.part(run, number, Need::Columns, true).await?,
        };
        let Ok(row) = part.find(id) else { return Ok(None) };
        let part = if document {
            self.documents(run, number, part, Need::Columns, iter::once(row)).await?
        } else {
            self.part(run, number, Need::Columns, true).await?
        };
        Ok(Some((part, row)))
    }

    /// The part of a run whose ids lie around an id.
    fn part_of(&self, run: usize, id: &str) -> Option<(usize, &PartEntry)> {
        let entries = self.entries(run);
        let number = entries.partition_point(|entry| entry.max_id.as_str() < id);
        let entry = entries.get(number)?;
        (entry.min_id.as_str() <= id).then_some((number, entry))
    }

    /// A record for the caller, with its embedding if wanted.
    pub(crate) async fn entry(
        &self,
        id: String,
        stored: Stored<EmbeddingSource, Place>,
        embedding: Reads,
    ) -> Result<Entry> {
        let (mut record, inserted, changed) = (stored.record, stored.inserted, stored.changed);
        let source = record.embedding.take().filter(|_| embedding != Reads::Nothing);
        let embedding = match source {
            None => None,
            Some(EmbeddingSource::Stored(at)) => Some(self.embedding(at, embedding).await?),
            Some(source) => source.numbers().map(<[f32]>::to_vec),
        };
        let mut record = record.map_embedding(|_| Vec::new());
        record.embedding = embedding;
        Ok(Entry { id, record, inserted, changed, shard: self.shard.id() })
    }
}
