//! The memory that a reader, its clones and its snapshots share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deltafold_format::{ObjectName, PartMeta, ShardId};
use lru::LruCache;

use super::sections::Room;
use crate::error::Result;
use crate::memory::MemoryLimit;
use crate::scratch::Scratch;

/// Estimated bytes of a kept part besides its columns.
const PART_OVERHEAD: u64 = 512;

/// The memory that a reader, its clones and its snapshots share.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(super) limit: MemoryLimit,
    pub(crate) parts: PartCache,
    /// For the sections of embedding objects.
    pub(crate) sections: Room,
    /// For the ops of the log that snapshots hold in memory.
    pub(super) overlay: Arc<Budget>,
    pub(super) scratch: Scratch,
    shards: u64,
    /// Limit in bytes on parts, sections and the index of searches together, if one is set.
    max_bytes: Mutex<Option<u64>>,
}

impl Pools {
    pub(super) fn new(limit: MemoryLimit, shards: usize) -> Arc<Self> {
        let scratch = Scratch::default();
        Arc::new(Self {
            limit,
            parts: PartCache::new(limit.parts()),
            sections: Room::new(limit.embeddings(), scratch.clone()),
            overlay: Arc::new(Budget { limit: limit.overlay(), used: AtomicU64::new(0) }),
            scratch,
            shards: shards as u64,
            max_bytes: Mutex::default(),
        })
    }

    /// Limits parts, sections and the index of searches together. `parts` of it is for parts and
    /// index.
    pub(crate) fn set_max_bytes(&self, max: u64, parts: u64) {
        *self.max() = Some(max);
        self.parts.set_limit(parts.min(max));
        self.share_out();
    }

    /// The limit on parts, sections and the index of searches together, if one is set.
    pub(crate) fn max_bytes(&self) -> Option<u64> {
        *self.max()
    }

    fn max(&self) -> MutexGuard<'_, Option<u64>> {
        // Each change is a single assignment.
        self.max_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the bytes of the index of searches. They reduce the room of parts. Beyond the share of
    /// parts, they reduce the room of sections.
    pub(crate) fn hold_index(&self, bytes: u64) {
        self.parts.reserve(bytes);
        self.share_out();
    }

    fn share_out(&self) {
        if let Some(max) = self.max_bytes() {
            self.sections.set_limit(max.saturating_sub(self.parts.limit().max(self.parts.reserved())));
        }
    }

    /// Whether a shard whose ops take `bytes` of memory must move them to the temporary file.
    ///
    /// Older snapshots may hold the whole budget. A shard then waits for a share of its own to fill
    /// before it moves, so that it does not move every few ops.
    pub(super) fn must_spill(&self, bytes: u64) -> bool {
        let share = (self.overlay.limit / (4 * self.shards.max(1))).max(64 << 10).min(self.overlay.limit);
        self.overlay.is_over() && bytes > share
    }
}

/// Bytes of memory with several holders.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// Takes bytes, even beyond the limit, until the result is dropped.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Arc<Charge> {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Charge { budget: self.clone(), bytes })
    }

    /// Bytes taken.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.used() > self.limit
    }
}

/// Bytes taken from a [`Budget`].
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Charge {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A part, by its shard and its name.
pub(super) type PartKey = (ShardId, ObjectName);

/// The parts read last, with their loaded pieces, up to a limit of bytes.
#[derive(Debug)]
pub(crate) struct PartCache {
    limit: AtomicU64,
    /// Bytes of the limit reserved for other data about parts: the index of a search.
    reserved: AtomicU64,
    /// Whether a caller asked to keep documents.
    keeps_documents: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    cells: LruCache<PartKey, Cell>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Cell {
    slot: Arc<Slot>,
    /// Zero until the part is read.
    bytes: u64,
}

/// A part with its loaded pieces.
#[derive(Debug, Default)]
struct Slot {
    part: Mutex<Option<Arc<PartMeta>>>,
    /// Held by the one caller that reads. Other callers of the same part wait for it and read
    /// nothing.
    reading: tokio::sync::Mutex<()>,
}

impl Slot {
    fn part(&self) -> MutexGuard<'_, Option<Arc<PartMeta>>> {
        // Each change is a single assignment.
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartCache {
    fn new(limit: u64) -> Self {
        let kept = Mutex::new(Kept { cells: LruCache::unbounded(), bytes: 0 });
        let keeps_documents = AtomicBool::new(false);
        Self { limit: AtomicU64::new(limit), reserved: AtomicU64::new(0), keeps_documents, kept }
    }

    /// The limit. Reserved bytes count towards it.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the limit, and evicts the least recently used parts until the others fit.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.shrink(&mut self.kept());
    }

    /// Reserves bytes of the limit.
    pub(crate) fn reserve(&self, bytes: u64) {
        self.reserved.store(bytes, Ordering::Relaxed);
        self.shrink(&mut self.kept());
    }

    /// Reserved bytes.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Bytes of parts.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept().bytes
    }

    /// Limit in bytes on parts.
    fn room(&self) -> u64 {
        self.limit().saturating_sub(self.reserved())
    }

    /// The part, with the pieces in memory.
    pub(super) fn peek(&self, key: &PartKey) -> Option<Arc<PartMeta>> {
        let slot = self.kept().cells.get(key).map(|cell| cell.slot.clone())?;
        slot.part().clone()
    }

    /// A part that meets a need. If the pieces in memory do not, `read` adds to them. The part
    /// stays in memory while there is room.
    pub(super) async fn get<R: Future<Output = Result<Arc<PartMeta>>>>(
        &self,
        key: PartKey,
        is_met: impl Fn(&PartMeta) -> bool,
        read: impl FnOnce(Option<Arc<PartMeta>>) -> R,
    ) -> Result<Arc<PartMeta>> {
        let slot = self.kept().cells.get_or_insert_mut(key, Cell::default).slot.clone();
        let met = || slot.part().clone().filter(|part| is_met(part));
        if let Some(part) = met() {
            return Ok(part);
        }
        let _reading = slot.reading.lock().await;
        if let Some(part) = met() {
            return Ok(part);
        }
        let have = slot.part().clone();
        let part = read(have).await?;
        self.keep(&key, &slot, &part);
        Ok(part)
    }

    /// Adds the columns of a part that was read for its documents. The documents are not kept.
    pub(super) fn add(&self, key: &PartKey, part: &PartMeta) {
        let slot = self.kept().cells.peek(key).map(|cell| cell.slot.clone());
        if let Some(slot) = slot {
            let kept = slot.part().clone();
            let lacks = kept.as_ref().is_some_and(|kept| !kept.has_all_columns());
            if let Some(kept) = kept.filter(|_| lacks) {
                self.keep(key, &slot, &Arc::new(kept.union(&part.without_documents())));
            }
        }
    }

    /// Drops a part.
    pub(super) fn forget(&self, key: &PartKey) {
        let mut kept = self.kept();
        if let Some(cell) = kept.cells.pop(key) {
            kept.bytes -= cell.bytes;
        }
    }

    /// Whether a further part would likely fit without an eviction.
    pub(super) fn has_room(&self) -> bool {
        self.kept().bytes < self.room() / 8 * 7
    }

    /// Keeps documents from now on.
    pub(crate) fn keep_documents(&self) {
        self.keeps_documents.store(true, Ordering::Relaxed);
    }

    /// Drops the documents of all parts, unless a caller asked to keep them.
    pub(super) fn drop_documents(&self) {
        if self.keeps_documents.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = self.kept();
        let mut bytes = kept.bytes;
        for (_, cell) in kept.cells.iter_mut() {
            let mut part = cell.slot.part();
            if let Some(part) = part.as_mut().filter(|part| part.has_documents()) {
                *part = Arc::new(part.without_documents());
                bytes -= cell.bytes;
                cell.bytes = part.memory_bytes() as u64 + PART_OVERHEAD;
                bytes += cell.bytes;
            }
        }
        kept.bytes = bytes;
    }

    fn keep(&self, key: &PartKey, slot: &Arc<Slot>, part: &Arc<PartMeta>) {
        let mut kept = self.kept();
        *slot.part() = Some(part.clone());
        // The part may have been evicted during the read, and another caller may be reading it
        // again.
        let mut change = (0, 0);
        if let Some(cell) = kept.cells.peek_mut(key).filter(|cell| Arc::ptr_eq(&cell.slot, slot)) {
            change = (cell.bytes, part.memory_bytes() as u64 + PART_OVERHEAD);
            cell.bytes = change.1;
        }
        kept.bytes = kept.bytes - change.0 + change.1;
        self.shrink(&mut kept);
    }

    fn shrink(&self, kept: &mut Kept) {
        while kept.bytes > self.room() {
            let Some((_, cell)) = kept.cells.pop_lru() else { break };
            kept.bytes -= cell.bytes;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere could only leave the sum too high, and then fewer parts are kept.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use deltafold_format::{Nonce, PartBuilder, Position, Record, Sequence, Stored, Transition, Version};

    use super::*;

    fn part() -> Arc<PartMeta> {
        let at = Position::new(Sequence::FIRST, 0).unwrap();
        let stored = Stored { record: Record::default(), inserted: at, changed: at };
        let mut builder = PartBuilder::new();
        builder.push("a", &Transition::Replace { record: Some(stored), renewed: false }).unwrap();
        Arc::new(PartMeta::decode(builder.finish().unwrap().object.to_bytes()).unwrap())
    }

    fn key(number: u64) -> PartKey {
        (ShardId::all(1).next().unwrap(), ObjectName { version: Version::new(1), nonce: Nonce::new(number) })
    }

    #[tokio::test]
    async fn the_cache_keeps_the_parts_used_last_within_its_limit() {
        let part = part();
        let one = part.memory_bytes() as u64 + PART_OVERHEAD;
        let cache = PartCache::new(3 * one);
        let met = |_: &PartMeta| true;
        let read = |_| async { Ok(part.clone()) };
        for number in [1, 2, 3, 1, 4] {
            cache.get(key(number), met, read).await.unwrap();
            assert!(cache.kept().bytes <= 3 * one);
        }
        let kept = [1, 2, 3, 4].map(|number| cache.peek(&key(number)).is_some());
        assert_eq!(kept, [true, false, true, true]);
        // A part in memory is not read again.
        cache.get(key(4), met, |_| async { panic!("it is kept") }).await.unwrap();
        // A part above the limit is returned and not kept.
        let small = PartCache::new(one - 1);
        small.get(key(1), met, read).await.unwrap();
        assert!(small.peek(&key(1)).is_none() && small.kept().bytes == 0);
    }

    #[test]
    fn a_budget_is_given_back_when_the_last_holder_goes() {
        let pools = Pools::new(MemoryLimit::tiny(1 << 20), 1);
        let held = pools.overlay.take(400 << 10);
        assert!(pools.must_spill(400 << 10) && !pools.must_spill(1));
        let other = held.clone();
        drop(held);
        assert!(pools.must_spill(400 << 10));
        drop(other);
        assert!(!pools.must_spill(400 << 10));
    }
}
