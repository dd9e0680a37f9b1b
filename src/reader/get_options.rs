//! The parts of a record that a get reads.

use super::Reads;
use crate::setters::setters;

/// The parts of a record that a get reads, beside its metadata and document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetOptions {
    /// The embedding. It costs one or two GETs, unless the embedding object is in memory.
    pub embedding: bool,
}

setters!(GetOptions { embedding: bool });

/// The whole record.
impl Default for GetOptions {
    fn default() -> Self {
        Self { embedding: true }
    }
}

impl GetOptions {
    pub(super) fn reads(self) -> Reads {
        Reads::of(self.embedding, 1)
    }
}
