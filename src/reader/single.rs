//! Reads one record of the latest state without a reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use deltafold_format::Sequence;
use futures::future::join;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::Ahead;
use super::entry::Entry;
use super::get_options::GetOptions;
use super::objects::Objects;
use super::opening::BehindNames;
use super::overlay::Overlay;
use super::pools::Pools;
use super::reads::Reads;
use super::shard_reader::ShardReader;
use super::snapshot::Snapshot;
use crate::error::{ErrorKind, Result};
use crate::log::WithObject;
use crate::shard::{Names, ReadAhead, Shard, Slot};

/// Segments fetched at once.
const SEGMENTS: usize = 64;

/// Slots of the log. Those without an op about the record are void.
type Slots = Vec<(Sequence, Slot<WithObject>)>;

/// The record `id` as it is now. Nothing is kept in memory.
///
/// A LIST and two GETs, and the requests of [`Snapshot::record`]. If the log is not empty, also one
/// for each segment and a conditional GET. No embedding is read from segments without an op about
/// the record.
pub(crate) async fn get(shard: &Shard, id: &str, options: &GetOptions) -> Result<Option<Entry>> {
    let reads = options.reads();
    let pools = Pools::new(shard.memory(), 1);
    match alone(shard, &pools, id, reads).await {
        Ok(Some(found)) => return Ok(found),
        Ok(None) => {}
        // A snapshot that is swept meanwhile is not the latest. Only a reader can tell damage from
        // a sweep.
        Err(error) if matches!(error.kind(), ErrorKind::Superseded | ErrorKind::Corrupt) => {}
        Err(error) => return Err(error),
    }
    let reader = ShardReader::open_latest(shard.clone(), &pools, Ahead::Nothing).await?;
    reader.snapshot().record(id, reads).await
}

/// The same without a reader; `None` if it needs one.
async fn alone(shard: &Shard, pools: &Arc<Pools>, id: &str, reads: Reads) -> Result<Option<Option<Entry>>> {
    let names = match shard.take_ahead().await? {
        Some(ReadAhead::Names(names)) => names,
        Some(ReadAhead::Head(_)) | None => Names::list(&**shard.store(), shard.layout()).await?,
    };
    let BehindNames { state, manifest } = BehindNames::read(shard, &names).await?;
    let folded = state.head.folded;
    let Some(behind) = names.behind(folded) else { return Ok(None) };
    let below = async {
        let manifest = match manifest {
            Some(manifest) => Some(manifest),
            None => shard.manifest(&state.head).await?,
        };
        let Some(manifest) = manifest.filter(|manifest| manifest.folded == folded) else { return Ok(None) };
        let objects = Arc::new(Objects::new(shard.clone(), Arc::new(manifest), pools.clone(), None));
        Snapshot::new(shard.clone(), objects.clone(), Overlay::empty(folded)).fetch_ahead(id, 1).await;
        Ok::<_, crate::Error>(Some(objects))
    };
    let (objects, slots) = join(below, about(shard, pools, behind, id)).await;
    let Some(objects) = objects? else { return Ok(None) };
    let Some(slots) = slots? else { return Ok(None) };
    let overlay = match slots.is_empty() {
        true => Overlay::empty(folded),
        false => Overlay::empty(folded).extended(&slots, &pools.overlay),
    };
    let snapshot = Snapshot::new(shard.clone(), objects, overlay);
    let record = snapshot.record(id, reads);
    if slots.is_empty() {
        return record.await.map(Some);
    }
    // The log that was read counts only if a head read later does not truncate it.
    let (moved, record) = join(shard.head_unless(&state), record).await;
    if moved?.is_some() { Ok(None) } else { record.map(Some) }
}

/// The segments behind the folded sequence that concern a record; `None` if only a reader of all of
/// them can tell.
async fn about(shard: &Shard, pools: &Pools, behind: &[(Sequence, u64)], id: &str) -> Result<Option<Slots>> {
    // Of a large record that many segments change, a reader composes the versions one by one.
    let (held, most) = (&AtomicU64::new(0), shard.memory().log_read());
    // Collected first: a stream of futures that borrow is not known to be `Send`.
    let reads: Vec<_> = behind
        .iter()
        .map(|(sequence, stored)| async move {
            let _fetching = pools.sections.fetching(*stored).await;
            let slot = shard.slot_about(*sequence, *stored, id).await?;
            let bytes = slot.as_ref().map_or(0, Slot::bytes);
            let fits = held.fetch_add(bytes, Relaxed).saturating_add(bytes) <= most;
            Ok::<_, crate::Error>((*sequence, slot.filter(|_| fits)))
        })
        .collect();
    let read: Vec<(Sequence, Option<Slot>)> = stream::iter(reads).buffered(SEGMENTS).try_collect().await?;
    let slot = |(sequence, slot): (Sequence, Option<Slot>)| {
        Some((
            sequence,
            match slot? {
                Slot::Segment(segment) => Slot::Segment(WithObject { segment, object: bytes::Bytes::new() }),
                Slot::Void => Slot::Void,
                Slot::Absent => return None,
            },
        ))
    };
    Ok(read.into_iter().map(slot).collect())
}
