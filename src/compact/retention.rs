//! The retention of tombstones in a collection ordered by revision.

use deltafold_format::{Manifest, Ordering, Timestamp};

use crate::error::Result;
use crate::retry;
use crate::shard::Shard;

/// Stores date to the second.
const SECOND: i64 = 1_000;

/// A base that absorbs all of `manifest`'s runs may forget an absence that was last stated before
/// the time returned. These runs hold every op that came within the retention. Ordered by revision
/// it costs a look at the store's clock, a LIST and a conditional GET; in log order nothing.
///
/// It compares only dates of the store: those of the tombstones, of the first segment not folded,
/// and its clock. An op that waits in the log came in time, however late it is folded. So the base
/// forgets nothing younger than the oldest of these dates less the retention.
pub(super) async fn forgotten_before(shard: &Shard, manifest: &Manifest) -> Result<Timestamp> {
    let nothing = Timestamp::from_millis(i64::MIN);
    let Ordering::Revision { keep_tombstones_millis } = shard.config().ordering else { return Ok(nothing) };
    if manifest.absent_rows() == 0 {
        return Ok(nothing);
    }
    // Read before the log, so that anything later is younger.
    let now = retry::transient(|| shard.store().now()).await?;
    let (prefix, folded) = (shard.layout().log_prefix(), shard.layout().segment(manifest.folded));
    let listed = retry::transient(|| shard.store().list_after(&prefix, Some(&folded), 1)).await?;
    let complete = match listed.first() {
        Some(first) if first.key == shard.layout().segment(manifest.folded.next()) => now.min(first.modified),
        // Another compactor folded the next segment, and a sweep deleted it: this manifest does not
        // know its ops. With sweep's choice of floors, the publish of this merge would be refused.
        // No rule here relies on that.
        Some(_) => return Ok(nothing),
        None if shard.head().await?.head.folded == manifest.folded => now,
        None => return Ok(nothing),
    };
    let keep = i64::try_from(keep_tombstones_millis).unwrap_or(i64::MAX);
    Ok(Timestamp::from_millis(complete.as_millis().saturating_sub(keep).saturating_sub(SECOND)))
}
