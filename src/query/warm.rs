//! Brings a reader into memory, with the index of searches.

use futures::stream::{self, StreamExt, TryStreamExt};

use super::index::ShardIndex;
use crate::error::{Repr, Result};
use crate::reader::{Need, Reader, SHARDS_AT_ONCE, Warm, Warmth};

/// The memory of an index before it is made: of each record of the base its place, a bit, and the
/// owner of its embedding with a bit.
fn estimated_index_bytes(records: u64, embeddings: u64, is_by_revision: bool) -> u64 {
    let place = if is_by_revision { size_of::<u128>() } else { size_of::<u64>() } as u64;
    records * place + embeddings * size_of::<u32>() as u64 + (records + embeddings) / 8
}

impl Reader {
    /// Brings levels of the snapshots into memory, as far as they fit. Later reads fetch the rest.
    ///
    /// Columns come first, and documents with them; then codes, then embeddings. Codes and
    /// embeddings bring the index of searches. If [`Warm::max_bytes`] is given, it bounds
    /// everything that the reader and its clones keep from then on. The least recently used levels
    /// are evicted for those asked for. The result tells what is in memory. A level that does not
    /// fit is not an error, because searches read the rest from the store.
    ///
    /// Costs one GET for each part that is not in memory, and one or two for each embedding object
    /// and level that is not. In a local folder it reads and verifies the pages of mapped objects,
    /// which stay in the page cache.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if codes or embeddings are asked for, and the index of searches alone takes
    /// more than [`Warm::max_bytes`]. Searches fail in the same way while that limit holds. Gets
    /// and scans need no index.
    pub async fn warm(&self, warm: &Warm) -> Result<Warmth> {
        let Some(pools) = self.snapshots().next().map(|first| first.objects.pools().clone()) else {
            return Ok(Warmth::default());
        };
        let (parts, sections) = (&pools.parts, &pools.sections);
        let tiers: Vec<_> = warm.tiers().collect();
        // Comes first, so that a limit that no search can keep changes nothing.
        if !tiers.is_empty() {
            self.check_index(warm.max_bytes)?;
        }
        if let Some(max) = warm.max_bytes {
            let wanted = Warm { signs: false, bytes: false, rows: false, ..*warm };
            let now = Warmth { wanted, ..self.warmth() };
            let share = match warm.columns || warm.documents {
                true if now.is_complete() => parts.bytes() + parts.reserved(),
                // The parts have all room at first, and the sections get the rest.
                true => max,
                false => parts.limit().min(max / 4),
            };
            pools.set_max_bytes(max, share);
        }
        if warm.documents {
            parts.keep_documents();
        }
        if warm.columns || warm.documents {
            let need = if warm.documents { Need::Whole } else { Need::Columns };
            let reads: Vec<_> = self.snapshots().map(|snapshot| snapshot.objects.warm(need)).collect();
            stream::iter(reads).buffer_unordered(SHARDS_AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
        }
        if !tiers.is_empty() {
            self.searched().await?;
        }
        if let Some(max) = warm.max_bytes.filter(|_| warm.columns || warm.documents) {
            pools.set_max_bytes(max, parts.bytes() + parts.reserved());
        }
        let used = sections.begin();
        for tier in tiers {
            for snapshot in self.snapshots() {
                snapshot.objects.warm_tier(tier, used).await?;
            }
        }
        Ok(Warmth { wanted: *warm, ..self.warmth() })
    }

    /// The amount in memory now. [`Warmth::is_complete`] is about the columns.
    pub fn warmth(&self) -> Warmth {
        let mut warmth = Warmth { wanted: Warm::default().columns(), ..Warmth::default() };
        for snapshot in self.snapshots() {
            snapshot.objects.count(&mut warmth);
        }
        warmth.index_bytes = self.index_bytes();
        if let Some(first) = self.snapshots().next() {
            let pools = first.objects.pools();
            warmth.memory_bytes = pools.parts.bytes() + pools.parts.reserved() + pools.sections.bytes();
        }
        warmth
    }

    /// Fails if the index takes more than `max_bytes`.
    pub(super) fn check_index(&self, max_bytes: Option<u64>) -> Result<()> {
        let Some(max_bytes) = max_bytes else { return Ok(()) };
        match self.index_bytes() {
            bytes if bytes > max_bytes => Err(Repr::IndexMemory { bytes, max_bytes }.into()),
            _ => Ok(()),
        }
    }

    /// Bytes of the index. For a shard without an index yet, an estimate of those of its base.
    fn index_bytes(&self) -> u64 {
        let bytes = |snapshot: &crate::reader::Snapshot| match snapshot.attachment.get::<ShardIndex>() {
            Some(index) => index.memory_bytes(),
            None => {
                let manifest = snapshot.objects.manifest();
                let records = match manifest.runs.first().filter(|run| run.resolved) {
                    Some(base) => base.parts.iter().map(|entry| u64::from(entry.rows)).sum(),
                    None => 0,
                };
                let embeddings: u64 = manifest.embeddings.iter().map(|entry| u64::from(entry.live)).sum();
                let is_by_revision = snapshot.shard.config().ordering.is_revision();
                estimated_index_bytes(records, embeddings.min(records), is_by_revision)
            }
        };
        self.snapshots().map(|snapshot| bytes(snapshot)).sum()
    }
}
