//! Finds records by filter.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt, TryStreamExt};

use super::filter::Filter;
use super::index::Age;
use super::owner::Owner;
use super::owner::Selection;
use super::probe::Searched;
use super::records::entries;
use super::request::Include;
use super::select::Selector;
use crate::error::{Error, Result};
use crate::reader::{Entry, Need, Order, Reader, Reads};
use crate::setters::setters;

/// The records to find, their order, and their fields.
///
/// ```
/// use deltafold::{Filter, Find};
///
/// let find = Find::new(Filter::equals("year", 2024)).limit(20);
/// assert_eq!(find.offset, 0);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Find {
    /// Selects the records; all if it is absent.
    pub filter: Option<Filter>,
    /// The order.
    pub order: Order,
    /// Number of records to skip first.
    pub offset: usize,
    /// Most records to return.
    pub limit: Option<usize>,
    /// The fields to read.
    pub include: Include,
}

setters!(Find {
    filter: into Option<Filter>,
    order: Order,
    offset: usize,
    limit: into Option<usize>,
    include: Include,
});

impl Find {
    /// All records that match, in the order of their insertion, with metadata and document.
    pub fn new(filter: Filter) -> Self {
        Self { filter: Some(filter), ..Self::all() }
    }

    /// All records, in the order of their insertion, with metadata and document.
    pub fn all() -> Self {
        Self { filter: None, order: Order::Insertion, offset: 0, limit: None, include: Include::default() }
    }
}

impl Reader {
    /// The records that match, in order, as of the last [`refresh`](Self::refresh).
    ///
    /// The filter is evaluated on the columns of the base, part by part, before any record is made.
    /// By insertion, the places of all matches are sorted in memory, 96 bytes each.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a filter beyond its limits; otherwise those of [`search`](Self::search).
    pub async fn find(
        &self,
        find: &Find,
    ) -> Result<impl Stream<Item = Result<Entry>> + Send + Unpin + 'static + use<>> {
        let shards = self.searched().await?;
        let selections = selected(&shards, find.filter.as_ref()).await?;
        let shards = Arc::new(shards);
        let found = match find.order {
            Order::Insertion => by_insertion(&shards, &selections),
            Order::Id => by_id(&shards, &selections).await?,
        };
        let (include, limit) = (find.include, find.limit.unwrap_or(usize::MAX));
        let reads = Reads::of(include.embedding, limit.min(found.len()));
        let left: VecDeque<_> = found.into_iter().skip(find.offset).take(limit).collect();
        let making = Making { shards, left, include, reads, batch: FIRST_BATCH, memory: self.bytes_ahead() };
        let batches = stream::try_unfold(making, |mut making| async move {
            let entries = making.next().await?;
            Ok::<_, Error>((!entries.is_empty()).then_some((stream::iter(entries.into_iter().map(Ok)), making)))
        });
        Ok(batches.try_flatten().boxed())
    }

    /// Bytes of records to make ahead.
    fn bytes_ahead(&self) -> usize {
        let limit = self.snapshots().next().map_or(0, |first| first.shard.memory().ahead());
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// Number of records that match. Makes no record, and reads only the columns of the base that
    /// the filter names.
    ///
    /// # Errors
    ///
    /// Those of [`find`](Self::find).
    pub async fn count_matching(&self, filter: &Filter) -> Result<u64> {
        let shards = self.searched().await?;
        let selections = selected(&shards, Some(filter)).await?;
        Ok(selections.iter().map(|selection| (selection.base.count() + selection.fresh.count()) as u64).sum())
    }
}

/// Records of the first batch. It is small, so that the first ones come soon.
const FIRST_BATCH: usize = 16;
/// Most records of a batch.
const MOST_AHEAD: usize = 4_096;
/// Most records of a batch that have documents and that newer runs or the log have touched.
const FRESH_DOCUMENTS: usize = 8;

/// The records of a find, made in batches. Those of one part are read together.
struct Making {
    shards: Arc<Vec<Searched>>,
    left: VecDeque<(usize, Owner)>,
    include: Include,
    reads: Reads,
    batch: usize,
    /// Estimated bytes of records that a batch may take.
    memory: usize,
}

impl Making {
    async fn next(&mut self) -> Result<Vec<Entry>> {
        let count = self.fitting().await?;
        let batch: Vec<(usize, Owner)> = self.left.drain(..count).collect();
        let made = entries(&self.shards, &batch, self.include, self.reads).await?;
        let average = made.iter().map(Entry::memory_bytes).sum::<usize>() / made.len().max(1) + 1;
        self.batch = (self.memory / average).clamp(1, MOST_AHEAD).min(self.batch * 4);
        Ok(made)
    }
}

impl Making {
    /// Number of the next records to make together: as many as likely fit the memory with their
    /// documents.
    async fn fitting(&self) -> Result<usize> {
        let most = self.batch.min(self.left.len());
        if !self.include.document {
            return Ok(most);
        }
        let mut bytes = 0_usize;
        for (count, (shard, owner)) in self.left.iter().take(most).enumerate() {
            let Some(searched) = self.shards.get(*shard) else { continue };
            bytes = bytes.saturating_add(match owner {
                Owner::Base(row) => {
                    let (number, row) = searched.index.base().place(*row);
                    searched.snapshot.part(0, number, Need::Front, true).await?.document_bytes(row)
                }
                // The length of the document is unknown.
                Owner::Fresh(at) if searched.index.fresh_at(*at).is_some_and(|fresh| fresh.has_document) => {
                    self.memory / FRESH_DOCUMENTS
                }
                Owner::Fresh(_) => 0,
            });
            if bytes > self.memory {
                return Ok(count.max(1));
            }
        }
        Ok(most)
    }
}

/// The records of each shard that match, or all.
async fn selected(shards: &[Searched], filter: Option<&Filter>) -> Result<Arc<Vec<Selection>>> {
    match filter {
        Some(filter) => Selector::new(shards).select(filter).await,
        None => Ok(Arc::new(shards.iter().map(Searched::all).collect())),
    }
}

/// The owners of a shard that are selected.
fn owners<'a>(searched: &'a Searched, selection: &'a Selection) -> impl Iterator<Item = Owner> + 'a {
    let rows = searched.index.base().rows() as usize;
    let base = selection.base.rows(0..rows).map(|row| Owner::Base(u32::try_from(row).unwrap_or(u32::MAX)));
    let fresh = searched.index.fresh().filter(|(at, _)| selection.fresh.contains(*at as usize));
    base.chain(fresh.map(|(at, _)| Owner::Fresh(at)))
}

/// A record that matches, in the order of insertion. The order of the fields defines it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Inserted {
    place: u128,
    shard: usize,
    age: Age,
    id: Option<Arc<str>>,
    owner: Owner,
}

fn by_insertion(shards: &[Searched], selections: &[Selection]) -> Vec<(usize, Owner)> {
    let mut all = Vec::new();
    for (shard, (searched, selection)) in shards.iter().zip(selections).enumerate() {
        all.extend(owners(searched, selection).map(|owner| {
            let age = searched.index.age(owner);
            Inserted { place: age.inserted, shard, age, id: searched.index.fresh_id(owner), owner }
        }));
    }
    all.sort_unstable();
    all.into_iter().map(|found| (found.shard, found.owner)).collect()
}

async fn by_id(shards: &[Searched], selections: &[Selection]) -> Result<Vec<(usize, Owner)>> {
    let mut sorted: Vec<Vec<Owner>> = Vec::new();
    for (searched, selection) in shards.iter().zip(selections) {
        let mut own: Vec<Owner> = owners(searched, selection).collect();
        own.sort_unstable_by_key(|owner| (searched.index.age(*owner).rank(), searched.index.fresh_id(*owner)));
        own.reverse();
        sorted.push(own);
    }
    if let [only] = &mut sorted[..] {
        return Ok(std::mem::take(only).into_iter().rev().map(|owner| (0, owner)).collect());
    }
    // Each shard's records are in order. Between shards, the ids decide.
    let mut heads = BinaryHeap::new();
    let mut found = Vec::new();
    for (shard, (searched, own)) in shards.iter().zip(&mut sorted).enumerate() {
        if let Some(owner) = own.pop() {
            heads.push(Reverse((searched.id(owner).await?, shard, owner)));
        }
    }
    while let Some(Reverse((_, shard, owner))) = heads.pop() {
        found.push((shard, owner));
        if let (Some(searched), Some(own)) = (shards.get(shard), sorted.get_mut(shard))
            && let Some(next) = own.pop()
        {
            heads.push(Reverse((searched.id(next).await?, shard, next)));
        }
    }
    Ok(found)
}
