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

    /// Whether so many bytes fit, once what an earlier use than `used` left has gone.
    pub(crate) fn make_room(&self, bytes: u64, used: u64) -> bool {
        loop {
            if self.bytes().saturating_add(bytes) <= self.limit() {
                return true;
            }
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|opened| opened.strong_count() > 0);
            let all = open.iter().filter_map(Weak::upgrade).filter_map(|opened| Some((opened.oldest()?, opened)));
            let Some(((_, tier), oldest)) = all.filter(|((at, _), _)| *at < used).min_by_key(|(age, _)| *age) else {
                return false;
            };
            drop(open);
            oldest.drop_tier(tier);
        }
    }

    /// Has an object take part: its tiers may be dropped.
    pub(super) fn join(&self, opened: &Arc<Opened>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(opened));
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
