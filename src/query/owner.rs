//! The owners of embedding rows, and selections of them.

use super::bits::Bits;

/// The highest bit of an [`Owner`]. It marks a record that newer runs or the log have touched.
pub(super) const FRESH: u32 = 1 << 31;

/// The owner of an embedding row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// A row of the base, counted over all of its parts.
    Base(u32),
    /// A record that newer runs or the log have touched.
    Fresh(u32),
}

impl Owner {
    /// Its packed form, which is never 0.
    pub(super) fn packed(self) -> u32 {
        match self {
            Self::Base(row) => row + 1,
            Self::Fresh(at) => at | FRESH,
        }
    }

    pub(super) fn unpacked(packed: u32) -> Option<Self> {
        match packed {
            0 => None,
            fresh if fresh & FRESH != 0 => Some(Self::Fresh(fresh & !FRESH)),
            base => Some(Self::Base(base - 1)),
        }
    }
}

/// The records of a shard that match a filter.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Rows of the base.
    pub(crate) base: Bits,
    /// Numbers of touched records.
    pub(crate) fresh: Bits,
}

impl Selection {
    /// Whether a record is in the selection.
    pub(crate) fn contains(&self, owner: Owner) -> bool {
        match owner {
            Owner::Base(row) => self.base.contains(row as usize),
            Owner::Fresh(at) => self.fresh.contains(at as usize),
        }
    }
}
