//! The bytes of Deltafold.
#![forbid(unsafe_code)]

mod digest;
pub mod limits;
mod manifest;
mod name;
mod op;
mod record;
mod register;
mod transition;

pub use digest::Digest;
pub use manifest::*;
pub use name::*;
pub use op::{Action, Op};
pub use record::{Change, Metadata, Patch, Record, Value};
pub use register::{CollectionConfig, Head, Metric, Ordering};
pub use transition::{Stored, Transition};
