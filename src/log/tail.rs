//! Finding the end of the log, and reading what is there.

use deltafold_format::Sequence;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::end::{Empty, Look, judge};
use crate::error::{Error, Repr, Result};
use crate::retry;
use crate::shard::{LIST_PAGE, Shard, Slot};

/// How many segments are fetched at once where it is known that they are there.
const GETS_AT_ONCE: usize = 8;

/// How to find segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// By a LIST first: for whoever knows nothing of the log yet.
    Cold,
    /// By reading slot after slot until one is empty: for whoever has kept up.
    Probe,
}

/// What was read of a log.
#[derive(Debug)]
pub(crate) struct TailRead {
    /// Contiguous, from the slot after the one asked for on.
    pub(crate) slots: Vec<(Sequence, Slot)>,
    /// A slot behind these is not there any more: look at the head again.
    pub(crate) swept: bool,
    /// The slot behind these is free; or was when it was looked at.
    pub(crate) end: bool,
}

/// Reads the log behind `after` until its end or until `max_bytes` were read (always one segment more than fits).
///
/// Cold: one LIST for each 1,000 segments and a GET for each. By probing: a GET for each and one for the empty slot behind them.
pub(crate) async fn read_tail(shard: &Shard, after: Sequence, max_bytes: u64, how: Tail) -> Result<TailRead> {
    match how {
        Tail::Cold => read_listed(shard, after, max_bytes).await,
        Tail::Probe => probe(shard, after, max_bytes).await,
    }
}

async fn probe(shard: &Shard, after: Sequence, max_bytes: u64) -> Result<TailRead> {
    let mut read = TailRead { slots: Vec::new(), swept: false, end: false };
    let (mut next, mut bytes) = (after.next(), 0);
    while bytes < max_bytes {
        let slot = shard.slot(next).await?;
        if let Slot::Absent = slot {
            read.end = true;
            break;
        }
        bytes += slot.bytes();
        read.slots.push((next, slot));
        next = next.next();
    }
    Ok(read)
}

async fn read_listed(shard: &Shard, after: Sequence, max_bytes: u64) -> Result<TailRead> {
    let mut read = TailRead { slots: Vec::new(), swept: false, end: false };
    let (mut last, mut bytes) = (after, 0);
    loop {
        let listing = list(shard, last).await?;
        let slots = listing.sequences.iter().map(|sequence| fetch(shard.clone(), *sequence)).collect::<Vec<_>>();
        let mut slots = stream::iter(slots).buffered(GETS_AT_ONCE);
        while bytes < max_bytes
            && let Some((sequence, slot)) = slots.try_next().await?
        {
            if let Slot::Absent = slot {
                read.swept = true;
                return Ok(read);
            }
            bytes += slot.bytes();
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

async fn fetch(shard: Shard, sequence: Sequence) -> Result<(Sequence, Slot)> {
    Ok((sequence, shard.slot(sequence).await?))
}

/// The first free slot behind `after`; `None` where segments behind `after` have been swept, so that the
/// head has to be read again. One LIST for each 1,000 segments.
pub(super) async fn find_tail(shard: &Shard, after: Sequence) -> Result<Option<Sequence>> {
    let mut last = after;
    loop {
        let listing = list(shard, last).await?;
        last = listing.sequences.last().copied().unwrap_or(last);
        match listing.then {
            Then::More => {}
            Then::End => return Ok(Some(last.next())),
            Then::Swept => return Ok(None),
        }
    }
}

/// Names of segments without a gap between them.
struct Listing {
    sequences: Vec<Sequence>,
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
    let mut listing = Listing { sequences: Vec::with_capacity(page.len()), then };
    let mut next = after.next();
    for sequence in page.iter().filter_map(|listed| shard.layout().parse_segment(&listed.key)) {
        if sequence != next {
            let head = shard.head().await?.head;
            listing.then = match judge(shard, next, &head, Look::Log).await? {
                Empty::End => Then::End,
                Empty::Taken => Then::More,
                Empty::Swept => Then::Swept,
            };
            break;
        }
        listing.sequences.push(sequence);
        next = next.next();
    }
    Ok(listing)
}

/// The error of a reader that finds segment `sequence` swept.
pub(super) fn gap(shard: &Shard, sequence: Sequence) -> Error {
    Repr::Gap { shard: shard.id(), sequence }.into()
}
