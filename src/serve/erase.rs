//! Deletes by filter, evaluated and applied at one version.
//!
//! The deletes of a shard land directly behind the part of its log that the filter was evaluated
//! on, or nowhere. If another write came first, the filter is evaluated again. So the count is the
//! number of records that were there and are deleted, and two callers never count one twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use deltafold_format::{Op, Sequence, ShardId};
use futures::future::join_all;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::named::named;
use super::opened::Opened;
use crate::error::{Error, ErrorKind, Repr, Result};
use crate::query::{Filter, Find, Include};
use crate::reader::Reader;

/// Deletes of one segment.
const CHUNK: usize = 16_384;
/// Evaluations beside other writes of this server. Those behind them keep its writes back.
const BESIDE: u32 = 2;
/// All evaluations.
const ATTEMPTS: u32 = 32;

/// The records to delete.
#[derive(Debug)]
pub(super) struct Doomed {
    pub(super) filter: Filter,
    /// Only among these ids.
    pub(super) ids: Option<Vec<String>>,
    /// At most this many, the earliest insertions first.
    pub(super) limit: Option<usize>,
}

/// A delete by filter that failed.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) error: Error,
    /// Number of records that it has deleted.
    pub(super) deleted: u64,
}

impl Opened {
    /// Deletes the records, and returns their number.
    pub(super) async fn erase(&self, doomed: &Doomed) -> Result<u64, Broken> {
        let deleted = AtomicU64::new(0);
        let count = || deleted.load(Ordering::Relaxed);
        for attempt in 0..ATTEMPTS {
            let _alone = if attempt < BESIDE { None } else { Some(self.alone().await) };
            match self.read(|reader| self.erase_from(reader, doomed, &deleted)).await {
                Ok(true) => return Ok(count()),
                Ok(false) => {}
                Err(error) => return Err(Broken { error, deleted: count() }),
            }
        }
        let why = "other servers write to the collection all the time; try again when they write less";
        Err(Broken { error: Repr::Conflict(why.to_owned()).into(), deleted: count() })
    }

    /// Deletes the records of a snapshot; false as soon as another write came first.
    async fn erase_from(&self, reader: Reader, doomed: &Doomed, deleted: &AtomicU64) -> Result<bool> {
        let ends = reader.positions().into_iter().map(|position| (position.shard, position.tail));
        let mut ends: BTreeMap<ShardId, Sequence> = ends.collect();
        let before = usize::try_from(deleted.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let left = doomed.limit.map(|limit| limit.saturating_sub(before));
        let mut chunks = doomed.ids_in(&reader, left).await?.try_chunks(CHUNK);
        while let Some(chunk) = chunks.try_next().await.map_err(|chunk| chunk.1)? {
            let mut of_shards: BTreeMap<ShardId, Vec<Op>> = BTreeMap::new();
            for (shard, id) in chunk {
                of_shards.entry(shard).or_default().push(Op::delete(id));
            }
            let appends = of_shards.into_iter().map(|(shard, ops)| {
                let (behind, count) = (ends.get(&shard).copied().unwrap_or_default(), ops.len() as u64);
                async move { (shard, count, self.append_behind(shard, behind, ops).await) }
            });
            let (mut moved, mut failure) = (false, None);
            for (shard, count, appended) in join_all(appends).await {
                match appended {
                    Ok(slot) => {
                        ends.insert(shard, slot);
                        deleted.fetch_add(count, Ordering::Relaxed);
                    }
                    Err(error) if error.kind() == ErrorKind::Conflict => moved = true,
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
            if moved {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Doomed {
    /// The ids of the records in a snapshot, at most `limit`, with the shard of each.
    async fn ids_in(
        &self,
        reader: &Reader,
        limit: Option<usize>,
    ) -> Result<BoxStream<'static, Result<(ShardId, String)>>> {
        match &self.ids {
            Some(ids) => {
                let all = named(reader, ids, Some(&self.filter), Include::NOTHING).await?;
                let all = all.into_iter().take(limit.unwrap_or(usize::MAX));
                Ok(stream::iter(all.map(|named| Ok((named.shard, named.id))).collect::<Vec<_>>()).boxed())
            }
            None => {
                let find = Find { limit, include: Include::NOTHING, ..Find::new(self.filter.clone()) };
                Ok(reader.find(&find).await?.map_ok(|entry| (entry.shard, entry.id)).boxed())
            }
        }
    }
}
