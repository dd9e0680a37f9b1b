//! The engine: the promises of its parts, in memory, in a local folder and, with the feature `s3`,
//! in buckets of two servers.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test panics where something is wrong, and starts tasks of its own"
)]

#[cfg(feature = "mapping")]
mod backfill;
mod backlog;
#[cfg(feature = "s3")]
mod cached;
mod carried;
mod cold;
#[cfg(feature = "columnar")]
mod columnar;
mod compactor;
#[cfg(feature = "conformance")]
mod conformance;
mod copy;
mod doubt;
mod drops;
mod echoes;
mod flips;
mod foreign;
mod group_commit;
mod headers;
mod jsonl;
mod log_end;
mod lost_update;
#[cfg(feature = "mapping")]
mod map;
mod names;
mod not_a_file;
mod pieces;
mod pins;
mod races;
mod reader;
mod real_data;
mod repair;
mod revision;
mod runs;
mod search;
mod store;
mod sweep;
mod turns;
mod verify;
mod warm;
mod writer;
mod writers;
