//! Turns integers into estimates of distances, which prove nothing.

use deltafold_format::Metric;

use super::bounds::GROUP;
use super::mask;
use super::{Kernel, QueryCodes};

/// The factors that estimates need, one of each for a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignFactors<'a> {
    pub(crate) norms: &'a [f32],
    pub(crate) estimators: &'a [f32],
}

/// Estimates the distances of rows from a query by their dots with its 1-bit scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimates {
    metric: Metric,
    square: f64,
    /// 1 / |q|; 0 if the query is zero.
    inverse: f64,
    step: f64,
}

impl Estimates {
    pub(crate) fn new(metric: Metric, query: &QueryCodes) -> Self {
        let inverse = if query.norm == 0.0 { 0.0 } else { 1.0 / query.norm };
        Self { metric, square: query.norm * query.norm, inverse, step: query.signed.step }
    }

    /// The estimate of one row. A row without codes gets the least possible distance and must be
    /// read.
    pub(crate) fn of(&self, dot: i32, norm: f32, estimator: f32) -> f64 {
        let length = f64::from(norm);
        let inner = self.step * f64::from(estimator) * f64::from(dot);
        match self.metric {
            _ if length == f64::INFINITY => f64::NEG_INFINITY,
            Metric::L2 => self.square + length * length - 2.0 * inner,
            Metric::InnerProduct => 1.0 - inner,
            Metric::Cosine if length == 0.0 => 1.0,
            Metric::Cosine => 1.0 - inner * self.inverse / length,
        }
    }

    /// The rows, at most [`GROUP`], whose estimate may not be above `reach`, a bit each. It keeps
    /// every row whose estimate by [`of`](Self::of) is at most that.
    pub(crate) fn may_reach(&self, kernel: Kernel, dots: &[i32], factors: SignFactors<'_>, reach: f64) -> u64 {
        match self.metric {
            Metric::L2 => kernel
                .wide(|| self.mask(dots, factors, |inner, length| self.square + length * length - 2.0 * inner - reach)),
            Metric::InnerProduct => kernel.wide(|| self.mask(dots, factors, |inner, _| 1.0 - inner - reach)),
            Metric::Cosine => kernel.wide(|| self.cosine_mask(dots, factors, reach)),
        }
    }

    #[inline(always)]
    fn mask(&self, dots: &[i32], factors: SignFactors<'_>, gap: impl Fn(f64, f64) -> f64) -> u64 {
        let SignFactors { norms, estimators } = factors;
        let mut kept = [false; GROUP];
        let rows = dots.iter().zip(norms).zip(estimators);
        for (kept, ((dot, length), estimator)) in kept.iter_mut().zip(rows) {
            let length = f64::from(*length);
            let gap = gap(self.step * f64::from(*estimator) * f64::from(*dot), length);
            let (is_beyond, has_codes) = (gap > 0.0, length < f64::INFINITY);
            *kept = !(is_beyond & has_codes);
        }
        mask::of(&kept)
    }

    /// The rows whose estimate by cosine may not be above `reach`.
    ///
    /// In real numbers it is at most the reach if `(1 - reach) |x| <= inner / |q|`. Each side takes
    /// fewer than eight operations in f32, and [`mask::SLACK`] covers their rounding. No number
    /// here is subnormal or overflows for a row of a [`USUAL`](mask::USUAL) length. Others are
    /// kept.
    #[inline(always)]
    fn cosine_mask(&self, dots: &[i32], factors: SignFactors<'_>, reach: f64) -> u64 {
        let SignFactors { norms, estimators } = factors;
        let least = (1.0 - reach - mask::SLACK * (1.0 + reach.abs())) as f32;
        let (step, slack) = ((self.step * self.inverse) as f32, mask::SLACK as f32);
        let mut kept = [false; GROUP];
        for (kept, ((dot, length), estimator)) in kept.iter_mut().zip(dots.iter().zip(norms).zip(estimators)) {
            let inner = step * *dot as f32 * estimator;
            let is_beyond = least * length > inner + slack * inner.abs();
            *kept = !(is_beyond & mask::is_usual(*length));
        }
        mask::of(&kept)
    }
}
