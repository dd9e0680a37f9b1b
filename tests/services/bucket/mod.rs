//! The stores in S3 and the engine over them, against a server that fails as it is told and against
//! ministack.

mod ahead;
mod answers;
mod contention;
mod engine;
#[cfg(feature = "dynamodb")]
mod everybody;
#[cfg(feature = "dynamodb")]
mod probe;
mod requests;
#[cfg(feature = "dynamodb")]
mod store;
#[cfg(feature = "dynamodb")]
mod table;

/// Where turns are judged, nobody else may take the machine: held for writing there, for reading
/// where many processes work.
static MACHINE: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
