//! Reads one record: its rows from the newest to the oldest, then all missing fields at once.

use std::ops::Range;
use std::sync::Arc;

use deltafold_format::{PartMeta, Place, Stored};
use futures::future::{join_all, try_join, try_join_all};

use super::compose::{Composer, EmbeddingSource, Row};
use super::entry::Entry;
use super::layer::Layer;
use super::part_pieces::Need;
use super::reads::Reads;
use super::snapshot::Snapshot;
use super::unread::Unread;
use crate::error::Result;

/// One row of an id.
enum Found<'a> {
    Log(&'a Layer, Range<usize>),
    Unread(&'a Unread, Range<usize>),
    Part(PartRow),
}

/// A row of a part.
struct PartRow {
    run: usize,
    number: usize,
    part: Arc<PartMeta>,
    row: usize,
    /// Whether its content may show through. Then all columns are loaded.
    content: bool,
}

impl PartRow {
    fn has_documents(&self) -> bool {
        !self.content || self.part.unloaded_documents_of(self.row).next().is_none()
    }

    /// The row, with its documents if they are loaded.
    fn row(&self) -> Row<'_> {
        if self.has_documents() { Row::Part(&self.part, self.row) } else { Row::WithoutDocuments(&self.part, self.row) }
    }
}

impl Found<'_> {
    async fn compose(&self, composer: &mut Composer) -> Result<()> {
        match self {
            Self::Log(layer, ops) => composer.under(Row::Log(layer, ops.clone())),
            Self::Unread(unread, ops) => unread.compose(ops.clone(), composer).await,
            Self::Part(part) => composer.under(part.row()),
        }
    }
}

type Read = Option<Stored<EmbeddingSource, Place>>;

impl Snapshot {
    /// The record `id` for the caller. For each run that has it, one GET of a part that was not
    /// read before: of its front with the columns. The front alone is enough for runs hidden by
    /// newer content. Then one GET of the block that holds the document, and at the same time the
    /// requests for the embedding.
    pub(super) async fn record(&self, id: &str, reads: Reads) -> Result<Option<Entry>> {
        let (rows, read) = self.rows_of(id, true).await?;
        let Some(stored) = read else { return Ok(None) };
        let entry = self.entry(id.to_owned(), stored, reads);
        if rows.iter().all(|found| !matches!(found, Found::Part(part) if !part.has_documents())) {
            return entry.await.map(Some);
        }
        let (entry, stored) = try_join(entry, self.with_documents(rows)).await?;
        Ok(stored.map(|stored| Entry {
            record: deltafold_format::Record { document: stored.record.document, ..entry.record },
            ..entry
        }))
    }

    /// The record `id`, without its embedding. Costs the same as [`record`](Self::record), except
    /// for the embedding.
    pub(crate) async fn get(&self, id: &str) -> Result<Read> {
        let (rows, _) = self.rows_of(id, true).await?;
        self.with_documents(rows).await
    }

    /// The same with an empty text in place of a document that is not loaded.
    pub(crate) async fn get_without_document(&self, id: &str) -> Result<Read> {
        Ok(self.rows_of(id, false).await?.1)
    }

    /// The rows of an id that matter, the newest first, and the record that they compose to,
    /// without documents that are not loaded.
    async fn rows_of(&self, id: &str, document: bool) -> Result<(Vec<Found<'_>>, Read)> {
        let (mut rows, mut composer) = (Vec::new(), Composer::default());
        for layer in self.overlay.layers().iter().rev() {
            let ops = layer.find(id);
            if !ops.is_empty() && !composer.is_final() {
                add(&mut rows, &mut composer, Found::Log(layer, ops)).await?;
            }
        }
        if !composer.is_final() {
            self.fetch_ahead(id, 2).await;
        }
        for run in (0..self.runs()).rev() {
            if composer.is_final() {
                break;
            }
            let found = if let Some(unread) = self.unread(run) {
                Some(Found::Unread(unread, unread.find(id)))
            } else {
                self.row_of(run, id, composer.needs_content(), document).await?.map(Found::Part)
            };
            if let Some(found) = found {
                add(&mut rows, &mut composer, found).await?;
            }
        }
        Ok((rows, composer.finish()))
    }

    /// Reads the parts of all runs around an id at once, if at least `least` of them are not in
    /// memory. The read of an older run is wasted only if a newer one decides, and few records are
    /// in newer runs. A failure shows when the part is needed.
    pub(super) async fn fetch_ahead(&self, id: &str, least: usize) {
        let wanted: Vec<(usize, usize)> = (0..self.runs())
            .filter_map(|run| Some((run, self.part_of(run, id).filter(|(_, kept)| !kept)?.0)))
            .collect();
        if wanted.len() >= least && self.objects.pools().parts.has_room() {
            let reads = wanted.into_iter().map(|(run, number)| self.part(run, number, Need::Columns, true));
            drop(join_all(reads).await);
        }
    }

    /// The row of an id in a run. The front of its part is loaded, and all columns if `content` is
    /// set. A part that is not in memory takes one GET. Columns that a part in memory lacks come
    /// with the `document`.
    async fn row_of(&self, run: usize, id: &str, content: bool, document: bool) -> Result<Option<PartRow>> {
        let Some((number, is_kept)) = self.part_of(run, id) else { return Ok(None) };
        // The front of a part in memory tells whether the id is there.
        let first = if content && !is_kept { Need::Columns } else { Need::Front };
        let mut part = self.part(run, number, first, true).await?;
        let Ok(row) = part.find(id) else { return Ok(None) };
        if content && !Need::Columns.is_met(&part) {
            part = if document {
                self.documents(run, number, part, Need::Columns, std::iter::once(row)).await?
            } else {
                self.part(run, number, Need::Columns, true).await?
            };
        }
        Ok(Some(PartRow { run, number, part, row, content }))
    }

    /// The record that rows compose to, with their documents. A GET for each part whose block of
    /// documents is not loaded, all at once.
    async fn with_documents(&self, rows: Vec<Found<'_>>) -> Result<Read> {
        let loads = rows.into_iter().map(|found| async {
            match found {
                Found::Part(found) if !found.has_documents() => {
                    let PartRow { run, number, part, row, .. } = found;
                    let part = self.documents(run, number, part, Need::Columns, std::iter::once(row)).await?;
                    Ok(Found::Part(PartRow { part, ..found }))
                }
                found => Ok::<_, crate::Error>(found),
            }
        });
        let mut composer = Composer::default();
        for found in try_join_all(loads).await? {
            found.compose(&mut composer).await?;
        }
        Ok(composer.finish())
    }
}

async fn add<'a>(rows: &mut Vec<Found<'a>>, composer: &mut Composer, found: Found<'a>) -> Result<()> {
    found.compose(composer).await?;
    rows.push(found);
    Ok(())
}
