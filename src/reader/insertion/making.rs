//! Makes the records of sorted places, batch by batch.

use std::collections::VecDeque;
use std::sync::Arc;

use deltafold_format::{PartFields, PartMeta, Place, Stored};

use super::found::{Found, Key};
use crate::env;
use crate::error::{Error, Result};
use crate::reader::compose::{Composer, EmbeddingSource, Row};
use crate::reader::drafts::Drafts;
use crate::reader::entry::Entry;
use crate::reader::layer::Layer;
use crate::reader::part_pieces::Need;
use crate::reader::reads::Reads;
use crate::reader::rows::Locator;
use crate::reader::snapshot::Snapshot;
use crate::reader::sorter::Sorted;
use crate::reader::unread::Unread;

/// Records of the first batch. It is small, so that the first ones come soon.
const FIRST_BATCH: usize = 16;
/// Most records of a batch.
const MOST_AHEAD: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 16;
const ROW_BITS: u32 = u32::BITS;

/// The records of a scan, made in batches.
pub(super) struct Making<K: Key> {
    snapshots: Vec<Arc<Snapshot>>,
    /// Absent only while the next records are taken out of it.
    sorted: Option<Sorted<Found<K>>>,
    /// Number of records that may still be wanted.
    left: usize,
    /// Found and not made yet.
    waiting: VecDeque<Found<K>>,
    /// Number of records of the next batch.
    batch: usize,
    /// Whether the next batch visits the parts from the last to the first.
    backwards: bool,
    /// Bytes of records that may be ready.
    memory: usize,
    embeddings: Reads,
}

impl<K: Key> Making<K> {
    pub(super) fn new(
        snapshots: Vec<Arc<Snapshot>>,
        sorted: Sorted<Found<K>>,
        limit: usize,
        embeddings: Reads,
    ) -> Self {
        let memory = snapshots.first().map_or(0, |first| first.objects.pools().limit.ahead());
        Self {
            snapshots,
            sorted: Some(sorted),
            left: limit,
            waiting: VecDeque::new(),
            batch: FIRST_BATCH,
            backwards: true,
            memory: usize::try_from(memory).unwrap_or(usize::MAX),
            embeddings,
        }
    }

    /// The next batch of records, never empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        loop {
            self.take().await?;
            if self.waiting.is_empty() {
                return Ok(None);
            }
            let batch = self.make().await?;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
    }

    /// Takes as many as the next batch needs.
    async fn take(&mut self) -> Result<()> {
        let wanted = self.batch.saturating_sub(self.waiting.len()).min(self.left);
        if wanted > 0
            && let Some(mut sorted) = self.sorted.take()
        {
            let (sorted, next) = env::blocking(move || {
                let next = sorted.next_many(wanted);
                (sorted, next)
            })
            .await;
            self.sorted = Some(sorted);
            let next = next?;
            self.left -= next.len().min(self.left);
            self.waiting.extend(next);
        }
        Ok(())
    }

    /// Makes the first of the waiting records, part by part. If they take too much memory, the last
    /// of them keep waiting.
    async fn make(&mut self) -> Result<Vec<Entry>> {
        let count = self.batch.min(self.waiting.len());
        let batch: Vec<Found<K>> = self.waiting.drain(..count).collect();
        let mut slots = Slots::new(count, self.memory, self.embeddings);
        for group in by_part(&batch, self.backwards).chunk_by(|a, b| a.part() == b.part()) {
            let Some(first) = group.first().and_then(|first| batch.get(first.place())) else { continue };
            let Some(snapshot) = self.snapshots.get(first.shard()) else { continue };
            let rows = RowsOf::read(snapshot, first.at).await?;
            for place in group.iter().map(|at| at.place()) {
                // Records behind the end wait for the next batch. The end moves when memory runs
                // out.
                let Some(found) = batch.get(place).filter(|_| place < slots.end) else { continue };
                let of = (found.shard(), &**snapshot);
                let row = found.at.row as usize;
                match &rows {
                    RowsOf::Part(part) if !found.is_composed() => {
                        let stored = part.resolved_record(row, PartFields::ALL).map_err(Error::not_loaded)?;
                        slots.put(of, place, part.id(row), stored);
                    }
                    _ => {
                        let id = rows.id(row);
                        let stored = match found.is_composed() {
                            true => snapshot.get(id).await?,
                            false => rows.compose(row).await?,
                        };
                        slots.put(of, place, id, stored);
                    }
                }
            }
        }
        // Each batch begins with the last parts of the one before, which are still in memory.
        self.backwards = !self.backwards;
        for found in batch.get(slots.end..).unwrap_or_default().iter().rev() {
            self.waiting.push_front(*found);
        }
        let average = slots.bytes / slots.made.max(1) + 1;
        let fits = (self.memory / 2 / average).clamp(1, MOST_AHEAD);
        self.batch = fits.min(self.batch * 4);
        let made = slots.finish(&self.snapshots).await?;
        tokio::task::yield_now().await;
        Ok(made)
    }
}

/// Whole parts stay in memory during a scan, because each of its batches reads many of them.
impl<K: Key> Drop for Making<K> {
    fn drop(&mut self) {
        if let Some(first) = self.snapshots.first() {
            first.objects.pools().parts.drop_documents();
        }
    }
}

/// A record of a batch: its shard, source, part and row, then its place in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct InPart(u128);

impl InPart {
    fn of<K>(found: &Found<K>, place: usize) -> Self {
        let Locator { source, part, row } = found.at;
        let numbers = [source, part, row].map(u128::from);
        let at = numbers.into_iter().fold(found.shard() as u128, |at, number| at << ROW_BITS | number);
        Self(at << PLACE_BITS | place as u128)
    }

    /// Shard, source and part.
    fn part(self) -> u128 {
        self.0 >> (ROW_BITS + PLACE_BITS)
    }

    fn place(self) -> usize {
        self.0 as usize % MOST_AHEAD
    }
}

/// The records of a batch, those of one part together and in the order of their rows.
fn by_part<K>(batch: &[Found<K>], backwards: bool) -> Vec<InPart> {
    let mut by_part: Vec<InPart> = batch.iter().enumerate().map(|(place, found)| InPart::of(found, place)).collect();
    by_part.sort_unstable();
    if backwards {
        by_part.reverse();
    }
    by_part
}

/// The place where records of a batch lie together.
enum RowsOf<'a> {
    Part(Arc<PartMeta>),
    Layer(&'a Arc<Layer>),
    Unread(&'a Arc<Unread>),
}

impl<'a> RowsOf<'a> {
    async fn read(snapshot: &'a Snapshot, at: Locator) -> Result<Self> {
        let source = at.source as usize;
        let layer = source.checked_sub(snapshot.runs()).and_then(|layer| snapshot.overlay.layers().get(layer));
        match (layer, snapshot.unread(source)) {
            (Some(layer), _) => Ok(Self::Layer(layer)),
            (None, Some(unread)) => Ok(Self::Unread(unread)),
            (None, None) => snapshot.part(source, at.part as usize, Need::Whole, true).await.map(Self::Part),
        }
    }

    fn id(&self, row: usize) -> &str {
        match self {
            Self::Part(part) => part.id(row),
            Self::Layer(layer) => layer.id(row),
            Self::Unread(unread) => unread.id(row),
        }
    }

    /// The composed rows of an id in this source, from `row` on.
    async fn compose(&self, row: usize) -> Result<Option<Stored<EmbeddingSource, Place>>> {
        let mut composer = Composer::default();
        match self {
            Self::Part(part) => composer.under(Row::Part(part, row))?,
            Self::Layer(layer) => composer.under(Row::Log(layer, row..layer.end_of(layer.id(row), row)))?,
            Self::Unread(unread) => {
                unread.compose(row..unread.end_of(unread.id(row), row), &mut composer).await?;
            }
        }
        Ok(composer.finish())
    }
}

/// The records of a batch, each at its place.
struct Slots {
    /// Each with its bytes of memory.
    entries: Vec<Option<(Entry, usize)>>,
    drafts: Drafts,
    /// Records from this place on wait for the next batch.
    end: usize,
    made: usize,
    bytes: usize,
    /// Bytes that they may take together.
    memory: usize,
}

impl Slots {
    fn new(count: usize, memory: usize, embeddings: Reads) -> Self {
        let entries = std::iter::repeat_with(|| None).take(count).collect();
        Self { entries, drafts: Drafts::new(embeddings), end: count, made: 0, bytes: 0, memory }
    }

    /// Begins a record. If all of them take too much memory, the last ones are dropped, except one.
    fn put<E: Into<EmbeddingSource>>(
        &mut self,
        of: (usize, &Snapshot),
        place: usize,
        id: &str,
        stored: Option<Stored<E, Place>>,
    ) {
        let (Some(stored), Some(slot)) = (stored, self.entries.get_mut(place)) else { return };
        let (entry, to_come) = self.drafts.begin(of, place, id.to_owned(), stored);
        let bytes = entry.memory_bytes() + to_come;
        *slot = Some((entry, bytes));
        self.bytes += bytes;
        self.made += 1;
        while self.bytes > self.memory && self.made > 1 && self.end > 0 {
            self.end -= 1;
            if let Some((_, bytes)) = self.entries.get_mut(self.end).and_then(Option::take) {
                self.bytes -= bytes;
                self.made -= 1;
            }
        }
    }

    /// The records, in order and with their embeddings.
    async fn finish(self, snapshots: &[Arc<Snapshot>]) -> Result<Vec<Entry>> {
        let Self { mut entries, drafts, end, .. } = self;
        entries.truncate(end);
        let give = |place: usize, embedding| {
            if let Some(Some((entry, _))) = entries.get_mut(place) {
                entry.record.embedding = Some(embedding);
            }
        };
        drafts.finish(snapshots, end, give).await?;
        Ok(entries.into_iter().flatten().map(|(entry, _)| entry).collect())
    }
}
