//! Prepares full batches behind the one that is being committed: encodes them and, if their slot is
//! known, uploads them ahead.

use std::collections::VecDeque;

use deltafold_format::{Sequence, Uid};

use super::batch::Batch;
use crate::env::{self, Task};
use crate::shard::Shard;

/// Full batches prepared at once.
const READY_AT_ONCE: usize = 8;

/// A full batch under preparation.
struct Ready {
    batch: Task<Batch>,
    /// The batch takes a slot unless a request fails. The log may hold a producer's ops already,
    /// and a conditional batch may come too late.
    always_lands: bool,
    /// The batch writes nothing: its callers only wait for earlier batches.
    is_barrier: bool,
    /// Its upload has begun.
    is_staged: bool,
}

impl Ready {
    fn stage(self, shard: Shard, writer: Uid, slot: Sequence) -> Self {
        let encoding = self.batch;
        let batch = env::spawn(async move {
            let mut batch = env::join(encoding).await;
            batch.stage(&shard, writer, slot).await;
            batch
        });
        Self { batch, is_staged: true, ..self }
    }
}

/// Prepared batches, in the order of their commits.
pub(super) struct Ahead {
    shard: Shard,
    writer: Uid,
    ready: VecDeque<Ready>,
    /// The slot of the first of them; `None` if it is not known, as when another writer appends.
    slot: Option<Sequence>,
}

impl Ahead {
    pub(super) fn new(shard: Shard, writer: Uid) -> Self {
        Self { shard, writer, ready: VecDeque::new(), slot: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.ready.len() >= READY_AT_ONCE
    }

    /// Whether the next batch takes a slot in any case, if there is one.
    pub(super) fn next_always_lands(&self) -> Option<bool> {
        self.ready.front().map(|ready| ready.always_lands)
    }

    /// The next batch, once it is encoded and uploaded.
    pub(super) fn pop(&mut self) -> Option<Task<Batch>> {
        let ready = self.ready.pop_front()?;
        self.slot =
            self.slot.filter(|_| ready.always_lands).map(|slot| if ready.is_barrier { slot } else { slot.next() });
        Some(ready.batch)
    }

    pub(super) fn push(&mut self, batch: Task<Batch>, always_lands: bool, is_barrier: bool) {
        self.ready.push_back(Ready { batch, always_lands, is_barrier, is_staged: false });
        self.stage();
    }

    /// Sets the slot that the next batch will get, if it is known.
    pub(super) fn expect(&mut self, slot: Option<Sequence>) {
        self.slot = slot;
        self.stage();
    }

    /// Starts the uploads that have not begun.
    fn stage(&mut self) {
        let Some(mut slot) = self.slot else { return };
        let mut known = true;
        let stage = |ready: Ready| {
            // The slots behind a batch that may take none are not known.
            known &= ready.always_lands;
            if !known || ready.is_barrier {
                return ready;
            }
            let own = slot;
            slot = slot.next();
            if ready.is_staged { ready } else { ready.stage(self.shard.clone(), self.writer, own) }
        };
        self.ready = std::mem::take(&mut self.ready).into_iter().map(stage).collect();
    }
}
