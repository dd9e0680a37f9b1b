//! Compaction folds the log into runs, merges runs, and sweeps objects that no reader or writer
//! needs.

mod claim;
mod compactor;
mod fold;
mod keep_up;
mod merge;
mod ops;
pub(crate) mod policy;
mod report;
mod retention;
mod round;
mod run_writer;
mod sweep;

pub use compactor::{Compactor, CompactorOptions};
pub use keep_up::KeepUp;
pub use policy::Policy;
pub use report::{CompactEvent, CompactReport};
pub(crate) use run_writer::RunWriter;
pub(crate) use sweep::sweep;
pub use sweep::{SweepOptions, SweepReport};

#[cfg(test)]
mod policy_tests;
