//! Counts the requests to a store, as its users pay by request.

mod count;
mod kind;
mod meter;
mod response;

pub use count::{RequestCount, Requests};
pub use kind::RequestKind;
pub use meter::Meter;
pub use response::{HasResponse, Response};

#[cfg(feature = "s3")]
pub(crate) use response::read_response;
