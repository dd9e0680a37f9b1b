//! The items of a table that exists already: an export of DynamoDB to S3, or the output of a scan.
//!
//! [`Export::open`] reads the manifests of an export, and [`Scan`] names the output of a scan.
//! [`backfill()`] maps their items and appends them. Every data file is compared with the checksum
//! of the manifest before its first item is appended.
//!
//! An export is a source of its own, and each item has a position in it: its file and its line. The
//! marks of the collection say how far a source is. So a run that was killed goes on at the first
//! file that is not in the log as a whole, and no item takes effect twice.
//!
//! `docs/ingest/backfill.md` says how a backfill and a stream go together.

mod chunk;
mod error;
mod export;
mod flight;
mod line;
mod manifest;
mod map;
mod options;
mod place;
mod run;
mod scan;

pub use error::{BackfillError, RefusedItem};
pub use export::Export;
pub use manifest::ExportKind;
pub use options::{BackfillOptions, Backfilled, Items};
pub use run::backfill;
pub use scan::Scan;
