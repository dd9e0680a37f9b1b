//! From messages to the log.
//!
//! What a message says ([`BodyReader`]), which messages of a delivery are appended and which are
//! reported as failed ([`settle()`]), and a consumer of a queue that runs both ([`consume()`]). The
//! first two know no transport.

mod body;
#[cfg(feature = "sqs")]
mod consume;
#[cfg(feature = "mapping")]
mod mapping;
#[cfg(feature = "objects")]
mod objects;
mod reference;
mod settle;

pub use body::{Body, BodyReader};
#[cfg(feature = "sqs")]
pub use consume::{ConsumeOptions, Consumed, consume};
#[cfg(feature = "mapping")]
pub use mapping::{
    Attribute, Bytes, Event, Item, ItemChange, Mapped, Mapping, MappingError, RecordError, Sample, Skip, StreamRecord,
    stream_records,
};
#[cfg(feature = "objects")]
pub use objects::Objects;
pub use reference::Reference;
#[cfg(feature = "lambda")]
pub(crate) use settle::STREAM_WITHOUT_ORDER;
pub use settle::{Cause, Delivery, Failed, Settled, settle, settle_until};
