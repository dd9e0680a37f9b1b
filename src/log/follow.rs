//! Following the log: its ops in order, as they come.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use deltafold_format::limits::MAX_SEGMENT_OPS;
use deltafold_format::{Op, Position, Segment, Sequence};
use futures::StreamExt;
use futures::stream::{self, BoxStream, Stream};

use super::tail::gap;
use crate::env;
use crate::error::Result;
use crate::head::HeadState;
use crate::shard::{Shard, Slot};

/// So many segments are read before their ops are passed on.
const SEGMENTS_AT_ONCE: usize = 8;
/// Or so many bytes of them.
const BYTES_AT_ONCE: u64 = 8 << 20;

/// From where to follow a log, and how far.
#[derive(Debug, Clone, Copy)]
pub struct FollowOptions {
    /// The op that was seen last; all by default. Where its segment, or one behind it, was swept, that is the error `Superseded`.
    pub after: Position,
    /// End where the log ends, instead of waiting for more.
    pub until_tail: bool,
    /// How long to wait before looking for more: 1 s by default.
    pub interval: Duration,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self { after: Position::ZERO, until_tail: false, interval: Duration::from_secs(1) }
    }
}

impl FollowOptions {
    /// From the first op of a segment on.
    #[must_use]
    pub fn from_segment(self, segment: Sequence) -> Self {
        // The highest position that the segment before could have.
        let first = Position::new(segment, 0).unwrap_or_default();
        Self { after: Position::from_bits(first.to_bits().saturating_sub(1)), ..self }
    }
}

/// The ops of a shard in log order, each with its position. Ends after the first error.
///
/// One GET a segment, and a conditional GET for every eight; at the end of the log a GET and a conditional GET every interval.
pub struct Follow(BoxStream<'static, Result<(Position, Op)>>);

impl Follow {
    pub(crate) fn new(shard: Shard, options: FollowOptions) -> Self {
        let complete = options.after.index() as usize >= MAX_SEGMENT_OPS - 1;
        let next = if complete { options.after.sequence().next() } else { options.after.sequence() };
        let next = next.max(Sequence::FIRST);
        let follower = Follower { shard, options, next, head: None, ops: VecDeque::new() };
        Self(stream::try_unfold(follower, Follower::step).boxed())
    }
}

impl Stream for Follow {
    type Item = Result<(Position, Op)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").finish_non_exhaustive()
    }
}

struct Follower {
    shard: Shard,
    options: FollowOptions,
    /// The slot to read next.
    next: Sequence,
    /// The head as last seen.
    head: Option<HeadState>,
    /// Of the segments read last.
    ops: VecDeque<(Position, Op)>,
}

impl Follower {
    /// The next op, when it comes.
    async fn step(mut self) -> Result<Option<((Position, Op), Self)>> {
        loop {
            if let Some(op) = self.ops.pop_front() {
                return Ok(Some((op, self)));
            }
            if self.head.is_none() {
                self.look().await?;
            }
            let (slots, end) = self.read().await?;
            // A slot found empty is still to come, or was swept; one found full is the log's, or was left by somebody who slept through the sweep. Which of the
            // two it is only a look at the head *afterwards* tells.
            self.look().await?;
            if !slots.is_empty() {
                self.shard.settle_log().await?;
            }
            for slot in slots {
                if let Slot::Segment(segment) = slot {
                    self.ops.extend(ops(&segment, self.options.after));
                }
                self.next = self.next.next();
            }
            if end && self.ops.is_empty() {
                if self.options.until_tail {
                    return Ok(None);
                }
                env::sleep(self.options.interval).await;
            }
        }
    }

    /// The next slots, and whether an empty one follows them.
    async fn read(&self) -> Result<(Vec<Slot>, bool)> {
        let (mut slots, mut bytes, mut next) = (Vec::new(), 0, self.next);
        while slots.len() < SEGMENTS_AT_ONCE && bytes < BYTES_AT_ONCE {
            match self.shard.slot(next).await? {
                Slot::Absent => return Ok((slots, true)),
                slot => {
                    bytes += slot.bytes();
                    slots.push(slot);
                }
            }
            next = next.next();
        }
        Ok((slots, false))
    }

    /// Looks at the head; an error where the next slot was swept.
    async fn look(&mut self) -> Result<()> {
        let state = match &self.head {
            None => self.shard.head().await?,
            Some(seen) => match self.shard.head_unless(seen).await? {
                None => seen.clone(),
                Some(state) => state,
            },
        };
        if self.next < state.head.truncated {
            return Err(gap(&self.shard, self.next));
        }
        self.head = Some(state);
        Ok(())
    }
}

fn ops(segment: &Segment, after: Position) -> Vec<(Position, Op)> {
    let whole = |op: &Op<u32>| op.clone().map_embedding(|row| segment.vector(row).to_vec());
    segment.ops().filter(|(position, _)| *position > after).map(|(position, op)| (position, whole(op))).collect()
}
