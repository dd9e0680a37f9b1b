//! All rows of a snapshot in id order, those of one id together.
//!
//! Most ids of a folded collection have one row. [`Rows::advance`] finds whole stretches of those
//! in a part, so a scan need not compare every source for every row.

mod composing;
mod source;

use std::ops::Range;
use std::sync::Arc;

use deltafold_format::PartMeta;

use super::layer::Layer;
use super::part_pieces::Need;
use super::range::IdRange;
use super::snapshot::Snapshot;
use crate::error::Result;
use source::{Source, first_not_below, next_id};

/// Walks the runs and the layers of the log side by side. It holds at most one part of each run at
/// a time, and only while its ids are due.
#[derive(Debug)]
pub(crate) struct Rows {
    snapshot: Arc<Snapshot>,
    range: IdRange,
    /// Oldest first: runs, then layers of the log.
    sources: Vec<Source>,
    content: Content,
    /// Rows whose documents are read at once.
    documents_ahead: usize,
    /// The rows of the id found last, oldest first.
    group: Vec<Hit>,
}

/// Rows whose documents are read at once at the start of a walk over few rows.
const DOCUMENTS_AHEAD: usize = 16;

/// The content of rows that a walk reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Their outlines: the fronts of parts, which are kept.
    Outline,
    /// Everything but the texts of documents, which are empty; no part is kept.
    WithoutDocuments,
    /// Everything, part by part. Whole parts are read and none is kept.
    Whole,
    /// Everything of few rows. Columns are kept, and documents are read when their rows are
    /// composed.
    Few,
}

/// Rows of one id in one source.
#[derive(Debug, Clone, Copy)]
struct Hit {
    source: usize,
    start: usize,
    end: usize,
}

/// The result of [`Rows::step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The rows of the next id.
    Group,
    /// A part must be read first: call [`Rows::fill`].
    Fill,
    /// The walk has ended.
    End,
}

/// The result of [`Rows::advance`].
#[derive(Debug)]
pub(super) enum Advance {
    /// Rows of one part whose ids no other source has. The walk stands before them: call
    /// [`Rows::pass`].
    Stretch(Stretch),
    /// As [`Rows::step`].
    Step(Step),
}

/// Neighbouring rows of one part. Each is the only row of its id in the snapshot.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) part: Arc<PartMeta>,
    pub(super) rows: Range<usize>,
    source: usize,
    number: usize,
}

impl Stretch {
    /// The place of one of its rows.
    pub(super) fn locate(&self, row: usize) -> Locator {
        Locator { source: small(self.source), part: small(self.number), row: small(row) }
    }
}

/// The place of a row, to return to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Locator {
    /// Index of the source: runs first, then layers, both oldest first.
    pub(super) source: u32,
    /// In a run, the part.
    pub(super) part: u32,
    /// In a part the row, in a layer the first op of the id.
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
            // The finished part is dropped before the next one is read.
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

    /// Advances to the next id, or finds a stretch of at most `most` rows.
    pub(super) fn advance(&mut self, most: usize) -> Advance {
        self.drop_used_up();
        match self.stretch(most) {
            Some(stretch) => Advance::Stretch(stretch),
            None => Advance::Step(self.step()),
        }
    }

    /// The stretch that comes next, if there is one.
    fn stretch(&self, most: usize) -> Option<Stretch> {
        let mut ids = self.sources.iter().enumerate().filter_map(|(number, source)| Some((source.id_bytes()?, number)));
        let (mut least, mut second) = (ids.next()?, None);
        for (id, number) in ids {
            if id < least.0 {
                second = Some(least.0);
                least = (id, number);
            } else if second.is_none_or(|second| id < second) {
                second = Some(id);
            }
        }
        let Source::Run { current: Some((part, rows)), number, .. } = self.sources.get(least.1)? else { return None };
        // In a walk over few rows, documents are read when their rows are composed.
        if self.content == Content::WithoutDocuments || (self.content == Content::Few && !part.has_all_documents()) {
            return None;
        }
        let end = rows.end.min(rows.start.saturating_add(most));
        let end = second.map_or(end, |second| first_not_below(rows.start..end, |row| part.id_bytes(row) < second));
        let rows = rows.start..end;
        (!rows.is_empty()).then(|| Stretch { part: part.clone(), rows, source: least.1, number: *number })
    }

    /// Advances over rows of a stretch, up to the row `end`.
    pub(super) fn pass(&mut self, stretch: &Stretch, end: usize) {
        if let Some(Source::Run { current: Some((_, rows)), .. }) = self.sources.get_mut(stretch.source) {
            rows.start = end.clamp(rows.start, rows.end);
        }
    }

    /// Drops parts whose rows were all passed.
    fn drop_used_up(&mut self) {
        for source in &mut self.sources {
            if let Source::Run { current, .. } = source
                && current.as_ref().is_some_and(|(_, rows)| rows.is_empty())
            {
                *current = None;
            }
        }
    }

    /// Advances to the next id.
    pub(crate) fn step(&mut self) -> Step {
        self.group.clear();
        self.drop_used_up();
        let Some(least) = self.sources.iter().filter_map(Source::id).min() else { return Step::End };
        for (number, source) in self.sources.iter().enumerate() {
            if source.id_bytes() != Some(least.as_bytes()) {
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

    /// The id found last.
    pub(crate) fn id(&self) -> &str {
        match self.group.first().map(|hit| (hit, &self.sources[hit.source])) {
            Some((hit, Source::Run { current: Some((part, _)), .. })) => part.id(hit.start),
            Some((hit, Source::Log { layer, .. })) => layer.id(hit.start),
            Some((hit, Source::Unread { unread, .. })) => unread.id(hit.start),
            _ => "",
        }
    }

    /// The place of its newest row, and whether it has older ones.
    pub(super) fn newest(&self) -> Option<(Locator, bool)> {
        self.group.last().map(|hit| (self.locate(*hit), self.group.len() > 1))
    }

    fn locate(&self, hit: Hit) -> Locator {
        let part = match self.sources[hit.source] {
            Source::Run { number, .. } => number,
            Source::Log { .. } | Source::Unread { .. } => 0,
        };
        Locator { source: small(hit.source), part: small(part), row: small(hit.start) }
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("runs, parts, their rows, and ops in memory count below 2^32")
}
