//! The order-independent digest that shows whether an op was lost between log and snapshot.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::name::Position;

/// The hash of an op's content, independent of its place in the log: `format/SPEC.md`, section
/// "Digest".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpHash(u128);

impl OpHash {
    /// The hash of an op from its row's bytes and its embedding's, little-endian.
    pub(crate) fn of(row: &[u8], embedding: &[u8]) -> Self {
        if embedding.is_empty() {
            return Self(xxh3_128(row));
        }
        let mut hasher = Xxh3::new();
        hasher.update(row);
        hasher.update(embedding);
        Self(hasher.digest128())
    }

    /// Its highest bits, to tell apart ops that differ in nothing else.
    pub(crate) const fn highest_62(self) -> u64 {
        (self.0 >> 66) as u64
    }
}

/// The sum, modulo 2^128, of one hash an op. Equal multisets of ops have equal digests, in any
/// order of addition.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// A digest of these bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The digest of one op at one position.
    pub fn of_op(hash: OpHash, position: Position) -> Self {
        let mut bytes = [0; 24];
        let (head, tail) = bytes.split_at_mut(16);
        head.copy_from_slice(&hash.0.to_le_bytes());
        tail.copy_from_slice(&position.to_bits().to_le_bytes());
        Self(xxh3_128(&bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_in_two_pieces_is_hashing_the_whole() {
        for split in [1, 16, 100, 240, 241, 1_000] {
            let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(2_000).collect();
            assert_eq!(OpHash::of(&bytes[..split], &bytes[split..]), OpHash::of(&bytes, &[]));
        }
    }

    #[test]
    fn the_sum_knows_positions_and_not_the_order() {
        let [a, b] = [b"a", b"b"].map(|row| OpHash::of(row, &[]));
        let at = |hash, bits| Digest::of_op(hash, Position::from_bits(bits));
        assert_eq!(at(a, 1).plus(at(b, 2)), at(b, 2).plus(at(a, 1)));
        assert_ne!(at(a, 1).plus(at(b, 2)), at(a, 2).plus(at(b, 1)));
        assert_eq!(Digest::from_bits(at(a, 1).to_bits()), at(a, 1));
        assert_eq!(Digest::from_bits(255).to_string(), format!("{:032x}", 255));
    }
}
