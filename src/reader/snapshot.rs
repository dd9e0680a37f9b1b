//! One shard at one moment: a manifest and the log behind it.

use std::sync::Arc;

use deltafold_format::{Effect, PartEntry, PartMeta, Place, Stored};
use tokio::sync::OnceCell;

use super::attachment::Attachment;
use super::compose::{EmbeddingSource, Row, under};
use super::entry::Entry;
use super::objects::Objects;
use super::overlay::Overlay;
use super::part_pieces::Need;
use super::reads::Reads;
use super::spilled::{Aside, Spilled};
use super::unread::Unread;
use crate::error::Result;
use crate::shard::Shard;

/// One shard at one moment. It never changes when ops are appended, folded or swept. After a sweep
/// a read fails, and never gives another answer.
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

    /// The next snapshot.
    pub(super) fn followed_by(&self, objects: Arc<Objects>, overlay: Overlay) -> Self {
        let attachment = Attachment::following(&self.attachment);
        Self { attachment, ..Self::new(self.shard.clone(), objects, overlay) }
    }

    /// Number of runs, with those in the temporary file. They are numbered from the oldest.
    pub(super) fn runs(&self) -> usize {
        self.stored_runs() + self.overlay.aside().len()
    }

    /// Number of runs that the manifest lists. Those are the older ones.
    fn stored_runs(&self) -> usize {
        self.objects.manifest().runs.len()
    }

    /// The run of this number, if it is in the temporary file.
    fn spilled(&self, run: usize) -> Option<&Spilled> {
        self.aside(run).and_then(Aside::run)
    }

    /// The segments in the temporary file with this number among the runs.
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

    /// A part with the pieces of a need, kept in memory from then on if `keep`: [`Objects::part`].
    /// No request if it is in the temporary file.
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

    /// Number of all ops in it.
    pub(super) fn ops(&self) -> u64 {
        self.objects.manifest().ops + self.overlay.ops()
    }

    /// Whether there is a record `id`. Costs the same as `get`, without making the record.
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

    /// The row of an id in a run, and its part with a loaded front.
    async fn find(&self, run: usize, id: &str) -> Result<Option<(Arc<PartMeta>, usize)>> {
        let Some((number, _)) = self.part_of(run, id) else { return Ok(None) };
        let part = self.part(run, number, Need::Front, true).await?;
        Ok(part.find(id).ok().map(|row| (part, row)))
    }

    /// The part of a run whose id range contains an id, and whether any of it is in memory.
    pub(super) fn part_of(&self, run: usize, id: &str) -> Option<(usize, bool)> {
        let entries = self.entries(run);
        let number = entries.partition_point(|entry| entry.max_id.as_str() < id);
        let entry = entries.get(number).filter(|entry| entry.min_id.as_str() <= id)?;
        Some((number, self.objects.pools().parts.peek(&(self.shard.id(), entry.name)).is_some()))
    }

    /// A record for the caller, with its embedding if wanted.
    pub(crate) async fn entry(
        &self,
        id: String,
        mut stored: Stored<EmbeddingSource, Place>,
        embedding: Reads,
    ) -> Result<Entry> {
        let source = stored.record.embedding.take().filter(|_| embedding != Reads::Nothing);
        let embedding = match source {
            None => None,
            Some(EmbeddingSource::Stored(at)) => Some(self.embedding(at, embedding).await?),
            Some(source) => source.numbers().map(<[f32]>::to_vec),
        };
        let mut entry = self.entry_without_embedding(id, stored);
        entry.record.embedding = embedding;
        Ok(entry)
    }

    /// The same without its embedding, which takes no request.
    pub(crate) fn entry_without_embedding(&self, id: String, stored: Stored<EmbeddingSource, Place>) -> Entry {
        let mut record = stored.record.map_embedding(|_| Vec::new());
        record.embedding = None;
        Entry { id, record, inserted: stored.inserted, changed: stored.changed, shard: self.shard.id() }
    }
}
