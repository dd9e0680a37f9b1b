//! The common code of the tests: each program declares it once and uses some of it.
#![allow(
    dead_code,
    unreachable_pub,
    unused_macros,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each program uses some of it; helpers of tests fail as tests do, and are servers with clocks and tasks of their own"
)]

pub mod canonical;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
pub mod cloud;
pub mod conformance;
pub mod data;
pub mod far;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod ministack;
pub mod model;
#[cfg(feature = "sqs")]
pub mod moves;
#[cfg(feature = "sqs")]
pub mod queues;
pub mod random;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "dynamodb")]
pub mod table;
pub mod venv;
#[macro_use]
pub mod watched;
