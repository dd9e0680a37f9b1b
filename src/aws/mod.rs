//! The common ground of AWS's services: credentials, region, HTTP, timeouts, and their errors.

mod astray;
mod causes;
mod connect;
mod credentials;
mod environment;
mod fault;
mod file;
#[cfg(feature = "lambda")]
mod functions;
mod proxy;
mod sign_in;
#[cfg(feature = "sqs")]
mod sqs;
mod wire;

pub use connect::{AwsOptions, Credentials, Timeouts};
pub(crate) use connect::{connect, connect_by, parse};
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
pub(crate) use wire::Wire;
