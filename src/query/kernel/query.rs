//! A query in integers.

use deltafold_format::codes::{Rotation, sign_bytes};

/// The largest integer of the 8-bit scan.
const LARGEST_WORD: f64 = 32_767.0;

/// A sum of products with codes of 8 bits fits an i32 where the query's absolute integers sum to no more.
/// Rounding adds half of one a dimension, 32,768 at most.
const LARGEST_SUM: f64 = (i32::MAX / 128 - 32_768 - 1) as f64;

/// The largest integer of the 1-bit scan: four of them and their negatives span a byte.
const LARGEST_SIGNED: f64 = 31.0;

/// What is added to each entry of a table, so that none is negative.
pub(super) const TABLE_OFFSET: i32 = 4 * LARGEST_SIGNED as i32;

/// A query, rotated and quantised for both scans.
#[derive(Debug, Clone)]
pub(crate) struct QueryCodes {
    /// Its norm.
    pub(super) norm: f64,
    /// The rotated query is about `step` times these.
    pub(super) words: Vec<i16>,
    pub(super) step: f64,
    /// The distance between the rotated query and what `words` stand for, but for rounding.
    pub(super) residual: f64,
    /// For four dimensions each: entry `n` is the sum of their integers, each negated where its bit of `n`
    /// is set, plus [`TABLE_OFFSET`]. As many as the row's sign bits have half bytes.
    pub(super) tables: Vec<[u8; 16]>,
    /// The rotated query is about `sign_step` times the integers in the tables.
    pub(super) sign_step: f64,
}

impl QueryCodes {
    /// Quantises a query, whose numbers must be finite.
    pub(crate) fn new(rotation: &Rotation, query: &[f32]) -> Self {
        let mut rotated = Vec::new();
        rotation.apply(query, &mut rotated);
        let norm = query.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
        let largest = rotated.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let absolute: f64 = rotated.iter().map(|value| value.abs()).sum();
        let step = (largest / LARGEST_WORD).max(absolute / LARGEST_SUM);
        let words = integers(&rotated, step, LARGEST_WORD);
        let off = rotated.iter().zip(&words).map(|(value, word)| value - step * f64::from(*word));
        let residual = off.map(|off| off * off).sum::<f64>().sqrt();
        let sign_step = largest / LARGEST_SIGNED;
        let mut signed = integers(&rotated, sign_step, LARGEST_SIGNED);
        signed.resize(sign_bytes(rotation.dimension()) * 8, 0);
        let tables = signed.as_chunks::<4>().0.iter().map(table).collect();
        Self { norm, words, step, residual, tables, sign_step }
    }
}

fn integers(values: &[f64], step: f64, largest: f64) -> Vec<i16> {
    // A query of zeros has no step.
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    values.iter().map(|value| (value * inverse).round_ties_even().clamp(-largest, largest) as i16).collect()
}

fn table(integers: &[i16; 4]) -> [u8; 16] {
    std::array::from_fn(|bits| {
        let signed = integers
            .iter()
            .enumerate()
            .map(|(place, integer)| if bits >> place & 1 == 1 { -i32::from(*integer) } else { i32::from(*integer) });
        // Four integers of at most 31: the sum is 0 to 248.
        (signed.sum::<i32>() + TABLE_OFFSET) as u8
    })
}
