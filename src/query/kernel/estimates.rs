//! Turns integers into estimates of distances, which prove nothing.

use deltafold_format::Metric;

use super::bounds::GROUP;
use super::mask;
use super::{Kernel, QueryCodes, wide};

/// The factors that estimates need, one of each for a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignFactors<'a> {
    pub(crate) norms: &'a [f32],
    pub(crate) estimators: &'a [f32],
}

/// The extremes of the factors of some rows. They bound the estimates of all these rows for every
/// query of a metric.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SignExtremes {
    least_norm: f32,
    /// The least estimator, and the greatest; by cosine each divided by its norm.
    factors: [f32; 2],
    /// Whether they bound anything. A row of an unusual length must be looked at.
    are_usual: bool,
}

impl SignExtremes {
    /// The extremes of at most [`GROUP`] rows.
    pub(crate) fn of(metric: Metric, kernel: Kernel, rows: SignFactors<'_>) -> Self {
        match metric {
            Metric::Cosine => wide!(kernel, Self::fold(rows, |norm, estimator| estimator / norm)),
            Metric::L2 | Metric::InnerProduct => wide!(kernel, Self::fold(rows, |_, estimator| estimator)),
        }
    }

    /// Eight lanes have extremes of their own, so that no comparison waits for the one before.
    #[inline(always)]
    fn fold(rows: SignFactors<'_>, factor: impl Fn(f32, f32) -> f32) -> Self {
        let (mut lengths, mut least, mut most) = ([f32::INFINITY; 8], [f32::INFINITY; 8], [0.0_f32; 8]);
        let mut are_usual = [true; 8];
        let mut lane = |lane: usize, norm: f32, estimator: f32| {
            let factor = factor(norm, estimator);
            lengths[lane] = if norm < lengths[lane] { norm } else { lengths[lane] };
            least[lane] = if factor < least[lane] { factor } else { least[lane] };
            most[lane] = if factor > most[lane] { factor } else { most[lane] };
            are_usual[lane] &= mask::is_usual(norm) & (0.0..f32::INFINITY).contains(&factor);
        };
        let ((norms, few_norms), (estimators, few)) = (rows.norms.as_chunks::<8>(), rows.estimators.as_chunks::<8>());
        for (norms, estimators) in norms.iter().zip(estimators) {
            for place in 0..8 {
                lane(place, norms[place], estimators[place]);
            }
        }
        for (norm, estimator) in few_norms.iter().zip(few) {
            lane(0, *norm, *estimator);
        }
        let min = |lanes: [f32; 8]| lanes.into_iter().fold(f32::INFINITY, f32::min);
        let factors = [min(least), most.into_iter().fold(0.0, f32::max)];
        Self { least_norm: min(lengths), factors, are_usual: are_usual == [true; 8] }
    }
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

    pub(crate) fn metric(&self) -> Metric {
        self.metric
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

    /// Whether the estimate of every row by [`of`](Self::of) is above `reach`. `dots` are those of
    /// the rows that the extremes are of.
    ///
    /// The estimate falls with the dot, and the operations here are those of one row in the same
    /// order. So rounding cannot put a row below the least estimate. By cosine, the extremes are
    /// quotients in f32, and [`mask::SLACK`] covers their rounding.
    pub(crate) fn are_beyond(&self, kernel: Kernel, dots: &[i32], extremes: &SignExtremes, reach: f64) -> bool {
        if !extremes.are_usual {
            return false;
        }
        let greatest = wide!(kernel, dots.iter().fold(i32::MIN, |greatest, dot| greatest.max(*dot)));
        let factor = f64::from(extremes.factors[usize::from(greatest >= 0)]);
        let inner = self.step * factor * f64::from(greatest);
        let length = f64::from(extremes.least_norm);
        let least = match self.metric {
            Metric::L2 => self.square + length * length - 2.0 * inner,
            Metric::InnerProduct => 1.0 - inner,
            Metric::Cosine => {
                let cosine = inner * self.inverse;
                1.0 - cosine - mask::SLACK * cosine.abs()
            }
        };
        least > reach
    }

    /// The rows, at most [`GROUP`], whose estimate may not be above `reach`, a bit each. It keeps
    /// every row whose estimate by [`of`](Self::of) is at most that.
    pub(crate) fn may_reach(&self, kernel: Kernel, dots: &[i32], factors: SignFactors<'_>, reach: f64) -> u64 {
        match self.metric {
            Metric::L2 => wide!(
                kernel,
                self.mask(dots, factors, |inner, length| self.square + length * length - 2.0 * inner - reach)
            ),
            Metric::InnerProduct => wide!(kernel, self.mask(dots, factors, |inner, _| 1.0 - inner - reach)),
            Metric::Cosine => wide!(kernel, self.cosine_mask(dots, factors, reach)),
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
