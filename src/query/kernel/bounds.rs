//! From integers to distances: bounds that are proved, and estimates that are not.

use deltafold_format::Metric;
use deltafold_format::codes::{ROTATION_ERROR, SCALE_ERROR, SCALE_UNDERFLOW};

use super::QueryCodes;

/// The factors that bounds need, one of each a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteFactors<'a> {
    pub(crate) norms: &'a [f32],
    pub(crate) scales: &'a [f32],
    pub(crate) residuals: &'a [f32],
}

/// The factors that estimates need, one of each a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignFactors<'a> {
    pub(crate) norms: &'a [f32],
    pub(crate) estimators: &'a [f32],
}

/// Bounds the distances of rows by their dots with a query's 8-bit scan: each row's
/// [`distance`](super::distance::distance), as it is computed, lies in `lower..=upper`.
///
/// A row without codes gets an infinite bound: it must be read. All slices are of one length.
pub(crate) fn bounds(
    metric: Metric,
    query: &QueryCodes,
    dots: &[i32],
    factors: ByteFactors<'_>,
    lower: &mut [f64],
    upper: &mut [f64],
) {
    let Query { norm, square, inverse } = Query::of(query);
    match metric {
        Metric::L2 => each(query, dots, factors, lower, upper, |inner, error, length| {
            let squares = length * length;
            // The norm is rounded to f32, and the distance itself to f64.
            let error = 2.0 * error + squares * (2.0 * SCALE_ERROR) + square * (4.0 * ROTATION_ERROR) + NORM_UNDERFLOW;
            let middle = square + squares - 2.0 * inner;
            ((middle - error).max(0.0), middle + error)
        }),
        Metric::InnerProduct => each(query, dots, factors, lower, upper, |inner, error, _| {
            // Subtracting from 1 rounds by at most as much of the result.
            let error = error + (1.0 + inner.abs() + error) * f64::EPSILON;
            (1.0 - inner - error, 1.0 - inner + error)
        }),
        Metric::Cosine if norm == 0.0 => {
            lower.fill(1.0);
            upper.fill(1.0);
        }
        Metric::Cosine => each(query, dots, factors, lower, upper, |inner, error, length| {
            let scaled = inverse / length;
            // The rounding of the norm moves a cosine of at most 1.
            let error = error * scaled + 2.0 * SCALE_ERROR;
            let middle = 1.0 - inner * scaled;
            let known = length > 0.0;
            (
                if known { (middle - error).clamp(0.0, 2.0) } else { 1.0 },
                if known { (middle + error).clamp(0.0, 2.0) } else { 1.0 },
            )
        }),
    }
}

/// Bound of the squared norm's error where the norm is subnormal: twice 2^-126 times 2^-150, rounded up.
const NORM_UNDERFLOW: f64 = SCALE_UNDERFLOW * SCALE_UNDERFLOW;

struct Query {
    norm: f64,
    square: f64,
    inverse: f64,
}

impl Query {
    fn of(query: &QueryCodes) -> Self {
        Self { norm: query.norm, square: query.norm * query.norm, inverse: 1.0 / query.norm }
    }
}

/// Hands `told` each row's inner product, the bound of its error, and the row's norm.
#[inline]
fn each(
    query: &QueryCodes,
    dots: &[i32],
    factors: ByteFactors<'_>,
    lower: &mut [f64],
    upper: &mut [f64],
    told: impl Fn(f64, f64, f64) -> (f64, f64),
) {
    let ByteFactors { norms, scales, residuals } = factors;
    let (norm, step) = (query.norm, query.step);
    // Rounded up, as what is left after a subtraction may be small.
    let square = norm * norm * (1.0 + ROTATION_ERROR);
    // What is relative to |q| |x|: the rounding of the scale, of the query's rotation and quantisation, of sums
    // and of the distance. Then the quantisation of the query itself.
    let relative = norm * (SCALE_ERROR + 4.0 * ROTATION_ERROR) + query.residual * (1.0 + 2.0 * SCALE_ERROR);
    let absolute = norm * SCALE_UNDERFLOW;
    let rows = dots.iter().zip(norms).zip(scales).zip(residuals);
    for ((lower, upper), (((dot, length), scale), residual)) in lower.iter_mut().zip(upper).zip(rows) {
        let [length, scale, residual] = [*length, *scale, *residual].map(f64::from);
        let inner = step * scale * f64::from(*dot);
        // The part of the query across the row, rounded up.
        let along = (inner.abs() - query.residual * length).max(0.0) / (length * (1.0 + 2.0 * SCALE_ERROR)).max(1e-300);
        let across = (square - along * along).max(0.0).sqrt();
        let error = across * residual + relative * length + absolute;
        let (low, high) = told(inner, error, length);
        let known = residual < f64::INFINITY;
        *lower = if known { low } else { f64::NEG_INFINITY };
        *upper = if known { high } else { f64::INFINITY };
    }
}

/// Estimates the distances of rows by their dots with a query's 1-bit scan. A row without codes gets the
/// least distance there is: it must be read. All slices are of one length.
pub(crate) fn estimates(metric: Metric, query: &QueryCodes, dots: &[i32], factors: SignFactors<'_>, out: &mut [f64]) {
    let SignFactors { norms, estimators } = factors;
    let Query { norm, square, inverse } = Query::of(query);
    let rows = dots.iter().zip(norms).zip(estimators);
    for (out, ((dot, length), estimator)) in out.iter_mut().zip(rows) {
        let length = f64::from(*length);
        let inner = query.sign_step * f64::from(*estimator) * f64::from(*dot);
        let distance = match metric {
            Metric::L2 => square + length * length - 2.0 * inner,
            Metric::InnerProduct => 1.0 - inner,
            Metric::Cosine if norm == 0.0 || length == 0.0 => 1.0,
            Metric::Cosine => 1.0 - inner * inverse / length,
        };
        *out = if length < f64::INFINITY { distance } else { f64::NEG_INFINITY };
    }
}
