//! Services of AWS, as servers with injected faults and as ministack, an emulator: buckets, tables,
//! queues, streams and their cost.
//!
//! Long tests begin first, as their names do: the emulators and the schedules leave time for the
//! rest.
#![cfg_attr(
    any(feature = "s3", feature = "sqs"),
    expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")
)]
#![cfg_attr(
    feature = "s3",
    expect(clippy::disallowed_methods, reason = "a test starts tasks of its own and waits for what others do")
)]

#[cfg(feature = "s3")]
mod bucket;
#[cfg(feature = "s3")]
mod cost;
#[cfg(feature = "sqs")]
mod ingest;
#[cfg(all(feature = "objects", feature = "sqs"))]
mod objects;
#[cfg(feature = "sqs")]
mod queue;
