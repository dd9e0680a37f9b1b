//! The memory that sections of embedding objects share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Opened;
use crate::env;
use crate::error::Result;
use crate::scratch::{Overflow, Scratch, failed};

/// The memory that sections of embedding objects share, up to a limit of bytes.
///
/// A tier that the latest use did not need is evicted if another needs its room. If all tiers are
/// in use, a new one goes to the temporary file. Evicting one of them would mean fetching it again
/// in the next search.
#[derive(Debug)]
pub(crate) struct Room {
    limit: AtomicU64,
    bytes: Arc<AtomicU64>,
    uses: AtomicU64,
    scratch: Scratch,
    open: Mutex<Vec<Weak<Opened>>>,
    /// One permit for each KiB in flight from the store.
    on_the_way: Semaphore,
}

/// KiB of objects that a reader has in flight from the store at once: 32 of the 64 MiB that
/// `docs/memory.md` allows.
const KIB_ON_THE_WAY: u32 = 32 << 10;

/// Bytes of memory of a tier. Dropping it releases them.
#[derive(Debug)]
pub(super) struct Charge {
    of: Arc<AtomicU64>,
    bytes: u64,
}

impl Charge {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Room {
    pub(crate) fn new(limit: u64, scratch: Scratch) -> Self {
        let (limit, bytes, uses) = (AtomicU64::new(limit), Arc::default(), AtomicU64::new(0));
        let on_the_way = Semaphore::new(KIB_ON_THE_WAY as usize);
        Self { limit, bytes, uses, scratch, open: Mutex::default(), on_the_way }
    }

    /// Waits until this many bytes may be in flight from the store. They may until the result is
    /// dropped.
    pub(crate) async fn fetching(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).min(KIB_ON_THE_WAY);
        // The semaphore is never closed.
        self.on_the_way.acquire_many(kib).await.ok()
    }

    /// The number of a new use: of a search, or of a call to warm.
    pub(crate) fn begin(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the limit, and evicts the least recently used tiers until the others fit.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.evict(0, u64::MAX);
    }

    /// Makes room for this many bytes, and returns whether they fit. Evicts tiers last used before
    /// the use `used`, unless the bytes would not fit even then.
    pub(crate) fn make_room(&self, bytes: u64, used: u64) -> bool {
        let fits = |taken: u64| taken.saturating_add(bytes) <= self.limit();
        if fits(self.bytes()) {
            return true;
        }
        let older: u64 = self.open().iter().map(|opened| opened.charged_before(used)).sum();
        if fits(self.bytes().saturating_sub(older)) {
            self.evict(bytes, used);
        }
        fits(self.bytes())
    }

    /// Evicts tiers last used before the use `used`, the oldest first, until this many bytes fit.
    fn evict(&self, bytes: u64, used: u64) {
        let open = self.open();
        let mut older: Vec<_> =
            open.iter().flat_map(|opened| opened.tiers_before(used).map(move |old| (old, opened))).collect();
        older.sort_unstable_by_key(|(age, _)| *age);
        for ((_, tier), opened) in older {
            if self.bytes().saturating_add(bytes) <= self.limit() {
                return;
            }
            opened.drop_tier(tier);
        }
    }

    /// The objects with tiers in memory.
    fn open(&self) -> Vec<Arc<Opened>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|opened| opened.strong_count() > 0);
        open.iter().filter_map(Weak::upgrade).collect()
    }

    /// Registers an object, so that its tiers may be evicted.
    pub(super) fn join(&self, opened: &Arc<Opened>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.iter().any(|known| known.as_ptr() == Arc::as_ptr(opened)) {
            open.push(Arc::downgrade(opened));
        }
    }

    /// Keeps the bytes of a tier in memory, or without room in the temporary file.
    pub(super) async fn place(&self, bytes: Bytes, used: u64) -> Result<(Bytes, Option<Charge>)> {
        let len = bytes.len() as u64;
        if self.make_room(len, used) {
            return Ok((bytes, Some(self.charge(len))));
        }
        let scratch = self.scratch.clone();
        let moved = env::blocking(move || Arc::new(scratch.put(&[bytes])?).get()).await;
        Ok((moved.map_err(failed)?, None))
    }

    /// Takes this many bytes, even beyond the limit.
    pub(super) fn charge(&self, bytes: u64) -> Charge {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge { of: self.bytes.clone(), bytes }
    }

    /// The place of objects that are only read whole.
    pub(super) fn overflow(&self) -> Overflow {
        Overflow::new(self.scratch.clone(), 0)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Story: eight shards fetched sixteen objects each at once, which took more than all other
    /// memory of a reader.
    #[tokio::test]
    async fn fetches_wait_while_others_are_on_their_way() {
        let room = Room::new(0, Scratch::default());
        let first = room.fetching(20 << 20).await;
        assert!(room.fetching(20 << 20).now_or_never().is_none());
        let second = room.fetching(12 << 20).now_or_never().flatten();
        assert!(second.is_some() && room.fetching(1).now_or_never().is_none());
        drop((first, second));
        // A request above the limit is fetched alone.
        let all = room.fetching(u64::MAX).now_or_never().flatten();
        assert!(all.is_some() && room.fetching(1).now_or_never().is_none());
    }
}
