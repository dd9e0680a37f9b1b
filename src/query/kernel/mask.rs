//! Masks of rows that may be near, one bit a row. They are cheap, and let a few other rows through.

use std::ops::Range;

use super::GROUP;

/// Covers the rounding of both sides of a comparison in f32, relative to their magnitudes.
pub(super) const SLACK: f64 = 1.0 / (1_u64 << 19) as f64;

/// Lengths of rows that a comparison in f32 can take. Their codes give no subnormal number and no
/// overflow.
pub(super) const USUAL: Range<f32> = 1e-30..1e30;

/// Whether a row has one of the [`USUAL`] lengths.
#[expect(clippy::manual_range_contains, reason = "without a branch the compiler makes vectors of it")]
#[inline(always)]
pub(super) fn is_usual(length: f32) -> bool {
    (length >= USUAL.start) & (length < USUAL.end)
}

/// The bits of some rows. The compiler turns the comparison that made them into vectors of bytes,
/// and the product gathers eight bytes of 0 or 1 into the highest byte.
#[inline(always)]
pub(super) fn of(kept: &[bool; GROUP]) -> u64 {
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (eights, _) = kept.as_chunks::<8>();
    eights.iter().zip((0..).step_by(8)).fold(0, |mask, (eight, bit)| {
        let bytes = u64::from_le_bytes(eight.map(u8::from));
        mask | (bytes.wrapping_mul(GATHER) >> 56) << bit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_bit() {
        for row in 0..GROUP {
            let mut kept = [false; GROUP];
            kept[row] = true;
            assert_eq!(of(&kept), 1 << row);
            assert_eq!(of(&kept.map(|kept| !kept)), !(1 << row));
        }
    }
}
