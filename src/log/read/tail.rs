//! Finds the first free slot of the log.

use deltafold_format::Sequence;

use super::listing::{Then, list};
use crate::error::Result;
use crate::shard::{Shard, Slot};

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

/// The first free slot behind `after`, which is as in [`read_tail`](super::read_tail).
///
/// If segments behind `after` were swept, the head must be read again. One LIST for each 1,000
/// segments, and a GET of the last one's header.
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
