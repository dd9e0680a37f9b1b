//! The input of a backfill, its options, and its outcome.

use std::sync::Arc;

use super::error::RefusedItem;
use super::export::Export;
use super::scan::Scan;
use crate::log::{BacklogLimit, WriterOptions};
use crate::setters::setters;

/// The items of a backfill.
#[derive(Debug)]
#[non_exhaustive]
pub enum Items {
    /// An export of the table.
    Export(Export),
    /// The output of a scan of the table.
    Scan(Scan),
}

impl Items {
    /// Their own name as a source. [`BackfillOptions::source`] sets another.
    pub fn source(&self) -> String {
        match self {
            Self::Export(export) => export.source(),
            Self::Scan(scan) => scan.source.clone(),
        }
    }
}

/// Options of a backfill.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BackfillOptions {
    /// The name of the source, instead of the export's or the scan's own. The items take effect
    /// once under one name.
    pub source: Option<String>,
    /// The revision of all items, where a rule takes revisions from the stream's sequence number.
    /// By default the time of a full export in microseconds, the time of each write in an
    /// incremental one, and 0 for a scan. All of them lie below any sequence number of the service.
    pub revision: Option<u128>,
    /// Goes on where a collection in log order holds records that are not of this source. An item
    /// then replaces a newer state of its record.
    pub over_existing: bool,
    /// Only reads, maps and counts. Appends nothing.
    pub dry_run: bool,
    /// Items that an earlier run has turned away, in order: the number of the file and the line, as
    /// [`RefusedItem`] has them. They are passed over.
    pub turned_away: Arc<[(u64, u64)]>,
    /// The writer's options.
    pub writer: WriterOptions,
    /// Folds the log where it is longer than this.
    pub keep_up: Option<BacklogLimit>,
}

setters!(BackfillOptions {
    source: into Option<String>,
    revision: into Option<u128>,
    over_existing: bool,
    dry_run: bool,
    turned_away: into Arc<[(u64, u64)]>,
    writer: WriterOptions,
    keep_up: into Option<BacklogLimit>,
});

/// The progress of a backfill, and its outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backfilled {
    /// Items that were read and mapped.
    pub items: u64,
    /// Items of files that were in the log as a whole already. They were not read again.
    pub resumed: u64,
    /// Items in all, where the manifest tells.
    pub of: Option<u64>,
    /// Ops that were appended.
    pub ops: u64,
    /// Ops that the log held already.
    pub duplicates: u64,
    /// Items for which the mapping yields no op, though nothing is wrong with them.
    pub skipped: u64,
    /// Bytes of the items that were read.
    pub bytes: u64,
    /// Items that were refused. A dry run goes on behind them, and so does a run that turns them
    /// away.
    pub refused: u64,
    /// The first of them, in a dry run.
    pub first_refused: Vec<RefusedItem>,
    /// The end was reached.
    pub finished: bool,
}
