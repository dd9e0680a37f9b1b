//! A query in integers.

use deltafold_format::codes::{Rotation, sign_bytes};

use super::{Kernel, wide};

/// The largest integer of a fine query.
const LARGEST_WORD: f64 = 32_767.0;

/// The largest integer of a coarse query.
const LARGEST_BYTE: f64 = 127.0;

/// A sum of products with codes of 8 bits fits an i32 if the query's absolute integers sum to at
/// most this. Rounding adds half of one a dimension, 32,768 at most. A coarse query sums to 127 a
/// dimension at most, which fits.
const LARGEST_SUM: f64 = (i32::MAX / 128 - 32_768 - 1) as f64;

/// The largest integer of the 1-bit scan. Eight of them and their negatives span a byte. Greater
/// ones find no more of the nearest rows.
const LARGEST_SIGNED: f64 = 15.0;

/// Offset of each entry of a table, which makes all entries non-negative.
pub(super) const TABLE_OFFSET: i32 = 4 * LARGEST_SIGNED as i32;

/// A rotated query in integers, which times `step` approximate it.
#[derive(Debug, Clone)]
pub(crate) struct Quantised<T> {
    pub(super) integers: Vec<T>,
    pub(super) step: f64,
    /// The distance between the rotated query and its decoded integers, without rounding.
    pub(super) residual: f64,
}

/// A query, rotated and quantised for all scans.
#[derive(Debug, Clone)]
pub(crate) struct QueryCodes {
    /// Its norm.
    pub(super) norm: f64,
    /// For bounds as close as the codes of rows allow.
    pub(super) fine: Quantised<i16>,
    /// For bounds about twice as wide, from a scan of half the work.
    pub(super) coarse: Quantised<i8>,
    /// The rotated query in small integers, for estimates. One for each bit of a row's sign bits.
    pub(super) signed: Quantised<i8>,
    /// One table for four dimensions. Entry `n` is the sum of their integers, each negated if its
    /// bit of `n` is set, plus [`TABLE_OFFSET`]. One table for each half byte of a row's sign bits.
    pub(super) tables: Vec<[u8; 16]>,
}

impl QueryCodes {
    /// Quantises a query. Its numbers must be finite.
    pub(crate) fn new(rotation: &Rotation, query: &[f32]) -> Self {
        let mut rotated = Vec::new();
        rotation.apply(query, &mut rotated);
        wide!(Kernel::detect(), Self::quantised(query, &rotated))
    }

    #[inline(always)]
    fn quantised(query: &[f32], rotated: &[f64]) -> Self {
        let norm = query.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
        let largest = rotated.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let absolute: f64 = rotated.iter().map(|value| value.abs()).sum();
        let fine = Quantised::new(rotated, (largest / LARGEST_WORD).max(absolute / LARGEST_SUM), LARGEST_WORD);
        let coarse = Quantised::new(rotated, largest / LARGEST_BYTE, LARGEST_BYTE);
        let mut signed = Quantised::new(rotated, largest / LARGEST_SIGNED, LARGEST_SIGNED);
        signed.integers.resize(sign_bytes(rotated.len() as u32) * 8, 0);
        let tables = signed.integers.as_chunks::<4>().0.iter().map(table).collect();
        Self { norm, fine, coarse, signed, tables }
    }
}

impl<T: Integer> Quantised<T> {
    /// Rounds a rotated query to integers of at most `largest`, which `T` must hold.
    #[inline(always)]
    fn new(rotated: &[f64], step: f64, largest: f64) -> Self {
        // A query of zeros has no step.
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let mut integers = Vec::with_capacity(rotated.len());
        for value in rotated {
            integers.push(T::of((value * inverse).round_ties_even().clamp(-largest, largest)));
        }
        let off = rotated.iter().zip(&integers).map(|(value, integer)| value - step * (*integer).into());
        Self { residual: off.map(|off| off * off).sum::<f64>().sqrt(), integers, step }
    }
}

/// The integers of a query.
pub(super) trait Integer: Copy + Into<f64> {
    /// An integer in range.
    fn of(whole: f64) -> Self;
}

impl Integer for i8 {
    fn of(whole: f64) -> Self {
        whole as Self
    }
}

impl Integer for i16 {
    fn of(whole: f64) -> Self {
        whole as Self
    }
}

fn table(integers: &[i8; 4]) -> [u8; 16] {
    std::array::from_fn(|bits| {
        let signed = integers
            .iter()
            .enumerate()
            .map(|(place, integer)| if bits >> place & 1 == 1 { -i32::from(*integer) } else { i32::from(*integer) });
        // Four integers of at most 15, so the sum is 0 to 120.
        (signed.sum::<i32>() + TABLE_OFFSET) as u8
    })
}
