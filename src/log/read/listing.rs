//! Lists the segments of the log.

use deltafold_format::Sequence;

use super::end::{Empty, Look, judge};
use crate::error::Result;
use crate::retry;
use crate::shard::{LIST_PAGE, Shard};

/// Names of segments without a gap between them.
pub(super) struct Listing {
    /// With the length of each object.
    pub(super) segments: Vec<(Sequence, u64)>,
    pub(super) then: Then,
}

/// The slot behind a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It may be taken.
    More,
    /// It is free.
    End,
    /// A sweep took it.
    Swept,
}

/// The segments behind `after`, up to a page of them. One LIST. If a name does not join on, also
/// the requests of [`judge`].
pub(super) async fn list(shard: &Shard, after: Sequence) -> Result<Listing> {
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
