//! The input of a search: its shards, the objects to scan, and the queries.

use std::sync::Arc;

use deltafold_format::Metric;

use super::base::Indexed;
use super::index::ShardIndex;
use super::kernel::{Distances, QueryCodes};
use super::owner::{Owner, Selection};
use super::request::Exactness;
use crate::error::Result;
use crate::reader::{EmbeddingObject, Need, Snapshot};

/// A shard that is searched.
#[derive(Debug)]
pub(crate) struct Searched {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) index: Arc<ShardIndex>,
}

impl Searched {
    /// The id of a record.
    pub(crate) async fn id(&self, owner: Owner) -> Result<String> {
        if let Owner::Base(row) = owner {
            let (number, row) = self.index.base().place(row);
            return Ok(self.snapshot.part(0, number, Need::Front, true).await?.id(row).to_owned());
        }
        Ok(self.index.fresh_id(owner).as_deref().unwrap_or_default().to_owned())
    }

    /// The selection of every record.
    pub(crate) fn all(&self) -> Selection {
        let index = &self.index;
        let mut selection = Selection::default();
        let words: Vec<u64> = index.standing_from(0).take(index.base().rows().div_ceil(64) as usize).collect();
        selection.base.insert_words(0, &words);
        index.fresh().for_each(|(at, _)| selection.fresh.insert(at as usize));
        selection
    }
}

/// An embedding object to scan.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Index of its shard in the search.
    pub(crate) shard: u16,
    pub(crate) object: EmbeddingObject,
    pub(crate) rows: Arc<Indexed>,
    /// The rows to read in f32, if they are few and the object is opened without codes.
    pub(crate) few: Option<Vec<u32>>,
}

/// A query, prepared for the scan.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) metric: Metric,
    pub(crate) distances: Distances,
    pub(crate) codes: QueryCodes,
    pub(crate) k: usize,
    pub(crate) exactness: Exactness,
    /// The selected records of each shard; `None` selects all.
    pub(crate) selections: Option<Arc<Vec<Selection>>>,
}

impl Probe {
    pub(crate) fn selects(&self, shard: u16, owner: Owner) -> bool {
        let selections = self.selections.as_ref();
        selections.is_none_or(|all| all.get(usize::from(shard)).is_some_and(|selection| selection.contains(owner)))
    }
}
