//! The memory that sections of embedding objects share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Opened;
use crate::env;
use crate::error::Result;
use crate::scratch::{Overflow, Scratch, failed};

/// The memory that sections of embedding objects share: up to a limit of bytes.
///
/// A tier that was not used by the latest use goes where another needs its room. Where all that is
/// held is in use, the newcomer goes to the temporary file: to drop one of them would mean to fetch
/// it again in the next search.
#[derive(Debug)]
pub(crate) struct Room {
    limit: AtomicU64,
    bytes: Arc<AtomicU64>,
    uses: AtomicU64,
    scratch: Scratch,
    open: Mutex<Vec<Weak<Opened>>>,
    /// One permit for each KiB that may be on its way from the store.
    on_the_way: Semaphore,
}

/// KiB of objects that a reader has on their way from the store at once: 32 of the 64 MiB that
/// `docs/memory.md` allows.
const KIB_ON_THE_WAY: u32 = 32 << 10;

/// Bytes of memory that a tier takes, given back when it is dropped.
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

    /// Waits until so many bytes may come from the store, which they may until the answer is
    /// dropped.
    pub(crate) async fn fetching(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).min(KIB_ON_THE_WAY);
        // Nobody closes it.
        self.on_the_way.acquire_many(kib).await.ok()
    }

    /// The number of a new use: of a search, or of a call that warms.
    pub(crate) fn begin(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Bytes of memory that are taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the limit. Tiers that were not used for the longest time go until the others fit.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.evict(0, u64::MAX);
    }

    /// Whether so many bytes fit, where tiers that were last used before the use `used` go for
    /// them. Where they would not fit either way, all stay.
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

    /// Drops tiers that were last used before the use `used`, the oldest first, until so many bytes
    /// fit.
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

    /// The objects of which something is held.
    fn open(&self) -> Vec<Arc<Opened>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|opened| opened.strong_count() > 0);
        open.iter().filter_map(Weak::upgrade).collect()
    }

    /// Has an object take part: its tiers may be dropped.
    pub(super) fn join(&self, opened: &Arc<Opened>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.iter().any(|known| known.as_ptr() == Arc::as_ptr(opened)) {
            open.push(Arc::downgrade(opened));
        }
    }

    /// Keeps the bytes of a tier: in memory, or where there is no room in the temporary file.
    pub(super) async fn place(&self, bytes: Bytes, used: u64) -> Result<(Bytes, Option<Charge>)> {
        let len = bytes.len() as u64;
        if self.make_room(len, used) {
            return Ok((bytes, Some(self.charge(len))));
        }
        let scratch = self.scratch.clone();
        let moved = env::blocking(move || Arc::new(scratch.put(&[bytes])?).get()).await;
        Ok((moved.map_err(failed)?, None))
    }

    /// Takes so many bytes, also beyond the limit.
    pub(super) fn charge(&self, bytes: u64) -> Charge {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge { of: self.bytes.clone(), bytes }
    }

    /// Where objects go that are only read whole.
    pub(super) fn overflow(&self) -> Overflow {
        Overflow::new(self.scratch.clone(), 0)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Story: eight shards fetched sixteen objects each at once, which was more than all other
    /// memory of a reader.
    #[tokio::test]
    async fn fetches_wait_while_others_are_on_their_way() {
        let room = Room::new(0, Scratch::default());
        let first = room.fetching(20 << 20).await;
        assert!(room.fetching(20 << 20).now_or_never().is_none());
        let second = room.fetching(12 << 20).now_or_never().flatten();
        assert!(second.is_some() && room.fetching(1).now_or_never().is_none());
        drop((first, second));
        // More than all of it is fetched alone.
        let all = room.fetching(u64::MAX).now_or_never().flatten();
        assert!(all.is_some() && room.fetching(1).now_or_never().is_none());
    }
}
