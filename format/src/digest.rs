//! The order-independent digest by which "nothing was lost on the way" is checked.

use std::fmt;

/// The sum, modulo 2^128, of one hash an op. Equal for equal multisets of ops, in whatever order they were added.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// A digest of these bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn to_bits(self) -> u128 {
        self.0
    }

    /// The digest of both multisets.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
