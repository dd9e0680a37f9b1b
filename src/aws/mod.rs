//! The common ground of AWS's services: credentials, region, HTTP, timeouts, and their errors.

mod connect;
mod credentials;
mod environment;
mod fault;
mod file;
#[cfg(feature = "lambda")]
mod functions;
#[cfg(feature = "sqs")]
mod sqs;

pub use connect::{AwsOptions, Credentials, Timeouts};
pub(crate) use connect::{connect, parse};
pub(crate) use fault::{Fault, judge};
#[cfg(feature = "lambda")]
pub(crate) use file::read_file;
#[cfg(feature = "lambda")]
pub(crate) use functions::Functions;
#[cfg(feature = "sqs")]
pub use sqs::{
    ActionCount, Attribute, Depth, Message, MoveTask, Moved, NotDone, Outgoing, Queue, QueueAction, QueueError,
    QueueErrorKind, QueueRequests, QueueSettings, Receive,
};
