//! The bytes of Deltafold.
//!
//! No I/O, no async, no clock, no randomness. A decoder accepts any bytes. It returns the value
//! that was written or a [`FormatError`]. It never panics, never returns part of a value, and never
//! allocates more than the limits in [`limits`].
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod codec;
pub mod codes;
mod digest;
mod effect;
mod embeddings;
#[cfg(test)]
mod encoding_tests;
mod envelope;
mod error;
mod input_error;
mod inspect;
pub mod limits;
mod manifest;
mod manifest_codec;
mod name;
mod name_codec;
mod op;
mod part;
mod record;
mod register;
mod register_codec;
pub mod reserve;
mod revised;
mod revision;
mod segment;
#[cfg(feature = "simulation")]
pub mod simulation;
mod stamp;
#[cfg(test)]
mod strategies;
#[cfg(test)]
mod testing;
mod transition;
mod validate;

pub use codes::Rotation;
pub use digest::{Digest, OpHash};
pub use effect::Effect;
pub use embeddings::{
    EmbeddingBuilder, EmbeddingSection, Embeddings, EmbeddingsFront, EncodedEmbeddings, RowCodes, embedding_object_rows,
};
pub use envelope::{
    Encoded, Encoding, Envelope, FORMAT_VERSION, MAX_ENVELOPE_BYTES, MAX_SECTIONS, ObjectKind, Section,
};
pub use error::{FormatError, FormatErrorKind};
pub use input_error::{InputError, InputErrorKind};
pub use inspect::{Inspection, SectionCheck};
pub use manifest::*;
pub use name::*;
pub use op::{Action, Op};
pub use part::{
    Absent, BoolSummary, Elements, EmbeddingRef, EncodedPart, Floats, Form, Integers, KeySummary, Lists,
    MetadataColumn, NumberSummary, PartBuilder, PartFields, PartMeta, PartPiece, PartSummary, PresentRows, TextSummary,
    Texts, TypeSummaries,
};
pub use record::{Change, Metadata, Patch, Record, Value};
pub use register::{Claim, CollectionConfig, Head, HeadPlace, Metric, Ordering};
pub use revised::{Base, Revised, Write};
pub use revision::Revision;
pub use segment::{OpRow, Segment, SegmentBody, SegmentFront, SegmentHeader, SegmentIds, SegmentStamp, SourceMark};
pub use stamp::{Place, Stamp};
pub use transition::{Stored, Transition};
pub use validate::OpRules;
