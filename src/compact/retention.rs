//! How long it is remembered, in a collection that is ordered by revision, that a record is gone.

use deltafold_format::{Manifest, Ordering, Timestamp};

use crate::error::Result;
use crate::retry;
use crate::shard::Shard;

/// Stores date to the second.
const SECOND: i64 = 1_000;

/// What was last said before this need not be remembered by a base that absorbs all of `manifest`'s
/// runs: every op that came within the time that the collection keeps tombstones is in them. Costs,
/// by revision, a look at the store's clock, a LIST and a conditional GET; nothing in log order.
///
/// Only dates of the store are compared with each other: those of the tombstones, of the first
/// segment that is not folded, and its clock. An op that waits in the log came in time however late
/// it is folded, so nothing is forgotten that is younger, by the retention, than the oldest of
/// those.
pub(super) async fn forgotten_before(shard: &Shard, manifest: &Manifest) -> Result<Timestamp> {
    let nothing = Timestamp::from_millis(i64::MIN);
    let Ordering::Revision { keep_tombstones_millis } = shard.config().ordering else { return Ok(nothing) };
    if manifest.absent_rows() == 0 {
        return Ok(nothing);
    }
    // Before the log is looked at: what comes later is younger.
    let now = retry::transient(|| shard.store().now()).await?;
    let (prefix, folded) = (shard.layout().log_prefix(), shard.layout().segment(manifest.folded));
    let listed = retry::transient(|| shard.store().list_after(&prefix, Some(&folded), 1)).await?;
    let complete = match listed.first() {
        Some(first) if first.key == shard.layout().segment(manifest.folded.next()) => now.min(first.modified),
        // What followed was folded by somebody else, and swept: ops came that this manifest does
        // not know. As sweep chooses its floors, this merge would be refused when it is published;
        // nothing here leans on that.
        Some(_) => return Ok(nothing),
        None if shard.head().await?.head.folded == manifest.folded => now,
        None => return Ok(nothing),
    };
    let keep = i64::try_from(keep_tombstones_millis).unwrap_or(i64::MAX);
    Ok(Timestamp::from_millis(complete.as_millis().saturating_sub(keep).saturating_sub(SECOND)))
}
