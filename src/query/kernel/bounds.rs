//! Turns integers into proved bounds of distances.

use deltafold_format::Metric;
use deltafold_format::codes::{ROTATION_ERROR, SCALE_ERROR, SCALE_UNDERFLOW};

use super::mask;
use super::query::{Quantised, QueryCodes};
use super::{Kernel, wide};

/// Rows handled together, one bit each in a mask.
pub(crate) const GROUP: usize = 64;

/// The factors that bounds need, one of each for a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteFactors<'a> {
    pub(crate) norms: &'a [f32],
    pub(crate) scales: &'a [f32],
    pub(crate) residuals: &'a [f32],
}

/// Bounds the distances of rows from a query by their dots with its 8-bit scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    metric: Metric,
    norm: f64,
    square: f64,
    inverse: f64,
    step: f64,
    residual: f64,
    /// The square of the norm, rounded up, because the rest after a subtraction may be small.
    square_above: f64,
    /// Its root. The computed part of the query across a row never exceeds it.
    norm_above: f64,
    /// The error relative to |q| |x|. It covers the rounding of the scale, of the query's rotation
    /// and quantisation, of sums and of the distance. It also covers the quantisation of the query.
    relative: f64,
    absolute: f64,
}

/// Bound of the squared norm's error if the norm is subnormal: twice 2^-126 times 2^-150, rounded
/// up.
const NORM_UNDERFLOW: f64 = SCALE_UNDERFLOW * SCALE_UNDERFLOW;

impl Bounds {
    /// The bounds from dots with the fine integers of a query.
    pub(crate) fn fine(metric: Metric, query: &QueryCodes) -> Self {
        Self::new(metric, query.norm, &query.fine)
    }

    /// The bounds from dots with the coarse integers of a query.
    pub(crate) fn coarse(metric: Metric, query: &QueryCodes) -> Self {
        Self::new(metric, query.norm, &query.coarse)
    }

    fn new<T>(metric: Metric, norm: f64, query: &Quantised<T>) -> Self {
        let square_above = norm * norm * (1.0 + ROTATION_ERROR);
        Self {
            metric,
            norm,
            square: norm * norm,
            inverse: 1.0 / norm,
            step: query.step,
            residual: query.residual,
            square_above,
            norm_above: square_above.sqrt(),
            relative: norm * (SCALE_ERROR + 4.0 * ROTATION_ERROR) + query.residual * (1.0 + 2.0 * SCALE_ERROR),
            absolute: norm * SCALE_UNDERFLOW,
        }
    }

    /// The bounds of one row. Its distance, as [`Distances`](super::Distances) computes it, lies
    /// between them.
    ///
    /// A row without codes gets infinite bounds and must be read.
    pub(crate) fn of(&self, dot: i32, norm: f32, scale: f32, residual: f32) -> (f64, f64) {
        let [length, scale, residual] = [norm, scale, residual].map(f64::from);
        let inner = self.step * scale * f64::from(dot);
        // The part of the query across the row, rounded up.
        let along = (inner.abs() - self.residual * length).max(0.0);
        let along = along / (length * (1.0 + 2.0 * SCALE_ERROR)).max(1e-300);
        let across = (self.square_above - along * along).max(0.0).sqrt();
        let error = across * residual + self.relative * length + self.absolute;
        match self.metric {
            Metric::Cosine if self.norm == 0.0 => (1.0, 1.0),
            _ if residual == f64::INFINITY => (f64::NEG_INFINITY, f64::INFINITY),
            Metric::L2 => self.l2(inner, error, length),
            Metric::InnerProduct => self.inner_product(inner, error, length),
            Metric::Cosine => self.cosine(inner, error, length),
        }
    }

    /// The rows, at most [`GROUP`], whose lower bound may not be above `reach`, a bit each.
    ///
    /// It is sound: it keeps every row whose lower bound by [`of`](Self::of) is at most `reach`.
    /// For the part across the row it takes the whole query, so it needs no root. The computed part
    /// never exceeds that, and each later operation is monotone in the error, even with rounding.
    /// [`cosine_mask`](Self::cosine_mask) avoids the division, too.
    pub(crate) fn may_reach(&self, kernel: Kernel, dots: &[i32], factors: ByteFactors<'_>, reach: f64) -> u64 {
        match self.metric {
            Metric::L2 => {
                wide!(kernel, self.mask(dots, factors, |inner, error, length| self.l2(inner, error, length).0 - reach))
            }
            Metric::InnerProduct => wide!(kernel, {
                self.mask(dots, factors, |inner, error, length| self.inner_product(inner, error, length).0 - reach)
            }),
            // No lower bound is above 2.
            Metric::Cosine if self.norm == 0.0 || reach >= 2.0 => u64::MAX,
            Metric::Cosine => wide!(kernel, self.cosine_mask(dots, factors, reach)),
        }
    }

    /// The rows whose gap to the reach is not above 0, a bit each. A NaN gap rules nothing out.
    #[inline(always)]
    fn mask(&self, dots: &[i32], factors: ByteFactors<'_>, gap: impl Fn(f64, f64, f64) -> f64) -> u64 {
        let ByteFactors { norms, scales, residuals } = factors;
        let mut kept = [false; GROUP];
        let rows = dots.iter().zip(norms).zip(scales).zip(residuals);
        for (kept, (((dot, length), scale), residual)) in kept.iter_mut().zip(rows) {
            let [length, scale, residual] = [*length, *scale, *residual].map(f64::from);
            let inner = self.step * scale * f64::from(*dot);
            let error = self.norm_above * residual + self.relative * length + self.absolute;
            let gap = gap(inner, error, length);
            let (is_beyond, has_codes) = (gap > 0.0, residual < f64::INFINITY);
            *kept = !(is_beyond & has_codes);
        }
        mask::of(&kept)
    }

    /// The rows whose lower bound by [`cosine`](Self::cosine) may not be above `reach`, which is
    /// below 2.
    ///
    /// Let `c` be `2 SCALE_ERROR`. In real numbers the bound is at most the reach if
    /// `(1 - c - reach) |x| <= (inner + error) / |q|`. The bound itself takes fewer than ten
    /// operations in f64, each of which rounds by at most 2^-53 of 4, of `|x|` or of
    /// `(|inner| + error) / |q|`. The sides here take fewer than sixteen in f32, each of which
    /// rounds by at most 2^-24 of the same. [`mask::SLACK`] covers both.
    ///
    /// No number here is subnormal or overflows for a row of a [`USUAL`](mask::USUAL) length.
    /// Others are kept.
    #[inline(always)]
    fn cosine_mask(&self, dots: &[i32], factors: ByteFactors<'_>, reach: f64) -> u64 {
        let ByteFactors { norms, scales, residuals } = factors;
        let least = 1.0 - 2.0 * SCALE_ERROR - reach.max(-1.0) - self.relative * self.inverse - mask::SLACK * 4.0;
        let [least, step, residual_factor, slack] =
            [least, self.step * self.inverse, self.norm_above * self.inverse, mask::SLACK].map(|number| number as f32);
        let mut kept = [false; GROUP];
        let rows = dots.iter().zip(norms).zip(scales).zip(residuals);
        for (kept, (((dot, length), scale), residual)) in kept.iter_mut().zip(rows) {
            let inner = step * *dot as f32 * scale;
            let error = residual_factor * residual;
            let is_beyond = least * length > inner + error + slack * (inner.abs() + error);
            *kept = !(is_beyond & mask::is_usual(*length));
        }
        mask::of(&kept)
    }

    #[inline(always)]
    fn l2(&self, inner: f64, error: f64, length: f64) -> (f64, f64) {
        let squares = length * length;
        // The norm is rounded to f32, and the distance itself to f64.
        let error = 2.0 * error + squares * (2.0 * SCALE_ERROR) + self.square * (4.0 * ROTATION_ERROR) + NORM_UNDERFLOW;
        let middle = self.square + squares - 2.0 * inner;
        ((middle - error).max(0.0), middle + error)
    }

    #[inline(always)]
    fn inner_product(&self, inner: f64, error: f64, _: f64) -> (f64, f64) {
        // Subtracting from 1 rounds by at most as much of the result.
        let error = error + (1.0 + inner.abs() + error) * f64::EPSILON;
        (1.0 - inner - error, 1.0 - inner + error)
    }

    #[inline(always)]
    fn cosine(&self, inner: f64, error: f64, length: f64) -> (f64, f64) {
        let scaled = self.inverse / length;
        // The rounding of the norm moves a cosine of at most 1.
        let error = error * scaled + 2.0 * SCALE_ERROR;
        let middle = 1.0 - inner * scaled;
        let known = length > 0.0;
        (
            if known { (middle - error).clamp(0.0, 2.0) } else { 1.0 },
            if known { (middle + error).clamp(0.0, 2.0) } else { 1.0 },
        )
    }
}
