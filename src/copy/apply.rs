//! Applies the ops of the origin's log to the target, each once.

use std::pin::Pin;

use deltafold_format::{Op, Position, Sequence, ShardId};
use futures::future::FusedFuture;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _, select_all};

use super::mark::{Mark, end_of};
use super::sending::Sending;
use super::{Copier, Work};
use crate::error::Result;
use crate::log::FollowOptions;

/// Ops that are handed over together at most.
const CHUNK: usize = 1_024;
/// Ops of one shard after which the target notes that it holds everything up to there.
const NOTE_EVERY: u64 = 65_536;

/// Ops of one shard of the origin, as they come, each with its place.
type Chunks = BoxStream<'static, (usize, Vec<Result<(Position, Op)>>)>;

/// The end of following the log.
pub(super) enum Until<'a, S: FusedFuture<Output = ()>> {
    /// These segments of the shards are applied.
    Reached(Vec<Sequence>),
    /// This future has ended.
    Stopped(Pin<&'a mut S>),
}

impl Copier {
    /// Applies the log behind the marks of the target.
    pub(super) async fn apply<S>(&self, generation: u32, mut until: Until<'_, S>, work: &mut Work<'_>) -> Result<()>
    where
        S: FusedFuture<Output = ()>,
    {
        let marks = self.marks().await?;
        if marks.complete() != Some(generation) {
            return Err(self.overtaken());
        }
        let places = (0..self.sources.len()).map(|shard| marks.places(shard)).collect::<Vec<_>>();
        let mut chunks = Vec::new();
        for (shard, (low, _)) in ShardId::all(self.from.config().shards).zip(&places) {
            let last = match &until {
                Until::Reached(ends) => ends.get(usize::from(shard.get())).copied().map(end_of),
                Until::Stopped(_) => None,
            };
            chunks.push(self.chunks(shard, *low, last)?);
        }
        let mut applying = Applying {
            copier: self,
            generation,
            sending: self.sending()?,
            known: places.iter().map(|(_, high)| *high).collect(),
            last: places.iter().map(|(low, _)| *low).collect(),
            since_note: vec![0; places.len()],
        };
        let mut chunks = select_all(chunks);
        loop {
            let room = !applying.sending.is_full();
            let next = tokio::select! {
                biased;
                () = until.stopped() => break,
                Some(sent) = applying.sending.next(), if !applying.sending.is_empty() => {
                    applying.acknowledged(sent?, work).await?;
                    continue;
                }
                next = chunks.next(), if room => next,
            };
            let Some((shard, chunk)) = next else { break };
            if let Err(error) = applying.add(shard, chunk, work).await {
                // Everything in front of the failure is applied first.
                applying.drain(work).await?;
                return Err(error);
            }
        }
        applying.drain(work).await?;
        if let Until::Reached(ends) = &until {
            applying.last = ends.iter().copied().map(end_of).collect();
        }
        let is_behind = places.iter().zip(&applying.last).any(|((low, _), last)| low < last);
        if is_behind {
            self.note(&mut applying.sending, generation, &applying.last).await?;
        }
        // Ops that a later transfer fenced off were taken for repetitions.
        if self.marks().await?.complete() == Some(generation) { Ok(()) } else { Err(self.overtaken()) }
    }

    /// The ops of a shard of the origin behind `after`, as they come.
    fn chunks(&self, shard: ShardId, after: Position, last: Option<Position>) -> Result<Chunks> {
        let options = FollowOptions::default().after(after).until_tail(last.is_some()).interval(self.options.interval);
        let wanted =
            move |(position, _): &(Position, Op)| std::future::ready(Ok(last.is_none_or(|last| *position <= last)));
        let ops = self.from.follow(shard, options)?.try_take_while(wanted);
        Ok(ops.ready_chunks(CHUNK).map(move |chunk| (usize::from(shard.get()), chunk)).boxed())
    }
}

impl<S: FusedFuture<Output = ()>> Until<'_, S> {
    async fn stopped(&mut self) {
        match self {
            Self::Stopped(stop) if stop.is_terminated() => {}
            Self::Stopped(stop) => stop.as_mut().await,
            Self::Reached(_) => std::future::pending().await,
        }
    }
}

struct Applying<'a> {
    copier: &'a Copier,
    generation: u32,
    sending: Sending,
    /// Up to here some shard of the target held the ops at the start. Repetitions are no surprise.
    known: Vec<Position>,
    /// The last op handed over, by shard of the origin.
    last: Vec<Position>,
    /// Ops since the last note.
    since_note: Vec<u64>,
}

impl Applying<'_> {
    async fn add(&mut self, shard: usize, chunk: Vec<Result<(Position, Op)>>, work: &mut Work<'_>) -> Result<()> {
        let mut ops = Vec::with_capacity(chunk.len());
        let mut failure = None;
        let (mut first, mut last) = (None, None);
        for op in chunk {
            match op {
                Ok((position, op)) => {
                    first = first.or(Some(position));
                    last = Some(position);
                    ops.push((Mark::op(self.generation, position).bits(), op));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let count = ops.len() as u64;
        if let (Some(source), Some(first)) = (self.copier.sources.get(shard), first) {
            let may_repeat = self.known.get(shard).is_some_and(|known| first <= *known);
            self.sending.push(source, ops, may_repeat);
        }
        if let (Some(known), Some(last)) = (self.last.get_mut(shard), last) {
            *known = last;
        }
        match failure {
            Some(error) => Err(error),
            None => self.note_if_due(shard, count, work).await,
        }
    }

    /// Notes the progress in all shards of the target, so that those that no op reaches keep up.
    async fn note_if_due(&mut self, shard: usize, count: u64, work: &mut Work<'_>) -> Result<()> {
        let Some(since) = self.since_note.get_mut(shard) else { return Ok(()) };
        *since += count;
        if *since < NOTE_EVERY {
            return Ok(());
        }
        self.since_note.fill(0);
        self.drain(work).await?;
        self.copier.note(&mut self.sending, self.generation, &self.last).await
    }

    async fn acknowledged(&mut self, sent: super::sending::Sent, work: &mut Work<'_>) -> Result<()> {
        work.report.ops += sent.ops;
        work.report.repeated += sent.duplicates;
        if sent.duplicates > 0 && !sent.may_repeat && self.copier.marks().await?.complete() != Some(self.generation) {
            return Err(self.copier.overtaken());
        }
        self.sending.keep_up().await?;
        work.tell();
        Ok(())
    }

    async fn drain(&mut self, work: &mut Work<'_>) -> Result<()> {
        while let Some(sent) = self.sending.next().await {
            self.acknowledged(sent?, work).await?;
        }
        Ok(())
    }
}
