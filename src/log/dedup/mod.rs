//! Deduplication: the producers and changes that a log holds already.
//!
//! | file | part |
//! |---|---|
//! | `marks` | high-water marks: the highest position of each producer |
//! | `change` | changes with a source and a position of their own, and the keys that they leave |

mod change;
#[cfg(test)]
mod held;
mod marks;

use deltafold_format::Uid;

pub use change::IdempotencyKey;
pub(super) use change::{CHANGE, Decision, DedupKey, SOURCE};
pub(crate) use change::{
    MAX_CHANGE_MARKS, MAX_CHANGE_SOURCE_BYTES, eviction_watermark_of, eviction_watermark_of_source,
};
#[cfg(test)]
pub(crate) use held::Held;
pub(super) use marks::HighWaterMarks;
pub(crate) use marks::{CLOCK_SOURCE, MAX_MARKS};

/// The producer id of a writer itself. The numbers of its batches are the positions. A manifest's
/// mark of it names the last batch folded.
pub(crate) fn writer_source(writer: Uid) -> String {
    format!("writer/{writer}")
}
