//! Deltafold keeps collections of vector records on object storage.
//!
//! Writers append immutable **delta segments**; a compactor folds them into new **base snapshots**,
//! published by a compare-and-set on a version that only grows; readers merge base and deltas. No
//! locks, no leader, no server that must stay up.
//!
//! ```
//! use std::sync::Arc;
//! use deltafold::format::{Op, Record};
//! use deltafold::store::Memory;
//! use deltafold::{Collection, CreateOptions, WriterOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Arc::new(Memory::new());
//! let collection = Collection::create(store, &"articles".parse()?, &CreateOptions::new(3)).await?;
//!
//! let writer = collection.writer(WriterOptions::default())?;
//! let record = Record { embedding: Some(vec![0.1, 0.2, 0.3]), ..Record::default() };
//! writer.append(vec![Op::put("a", record)]).await?; // durable, ordered and readable from here on
//!
//! let reader = collection.reader().await?;
//! let entry = reader.get("a").await?.expect("just written");
//! assert_eq!(entry.record.embedding, Some(vec![0.1, 0.2, 0.3]));
//! # Ok(())
//! # }
//! ```
//!
//! The types of records, ops and names are in [`mod@format`]. A [`Store`](store::Store) holds the
//! objects. [`Collection`] is the entry point to everything else.
#![deny(unsafe_code)]

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(any(feature = "serve", feature = "import"))]
#[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "an import makes entries, and the server does the rest"))]
mod catalogue;
mod collection;
#[cfg(feature = "columnar")]
pub mod columnar;
mod compact;
#[cfg(feature = "conformance")]
pub mod conformance;
mod copy;
pub mod cost;
mod drop_note;
mod env;
mod error;
mod head;
#[cfg(feature = "import")]
pub mod import;
pub mod ingest;
pub mod jsonl;
#[cfg(feature = "lambda")]
pub mod lambda;
mod layout;
mod location;
mod log;
mod memory;
mod query;
mod reader;
mod retry;
mod scratch;
#[cfg(feature = "serve")]
pub mod serve;
mod setters;
mod shard;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(not(feature = "simulation"))]
mod simulation;
mod snapshot;
pub mod store;
mod store_error;

pub use collection::{
    Collection, CollectionBuilder, CollectionStatus, CreateOptions, Depth, DropReport, Finding, History, HistoryEntry,
    KEEP_TOMBSTONES, Latest, PinStatus, RepairOptions, RepairReport, RepairStep, Reset, RunStatus, ShardStatus,
    ThenExecute, VerifyReport,
};
pub use compact::{
    CompactEvent, CompactReport, Compactor, CompactorOptions, KeepUp, Policy, SweepOptions, SweepReport,
};
pub use copy::{Copier, CopyOptions, CopyReport};
pub use deltafold_format as format;
pub use env::{Env, System};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "dynamodb")]
pub use head::HeadsInDynamoDb;
pub use location::Location;
pub use log::{Ack, BacklogLimit, Follow, FollowOptions, IdempotencyKey, Lag, Writer, WriterOptions};
pub use memory::MemoryLimit;
pub use query::{
    Answer, Chance, Condition, Decided, DocumentCondition, Exactness, Filter, FilterError, Find, Hit, Include, MAX_K,
    Matcher, PartColumns, PartDocuments, Query, RowSet, Scalar, Stages, Work,
};
pub use reader::{
    At, Entry, GetOptions, Order, ReadPosition, Reader, Refreshed, ScanOptions, ShardChange, Warm, Warmth,
};
#[cfg(feature = "simulation")]
pub use snapshot::rehearsal;

#[cfg(test)]
mod model_tests;

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The example of the page for users of the library, compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct LibraryPage;
