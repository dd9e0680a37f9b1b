//! The head of a shard: the one register that a publish swaps.
//!
//! # Contract
//!
//! - [`read`](HeadRegister::read) returns the head that the last finished swap left.
//! - [`swap`](HeadRegister::swap) lands for at most one of the callers that saw the same state; the
//!   version it writes is 1 above.
//! - The three outcomes are those of [`Store`](crate::store::Store): after "unknown" only a read
//!   tells.

#[cfg(feature = "dynamodb")]
mod dynamodb;
mod in_store;

use async_trait::async_trait;
use deltafold_format::Head;

use crate::error::Result;
use crate::store::{Outcome, StoreError, Tag};

#[cfg(feature = "dynamodb")]
pub use dynamodb::HeadsInDynamoDb;
pub(crate) use in_store::InStore;

/// A head as read, with the tag of its state.
#[derive(Debug, Clone)]
pub(crate) struct HeadState {
    pub(crate) head: Head,
    pub(crate) tag: Tag,
}

/// The compare-and-set register of one shard.
#[async_trait]
pub(crate) trait HeadRegister: Send + Sync + std::fmt::Debug {
    /// The head; `None` where the shard has none (never made, or dropped).
    async fn read(&self) -> Result<Option<HeadState>>;

    /// The head, unless it is still the state seen: then `Ok(None)`. One conditional GET.
    async fn read_unless(&self, seen: &HeadState) -> Result<Option<Option<HeadState>>>;

    /// Swaps the state seen for `new`.
    async fn swap(&self, seen: &HeadState, new: &Head) -> Result<Outcome, StoreError>;
}
