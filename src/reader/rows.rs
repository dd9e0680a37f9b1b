//! All rows of a snapshot in id order, those of one id together.

use std::cmp::Ordering;
use std::sync::Arc;

use deltafold_format::{Effect, PartEntry, PartMeta};

use super::compose::{Composer, Row, under};
use super::layer::Layer;
use super::part_pieces::Need;
use super::range::IdRange;
use super::snapshot::Snapshot;
use super::unread::Unread;
use crate::error::Result;

/// Walks the runs and the layers of the log side by side. Of each run at most one part is held at a time, and only
/// while its ids are due.
#[derive(Debug)]
pub(crate) struct Rows {
    snapshot: Arc<Snapshot>,
    range: IdRange,
    /// Oldest first: runs, then layers of the log.
    sources: Vec<Source>,
    content: Content,
    /// Rows whose documents are read at once.
    documents_ahead: usize,
    /// The rows of the id that was found last, oldest first.
    group: Vec<Hit>,
}

/// Rows whose documents are read at once to begin with, in a walk over few.
const DOCUMENTS_AHEAD: usize = 16;

/// What of the rows a walk reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Their outlines: the fronts of parts, which are kept.
    Outline,
    /// Everything but the texts of documents, which are empty; no part is kept.
    WithoutDocuments,
    /// Everything, part by part; whole parts are read and none is kept.
    Whole,
    /// Everything of few rows: columns are kept, and documents are read as rows come to be composed.
    Few,
}

#[derive(Debug)]
enum Source {
    Run {
        run: usize,
        /// The parts that were not begun yet.
        parts: std::ops::Range<usize>,
        /// The part being read and its rows that were not passed yet.
        current: Option<(Arc<PartMeta>, std::ops::Range<usize>)>,
        /// The number of the current part.
        number: usize,
        /// The id that the next part begins with, where that is known to be in range.
        next: Option<String>,
    },
    Log {
        layer: Arc<Layer>,
        ops: std::ops::Range<usize>,
    },
    /// Segments in the temporary file. They count among the runs.
    Unread {
        unread: Arc<Unread>,
        ops: std::ops::Range<usize>,
    },
}

/// Rows of one id in one source.
#[derive(Debug, Clone, Copy)]
struct Hit {
    source: usize,
    start: usize,
    end: usize,
}

/// What [`Rows::step`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The rows of the next id.
    Group,
    /// A part has to be read first: call [`Rows::fill`].
    Fill,
    /// There are no more.
    End,
}

/// Where a row is, to come back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Locator {
    /// Runs first, then layers, both oldest first.
    pub(super) source: u32,
    /// Of a run, the part.
    pub(super) part: u32,
    /// Of a part the row, of a layer the first op of the id.
    pub(super) row: u32,
}

impl Rows {
    /// The rows in `range` of all runs from `first_run` on and of the log.
    pub(crate) fn new(snapshot: Arc<Snapshot>, range: IdRange, first_run: usize, content: Content) -> Self {
        let run = |run: usize| {
            if let Some(unread) = snapshot.unread(run) {
                let ops = if run < first_run { 0..0 } else { range.rows(unread.len(), |at| unread.id(at)) };
                return Source::Unread { unread: unread.clone(), ops };
            }
            let parts = if run < first_run { 0..0 } else { range.parts(snapshot.entries(run)) };
            let next = next_id(snapshot.entries(run), &parts, &range);
            Source::Run { run, parts, current: None, number: 0, next }
        };
        let log =
            |layer: &Arc<Layer>| Source::Log { layer: layer.clone(), ops: range.rows(layer.len(), |at| layer.id(at)) };
        let sources = (0..snapshot.runs()).map(run).chain(snapshot.overlay.layers().iter().map(log)).collect();
        Self { snapshot, range, sources, content, documents_ahead: DOCUMENTS_AHEAD, group: Vec::new() }
    }

    /// Reads the parts whose first ids are due.
    pub(crate) async fn fill(&mut self) -> Result<()> {
        let Some(due) = self.sources.iter().filter_map(Source::id).min().map(str::to_owned) else { return Ok(()) };
        for source in &mut self.sources {
            if !source.is_unread() || source.id() != Some(&due) {
                continue;
            }
            let Source::Run { run, parts, current, number, next } = source else { continue };
            let Some(part_number) = parts.next() else { continue };
            // The part that is used up goes before the next one comes.
            *current = None;
            let (need, keep) = match self.content {
                Content::Outline => (Need::Front, true),
                Content::WithoutDocuments => (Need::Columns, false),
                Content::Whole => (Need::Whole, false),
                Content::Few => (Need::Columns, true),
            };
            let part = self.snapshot.part(*run, part_number, need, keep).await?;
            let rows = self.range.rows(part.rows(), |row| part.id(row));
            *current = Some((part, rows));
            *number = part_number;
            *next = next_id(self.snapshot.entries(*run), parts, &self.range);
        }
        Ok(())
    }

    /// Goes on to the next id.
    pub(crate) fn step(&mut self) -> Step {
        self.group.clear();
        for source in &mut self.sources {
            if let Source::Run { current, .. } = source
                && current.as_ref().is_some_and(|(_, rows)| rows.is_empty())
            {
                *current = None;
            }
        }
        let Some(least) = self.sources.iter().filter_map(Source::id).min() else { return Step::End };
        for (number, source) in self.sources.iter().enumerate() {
            if source.id() != Some(least) {
                continue;
            }
            if source.is_unread() {
                return Step::Fill;
            }
            let (start, end) = match source {
                Source::Run { current, .. } => {
                    current.as_ref().map_or((0, 0), |(_, rows)| (rows.start, rows.start + 1))
                }
                Source::Log { layer, ops } => (ops.start, layer.end_of(least, ops.start)),
                Source::Unread { unread, ops } => (ops.start, unread.end_of(least, ops.start)),
            };
            self.group.push(Hit { source: number, start, end });
        }
        for hit in &self.group {
            match &mut self.sources[hit.source] {
                Source::Run { current, .. } => {
                    if let Some((_, rows)) = current {
                        rows.start = hit.end;
                    }
                }
                Source::Log { ops, .. } | Source::Unread { ops, .. } => ops.start = hit.end,
            }
        }
        Step::Group
    }

    /// The id that was found last.
    pub(crate) fn id(&self) -> &str {
        match self.group.first().map(|hit| (hit, &self.sources[hit.source])) {
            Some((hit, Source::Run { current: Some((part, _)), .. })) => part.id(hit.start),
            Some((hit, Source::Log { layer, .. })) => layer.id(hit.start),
            Some((hit, Source::Unread { unread, .. })) => unread.id(hit.start),
            _ => "",
        }
    }

    /// What its rows come to; not in a walk over outlines.
    pub(crate) async fn compose(&mut self) -> Result<Composer> {
        let mut composer = Composer::default();
        for hit in self.group.iter().rev() {
            if composer.is_final() {
                break;
            }
            if self.content == Content::Few
                && composer.needs_content()
                && let Some(Source::Run { run, current: Some((part, rows)), number, .. }) =
                    self.sources.get_mut(hit.source)
                && part.unloaded_documents_of(hit.start).next().is_some()
            {
                // The rows behind it likely come next: more of them each time.
                let end = rows.end.min(hit.start.saturating_add(self.documents_ahead));
                self.documents_ahead = self.documents_ahead.saturating_mul(4);
                *part = self.snapshot.documents(*run, *number, part.clone(), Need::Columns, hit.start..end).await?;
            }
            match &self.sources[hit.source] {
                Source::Run { current: Some((part, _)), .. } if self.content == Content::WithoutDocuments => {
                    composer.under(Row::WithoutDocuments(part, hit.start))?;
                }
                Source::Run { current: Some((part, _)), .. } => composer.under(Row::Part(part, hit.start))?,
                Source::Run { current: None, .. } => {}
                Source::Log { layer, .. } => composer.under(Row::Log(layer, hit.start..hit.end))?,
                Source::Unread { unread, .. } => unread.compose(hit.start..hit.end, &mut composer).await?,
            }
        }
        Ok(composer)
    }

    /// What its rows come to, without the records' content.
    pub(crate) fn outline(&self) -> Option<Effect<()>> {
        let outline = |hit: &Hit| match &self.sources[hit.source] {
            Source::Run { current, .. } => current.as_ref().and_then(|(part, _)| Row::Part(part, hit.start).outline()),
            Source::Log { layer, .. } => Row::Log(layer, hit.start..hit.end).outline(),
            Source::Unread { unread, .. } => unread.outline(hit.start..hit.end),
        };
        self.group.iter().rev().map(outline).fold(None, under)
    }

    /// Where its newest row is, and whether it has older ones.
    pub(super) fn newest(&self) -> Option<(Locator, bool)> {
        self.group.last().map(|hit| (self.locate(*hit), self.group.len() > 1))
    }

    fn locate(&self, hit: Hit) -> Locator {
        let part = match self.sources[hit.source] {
            Source::Run { number, .. } => number,
            Source::Log { .. } | Source::Unread { .. } => 0,
        };
        let small = |n: usize| u32::try_from(n).expect("runs, parts, their rows, and ops in memory count below 2^32");
        Locator { source: small(hit.source), part: small(part), row: small(hit.start) }
    }
}

impl Source {
    /// The next id. Of a part that was not read and may begin before the range, an empty one, which is always due.
    fn id(&self) -> Option<&str> {
        match self {
            Self::Run { current, parts, next, .. } => match current.as_ref().filter(|(_, rows)| !rows.is_empty()) {
                Some((part, rows)) => Some(part.id(rows.start)),
                None => (!parts.is_empty()).then(|| next.as_deref().unwrap_or_default()),
            },
            Self::Log { layer, ops } => (!ops.is_empty()).then(|| layer.id(ops.start)),
            Self::Unread { unread, ops } => (!ops.is_empty()).then(|| unread.id(ops.start)),
        }
    }

    /// Whether its next id is that of a part that was not read.
    fn is_unread(&self) -> bool {
        match self {
            Self::Run { current, .. } => current.as_ref().is_none_or(|(_, rows)| rows.is_empty()),
            Self::Log { .. } | Self::Unread { .. } => false,
        }
    }
}

/// The id that the first of `parts` begins with, if it is in range.
fn next_id(entries: &[PartEntry], parts: &std::ops::Range<usize>, range: &IdRange) -> Option<String> {
    let entry = entries.get(parts.start).filter(|_| !parts.is_empty())?;
    (range.place(&entry.min_id) == Ordering::Equal).then(|| entry.min_id.clone())
}
