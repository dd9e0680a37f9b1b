//! Queues, streams, functions, deployments and what they cost: against ministack, an emulator of AWS, in one process for all tests here.
#![cfg_attr(
    any(feature = "s3", feature = "sqs"),
    expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")
)]
#![cfg_attr(
    all(feature = "objects", feature = "sqs"),
    expect(clippy::disallowed_methods, reason = "waits for what others do")
)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "s3")]
mod cost;
mod deploy;
#[cfg(feature = "sqs")]
mod ingest;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(all(feature = "objects", feature = "sqs"))]
mod objects;
#[cfg(all(feature = "lambda", target_os = "linux"))]
mod pipeline;
#[cfg(feature = "sqs")]
mod queue;
