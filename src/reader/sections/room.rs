//! The memory that sections of embedding objects share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use super::Opened;
use crate::env;
use crate::error::Result;
use crate::scratch::{Overflow, Scratch, failed};

/// The memory that sections of embedding objects share: up to a limit of bytes.
///
/// A tier that was not used by the latest use goes where another needs its room. Where all that is held is in use,
/// the newcomer goes to the temporary file: to drop one of them would mean to fetch it again in the next search.
#[derive(Debug)]
pub(crate) struct Room {
    limit: AtomicU64,
    bytes: Arc<AtomicU64>,
    uses: AtomicU64,
    scratch: Scratch,
    open: Mutex<Vec<Weak<Opened>>>,
}

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
        Self { limit, bytes, uses, scratch, open: Mutex::default() }
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

    /// Whether so many bytes fit, where tiers that were last used before the use `used` go for them. Where they
    /// would not fit either way, all stay.
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

    /// Drops tiers that were last used before the use `used`, the oldest first, until so many bytes fit.
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
