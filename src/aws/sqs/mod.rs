//! Queues of SQS: the verbs that consumers and operators need. Each error names its remedy.
//!
//! # Contract
//!
//! - Delivery is at least once, whatever the queue promises: a received message may come again, and
//!   a sent one may be there twice. A change with a source position or a revision takes effect once
//!   in the log.
//! - Every verb retries after a transient failure, for about 15 s in all.
//! - A successful deletion is not proof: with an outdated receipt, the service reports success and
//!   may delete nothing.

mod address;
mod chores;
mod count;
mod error;
mod message;
mod queue;
mod receipts;
mod receive;
mod redrive;
mod send;

pub use chores::MoveTask;
pub use count::{ActionCount, QueueAction, QueueRequests};
pub use error::{NotDone, QueueError, QueueErrorKind};
pub use message::{Attribute, Message, Outgoing};
pub use queue::{Depth, Queue, QueueSettings};
pub use receive::Receive;
pub use redrive::Moved;
