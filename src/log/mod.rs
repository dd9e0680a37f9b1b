//! The log of a shard: appending at its tail, reading it.
//!
//! The log is the segments `log/1`, `log/2`, … without a gap. A writer creates the first free slot.
//! No writer tries slot `n + 1` before it knows the content of slot `n`.
//!
//! | module | part |
//! |---|---|
//! | `writer` | the handle: hands ops over to the appenders of their shards |
//! | `split` | the ops of a call by shard |
//! | `ack` | the acknowledgement, and the wait for it |
//! | `appender` | one task a shard: batches requests and commits the batches |
//! | `dedup` | producers, high-water marks and keys of changes |
//! | `held_marks` | the high-water marks that a shard holds, for other modules |
//! | `read` | the end of the log, scans, and following it |
//! | `backlog` | the part of the log that is not folded, and its limit |

mod ack;
mod appender;
mod backlog;
mod dedup;
mod held_marks;
mod options;
mod read;
mod split;
mod writer;

pub use ack::Ack;
#[cfg(test)]
pub(crate) use appender::commit;
pub use backlog::{BacklogLimit, Lag};
#[cfg(test)]
pub(crate) use dedup::Held;
pub use dedup::IdempotencyKey;
pub(crate) use dedup::{
    CLOCK_SOURCE, MAX_CHANGE_MARKS, MAX_CHANGE_SOURCE_BYTES, MAX_MARKS, eviction_watermark_of,
    eviction_watermark_of_source, writer_source,
};
pub(crate) use held_marks::high_water_marks;
pub use options::WriterOptions;
pub use read::{Follow, FollowOptions};
pub(crate) use read::{
    Foreign, Look, POLLS_A_LIST, ScanMode, TailRead, WithObject, folded_is_foreign, judge, read_named_with_objects,
    read_tail, read_tail_with_objects,
};
pub use writer::Writer;
