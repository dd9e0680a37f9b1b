//! Distances of rows in f64, which decide.

use deltafold_format::Metric;

use super::{Kernel, wide};

/// Distances of rows from one query, the same bit for bit on every machine.
///
/// Squared Euclidean; 1 - cosine, which is 1 if either vector is zero; 1 - inner product. The
/// rounding is below 2^-38 of (|q| + |x|)², of 1, or of |q| |x|.
#[derive(Debug, Clone)]
pub(crate) struct Distances {
    kernel: Kernel,
    metric: Metric,
    query: Vec<f32>,
    square: f64,
}

impl Distances {
    pub(crate) fn new(metric: Metric, query: Vec<f32>) -> Self {
        let square = sum(&query, &query, |q, _| q * q);
        Self { kernel: Kernel::detect(), metric, query, square }
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        size_of_val(&self.query[..])
    }

    /// The distance of a row.
    pub(crate) fn of(&self, row: &[f32]) -> f64 {
        let query = self.query.as_slice();
        match self.metric {
            Metric::L2 => wide!(self.kernel, sum(query, row, |q, x| (q - x) * (q - x))),
            Metric::InnerProduct => 1.0 - wide!(self.kernel, sum(query, row, |q, x| q * x)),
            Metric::Cosine => {
                let squares = self.square * wide!(self.kernel, sum(row, row, |x, _| x * x));
                if squares == 0.0 {
                    return 1.0;
                }
                let inner = wide!(self.kernel, sum(query, row, |q, x| q * x));
                1.0 - (inner / squares.sqrt()).clamp(-1.0, 1.0)
            }
        }
    }
}

/// Eight partial sums, which the compiler vectorizes, then halves. The order is fixed.
#[inline(always)]
fn sum(query: &[f32], row: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let ((queries, query), (rows, row)) = (query.as_chunks::<8>(), row.as_chunks::<8>());
    for (query, row) in queries.iter().zip(rows) {
        for ((sum, q), x) in sums.iter_mut().zip(query).zip(row) {
            *sum += term(f64::from(*q), f64::from(*x));
        }
    }
    for ((sum, q), x) in sums.iter_mut().zip(query).zip(row) {
        *sum += term(f64::from(*q), f64::from(*x));
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
