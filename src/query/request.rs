//! The queries and answers of a search.

use std::time::Duration;

use deltafold_format::Metadata;

use super::filter::Filter;

use crate::reader::Entry;
use crate::setters::setters;

/// Most hits of one query.
pub const MAX_K: usize = 65_536;

/// A query for the nearest neighbours of a vector.
///
/// ```
/// use deltafold::{Exactness, Query};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # use deltafold::{Collection, CreateOptions};
/// # use deltafold::store::Memory;
/// # let store = Arc::new(Memory::new());
/// # let collection = Collection::create(store, &"articles".parse()?, &CreateOptions::new(2)).await?;
/// # let writer = collection.writer(deltafold::WriterOptions::default())?;
/// # let record = |x| deltafold::format::Record { embedding: Some(vec![x, 1.0]), ..Default::default() };
/// # let put = |id: &str, x| deltafold::format::Op::put(id, record(x));
/// # writer.append(vec![put("a", 0.1), put("b", 0.2)]).await?;
/// let query = Query::new(vec![0.2, 1.0], 1).exactness(Exactness::Exact);
/// let answers = collection.reader().await?.search(&[query]).await?;
/// assert_eq!(answers[0].hits[0].entry.id, "b");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Query {
    /// The vector, of the collection's dimension. Every number must be finite.
    pub vector: Vec<f32>,
    /// Number of hits: 1 to [`MAX_K`].
    pub k: usize,
    /// Selects the records to search; all if it is absent. `k` hits come back if `k` records match.
    pub filter: Option<Filter>,
    /// Whether to prove the nearest, or to return likely ones sooner.
    pub exactness: Exactness,
    /// The fields that hits carry.
    pub include: Include,
}

/// The certainty of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exactness {
    /// The nearest neighbours, proved.
    #[default]
    Exact,
    /// The nearest of the candidates that the codes of 1 bit a dimension rank first.
    Approximate {
        /// Number of candidates: at least `k`. Those that codes of 8 bits in memory rule out are
        /// not read in full precision. The answer is the same.
        candidates: usize,
    },
}

/// The fields of a record in an answer, besides its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Include {
    /// The embedding.
    pub embedding: bool,
    /// The metadata.
    pub metadata: bool,
    /// The document.
    pub document: bool,
}

setters!(Include { embedding: bool, metadata: bool, document: bool });

impl Include {
    /// Only the id.
    pub const NOTHING: Self = Self { embedding: false, metadata: false, document: false };
    /// Every field.
    pub const ALL: Self = Self { embedding: true, metadata: true, document: true };

    /// A record with only these fields.
    pub(crate) fn cut(self, mut entry: Entry) -> Entry {
        if !self.embedding {
            entry.record.embedding = None;
        }
        if !self.metadata {
            entry.record.metadata = Metadata::new();
        }
        if !self.document {
            entry.record.document = None;
        }
        entry
    }
}

/// Metadata and document, no embedding.
impl Default for Include {
    fn default() -> Self {
        Self { embedding: false, metadata: true, document: true }
    }
}

impl Query {
    /// The `k` nearest neighbours of a vector, exactly, among all records.
    pub fn new(vector: Vec<f32>, k: usize) -> Self {
        Self { vector, k, filter: None, exactness: Exactness::Exact, include: Include::default() }
    }
}

setters!(Query {
    filter: into Option<Filter>,
    exactness: Exactness,
    include: Include,
} new: vector, k);

/// A record that a query found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// Squared Euclidean distance, 1 - cosine similarity (1 if a vector is zero), or 1 - inner
    /// product. Less is nearer.
    pub distance: f64,
    /// The record, with the wanted fields.
    pub entry: Entry,
}

/// The result of a query.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The hits, nearest first. Hits at one distance come in the order of their insertion.
    pub hits: Vec<Hit>,
    /// The work of the query.
    pub work: Work,
}

/// The work of a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Work {
    /// Embeddings whose codes were compared with the query.
    pub coded: u64,
    /// Of those, embeddings that the bound of their codes ruled out.
    pub ruled_out: u64,
    /// Embeddings that were read in full precision.
    pub read: u64,
    /// Of those, embeddings that came from the log.
    pub from_log: u64,
    /// Requests to the store during the search. They include those of other queries of the same
    /// call, and of other users of the same store.
    pub requests: u64,
    /// Bytes of objects in the answers to these requests.
    pub bytes: u64,
    /// The time that each stage took, for all queries of the call together.
    pub stages: Stages,
}

/// The stages of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stages {
    /// Bringing the index up to date with the snapshot.
    pub index: Duration,
    /// Evaluating filters.
    pub select: Duration,
    /// Opening embedding objects.
    pub open: Duration,
    /// Comparing embeddings.
    pub scan: Duration,
    /// Reading the records of the hits.
    pub records: Duration,
}

impl Stages {
    /// Each stage with its name, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let Self { index, select, open, scan, records } = *self;
        [("index", index), ("select", select), ("open", open), ("scan", scan), ("records", records)].into_iter()
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.coded += other.coded;
        self.ruled_out += other.ruled_out;
        self.read += other.read;
        self.from_log += other.from_log;
    }
}
