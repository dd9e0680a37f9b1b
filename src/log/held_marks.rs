//! Reads the high-water marks of sources that a shard holds.

use super::dedup::HighWaterMarks;
use super::read::{ScanMode, read_headers};
use crate::error::Result;
use crate::shard::{Shard, Slot};

/// The high-water mark of each source in the shard: in its manifest, and in the log behind it.
///
/// Costs two GETs, one LIST, and a GET for each header that is not folded.
pub(crate) async fn high_water_marks(shard: &Shard, sources: &[String]) -> Result<Vec<Option<u128>>> {
    loop {
        let (_, manifest) = shard.current().await?;
        let mut marks = HighWaterMarks::of(&manifest);
        let read = read_headers(shard, manifest.folded, u64::MAX, ScanMode::Listed).await?;
        // A fold and a sweep passed the manifest meanwhile. A newer one holds these marks.
        if read.swept {
            continue;
        }
        for (_, slot) in &read.slots {
            if let Slot::Segment(front) = slot {
                marks.learn(front.header());
            }
        }
        shard.settle_log().await?;
        return Ok(sources.iter().map(|source| marks.position(source)).collect());
    }
}
