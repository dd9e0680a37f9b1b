//! Follows the log: its ops in order, as they come.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use deltafold_format::limits::MAX_SEGMENT_OPS;
use deltafold_format::{Op, Position, Segment, Sequence};
use futures::StreamExt;
use futures::stream::{self, BoxStream, Stream};

use super::end::{Empty, Look, judge};
use super::foreign::{Foreign, folded_is_foreign};
use super::scan::gap;
use crate::env;
use crate::error::{Error, Result};
use crate::head::HeadState;
use crate::setters::setters;
use crate::shard::{Shard, Slot};

/// Most segments read before their ops are returned.
const SEGMENTS_AT_ONCE: usize = 8;
/// Most bytes of memory of these segments.
const BYTES_AT_ONCE: u64 = 8 << 20;

/// The start and the end of following a log.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct FollowOptions {
    /// The op seen last; by default, before the first op. The error is `Superseded` if its segment,
    /// or one behind it, was swept.
    pub after: Position,
    /// End where the log ends, instead of waiting for more.
    pub until_tail: bool,
    /// Pause between two polls: 1 s by default.
    pub interval: Duration,
}

setters!(FollowOptions { after: Position, until_tail: bool, interval: Duration });

impl Default for FollowOptions {
    fn default() -> Self {
        Self { after: Position::ZERO, until_tail: false, interval: Duration::from_secs(1) }
    }
}

impl FollowOptions {
    /// From the first op of a segment on.
    #[must_use]
    pub fn from_segment(self, segment: Sequence) -> Self {
        // The highest position that the previous segment could have.
        let first = Position::new(segment, 0).unwrap_or_default();
        Self { after: Position::from_bits(first.to_bits().saturating_sub(1)), ..self }
    }
}

/// The ops of a shard in log order, each with its position. Ends after the first error.
///
/// A lost segment is the error `Corrupt`: no op behind it is returned. The loss of the last segment
/// shows once it was folded or another segment follows.
///
/// Costs one GET a segment, and a conditional GET for every eight. At the end of the log it costs a
/// GET and a conditional GET every interval. It also costs a LIST when it reaches the end, and in
/// one of 64 intervals.
///
/// ```
/// use deltafold::FollowOptions;
/// use deltafold::format::ShardId;
/// use futures::TryStreamExt as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # use deltafold::{Collection, CreateOptions};
/// # use deltafold::store::Memory;
/// # let store = Arc::new(Memory::new());
/// # let collection = Collection::create(store, &"articles".parse()?, &CreateOptions::new(2)).await?;
/// # let writer = collection.writer(deltafold::WriterOptions::default())?;
/// # let record = |x| deltafold::format::Record { embedding: Some(vec![x, 1.0]), ..Default::default() };
/// # let put = |id: &str, x| deltafold::format::Op::put(id, record(x));
/// # writer.append(vec![put("a", 0.1), put("b", 0.2)]).await?;
/// let mut log = collection.follow(ShardId::default(), FollowOptions::default().until_tail(true))?;
/// let mut ids = Vec::new();
/// while let Some((_position, op)) = log.try_next().await? {
///     ids.push(op.id);
/// }
/// assert_eq!(ids, ["a", "b"]);
/// # Ok(())
/// # }
/// ```
pub struct Follow(BoxStream<'static, Result<(Position, Op)>>);

impl Follow {
    pub(crate) fn new(shard: Shard, options: FollowOptions) -> Self {
        let complete = options.after.index() as usize >= MAX_SEGMENT_OPS - 1;
        let next = if complete { options.after.sequence().next() } else { options.after.sequence() };
        let next = next.max(Sequence::FIRST);
        let foreign = Foreign::from_slot(next);
        let (segments, failure) = (VecDeque::new(), None);
        let follower = Follower { shard, options, next, head: None, segments, at: 0, polls: 0, foreign, failure };
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
    /// The segments read last. Their ops are returned next.
    segments: VecDeque<Arc<Segment>>,
    /// The next op of the first of them.
    at: usize,
    /// Number of polls that found the next slot empty.
    polls: u32,
    /// Slots of other collections in front of the next.
    foreign: Foreign,
    /// The error to return behind the ops that were read.
    failure: Option<Error>,
}

impl Follower {
    /// The next op, when it comes.
    async fn step(mut self) -> Result<Option<((Position, Op), Self)>> {
        loop {
            if let Some(op) = self.next_op() {
                return Ok(Some((op?, self)));
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if self.head.is_none() {
                self.look().await?;
            }
            let (slots, end) = self.read().await?;
            // A stale writer may have left the content of a slot, and a sweep may have emptied one.
            // Only a head that is read afterwards tells.
            self.look().await?;
            if !slots.is_empty() {
                self.polls = 0;
                self.shard.settle_log().await?;
            }
            for slot in slots {
                let own = if let Slot::Segment(segment) = &slot { Some(segment.header()) } else { None };
                if let Err(misfit) = self.foreign.step(self.next, own) {
                    self.failure = Some(misfit.error(&self.shard));
                    break;
                }
                if let Slot::Segment(segment) = slot
                    && segment.position(segment.len() - 1) > self.options.after
                {
                    self.segments.push_back(segment);
                }
                self.next = self.next.next();
            }
            if end && self.segments.is_empty() && self.failure.is_none() && self.ends().await? {
                return Ok(None);
            }
        }
    }

    /// The next op of the segments in memory. It is made now, because ops take many times the
    /// memory of segments.
    fn next_op(&mut self) -> Option<Result<(Position, Op)>> {
        while let Some(segment) = self.segments.front() {
            while self.at < segment.len() {
                let (at, position) = (self.at, segment.position(self.at));
                self.at += 1;
                if position > self.options.after {
                    let whole = |op: Op<u32>| op.map_embedding(|row| segment.vector(row).to_vec());
                    let key = || self.shard.layout().segment(position.sequence());
                    let op =
                        segment.op(at).map(whole).ok_or_else(|| Error::corrupt(&key(), "an op in it cannot be read"));
                    return Some(op.map(|op| (position, op)));
                }
            }
            self.segments.pop_front();
            self.at = 0;
        }
        None
    }

    /// Judges the slot to read next, which was empty. Waits unless this is the end. Returns true if
    /// the follower must end here.
    async fn ends(&mut self) -> Result<bool> {
        let head = match &self.head {
            Some(state) => state.head.clone(),
            None => self.shard.head().await?.head,
        };
        if self.foreign.hide(head.folded, self.next) {
            return Err(folded_is_foreign(&self.shard, head.folded));
        }
        let look = if self.options.until_tail { Look::Log } else { Look::at_poll(self.polls) };
        match judge(&self.shard, self.next, &head, look).await? {
            Empty::Swept => return Err(gap(&self.shard, self.next)),
            // The log ended here when the slot was seen empty, so a follower that does not wait is
            // complete.
            Empty::End | Empty::Taken if self.options.until_tail => return Ok(true),
            Empty::Taken => return Ok(false),
            Empty::End => {}
        }
        self.polls = self.polls.wrapping_add(1);
        env::sleep(self.options.interval).await;
        Ok(false)
    }

    /// The next slots, and whether an empty one follows them.
    async fn read(&self) -> Result<(Vec<Slot>, bool)> {
        let (mut slots, mut bytes, mut next) = (Vec::new(), 0, self.next);
        while slots.len() < SEGMENTS_AT_ONCE && bytes < BYTES_AT_ONCE {
            match self.shard.slot(next).await {
                // The error comes again, behind the ops in front of it.
                Err(_) if !slots.is_empty() => return Ok((slots, false)),
                Err(error) => return Err(error),
                Ok(Slot::Absent) => return Ok((slots, true)),
                Ok(slot) => {
                    bytes += slot.bytes();
                    slots.push(slot);
                }
            }
            next = next.next();
        }
        Ok((slots, false))
    }

    /// Checks the head; an error if the next slot was swept.
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
