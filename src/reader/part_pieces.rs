//! Reads the pieces of parts that a query needs by ranges.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use deltafold_format::{FormatError, FormatErrorKind, PartEntry, PartMeta, PartObject, PartPiece};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::env;
use crate::error::{Error, Result};
use crate::shard::{READS_OF_DAMAGE, Shard};
use crate::store::Key;

/// Ranges with at most this many bytes between them are fetched as one: a request costs more than
/// these bytes.
const GAP: u64 = 32 << 10;
/// Most bytes of one request for several pieces.
const REQUEST_BYTES: u64 = 8 << 20;
/// Requests for ranges of one part at once.
const REQUESTS: usize = 8;
/// Larger pieces are decoded off the async tasks.
const DECODED_HERE: u64 = 64 << 10;

/// The pieces of a part that a query needs besides its front, from few to all.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need<'a> {
    /// None: ids, outlines of rows, and places of embeddings are in the front.
    Front,
    /// The metadata columns of these keys.
    Keys(&'a [&'a str]),
    /// All metadata columns.
    Columns,
    /// All columns and all documents.
    Whole,
}

impl Need<'_> {
    /// Whether a part has the pieces.
    pub(super) fn is_met(self, part: &PartMeta) -> bool {
        match self {
            Self::Front => true,
            Self::Keys(keys) => keys.iter().all(|key| part.unloaded_columns_of(key).next().is_none()),
            Self::Columns => part.has_all_columns(),
            Self::Whole => part.has_all_columns() && part.has_all_documents(),
        }
    }

    /// The missing pieces of a part.
    fn missing(self, part: &PartMeta) -> Vec<PartPiece> {
        match self {
            Self::Front => Vec::new(),
            Self::Keys(keys) => keys.iter().flat_map(|key| part.unloaded_columns_of(key)).collect(),
            Self::Columns => part.unloaded_columns().collect(),
            Self::Whole => part.unloaded_columns().chain(part.unloaded_documents()).collect(),
        }
    }
}

/// Reads a part, or its missing pieces of a need; `None` if the object is gone.
///
/// One GET if the part is new: of its front, of its front with all columns, or of all of it.
/// Otherwise a GET for each group of pieces that lie near each other.
pub(super) async fn load(
    shard: &Shard,
    entry: &PartEntry,
    have: Option<Arc<PartMeta>>,
    need: Need<'_>,
) -> Result<Option<Arc<PartMeta>>> {
    let part = match have {
        Some(part) => part,
        None => {
            let read = match need {
                Need::Whole => shard.part(entry).await?,
                Need::Columns => shard.part_front(entry, entry.columns_end).await?,
                Need::Front | Need::Keys(_) => shard.part_front(entry, entry.front_bytes).await?,
            };
            match read {
                Some(part) => Arc::new(part),
                None => return Ok(None),
            }
        }
    };
    fetch(shard, entry, part.clone(), need.missing(&part)).await
}

/// The part with the pieces of a need and the documents of these rows, all fetched at once; `None`
/// if the object is gone.
pub(super) async fn load_documents(
    shard: &Shard,
    entry: &PartEntry,
    part: Arc<PartMeta>,
    need: Need<'_>,
    rows: impl Iterator<Item = usize>,
) -> Result<Option<Arc<PartMeta>>> {
    let mut pieces = need.missing(&part);
    pieces.extend(rows.flat_map(|row| part.unloaded_documents_of(row).collect::<Vec<_>>()));
    pieces.sort_unstable();
    pieces.dedup();
    fetch(shard, entry, part.clone(), pieces).await
}

/// The part with these pieces, which it lacks.
async fn fetch(
    shard: &Shard,
    entry: &PartEntry,
    part: Arc<PartMeta>,
    pieces: Vec<PartPiece>,
) -> Result<Option<Arc<PartMeta>>> {
    if pieces.is_empty() {
        return Ok(Some(part));
    }
    let key = shard.layout().part(PartObject::Meta(entry.name));
    let groups = groups(pieces.into_iter().map(|piece| (piece, part.range(piece))).collect());
    let mut reads = 1;
    loop {
        match fetch_groups(shard, &key, &part, groups.clone()).await? {
            None => return Ok(None),
            Some(Ok(part)) => return Ok(Some(Arc::new(part))),
            // The store has no checksum of a range, so damage in transit shows only here.
            Some(Err(error)) if error.kind() == FormatErrorKind::Checksum && reads < READS_OF_DAMAGE => reads += 1,
            Some(Err(error)) => return Err(Error::format(&key, error)),
        }
    }
}

async fn fetch_groups(
    shard: &Shard,
    key: &Key,
    part: &Arc<PartMeta>,
    groups: Vec<Group>,
) -> Result<Option<std::result::Result<PartMeta, FormatError>>> {
    let bytes: u64 = groups.iter().map(|group| group.range.end - group.range.start).sum();
    let reads: Vec<_> = groups.into_iter().map(|group| read(shard, key, group)).collect();
    let read: Vec<Option<Vec<(PartPiece, Bytes)>>> = stream::iter(reads).buffered(REQUESTS).try_collect().await?;
    let Some(read) = read.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let pieces: Vec<(PartPiece, Bytes)> = read.into_iter().flatten().collect();
    if bytes <= DECODED_HERE {
        return Ok(Some(part.with(pieces)));
    }
    let part = part.clone();
    Ok(Some(env::blocking(move || part.with(pieces)).await))
}

/// Pieces fetched in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    range: Range<u64>,
    pieces: Vec<(PartPiece, Range<u64>)>,
}

/// Groups pieces that lie near each other.
fn groups(mut pieces: Vec<(PartPiece, Range<u64>)>) -> Vec<Group> {
    pieces.sort_unstable_by_key(|(_, range)| range.start);
    let mut groups: Vec<Group> = Vec::new();
    for (piece, range) in pieces {
        match groups.last_mut() {
            Some(Group { range: before, pieces })
                if range.start.saturating_sub(before.end) <= GAP
                    && range.end.saturating_sub(before.start) <= REQUEST_BYTES =>
            {
                before.end = before.end.max(range.end);
                pieces.push((piece, range));
            }
            _ => groups.push(Group { range: range.clone(), pieces: vec![(piece, range)] }),
        }
    }
    groups
}

async fn read(shard: &Shard, key: &Key, group: Group) -> Result<Option<Vec<(PartPiece, Bytes)>>> {
    let Some(bytes) = shard.range(key, group.range.clone()).await? else { return Ok(None) };
    let slice = |range: Range<u64>| {
        let at = |place: u64| usize::try_from(place - group.range.start).unwrap_or(usize::MAX).min(bytes.len());
        // A short answer gives short pieces, which the part refuses.
        bytes.slice(at(range.start)..at(range.end))
    };
    Ok(Some(group.pieces.into_iter().map(|(piece, range)| (piece, slice(range))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_near_each_other_are_one_request() {
        let piece = |number: u32, range: Range<u64>| (PartPiece::Column(number), range);
        let grouped = |pieces: &[(PartPiece, Range<u64>)]| {
            groups(pieces.to_vec()).into_iter().map(|group| (group.range.start, group.range.end)).collect::<Vec<_>>()
        };
        assert_eq!(grouped(&[]), [(0, 0); 0]);
        assert_eq!(grouped(&[piece(1, 100..200), piece(0, 0..100)]), [(0, 200)]);
        assert_eq!(grouped(&[piece(0, 0..100), piece(1, 100 + GAP..200 + GAP)]), [(0, 200 + GAP)]);
        assert_eq!(grouped(&[piece(0, 0..100), piece(1, 101 + GAP..200 + GAP)]), [(0, 100), (101 + GAP, 200 + GAP)]);
        let large = REQUEST_BYTES - 10;
        assert_eq!(grouped(&[piece(0, 0..large), piece(1, large..large + 11)]), [(0, large), (large, large + 11)]);
    }
}
