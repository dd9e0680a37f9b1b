//! Codes of embeddings: a row after a fixed rotation, in 1 bit and in 8 bits a dimension.
//!
//! `format/SPEC.md`, section "Codes", defines every operation, so every program writes the same
//! bytes.
//!
//! # The bound
//!
//! Let `R` be the rotation, `x` a row, and `x' = Rᵗ(scale · c)` its decoded 8-bit code `c`. Let `q`
//! be a query, and `q' = Rᵗ(step · k)` its decoded integers `k`. A scan computes the integer `Σ
//! kᵢcᵢ` exactly, so it knows `<q', x'> = step · scale · Σ kᵢcᵢ`. Then
//!
//! ```text
//! <q,x> - <q',x'> = <q, x - x'> + <q - q', x'>
//! |<q,x> - <q',x'>| <= |q| |x - x'| + |q - q'| |x'|
//! ```
//!
//! by Cauchy-Schwarz. [`Factors::residual`] is at least `|x - x'|`. The encoder computes it from
//! the scale as stored, adds [`ROTATION_ERROR`] times the norm for rounding, and rounds up.
//!
//! The first term has a tighter form. The scale is the least-squares one, so `x - x'` is orthogonal
//! to `x'`, except for the rounding of the scale to f32. Only the part of `q` orthogonal to `x'`
//! counts:
//!
//! ```text
//! |<q, x - x'>| <= |q_| |x - x'| + |q| (SCALE_ERROR |x| + SCALE_UNDERFLOW)
//! |q_|² = |q|² - <q,x'>² / |x'|²
//! ```
//!
//! The second summand is the rounding. The scale is off by at most 2^-24 of itself, or by 2^-150 if
//! it is subnormal, and `|c| <= 127 √65536 < 2^15`.

mod encode;
mod hadamard;
mod rotation;
#[cfg(test)]
mod tests;

pub use encode::{CodeEncoder, Factors};
pub use rotation::Rotation;

/// Bound of all rounding of a rotation and of the sums over its result, relative to the row's norm.
///
/// A round rounds each number at most 16 + 3 times, each time by 2^-53 of a vector whose norm is
/// the row's. So three rounds add less than 2^-46. A sum of 65,536 squares in eight lanes adds
/// 2^-39.
pub const ROTATION_ERROR: f64 = 1.0 / (1_u64 << 36) as f64;

/// Bound of the scale's rounding to f32, relative to the scale.
pub const SCALE_ERROR: f64 = 1.0 / (1_u64 << 23) as f64;

/// Bound of `|c|` times the rounding of a subnormal scale: `2^15 · 2^-150`.
pub const SCALE_UNDERFLOW: f64 = 1.0 / (1_u128 << 127) as f64 / 256.0;

/// Bytes of the sign bits of a row: whole 64-bit words.
pub const fn sign_bytes(dimension: u32) -> usize {
    (dimension as usize).div_ceil(64) * size_of::<u64>()
}

/// The sum of `term` over pairs, in the order that the format fixes: eight partial sums, then
/// halves.
fn sum_of<A: Copy, B: Copy>(a: &[A], b: &[B], term: impl Fn(A, B) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(*a, *b);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += term(*a, *b);
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
