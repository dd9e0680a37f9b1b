//! The log of a shard: appending at its tail, reading it.
//!
//! The log is the segments `log/1`, `log/2`, … without a gap: a writer creates the first free one, and nobody moves on to `n + 1` before it is
//! known what `n` holds.

mod appender;
mod backlog;
mod batch;
mod call;
mod end;
mod follow;
mod foreign;
mod gather;
#[cfg(test)]
mod held;
mod intake;
mod lane;
mod marks;
mod member;
mod origin;
mod tail;
mod writer;

#[cfg(test)]
pub(crate) use appender::commit;
pub use backlog::{BacklogLimit, Lag};
pub(crate) use end::{Look, POLLS_A_LIST, judge};
pub use follow::{Follow, FollowOptions};
pub(crate) use foreign::{Foreign, folded_is_foreign};
#[cfg(test)]
pub(crate) use held::Held;
pub(crate) use marks::{CLOCK_SOURCE, MAX_MARKS};
pub use origin::Origin;
pub(crate) use origin::{MAX_CHANGE_MARKS, MAX_ORIGIN_BYTES, floor_of, floor_of_source};
pub(crate) use tail::{Tail, TailRead, WithObject, read_tail, read_tail_with_objects};
pub use writer::{Ack, Writer, WriterOptions};

use deltafold_format::Uid;

/// The source that a writer itself is: its batches are the positions. A manifest's mark of it says which of them were folded.
pub(crate) fn writer_source(writer: Uid) -> String {
    format!("writer/{writer}")
}
