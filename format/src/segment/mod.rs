//! A segment: a batch of ops at one place of a log. `format/SPEC.md`, section "Segment".

mod body;
mod front;
mod header;
mod ids;
mod read;
mod row;

pub use body::{SegmentBody, SegmentStamp};
pub use front::SegmentFront;
pub use header::{SegmentHeader, SourceMark};
pub use ids::SegmentIds;
pub use read::Segment;
pub use row::OpRow;

/// The section ids of a segment.
pub(crate) mod section {
    pub(crate) const HEADER: u16 = 1;
    pub(crate) const OPS: u16 = 2;
    pub(crate) const EMBEDDINGS: u16 = 3;
    pub(crate) const IDS: u16 = 4;
}

#[cfg(test)]
mod forged_tests;
#[cfg(test)]
mod front_tests;
#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod tests;
