//! The way from messages to the log.
//!
//! [`BodyReader`] parses messages, [`settle()`] appends a delivery and reports the messages that
//! failed, and [`consume()`] runs both on a queue. The first two know no transport.

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
