//! From messages to the log.
//!
//! What a message says ([`read_body`]), which messages of a delivery are appended and which are reported as failed ([`settle()`]), and a consumer of a queue that runs both
//! ([`consume()`]). The first two know no transport.

mod body;
#[cfg(feature = "sqs")]
mod consume;
mod settle;

pub use body::read_body;
#[cfg(feature = "sqs")]
pub use consume::{ConsumeOptions, Consumed, consume};
pub use settle::{Cause, Delivery, Failed, Settled, settle};
