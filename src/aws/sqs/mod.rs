//! Queues of SQS: the verbs that consumers and chores need, each with errors that say what to do.
//!
//! # Contract
//!
//! - Delivery is at least once, whatever the queue promises: a message received may come again, and
//!   one sent may be there twice. What is in the log by source position or revision takes effect
//!   once.
//! - Every verb tries again by itself after a transient failure, about 15 s in all.
//! - A deletion that succeeded is no proof: with a receipt that is out of date, the service says
//!   yes and may delete nothing.

mod address;
mod chores;
mod count;
mod error;
mod message;
mod queue;
mod receive;
mod redrive;
mod send;
mod settle;

pub use chores::MoveTask;
pub use count::{ActionCount, QueueAction, QueueRequests};
pub use error::{NotDone, QueueError, QueueErrorKind};
pub use message::{Attribute, Message, Outgoing};
pub use queue::{Depth, Queue, QueueSettings};
pub use receive::Receive;
pub use redrive::Moved;
