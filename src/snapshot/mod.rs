//! Snapshots: manifests, the edits that lead from one to the next, and their publishing.

mod conflict;
mod edit;
mod invariants;
mod publish;
#[cfg(feature = "simulation")]
pub mod rehearsal;
mod sources;

pub(crate) use conflict::Conflict;
pub(crate) use edit::{
    Accounting, Edit, Floors, Fold, MAX_ANCESTORS, Merge, OpSum, ReferenceChange, highest_truncated, is_seen,
    keeps_last, nonce_of,
};
pub(crate) use publish::{Current, publish};
pub(crate) use sources::ClockSample;

/// The decisions that the model of the protocol shares.
#[cfg(test)]
pub(crate) use {
    edit::{Stamp, apply},
    invariants::check,
    publish::history::History,
};

#[cfg(test)]
mod tests;
