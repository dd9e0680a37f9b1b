//! Selects the records that match a filter.

use std::sync::Arc;

use deltafold_format::PartMeta;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::bits::Bits;
use super::filter::{Chance, Decided, Filter, Matcher, RowSet};
use super::owner::Selection;
use super::probe::Searched;
use crate::error::{Error, Result};
use crate::reader::Need;

/// The filters of one call. Each is evaluated once, even if several queries have it.
pub(crate) struct Selector<'a> {
    shards: &'a [Searched],
    known: Vec<(&'a Filter, Arc<Vec<Selection>>)>,
}

impl<'a> Selector<'a> {
    pub(crate) fn new(shards: &'a [Searched]) -> Self {
        Self { shards, known: Vec::new() }
    }

    /// The records of each shard that match.
    pub(crate) async fn select(&mut self, filter: &'a Filter) -> Result<Arc<Vec<Selection>>> {
        if let Some((_, known)) = self.known.iter().find(|(known, _)| *known == filter) {
            return Ok(known.clone());
        }
        let matcher = filter.matcher()?;
        let mut selections = Vec::new();
        for searched in self.shards {
            selections.push(select(searched, &matcher).await?);
        }
        let selections = Arc::new(selections);
        self.known.push((filter, selections.clone()));
        Ok(selections)
    }
}

/// Parts read at once: the columns of 100,000 records in one round of requests.
const READS: usize = 64;

/// Rows whose documents are read before other tasks get a turn.
const DOCUMENTS: usize = 256;

/// A part, and the chance that its rows match. If that is undecided, the part has the columns of
/// `keys`.
async fn consulted(
    searched: &Searched,
    matcher: &Matcher,
    keys: &[&str],
    number: usize,
) -> Result<(usize, Arc<PartMeta>, Chance)> {
    let part = searched.snapshot.part(0, number, Need::Front, true).await?;
    match matcher.may_match(part.summary()) {
        Chance::Maybe => {
            let part = searched.snapshot.part(0, number, Need::Keys(keys), true).await?;
            Ok((number, part, Chance::Maybe))
        }
        decided => Ok((number, part, decided)),
    }
}

/// The records of a shard that match: the base by its columns, part by part, and each touched
/// record alone.
///
/// If the summary of its columns rules a part out, only the front is read. Of other parts the
/// columns that the filter names are read, and the blocks of documents for the rows that columns
/// leave open.
async fn select(searched: &Searched, matcher: &Matcher) -> Result<Selection> {
    let Searched { snapshot, index } = searched;
    let mut selection = Selection { base: Bits::none(index.base().rows() as usize), fresh: Bits::default() };
    let parts = if index.base().exists() { snapshot.entries(0).len() } else { 0 };
    let keys = matcher.keys();
    // Collected first: a stream of futures that borrow is not known to be `Send`.
    let reads: Vec<_> = (0..parts).map(|number| consulted(searched, matcher, &keys, number)).collect();
    let mut reads = stream::iter(reads).buffered(READS);
    while let Some((number, part, chance)) = reads.try_next().await? {
        let rows = index.base().rows_of(number);
        let words = index.standing_from(rows.start).take(part.rows().div_ceil(64));
        let standing = RowSet::from_words(words.collect(), part.rows());
        let matching = match chance {
            Chance::Never => continue,
            Chance::Always => standing,
            Chance::Maybe => {
                let Decided { mut matching, open } =
                    matcher.select_by_columns(&*part, &standing).map_err(Error::not_loaded)?;
                tokio::task::yield_now().await;
                for some in open.chunks(DOCUMENTS) {
                    let part = snapshot.documents(0, number, part.clone(), Need::Keys(&keys), some.iter()).await?;
                    matching.extend(&matcher.select(&*part, &some).map_err(Error::not_loaded)?);
                    tokio::task::yield_now().await;
                }
                matching
            }
        };
        selection.base.insert_words(rows.start as usize, matching.words());
    }
    for (at, fresh) in index.fresh() {
        let matches = if fresh.has_document && matcher.reads_documents() {
            let record = snapshot.get(&fresh.id).await?;
            record.is_some_and(|stored| matcher.matches(&stored.record))
        } else {
            matcher.matches_parts(&fresh.metadata, fresh.has_document.then_some(""))
        };
        if matches {
            selection.fresh.insert(at as usize);
        }
    }
    Ok(selection)
}
