//! Reads the segments of the log up to its end.

use std::sync::Arc;

use deltafold_format::{Segment, SegmentFront, Sequence};
use futures::stream::{FuturesOrdered, TryStreamExt};

use super::foreign::Foreign;
use super::listing::{Listing, Then, list};
use super::piece::{Header, Piece, Whole, WithObject};
use crate::error::{Error, Repr, Result};
use crate::shard::{Shard, Slot};

/// Segments fetched at once if they are known to exist. A log that is folded in time fits one round
/// of requests.
const GETS_AT_ONCE: usize = 64;
/// Most stored bytes of segments in flight at once. One segment is always allowed.
const BYTES_AT_ONCE: u64 = 32 << 20;

/// The way to find segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanMode {
    /// By a LIST first, for a reader without knowledge of the log.
    Listed,
    /// By reading slot after slot until one is empty, for a reader that has kept up.
    Probe,
}

/// The segments read from a log, or their headers.
#[derive(Debug)]
pub(crate) struct TailRead<S = Arc<Segment>> {
    /// Contiguous, from the slot after the one asked for up to the last segment of this collection.
    pub(crate) slots: Vec<(Sequence, Slot<S>)>,
    /// Number of slots behind these that hold segments of other collections. They are not part of
    /// the log yet.
    pub(crate) foreign: u32,
    /// A slot behind these was swept, so the head must be read again.
    pub(crate) swept: bool,
    /// The slot behind these was free when it was read.
    pub(crate) end: bool,
}

/// Reads the log behind `after` until its end, or until the segments take `max_bytes` of memory. It
/// always reads one segment more than fits. Slot `after` holds a segment of this collection, or is
/// the last one folded, or 0.
///
/// Cold, it costs one LIST for each 1,000 segments and a GET for each. By probing, it costs a GET
/// for each and one for the empty slot behind them. Segments are decoded one after the other. Those
/// fetched ahead take their stored bytes.
pub(crate) async fn read_tail(shard: &Shard, after: Sequence, max_bytes: u64, mode: ScanMode) -> Result<TailRead> {
    read::<Whole>(shard, after, max_bytes, mode).await
}

/// The same. Segments of large or few ops come with the objects that hold them.
pub(crate) async fn read_tail_with_objects(
    shard: &Shard,
    after: Sequence,
    max_bytes: u64,
    mode: ScanMode,
) -> Result<TailRead<WithObject>> {
    read::<WithObject>(shard, after, max_bytes, mode).await
}

/// The same for a log whose names were listed already. `names` are the segments behind `after`,
/// with their lengths and without a gap. A GET for each.
pub(crate) async fn read_named_with_objects(
    shard: &Shard,
    after: Sequence,
    segments: Vec<(Sequence, u64)>,
    max_bytes: u64,
) -> Result<TailRead<WithObject>> {
    let mut reading = Reading::<WithObject>::new(shard, max_bytes);
    reading.listed(after, Some(Listing { segments, then: Then::End })).await?;
    Ok(reading.read)
}

/// The same for the headers of the segments alone. Each costs a GET of its first bytes.
pub(in crate::log) async fn read_headers(
    shard: &Shard,
    after: Sequence,
    max_bytes: u64,
    mode: ScanMode,
) -> Result<TailRead<SegmentFront>> {
    read::<Header>(shard, after, max_bytes, mode).await
}

async fn read<P: Piece>(
    shard: &Shard,
    after: Sequence,
    max_bytes: u64,
    mode: ScanMode,
) -> Result<TailRead<P::Segment>> {
    let mut reading = Reading::<P>::new(shard, max_bytes);
    match mode {
        ScanMode::Listed => reading.listed(after, None).await?,
        ScanMode::Probe => reading.probe(after).await?,
    }
    Ok(reading.read)
}

/// A log that is being read.
struct Reading<'a, P: Piece> {
    shard: &'a Shard,
    max_bytes: u64,
    read: TailRead<P::Segment>,
    bytes: u64,
    foreign: Foreign,
    /// Slots of other collections behind the last segment of this one.
    pending: Vec<(Sequence, Slot<P::Segment>)>,
}

impl<'a, P: Piece> Reading<'a, P> {
    fn new(shard: &'a Shard, max_bytes: u64) -> Self {
        let read = TailRead { slots: Vec::new(), foreign: 0, swept: false, end: false };
        Self { shard, max_bytes, read, bytes: 0, foreign: Foreign::BEHIND_OWN, pending: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.max_bytes
    }

    async fn probe(&mut self, after: Sequence) -> Result<()> {
        let mut next = after.next();
        while !self.is_full() {
            let (slot, takes) = P::open(self.shard, next, P::fetch(self.shard.clone(), next).await?)?;
            if let Slot::Absent = slot {
                self.read.end = true;
                return Ok(());
            }
            if !self.take(next, slot, takes).await? {
                return Ok(());
            }
            next = next.next();
        }
        Ok(())
    }

    async fn listed(&mut self, after: Sequence, mut known: Option<Listing>) -> Result<()> {
        let mut last = after;
        loop {
            let listing = match known.take() {
                Some(listing) => listing,
                None => list(self.shard, last).await?,
            };
            let mut waiting = listing.segments.into_iter().peekable();
            let (mut fetching, mut under_way) = (FuturesOrdered::new(), 0);
            while !self.is_full() {
                // A segment takes at least the memory of its stored bytes, so no request in flight
                // is wasted.
                let fits = |stored: u64| under_way + stored <= BYTES_AT_ONCE && self.bytes + under_way < self.max_bytes;
                if fetching.len() < GETS_AT_ONCE
                    && let Some((sequence, stored)) =
                        waiting.next_if(|(_, stored)| fetching.is_empty() || fits(P::under_way(*stored)))
                {
                    let stored = P::under_way(stored);
                    under_way += stored;
                    let fetch = P::fetch(self.shard.clone(), sequence);
                    fetching.push_back(async move { Ok::<_, Error>((sequence, stored, fetch.await?)) });
                    continue;
                }
                let Some((sequence, stored, fetched)) = fetching.try_next().await? else { break };
                under_way -= stored;
                let (slot, takes) = P::open(self.shard, sequence, fetched)?;
                if !self.take(sequence, slot, takes).await? {
                    return Ok(());
                }
                last = sequence;
            }
            if self.is_full() || listing.then != Then::More {
                self.read.swept = listing.then == Then::Swept && !self.is_full();
                self.read.end = listing.then == Then::End && !self.is_full();
                return Ok(());
            }
        }
    }

    /// Takes the content of a slot. Returns false if the slot was swept.
    async fn take(&mut self, sequence: Sequence, slot: Slot<P::Segment>, takes: u64) -> Result<bool> {
        let own = match &slot {
            Slot::Absent => {
                self.read.swept = true;
                return Ok(false);
            }
            Slot::Void => None,
            Slot::Segment(segment) => Some(P::header(segment)),
        };
        if let Err(misfit) = self.foreign.step(sequence, own) {
            // A stale writer may have left the segment in a slot that was swept.
            self.read.swept = misfit.slot < self.shard.head().await?.head.truncated;
            return if self.read.swept { Ok(false) } else { Err(misfit.error(self.shard)) };
        }
        self.bytes += takes;
        let own = own.is_some();
        self.pending.push((sequence, slot));
        if own {
            self.read.slots.append(&mut self.pending);
        }
        self.read.foreign = self.foreign.seen();
        Ok(true)
    }
}

/// The error of a reader that finds segment `sequence` swept.
pub(in crate::log) fn gap(shard: &Shard, sequence: Sequence) -> Error {
    Repr::Gap { shard: shard.id(), sequence }.into()
}
