//! The records that a request names by their ids.

use std::collections::HashSet;

use deltafold_format::{Place, ShardId};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::columns::Columns;
use crate::error::Result;
use crate::query::{Filter, Include};
use crate::reader::{Entry, GetOptions, Reader};

/// Records read at once.
const AT_ONCE: usize = 8;
/// Bytes of records that are kept until their place in the answer is known. Others are read again.
const KEPT: usize = 4 << 20;

/// A record of one of the ids.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) shard: ShardId,
    inserted: Place,
    entry: Option<Entry>,
}

/// The records of some ids that match, in the order of their insertion.
pub(super) async fn named(
    reader: &Reader,
    ids: &[String],
    filter: Option<&Filter>,
    include: Include,
) -> Result<Vec<Named>> {
    let mut seen = HashSet::new();
    let ids: Vec<&String> = ids.iter().filter(|id| seen.insert(id.as_str())).collect();
    let matcher = filter.map(Filter::matcher).transpose()?;
    let mut all = Vec::new();
    let mut kept = 0;
    let mut entries = read(reader, ids, include);
    while let Some(entry) = entries.try_next().await? {
        let Some(entry) = entry else { continue };
        if matcher.as_ref().is_some_and(|matcher| !matcher.matches(&entry.record)) {
            continue;
        }
        let (shard, inserted) = (entry.shard, entry.inserted);
        let entry = include.cut(entry);
        kept += entry.memory_bytes();
        let id = entry.id.clone();
        all.push(Named { id, shard, inserted, entry: (kept <= KEPT).then_some(entry) });
    }
    all.sort_by_key(|named| (named.inserted, named.shard));
    Ok(all)
}

/// Appends records to an answer.
pub(super) async fn append(reader: &Reader, all: Vec<Named>, include: Include, columns: &mut Columns) -> Result<()> {
    let mut all = all.into_iter().peekable();
    while let Some(named) = all.next() {
        if let Some(entry) = named.entry {
            columns.push(entry).await?;
            continue;
        }
        let mut again = vec![named.id];
        while let Some(next) = all.next_if(|next| next.entry.is_none() && again.len() < AT_ONCE) {
            again.push(next.id);
        }
        let mut entries = read(reader, again.iter().collect(), include);
        while let Some(entry) = entries.try_next().await? {
            if let Some(entry) = entry {
                columns.push(include.cut(entry)).await?;
            }
        }
    }
    Ok(())
}

/// The records of some ids, in the order of the ids.
fn read<'a>(
    reader: &'a Reader,
    ids: Vec<&'a String>,
    include: Include,
) -> impl stream::Stream<Item = Result<Option<Entry>>> + Unpin + 'a {
    let options = GetOptions::default().embedding(include.embedding);
    // Collected first: a stream of futures that borrow is not known to be `Send`.
    let reads: Vec<_> = ids.into_iter().map(|id| async move { reader.get_with(id, &options).await }).collect();
    stream::iter(reads).buffered(AT_ONCE)
}
