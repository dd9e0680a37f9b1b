//! The way from messages to the log.
//!
//! [`BodyReader`] parses messages. [`append_delivery`] appends a delivery and reports the messages
//! that failed. [`consume()`] runs both on a queue. The first two know no transport.

mod append;
#[cfg(feature = "mapping")]
mod backfill;
mod body;
#[cfg(feature = "sqs")]
mod consume;
mod delivery;
mod envelope;
#[cfg(feature = "mapping")]
mod mapping;
#[cfg(feature = "objects")]
mod objects;
mod reading;
mod reference;

#[cfg(feature = "lambda")]
pub(crate) use append::STREAM_WITHOUT_ORDER;
pub use append::{append_delivery, append_delivery_until};
#[cfg(feature = "mapping")]
pub use backfill::{
    BackfillError, BackfillOptions, Backfilled, Export, ExportKind, Items, RefusedItem, Scan, backfill,
};
pub use body::BodyReader;
#[cfg(feature = "sqs")]
pub use consume::{ConsumeOptions, Consumed, consume};
pub use delivery::{Cause, Delivery, DeliveryOutcome, Failed};
#[cfg(feature = "mapping")]
pub use mapping::{
    Attribute, Bytes, Event, Item, ItemChange, Mapped, Mapping, MappingError, RecordError, Sample, Skip, StreamRecord,
    UserIdentity, stream_records,
};
#[cfg(feature = "objects")]
pub use objects::Objects;
pub use reading::Body;
pub use reference::Reference;
