//! The sections of an embedding object that have an entry for each row.

use super::{finite, floats};
use crate::codes::sign_bytes;

/// A section with the same number of bytes for each row. Sections lie in this order.
///
/// A cold reader fetches ranges that end with the section it needs last. Estimates take the object
/// up to [`Signs`](Self::Signs). Bounds take [`Norms`](Self::Norms), and then
/// [`Scales`](Self::Scales) to [`Bytes`](Self::Bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum EmbeddingSection {
    /// [`Factors::norm`](crate::codes::Factors::norm) of each row.
    Norms = 3,
    /// [`Factors::estimator`](crate::codes::Factors::estimator) of each row.
    Estimators = 4,
    /// The sign bits of the rotated rows: whole 64-bit words a row.
    Signs = 5,
    /// [`Factors::scale`](crate::codes::Factors::scale) of each row.
    Scales = 6,
    /// [`Factors::residual`](crate::codes::Factors::residual) of each row.
    Residuals = 7,
    /// The 8-bit codes of the rotated rows: one byte a dimension.
    Bytes = 8,
    /// The rows as they were written.
    Rows = 9,
}

impl EmbeddingSection {
    /// All of them, in the order in which they lie.
    pub const ALL: [Self; 7] =
        [Self::Norms, Self::Estimators, Self::Signs, Self::Scales, Self::Residuals, Self::Bytes, Self::Rows];

    /// The number in the section table.
    pub const fn id(self) -> u16 {
        self as u16
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Norms => "norms",
            Self::Estimators => "estimators",
            Self::Signs => "sign bits",
            Self::Scales => "scales",
            Self::Residuals => "residuals",
            Self::Bytes => "8-bit codes",
            Self::Rows => "embedding rows",
        }
    }

    /// Bytes of one row.
    pub const fn stride(self, dimension: u32) -> usize {
        match self {
            Self::Norms | Self::Estimators | Self::Scales | Self::Residuals => size_of::<f32>(),
            Self::Signs => sign_bytes(dimension),
            Self::Bytes => dimension as usize,
            Self::Rows => dimension as usize * size_of::<f32>(),
        }
    }

    /// The place in [`ALL`](Self::ALL).
    pub(super) const fn place(self) -> usize {
        (self as usize).saturating_sub(Self::Norms as usize)
    }

    /// The reason to refuse the values of a block.
    pub(super) fn refusal(self, block: &[u8]) -> Option<&'static str> {
        let negative = |values: &[f32]| values.iter().fold(false, |found, value| found | (value.to_bits() >> 31 == 1));
        let (refused, reason) = match self {
            Self::Rows => (!finite(&floats(block)), "a value is not finite"),
            Self::Scales | Self::Estimators => {
                let values = floats(block);
                (!finite(&values) || negative(&values), "a value is negative or not finite")
            }
            Self::Norms | Self::Residuals => {
                let values = floats(block);
                let nan = values.iter().fold(false, |found, value| found | value.is_nan());
                (nan || negative(&values), "a value is negative or no number")
            }
            Self::Bytes => (block.iter().fold(false, |found, code| found | (*code == 0x80)), "a code is -128"),
            Self::Signs => (false, ""),
        };
        refused.then_some(reason)
    }
}
