//! The groups of a request: ops of one change, or ops without a position.

use deltafold_format::Op;

use super::super::dedup::DedupKey;

/// Some ops of a request, in their order: those of one change, or ops without a position.
#[derive(Debug)]
pub(in crate::log) struct ChangeGroup {
    pub(super) ops: usize,
    pub(in crate::log) key: Option<DedupKey>,
    pub(super) status: DedupStatus,
}

/// The dedup status of a group.
#[derive(Debug)]
pub(super) enum DedupStatus {
    /// The batch writes its ops.
    New,
    /// An earlier entry of the batch is the same change, or a later one of its source. The group
    /// takes effect with that entry. The entry is undecided, so the group keeps its ops.
    Covered(Vec<Op>),
    /// The log holds it already.
    Held,
}

impl ChangeGroup {
    pub(in crate::log) fn new(ops: usize, key: Option<DedupKey>) -> Self {
        Self { ops, key, status: DedupStatus::New }
    }

    pub(super) fn is_new(&self) -> bool {
        matches!(self.status, DedupStatus::New)
    }
}
