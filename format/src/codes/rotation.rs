//! The rotation of a collection: `format/SPEC.md`, section "Codes".

use std::f64::consts::FRAC_1_SQRT_2;
use std::fmt;
use std::sync::Arc;

use super::hadamard;
use crate::limits::MAX_DIMENSION;

/// Rounds of signs and transform. A fourth gains about half a percent of recall for a third more
/// time.
const ROUNDS: usize = 3;

/// The round, from 0, that the butterfly follows. By then the first two transforms have spread each
/// number. An earlier butterfly would move half of an outlier out of the next transform's range.
const MIXED: usize = 1;

/// A fixed pseudo-random rotation of rows, the same on every machine bit for bit.
///
/// Each of three rounds flips signs by random bits and applies a fast Hadamard transform to the
/// first (in the second round: the last) `p` numbers. `p` is the largest power of two up to the
/// dimension. If it is below the dimension, a butterfly mixes the two halves after the second
/// round. The scaling keeps norms. Everything is computed in f64, so no finite row of f32
/// overflows.
///
/// Cheap to clone. Memory: 24 bytes a dimension.
#[derive(Clone)]
pub struct Rotation {
    seed: u64,
    dimension: usize,
    /// The factors of each number in each round: sign, and scale of the transform.
    factors: Arc<[f64]>,
}

impl Rotation {
    /// The rotation that a collection's register names by its seed. A dimension outside 1 to 65,536
    /// is clamped to that range.
    pub fn new(dimension: u32, seed: u64) -> Self {
        let dimension = (dimension as usize).clamp(1, MAX_DIMENSION);
        let power = power(dimension);
        let scale = scale(power);
        let mut random = SplitMix64(seed);
        let mut factors = Vec::with_capacity(ROUNDS * dimension);
        for round in 0..ROUNDS {
            let transformed = if round.is_multiple_of(2) { 0..power } else { dimension - power..dimension };
            let mut word = 0;
            for number in 0..dimension {
                if number.is_multiple_of(64) {
                    word = random.next();
                }
                let size = if transformed.contains(&number) { scale } else { 1.0 };
                factors.push(if word >> (number % 64) & 1 == 1 { -size } else { size });
            }
        }
        Self { seed, dimension, factors: factors.into() }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The length of a row.
    pub fn dimension(&self) -> u32 {
        u32::try_from(self.dimension).unwrap_or(u32::MAX)
    }

    /// Writes the rotated row to `out`. A row that is too short is padded with zeros, and numbers
    /// beyond the dimension are dropped.
    pub fn apply(&self, row: &[f32], out: &mut Vec<f64>) {
        out.clear();
        out.extend(row.iter().take(self.dimension).map(|value| f64::from(*value)));
        out.resize(self.dimension, 0.0);
        let power = power(self.dimension);
        for (round, factors) in self.factors.chunks_exact(self.dimension).enumerate() {
            for (value, factor) in out.iter_mut().zip(factors) {
                *value *= factor;
            }
            let skipped = if round.is_multiple_of(2) { 0 } else { self.dimension - power };
            let (_, rest) = out.split_at_mut(skipped);
            let (transformed, _) = rest.split_at_mut(power);
            hadamard::transform(transformed);
            if round == MIXED && power < self.dimension {
                butterfly(out);
            }
        }
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("dimension", &self.dimension).field("seed", &self.seed).finish()
    }
}

/// The largest power of two up to the dimension.
fn power(dimension: usize) -> usize {
    1 << dimension.max(1).ilog2()
}

/// 1 / sqrt(power), rounded once: a power of two, or half a power of two times 1 / sqrt(2).
fn scale(power: usize) -> f64 {
    let halved = 1.0 / (1_u64 << (power.ilog2() / 2)) as f64;
    if power.ilog2().is_multiple_of(2) { halved } else { halved * FRAC_1_SQRT_2 }
}

/// Mixes each number of the first half with its counterpart in the second. The middle one of an odd
/// number of values stays as it is.
fn butterfly(values: &mut [f64]) {
    let (low, high) = values.split_at_mut(values.len().div_ceil(2));
    for (a, b) in low.iter_mut().zip(high) {
        (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
    }
}

/// The SplitMix64 generator: <https://prng.di.unimi.it/splitmix64.c>.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the reference implementation for the seed 1234567.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = SplitMix64(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected.map(|_| random.next()), expected);
    }

    #[test]
    fn scales_are_those_of_an_orthonormal_transform() {
        for log in 0..17 {
            let exact = 1.0 / f64::from(1_u32 << log).sqrt();
            assert!((scale(1 << log) / exact - 1.0).abs() < 1e-15, "2^{log}");
        }
    }
}
