//! The codes of one row.

use super::{ROTATION_ERROR, Rotation, sign_bytes, sum_of};

/// The largest absolute value of an 8-bit code.
const LARGEST: f64 = 127.0;

/// Adding this to a number below 2^51 rounds it to the nearest integer, halves to even. The low
/// bits then hold that integer.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// A row's numbers beside its codes.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Factors {
    /// The row's norm, rounded to nearest; infinite if f32 cannot hold it.
    pub norm: f32,
    /// The squared norm |x|² divided by the sum of absolute values of the rotated row. Times the
    /// sum of the rotated query's numbers, each with the sign of the row's, it estimates `<q,x>`.
    pub estimator: f32,
    /// The least-squares factor: the 8-bit code times this approximates the rotated row.
    pub scale: f32,
    /// Upper bound of the distance between the row and its decoded 8-bit code. Infinite if the norm
    /// is: such a row has no codes, and a search must always read it.
    pub residual: f32,
}

/// Encodes rows. It keeps the memory of one rotated row between calls.
#[derive(Debug, Clone)]
pub struct CodeEncoder {
    rotation: Rotation,
    rotated: Vec<f64>,
    /// The 8-bit code, not yet narrowed.
    code: Vec<f64>,
}

impl CodeEncoder {
    /// An encoder for the rows of a collection.
    pub fn new(rotation: Rotation) -> Self {
        Self { rotation, rotated: Vec::new(), code: Vec::new() }
    }

    /// The rotation.
    pub fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// Writes the codes of a row: its sign bits, [`sign_bytes`] of them, and its 8-bit code, two's
    /// complement, one byte a dimension. The numbers of the row must be finite.
    pub fn encode(&mut self, row: &[f32], signs: &mut [u8], bytes: &mut [u8]) -> Factors {
        debug_assert_eq!(signs.len(), sign_bytes(self.rotation.dimension()));
        self.rotation.apply(row, &mut self.rotated);
        let rotated = self.rotated.as_slice();
        write_signs(rotated, signs);
        let square = sum_of(row, row, |a, b| f64::from(a) * f64::from(b));
        let norm = square.sqrt();
        if !(norm as f32).is_finite() {
            bytes.fill(0);
            return Factors { norm: f32::INFINITY, estimator: 0.0, scale: 0.0, residual: f32::INFINITY };
        }
        let largest = rotated.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        if largest == 0.0 {
            bytes.fill(0);
            return Factors::default();
        }
        let factor = LARGEST / largest;
        self.code.clear();
        self.code.extend(rotated.iter().map(|value| (value * factor + ROUND) - ROUND));
        for (byte, value) in bytes.iter_mut().zip(rotated) {
            *byte = (value * factor + ROUND).to_bits() as u8;
        }
        let code = self.code.as_slice();
        let scale = (sum_of(rotated, code, |y, c| y * c) / sum_of(code, code, |c, d| c * d)) as f32;
        let wide = f64::from(scale);
        let off = sum_of(rotated, code, |y, c| {
            let off = y - wide * c;
            off * off
        });
        let residual = round_up(off.sqrt() + norm * ROTATION_ERROR);
        let absolute = sum_of(rotated, rotated, |a, _| a.abs());
        Factors { norm: norm as f32, estimator: (square / absolute) as f32, scale, residual }
    }
}

/// One bit a dimension, set where the rotated number is below zero: bit `i % 8` of byte `i / 8`.
/// The bits behind the last dimension are 0.
fn write_signs(rotated: &[f64], signs: &mut [u8]) {
    signs.fill(0);
    for (byte, eight) in signs.iter_mut().zip(rotated.chunks(8)) {
        *byte = eight.iter().zip(0..8).fold(0, |byte, (value, bit)| byte | (u8::from(*value < 0.0) << bit));
    }
}

/// The smallest f32 that is not below the value.
fn round_up(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) < value { nearest.next_up() } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_rounded_up_and_no_further() {
        let above_one = 1.0_f32.next_up();
        for (value, rounded) in [(1.0, 1.0), (1.0 + 1e-12, above_one), (f64::from(above_one), above_one), (0.0, 0.0)] {
            assert_eq!(round_up(value).to_bits(), rounded.to_bits(), "{value:e}");
        }
    }
}
