//! The memory that a reader, its clones and its snapshots share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deltafold_format::{ObjectName, PartMeta, ShardId};
use lru::LruCache;
use tokio::sync::OnceCell;

use super::sections::Room;
use crate::error::Result;
use crate::memory::MemoryLimit;
use crate::scratch::Scratch;

/// What a kept part takes beside its columns, about.
const PART_OVERHEAD: u64 = 512;

/// The memory that a reader, its clones and its snapshots share.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(super) limit: MemoryLimit,
    pub(super) parts: PartCache,
    /// For the sections of embedding objects.
    pub(crate) sections: Room,
    /// For the ops of the log that snapshots hold in memory.
    pub(super) overlay: Arc<Budget>,
    pub(super) scratch: Scratch,
    shards: u64,
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
        })
    }

    /// Whether a shard whose ops take `bytes` of memory has to move them to the temporary file.
    ///
    /// Older snapshots may hold the whole budget. A shard then waits for a share of its own to fill before it moves,
    /// so that it does not move every few ops.
    pub(super) fn must_spill(&self, bytes: u64) -> bool {
        let share = (self.overlay.limit / (4 * self.shards.max(1))).max(64 << 10).min(self.overlay.limit);
        self.overlay.is_over() && bytes > share
    }
}

/// Bytes that many hold together.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// Takes bytes, also beyond the limit, until the answer is dropped.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Arc<Charge> {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Charge { budget: self.clone(), bytes })
    }

    fn is_over(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit
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

/// The parts read last, up to a limit of bytes. Several callers that want one part read it once.
#[derive(Debug)]
pub(super) struct PartCache {
    limit: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    cells: LruCache<PartKey, Cell>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Cell {
    part: Arc<OnceCell<Arc<PartMeta>>>,
    /// Zero until it was read.
    bytes: u64,
}

impl PartCache {
    fn new(limit: u64) -> Self {
        Self { limit, kept: Mutex::new(Kept { cells: LruCache::unbounded(), bytes: 0 }) }
    }

    /// The part, if it is kept.
    pub(super) fn peek(&self, key: &PartKey) -> Option<Arc<PartMeta>> {
        self.kept().cells.get(key).and_then(|cell| cell.part.get().cloned())
    }

    /// The part, read if it is not kept, and kept from then on for as long as there is room.
    pub(super) async fn get(
        &self,
        key: PartKey,
        read: impl Future<Output = Result<Arc<PartMeta>>>,
    ) -> Result<Arc<PartMeta>> {
        let cell = self.kept().cells.get_or_insert_mut(key, Cell::default).part.clone();
        if let Some(part) = cell.get() {
            return Ok(part.clone());
        }
        let part = cell.get_or_try_init(|| read).await?.clone();
        self.weigh(&key, part.memory_bytes() as u64 + PART_OVERHEAD);
        Ok(part)
    }

    /// Whether a further part would likely be kept without another having to go.
    pub(super) fn has_room(&self) -> bool {
        self.kept().bytes < self.limit / 8 * 7
    }

    fn weigh(&self, key: &PartKey, bytes: u64) {
        let mut kept = self.kept();
        // It may have had to go while it was read, or somebody else has weighed it.
        if let Some(cell) = kept.cells.peek_mut(key).filter(|cell| cell.bytes == 0) {
            cell.bytes = bytes;
            kept.bytes += bytes;
        }
        while kept.bytes > self.limit {
            let Some((_, cell)) = kept.cells.pop_lru() else { break };
            kept.bytes -= cell.bytes;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere could only leave the sum too high, and then less is kept.
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
        let read = || async { Ok(part.clone()) };
        for number in [1, 2, 3, 1, 4] {
            cache.get(key(number), read()).await.unwrap();
            assert!(cache.kept().bytes <= 3 * one);
        }
        let kept = [1, 2, 3, 4].map(|number| cache.peek(&key(number)).is_some());
        assert_eq!(kept, [true, false, true, true]);
        // A part that is kept is not read again.
        cache.get(key(4), async { panic!("it is kept") }).await.unwrap();
        // One that alone passes the limit is handed out and not kept.
        let small = PartCache::new(one - 1);
        small.get(key(1), read()).await.unwrap();
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
