//! The stores in S3 and the engine over them, against a server with injected faults and against
//! ministack.

mod ahead;
#[cfg(feature = "dynamodb")]
mod all_at_once;
mod answers;
mod contention;
mod engine;
#[cfg(feature = "dynamodb")]
mod probe;
mod requests;
#[cfg(feature = "dynamodb")]
mod store;
#[cfg(feature = "dynamodb")]
mod table;

/// Tests that judge turns need the machine for themselves and hold this for writing. Tests with
/// many processes hold it for reading.
static MACHINE: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
