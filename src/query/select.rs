//! Which records match a filter.

use std::sync::Arc;

use super::bits::Bits;
use super::filter::{Decided, Filter, Matcher, RowSet};
use super::scan::{Searched, Selection};
use crate::error::{Error, Result};

/// The filters of one call. Each is evaluated once, however many queries have it.
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

/// Rows whose documents are read before other tasks get a turn.
const DOCUMENTS: usize = 256;

/// The records of a shard that match: the base by its columns, part by part, and each touched record by itself.
async fn select(searched: &Searched, matcher: &Matcher) -> Result<Selection> {
    let Searched { snapshot, index } = searched;
    let mut selection = Selection { base: Bits::none(index.base().rows() as usize), fresh: Bits::default() };
    let parts = if index.base().exists() { snapshot.entries(0).len() } else { 0 };
    for number in 0..parts {
        let rows = index.base().rows_of(number);
        let part = snapshot.part(0, number, true).await?;
        let words = index.standing_from(rows.start).take(part.rows().div_ceil(64));
        let standing = RowSet::from_words(words.collect(), part.rows());
        let Decided { mut matching, open } = matcher.select_by_columns(&*part, &standing).map_err(Error::not_loaded)?;
        tokio::task::yield_now().await;
        for some in open.chunks(DOCUMENTS) {
            matching.extend(&matcher.select(&*part, &some).map_err(Error::not_loaded)?);
            tokio::task::yield_now().await;
        }
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
