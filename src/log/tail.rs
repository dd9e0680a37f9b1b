//! Finding the end of the log, and reading what is there.

use std::sync::Arc;

use bytes::Bytes;
use deltafold_format::{Segment, SegmentFront, Sequence, SourceMark};
use futures::stream::{FuturesOrdered, TryStreamExt};

use super::end::{Empty, Look, judge};
use crate::error::{Error, Repr, Result};
use crate::retry;
use crate::shard::{LIST_PAGE, Shard, Slot};

/// How many segments are fetched at once where it is known that they are there.
const GETS_AT_ONCE: usize = 8;
/// Bytes of them as they are stored that may be under way at once; one segment always may.
const BYTES_AT_ONCE: u64 = 32 << 20;

/// How to find segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// By a LIST first: for whoever knows nothing of the log yet.
    Cold,
    /// By reading slot after slot until one is empty: for whoever has kept up.
    Probe,
}

/// What was read of a log: its segments, or their headers.
#[derive(Debug)]
pub(crate) struct TailRead<S = Arc<Segment>> {
    /// Contiguous, from the slot after the one asked for on.
    pub(crate) slots: Vec<(Sequence, Slot<S>)>,
    /// A slot behind these is not there any more: look at the head again.
    pub(crate) swept: bool,
    /// The slot behind these is free; or was when it was looked at.
    pub(crate) end: bool,
}

/// Reads the log behind `after` until its end, or until the segments read take `max_bytes` of memory. One segment more than fits
/// is always read.
///
/// Cold: one LIST for each 1,000 segments and a GET for each. By probing: a GET for each and one for the empty slot behind them.
/// Segments are decoded one after the other; those that are fetched ahead take their stored bytes.
pub(crate) async fn read_tail(shard: &Shard, after: Sequence, max_bytes: u64, how: Tail) -> Result<TailRead> {
    read::<Whole>(shard, after, max_bytes, how).await
}

/// The same of the headers of the segments alone. Each costs a GET of its first bytes.
pub(super) async fn read_headers(
    shard: &Shard,
    after: Sequence,
    max_bytes: u64,
    how: Tail,
) -> Result<TailRead<SegmentFront>> {
    read::<Header>(shard, after, max_bytes, how).await
}

async fn read<P: Piece>(shard: &Shard, after: Sequence, max_bytes: u64, how: Tail) -> Result<TailRead<P::Segment>> {
    match how {
        Tail::Cold => read_listed::<P>(shard, after, max_bytes).await,
        Tail::Probe => probe::<P>(shard, after, max_bytes).await,
    }
}

/// How much of each segment is read.
trait Piece {
    /// What is known of a segment.
    type Segment: Send;
    /// What a request brings.
    type Fetched: Send;

    /// Fetches slot `sequence`. One GET.
    fn fetch(shard: Shard, sequence: Sequence) -> impl Future<Output = Result<Self::Fetched>> + Send;

    /// The slot that was fetched, and the memory that it takes.
    fn open(shard: &Shard, sequence: Sequence, fetched: Self::Fetched) -> Result<(Slot<Self::Segment>, u64)>;

    /// Bytes under way for an object of so many.
    fn under_way(stored: u64) -> u64;
}

/// Whole segments.
struct Whole;

impl Piece for Whole {
    type Segment = Arc<Segment>;
    type Fetched = Option<Bytes>;

    async fn fetch(shard: Shard, sequence: Sequence) -> Result<Option<Bytes>> {
        shard.stored_slot(sequence).await
    }

    fn open(shard: &Shard, sequence: Sequence, fetched: Option<Bytes>) -> Result<(Slot, u64)> {
        let slot = fetched.map_or(Ok(Slot::Absent), |object| shard.decode_slot(sequence, object))?;
        let bytes = slot.bytes();
        Ok((slot, bytes))
    }

    fn under_way(stored: u64) -> u64 {
        stored
    }
}

/// Headers alone.
struct Header;

impl Piece for Header {
    type Segment = SegmentFront;
    type Fetched = Slot<SegmentFront>;

    async fn fetch(shard: Shard, sequence: Sequence) -> Result<Slot<SegmentFront>> {
        shard.slot_header(sequence).await
    }

    fn open(_: &Shard, _: Sequence, slot: Slot<SegmentFront>) -> Result<(Slot<SegmentFront>, u64)> {
        let marks = if let Slot::Segment(front) = &slot { &front.header().marks[..] } else { &[] };
        let of_mark = |mark: &SourceMark| (size_of::<SourceMark>() + mark.source.len()) as u64;
        let bytes = size_of::<Slot<SegmentFront>>() as u64 + marks.iter().map(of_mark).sum::<u64>();
        Ok((slot, bytes))
    }

    fn under_way(_: u64) -> u64 {
        0
    }
}

async fn probe<P: Piece>(shard: &Shard, after: Sequence, max_bytes: u64) -> Result<TailRead<P::Segment>> {
    let mut read = TailRead { slots: Vec::new(), swept: false, end: false };
    let (mut next, mut bytes) = (after.next(), 0);
    while bytes < max_bytes {
        let (slot, takes) = P::open(shard, next, P::fetch(shard.clone(), next).await?)?;
        if let Slot::Absent = slot {
            read.end = true;
            break;
        }
        bytes += takes;
        read.slots.push((next, slot));
        next = next.next();
    }
    Ok(read)
}

async fn read_listed<P: Piece>(shard: &Shard, after: Sequence, max_bytes: u64) -> Result<TailRead<P::Segment>> {
    let mut read = TailRead { slots: Vec::new(), swept: false, end: false };
    let (mut last, mut bytes) = (after, 0);
    loop {
        let listing = list(shard, last).await?;
        let mut waiting = listing.segments.into_iter().peekable();
        let (mut fetching, mut under_way) = (FuturesOrdered::new(), 0);
        while bytes < max_bytes {
            // A segment takes no less memory than its stored bytes: what is under way is not read in vain.
            let fits = |stored: u64| under_way + stored <= BYTES_AT_ONCE && bytes + under_way < max_bytes;
            if fetching.len() < GETS_AT_ONCE
                && let Some((sequence, stored)) =
                    waiting.next_if(|(_, stored)| fetching.is_empty() || fits(P::under_way(*stored)))
            {
                let stored = P::under_way(stored);
                under_way += stored;
                let fetch = P::fetch(shard.clone(), sequence);
                fetching.push_back(async move { Ok::<_, Error>((sequence, stored, fetch.await?)) });
                continue;
            }
            let Some((sequence, stored, fetched)) = fetching.try_next().await? else { break };
            under_way -= stored;
            let (slot, takes) = P::open(shard, sequence, fetched)?;
            if let Slot::Absent = slot {
                read.swept = true;
                return Ok(read);
            }
            bytes += takes;
            read.slots.push((sequence, slot));
            last = sequence;
        }
        if bytes >= max_bytes || listing.then != Then::More {
            read.swept = listing.then == Then::Swept && bytes < max_bytes;
            read.end = listing.then == Then::End && bytes < max_bytes;
            return Ok(read);
        }
    }
}

/// The first free slot behind `after`; `None` where segments behind `after` have been swept, so that the
/// head has to be read again. One LIST for each 1,000 segments.
pub(super) async fn find_tail(shard: &Shard, after: Sequence) -> Result<Option<Sequence>> {
    let mut last = after;
    loop {
        let listing = list(shard, last).await?;
        last = listing.segments.last().map_or(last, |(sequence, _)| *sequence);
        match listing.then {
            Then::More => {}
            Then::End => return Ok(Some(last.next())),
            Then::Swept => return Ok(None),
        }
    }
}

/// Names of segments without a gap between them.
struct Listing {
    /// With the length of each object.
    segments: Vec<(Sequence, u64)>,
    then: Then,
}

/// The slot behind a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It may be taken.
    More,
    /// It is free.
    End,
    /// A sweep took it.
    Swept,
}

/// The segments that follow `after`, up to a page of them. One LIST, and where a name does not join on,
/// the requests of [`judge`].
async fn list(shard: &Shard, after: Sequence) -> Result<Listing> {
    let (prefix, from) = (shard.layout().log_prefix(), shard.layout().segment(after));
    let page = retry::transient(|| shard.store().list_after(&prefix, Some(&from), LIST_PAGE)).await?;
    let then = if page.len() < LIST_PAGE { Then::End } else { Then::More };
    let mut listing = Listing { segments: Vec::with_capacity(page.len()), then };
    let mut next = after.next();
    let named = page.iter().filter_map(|listed| Some((shard.layout().parse_segment(&listed.key)?, listed.bytes)));
    for (sequence, bytes) in named {
        if sequence != next {
            let head = shard.head().await?.head;
            listing.then = match judge(shard, next, &head, Look::Log).await? {
                Empty::End => Then::End,
                Empty::Taken => Then::More,
                Empty::Swept => Then::Swept,
            };
            break;
        }
        listing.segments.push((sequence, bytes));
        next = next.next();
    }
    Ok(listing)
}

/// The error of a reader that finds segment `sequence` swept.
pub(super) fn gap(shard: &Shard, sequence: Sequence) -> Error {
    Repr::Gap { shard: shard.id(), sequence }.into()
}
