//! The way in which a question reads embeddings.

/// The way to read embeddings of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Not at all.
    Nothing,
    /// Each alone, for few records.
    Row,
    /// With all others of its object, for many records.
    Object,
}

/// Reads of up to this many records fetch each embedding alone.
const FEW: usize = 16;

impl Reads {
    /// Reads for at most `limit` records, if embeddings are `wanted`.
    pub(crate) fn of(wanted: bool, limit: usize) -> Self {
        match wanted {
            false => Self::Nothing,
            true if limit <= FEW => Self::Row,
            true => Self::Object,
        }
    }
}
