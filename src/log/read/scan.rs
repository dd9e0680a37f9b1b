//! Finds the end of the log, and reads the segments in front of it.

use std::sync::Arc;

use bytes::Bytes;
use deltafold_format::{Segment, SegmentFront, SegmentHeader, Sequence, SourceMark};
use futures::stream::{FuturesOrdered, TryStreamExt};

use super::end::{Empty, Look, judge};
use super::foreign::Foreign;
use crate::error::{Error, Repr, Result};
use crate::retry;
use crate::shard::{LIST_PAGE, Shard, Slot};

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

/// The piece of each segment to read.
trait Piece {
    /// The segment as far as it is read.
    type Segment: Send;
    /// The result of a request.
    type Fetched: Send;

    /// Fetches slot `sequence`. One GET.
    fn fetch(shard: Shard, sequence: Sequence) -> impl Future<Output = Result<Self::Fetched>> + Send;

    /// The fetched slot, and the memory that it takes.
    fn open(shard: &Shard, sequence: Sequence, fetched: Self::Fetched) -> Result<(Slot<Self::Segment>, u64)>;

    /// The header of a segment.
    fn header(segment: &Self::Segment) -> &SegmentHeader;

    /// Bytes in flight for an object of this length.
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

    fn header(segment: &Arc<Segment>) -> &SegmentHeader {
        segment.header()
    }

    fn under_way(stored: u64) -> u64 {
        stored
    }
}

/// A segment, and the object that it was read from if its ops are large or few.
#[derive(Debug, Clone)]
pub(crate) struct WithObject {
    pub(crate) segment: Arc<Segment>,
    /// Empty if the ops are small and many.
    pub(crate) object: Bytes,
}

/// Sections below this length are not compressed.
const SMALL_OBJECT_BYTES: u64 = 16 << 10;

impl WithObject {
    /// Drops the object unless the ops take `large` bytes on average. An object so small that it
    /// was not compressed stays, too: the segment keeps it in memory anyway.
    pub(crate) fn new(segment: Arc<Segment>, object: Bytes, large: u64) -> Self {
        let is_large = segment.decoded_bytes() / segment.len().max(1) as u64 >= large;
        let is_small = object.len() as u64 <= large.min(SMALL_OBJECT_BYTES);
        Self { segment, object: if is_large || is_small { object } else { Bytes::new() } }
    }
}

impl WithObject {
    /// Memory of the object beside the segment.
    pub(crate) fn extra_bytes(&self) -> u64 {
        Some(self.object.len() as u64).filter(|bytes| *bytes > SMALL_OBJECT_BYTES).unwrap_or(0)
    }
}

impl Piece for WithObject {
    type Segment = Self;
    type Fetched = Option<Bytes>;

    async fn fetch(shard: Shard, sequence: Sequence) -> Result<Option<Bytes>> {
        Whole::fetch(shard, sequence).await
    }

    fn open(shard: &Shard, sequence: Sequence, fetched: Option<Bytes>) -> Result<(Slot<Self>, u64)> {
        let (slot, bytes) = Whole::open(shard, sequence, fetched.clone())?;
        Ok(match (slot, fetched) {
            (Slot::Segment(segment), Some(object)) => {
                let segment = Self::new(segment, object, shard.memory().large_op());
                let bytes = bytes + segment.extra_bytes();
                (Slot::Segment(segment), bytes)
            }
            (Slot::Void, _) => (Slot::Void, bytes),
            _ => (Slot::Absent, bytes),
        })
    }

    fn header(segment: &Self) -> &SegmentHeader {
        segment.segment.header()
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

    fn header(front: &SegmentFront) -> &SegmentHeader {
        front.header()
    }

    fn under_way(_: u64) -> u64 {
        0
    }
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

/// The end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct End {
    /// The first free slot.
    pub(crate) slot: Sequence,
    /// Number of slots directly in front of it that hold segments of other collections.
    pub(crate) foreign: u32,
}

/// The result of a search for the end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Search {
    At(End),
    /// A sweep passed the start of the search.
    Swept,
}

/// The first free slot behind `after`, which is as in [`read_tail`]. If segments behind `after`
/// were swept, the head must be read again. One LIST for each 1,000 segments, and a GET of the last
/// one's header.
pub(in crate::log) async fn find_tail(shard: &Shard, after: Sequence) -> Result<Search> {
    let mut last = after;
    loop {
        let listing = list(shard, last).await?;
        last = listing.segments.last().map_or(last, |(sequence, _)| *sequence);
        match listing.then {
            Then::More => {}
            Then::End => return foreign_up_to(shard, after, last).await,
            Then::Swept => return Ok(Search::Swept),
        }
    }
}

/// The slot behind `last`, with the number of slots of other collections in front of it.
async fn foreign_up_to(shard: &Shard, after: Sequence, last: Sequence) -> Result<Search> {
    let mut passed = 0;
    while let Some(looked) = last.get().checked_sub(u64::from(passed)).and_then(Sequence::new)
        && looked > after
    {
        match shard.slot_header(looked).await? {
            Slot::Absent => return Ok(Search::Swept),
            Slot::Segment(_) => break,
            Slot::Void => passed += 1,
        }
    }
    Ok(Search::At(End { slot: last.next(), foreign: passed }))
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

/// The segments behind `after`, up to a page of them. One LIST. If a name does not join on, also
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
pub(in crate::log) fn gap(shard: &Shard, sequence: Sequence) -> Error {
    Repr::Gap { shard: shard.id(), sequence }.into()
}
