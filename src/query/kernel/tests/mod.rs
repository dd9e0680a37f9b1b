//! The arithmetic of a scan against plain Rust and f64.

use deltafold_format::Metric;
use deltafold_format::codes::{CodeEncoder, Factors, Rotation, sign_bytes};

use super::*;

mod bounds;
mod distances;
mod dots;
mod estimates;
mod masks;

const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

/// Numbers from a seed, which a failure reports.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 32
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next() as f64 / (1_u64 << 32) as f64).sum::<f64>() - 6.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Rows of one of the kinds that break floats or bounds; the first is near the second.
fn rows(count: usize, dimension: u32, kind: u32, random: &mut Random) -> Vec<Vec<f32>> {
    let centre: Vec<f64> = (0..dimension).map(|_| random.normal()).collect();
    let row = |which: usize, random: &mut Random| {
        let value = |centre: f64, normal: f64| match kind {
            0 => normal,
            // A cluster far from the origin.
            1 => centre * 10.0 + normal * 1e-2,
            2 => normal * 1e-38,
            3 => normal * 1e-44,
            4 => normal * 1e37,
            5 => f64::from(f32::MAX) * normal.signum(),
            // Duplicates.
            6 => centre,
            7 if which.is_multiple_of(2) => 0.0,
            _ => centre + normal * 10.0_f64.powi(-(which as i32)),
        };
        centre.iter().map(|centre| value(*centre, random.normal()) as f32).collect()
    };
    (0..count).map(|which| row(which, random)).collect()
}

/// The dot of a query and a row in integers that no sum exceeds.
fn dot<T: Copy + Into<i64>>(query: &[T], row: &[i8]) -> i64 {
    query.iter().zip(row).map(|(integer, code)| (*integer).into() * i64::from(*code)).sum()
}

/// A scan's comparison of a query with rows of 8 bits: the constructor of its bounds, and the dots.
type Comparison = (fn(Metric, &QueryCodes) -> Bounds, Vec<i32>);

/// The fine comparison and the coarse one.
fn comparisons(query: &QueryCodes, rows: &[i8], count: usize) -> [Comparison; 2] {
    let [mut fine, mut coarse] = [(); 2].map(|()| vec![0; count]);
    Kernel::detect().fine_dots(&Queries::new([query]), Rows::all(rows), &mut fine);
    Kernel::detect().coarse_dots(&Queries::new([query]), Rows::all(rows), &mut coarse);
    [(Bounds::fine, fine), (Bounds::coarse, coarse)]
}

/// The lower and the upper bounds of some rows.
fn bounds(of: Bounds, dots: &[i32], factors: ByteFactors<'_>) -> (Vec<f64>, Vec<f64>) {
    let factors = factors.norms.iter().zip(factors.scales).zip(factors.residuals);
    dots.iter().zip(factors).map(|(dot, ((norm, scale), residual))| of.of(*dot, *norm, *scale, *residual)).unzip()
}

/// The estimate of each row.
fn estimates(metric: Metric, query: &QueryCodes, dots: &[i32], factors: SignFactors<'_>, out: &mut [f64]) {
    let of = Estimates::new(metric, query);
    for (row, dot) in dots.iter().enumerate() {
        out[row] = of.of(*dot, factors.norms[row], factors.estimators[row]);
    }
}

fn distance(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
    Distances::new(metric, query.to_vec()).of(row)
}

struct Coded {
    signs: Vec<u8>,
    bytes: Vec<i8>,
    norms: Vec<f32>,
    estimators: Vec<f32>,
    scales: Vec<f32>,
    residuals: Vec<f32>,
}

fn coded(rotation: &Rotation, rows: &[Vec<f32>]) -> Coded {
    let mut encoder = CodeEncoder::new(rotation.clone());
    let mut signs = vec![0; sign_bytes(rotation.dimension())];
    let mut bytes = vec![0; rotation.dimension() as usize];
    let (mut all_signs, mut all_bytes, mut factors) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        factors.push(encoder.encode(row, &mut signs, &mut bytes));
        all_signs.extend_from_slice(&signs);
        all_bytes.extend(bytes.iter().map(|byte| *byte as i8));
    }
    let column = |of: fn(&Factors) -> f32| factors.iter().map(of).collect();
    Coded {
        signs: all_signs,
        bytes: all_bytes,
        norms: column(|factors| factors.norm),
        estimators: column(|factors| factors.estimator),
        scales: column(|factors| factors.scale),
        residuals: column(|factors| factors.residual),
    }
}
