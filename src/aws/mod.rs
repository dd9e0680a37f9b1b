//! The common ground of AWS's services: credentials, region, HTTP, timeouts, and their errors.

mod astray;
mod causes;
mod connect;
mod credentials;
mod environment;
#[cfg(feature = "executions")]
mod executions;
mod fault;
mod file;
#[cfg(feature = "lambda")]
mod functions;
mod proxy;
mod sign_in;
#[cfg(feature = "sqs")]
mod sqs;
mod tunnel;
mod wire;

#[cfg(any(feature = "executions", feature = "lambda", feature = "sqs"))]
pub(crate) use connect::connect;
#[cfg(any(feature = "dynamodb", feature = "s3"))]
pub(crate) use connect::connect_by;
#[cfg(feature = "s3")]
pub(crate) use connect::parse;
pub use connect::{AwsOptions, Credentials, Timeouts};
#[cfg(feature = "executions")]
pub use executions::{ExecutionError, ExecutionErrorKind, Started, StateMachine};
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
#[cfg(any(feature = "dynamodb", feature = "s3"))]
pub(crate) use wire::Wire;
