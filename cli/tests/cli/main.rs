//! The real program, run as a user runs it: its output for people and for scripts, its exit codes,
//! and its advice.

mod append;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
mod astray;
#[cfg(feature = "mapping")]
#[expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]
mod backfill;
#[cfg(unix)]
mod closed;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
mod cloud;
mod commands;
#[cfg(unix)]
mod copy;
mod cost;
#[cfg(feature = "simulation")]
mod crash;
mod damage;
mod demo;
#[cfg(feature = "lambda")]
#[expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]
mod envelopes;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
mod environment;
#[cfg(feature = "aws")]
#[expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]
mod executions;
#[cfg(feature = "columnar")]
mod export;
mod faults;
mod home;
mod hostile;
mod inputs;
#[cfg(unix)]
#[expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]
mod kill;
#[cfg(feature = "mapping")]
mod map;
#[cfg(target_os = "linux")]
mod memory;
mod output;
mod packed;
#[cfg(all(feature = "s3", feature = "dynamodb", feature = "sqs"))]
mod proxy;
mod query;
#[cfg(all(feature = "s3", feature = "dynamodb", feature = "sqs"))]
mod queue;
mod rejects;
mod repair;
#[cfg(all(feature = "aws", feature = "mapping"))]
mod reset;
mod revision;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
mod sign_in;
#[cfg(unix)]
mod signals;
#[cfg(all(unix, feature = "lambda"))]
#[expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test panics where something is not as it must be, and waits for processes of its own"
)]
mod taken_over;
#[cfg(feature = "mapping")]
#[expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]
mod turned_away;
