//! The options of a writer.

use std::time::Duration;

use deltafold_format::limits::{MAX_SEGMENT_OPS, MAX_SEGMENT_SECTION_BYTES};

use super::backlog::BacklogLimit;
use crate::error::{Error, Result};
use crate::setters::setters;

/// The batching and back-pressure of a writer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WriterOptions {
    /// A segment takes no more requests once it holds this many ops: 32,768 by default.
    pub max_batch_ops: usize,
    /// Or about this many bytes: 16 MiB by default, at most 32 MiB. Segments commit one after the
    /// other. On a distant store bulk appends wait for that, and larger segments wait less.
    pub max_batch_bytes: usize,
    /// The time that a segment waits for more requests after its first one: none by default. Even
    /// then, requests that arrive while a segment is being written share the next one.
    pub linger: Duration,
    /// Most estimated bytes of ops that wait for their acknowledgement: 128 MiB by default, and at
    /// most half of the collection's [`memory`](crate::Collection::memory). Beyond that, `append`
    /// fails with `Busy`.
    pub max_waiting_bytes: usize,
    /// The longest log that accepts appends, shard by shard. Beyond that, `append` fails with
    /// `Busy` until a compactor has folded.
    pub max_backlog: BacklogLimit,
}

setters!(WriterOptions {
    max_batch_ops: usize,
    max_batch_bytes: usize,
    linger: Duration,
    max_waiting_bytes: usize,
    max_backlog: BacklogLimit,
});

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            max_batch_ops: 32_768,
            max_batch_bytes: 16 << 20,
            linger: Duration::ZERO,
            max_waiting_bytes: 128 << 20,
            max_backlog: BacklogLimit::default(),
        }
    }
}

impl WriterOptions {
    pub(super) fn check(&self) -> Result<()> {
        let most = MAX_SEGMENT_SECTION_BYTES / 2;
        let refuse =
            |what: &str, most: usize| Err(Error::invalid(format!("{what} is out of range: choose 1 to {most}")));
        if self.max_batch_ops == 0 || self.max_batch_ops > MAX_SEGMENT_OPS {
            return refuse("the writer's max_batch_ops", MAX_SEGMENT_OPS);
        }
        if self.max_batch_bytes == 0 || self.max_batch_bytes > most {
            return refuse("the writer's max_batch_bytes", most);
        }
        if self.max_waiting_bytes == 0 {
            return refuse("the writer's max_waiting_bytes", usize::MAX);
        }
        Ok(())
    }
}
