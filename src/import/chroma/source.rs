//! One collection of a directory: its records, each joined from its row and its vector.

use std::sync::Arc;

use deltafold_format::Record;

use super::database::Database;
use super::files::Folder;
use super::ids::Ids;
use super::rows::{Cursor, RowId, Rows};
use super::settings::Found;
use super::vectors::Vectors;
use crate::error::Result;

/// Ids that a survey names of each kind.
const EXAMPLES: usize = 10;
/// Records and bytes of a batch.
const BATCH: usize = 2_048;
const BATCH_BYTES: usize = 4 << 20;

/// The handling of ids that only one half of a collection knows. A Chroma that crashed may leave
/// such ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// Import nothing.
    #[default]
    Fail,
    /// Leave these records out.
    Skip,
    /// Import the half that is there: a record without an embedding, or an embedding without
    /// metadata and document. The latter come last.
    Keep,
}

/// The records of a collection, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// Records with metadata or a document, or with neither.
    pub rows: u64,
    /// Embeddings.
    pub embeddings: u64,
    /// Ids of records that have no embedding: their number, and some of them.
    pub without_embedding: (u64, Vec<String>),
    /// Ids of embeddings that belong to no record: their number, and some of them.
    pub only_embedding: (u64, Vec<String>),
}

impl Survey {
    /// Whether both halves have the same ids.
    pub fn fits(&self) -> bool {
        self.without_embedding.0 == 0 && self.only_embedding.0 == 0
    }

    /// The number of records to import.
    pub fn records(&self, on_mismatch: OnMismatch) -> u64 {
        match on_mismatch {
            OnMismatch::Fail | OnMismatch::Skip => self.rows - self.without_embedding.0,
            OnMismatch::Keep => self.rows + self.only_embedding.0,
        }
    }
}

/// An open collection of a directory.
#[derive(Debug)]
pub struct Source {
    folder: Arc<Folder>,
    database: Database,
    found: Found,
    ids: Ids,
    vectors: Vectors,
    rows: Rows,
    survey: Survey,
    on_mismatch: OnMismatch,
    at: Cursor,
    page: std::vec::IntoIter<RowId>,
    /// Embeddings without a record that were read.
    alone: u64,
}

impl Source {
    pub(super) fn open(folder: Arc<Folder>, database: Database, found: Found) -> Result<Self> {
        let cosine = found.metric == deltafold_format::Metric::Cosine;
        let ids = Ids::new(folder.cache_kib())?;
        let vectors = Vectors::open(&folder, &database, &ids, &found.row, cosine)?;
        let rows = Rows::open(&database, &ids, &found.row)?;
        let mut survey = Survey { embeddings: ids.vectors()?, ..Survey::default() };
        let mut at = Cursor::START;
        loop {
            let page = rows.page(&database, &ids, &mut at)?;
            if page.is_empty() {
                break;
            }
            survey.rows += page.len() as u64;
            for row in page {
                if !ids.note(&row.id)? {
                    survey.without_embedding.0 += 1;
                    if survey.without_embedding.1.len() < EXAMPLES {
                        survey.without_embedding.1.push(row.id);
                    }
                }
            }
        }
        survey.only_embedding.0 = ids.collect_alone()?;
        for at in 1..=survey.only_embedding.0.min(EXAMPLES as u64) {
            survey.only_embedding.1.extend(ids.alone(at)?);
        }
        folder.check_unchanged()?;
        let page = Vec::new().into_iter();
        let on_mismatch = OnMismatch::default();
        Ok(Self { folder, database, found, ids, vectors, rows, survey, on_mismatch, at: Cursor::START, page, alone: 0 })
    }

    /// The collection.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Length of its embeddings; `None` if it never had one.
    pub fn dimension(&self) -> Option<u32> {
        self.vectors.dimension()
    }

    /// Its records, counted.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Begins again in front of the first record.
    pub fn rewind(&mut self, on_mismatch: OnMismatch) {
        (self.at, self.page, self.alone) = (Cursor::START, Vec::new().into_iter(), 0);
        self.on_mismatch = on_mismatch;
    }

    /// The next records, in the order of their insertion. Blocks. None are left where the answer is
    /// empty.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where a file is damaged, or has changed since the directory was opened.
    pub fn next_batch(&mut self) -> Result<Vec<(String, Record)>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some((id, record)) = self.next_record()? else { break };
            bytes += record.embedding.as_ref().map_or(0, |embedding| embedding.len() * 4);
            bytes += record.document.as_ref().map_or(0, String::len) + id.len();
            batch.push((id, record));
        }
        if batch.is_empty() {
            self.folder.check_unchanged()?;
        }
        Ok(batch)
    }

    fn next_record(&mut self) -> Result<Option<(String, Record)>> {
        loop {
            let Some(row) = self.page.next() else {
                let page = self.rows.page(&self.database, &self.ids, &mut self.at)?;
                if page.is_empty() {
                    return self.next_alone();
                }
                self.page = page.into_iter();
                continue;
            };
            let embedding = self.vectors.get(&self.database, &self.ids, &row.id)?;
            if embedding.is_none() && self.on_mismatch != OnMismatch::Keep {
                continue;
            }
            let fields = self.rows.fields(&self.database, &self.ids, &row)?;
            let record = Record { embedding, metadata: fields.metadata, document: fields.document };
            return Ok(Some((row.id, record)));
        }
    }

    /// The next embedding that belongs to no record.
    fn next_alone(&mut self) -> Result<Option<(String, Record)>> {
        if self.on_mismatch != OnMismatch::Keep {
            return Ok(None);
        }
        let Some(id) = self.ids.alone(self.alone + 1)? else { return Ok(None) };
        self.alone += 1;
        let embedding = self.vectors.get(&self.database, &self.ids, &id)?;
        Ok(Some((id, Record { embedding, ..Record::default() })))
    }
}
