use deltafold_format::Metric;
use deltafold_format::codes::{CodeEncoder, Factors, Rotation, sign_bytes};
use proptest::prelude::*;

use super::*;

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
    Kernel::detect().fine_dots(&Queries::new([query]), rows, &mut fine);
    Kernel::detect().coarse_dots(&Queries::new([query]), rows, &mut coarse);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Codes may hold anything, even -128. A damaged object must not make two machines differ.
    #[test]
    fn all_kernels_equal_the_portable_one(
        dimension in 1..1_300_u32,
        count in 0..150_usize,
        queries in 1..7_usize,
        kind in 0..9_u32,
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let rotation = Rotation::new(dimension, seed);
        let queries = rows(queries, dimension, kind, &mut random);
        let queries: Vec<_> = queries.iter().map(|query| QueryCodes::new(&rotation, query)).collect();
        let together = Queries::new(&queries);
        let signs = random.bytes(count * sign_bytes(dimension));
        let bytes: Vec<i8> = random.bytes(count * dimension as usize).into_iter().map(|byte| byte as i8).collect();
        let dots = |kernel: Kernel| {
            let [mut fine, mut coarse, mut sign_dots] = [1, 2, 3].map(|fill| vec![fill; queries.len() * count]);
            kernel.fine_dots(&together, &bytes, &mut fine);
            kernel.coarse_dots(&together, &bytes, &mut coarse);
            kernel.sign_dots(&together, &signs, &mut sign_dots);
            (fine, coarse, sign_dots)
        };
        let expected = dots(Kernel::Portable);
        for kernel in Kernel::available() {
            prop_assert_eq!(&dots(kernel), &expected, "{:?}", kernel);
        }
        for (number, query) in queries.iter().enumerate() {
            for row in 0..count {
                let row_bytes = &bytes[row * dimension as usize..][..dimension as usize];
                let place = number * count + row;
                prop_assert_eq!(i64::from(expected.0[place]), dot(&query.fine.integers, row_bytes));
                prop_assert_eq!(i64::from(expected.1[place]), dot(&query.coarse.integers, row_bytes));
                for kernel in Kernel::available() {
                    prop_assert_eq!(kernel.fine_dot(query, row_bytes), expected.0[place]);
                }
            }
        }
    }

    #[test]
    fn bounds_hold_the_distance_of_every_row(
        dimension in 1..2_049_u32,
        kind in 0..9_u32,
        query_kind in 0..9_u32,
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let rotation = Rotation::new(dimension, seed);
        let rows = rows(5, dimension, kind, &mut random);
        // A query of another kind, and one that is a row.
        for query in [&self::rows(1, dimension, query_kind, &mut random)[0], &rows[0], &rows[1]] {
            let (coded, codes) = (coded(&rotation, &rows), QueryCodes::new(&rotation, query));
            let factors = ByteFactors { norms: &coded.norms, scales: &coded.scales, residuals: &coded.residuals };
            let comparisons = comparisons(&codes, &coded.bytes, rows.len());
            for (metric, (of, dots)) in METRICS.into_iter().flat_map(|metric| comparisons.iter().map(move |by| (metric, by))) {
                let (lower, upper) = bounds(of(metric, &codes), dots, factors);
                for (number, row) in rows.iter().enumerate() {
                    let distance = distance(metric, query, row);
                    prop_assert!(
                        lower[number] <= distance && distance <= upper[number],
                        "{metric:?}, row {number}: {distance} is not in {}..={}", lower[number], upper[number],
                    );
                }
            }
        }
    }

    /// The mask avoids a root a row. It may let a row through, but it must not lose one.
    #[test]
    fn a_mask_loses_no_row_within_reach(
        dimension in 1..600_u32,
        kind in 0..9_u32,
        query_kind in 0..9_u32,
        count in 1..65_usize,
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let rotation = Rotation::new(dimension, seed);
        let rows = rows(count, dimension, kind, &mut random);
        for query in [&self::rows(1, dimension, query_kind, &mut random)[0], &rows[0], &vec![0.0; dimension as usize]] {
            let (coded, codes) = (coded(&rotation, &rows), QueryCodes::new(&rotation, query));
            let factors = ByteFactors { norms: &coded.norms, scales: &coded.scales, residuals: &coded.residuals };
            let comparisons = comparisons(&codes, &coded.bytes, count);
            for (metric, (of, dots)) in METRICS.into_iter().flat_map(|metric| comparisons.iter().map(move |by| (metric, by))) {
                let (lower, upper) = bounds(of(metric, &codes), dots, factors);
                for reach in lower.iter().copied().chain([f64::NEG_INFINITY, f64::INFINITY, upper[0]]) {
                    let masks: Vec<u64> = Kernel::available()
                        .into_iter()
                        .map(|kernel| of(metric, &codes).may_reach(kernel, dots, factors, reach))
                        .collect();
                    prop_assert!(masks.iter().all(|mask| *mask == masks[0]));
                    for (row, lower) in lower.iter().enumerate().filter(|(_, lower)| **lower <= reach) {
                        prop_assert!(masks[0] >> row & 1 == 1, "{metric:?}, row {row}: {lower} is within {reach}");
                    }
                }
                // The same of estimates.
                let (factors, of) = (SignFactors { norms: &coded.norms, estimators: &coded.estimators }, Estimates::new(metric, &codes));
                let mut sign_dots = vec![0; count];
                Kernel::detect().sign_dots(&Queries::new([&codes]), &coded.signs, &mut sign_dots);
                let mut estimated = vec![0.0; count];
                estimates(metric, &codes, &sign_dots, factors, &mut estimated);
                for reach in estimated.iter().copied().chain([f64::NEG_INFINITY, f64::INFINITY]) {
                    for kernel in Kernel::available() {
                        let mask = of.may_reach(kernel, &sign_dots, factors, reach);
                        let lost = estimated.iter().zip(0..).find(|(estimate, row)| **estimate <= reach && mask >> row & 1 == 0);
                        prop_assert!(lost.is_none(), "{kernel:?}, {metric:?}: {lost:?} is within {reach}");
                    }
                }
            }
        }
    }

    /// The gap avoids the division of the bound. If the bound equals the reach, rounding alone
    /// decides.
    #[test]
    fn a_cosine_bound_within_reach_has_no_gap(
        query in proptest::collection::vec(-1e3..1e3_f32, 1..8),
        exponent in -40..30_i32,
        length in 0.5..2.0_f64,
        cosine in -1.0..1.0_f64,
        error in 0.0..0.1_f64,
    ) {
        let codes = QueryCodes::new(&Rotation::new(query.len() as u32, 3), &query);
        let bounds = Bounds::fine(Metric::Cosine, &codes);
        prop_assume!(codes.norm > 0.0);
        let length = length * 10.0_f64.powi(exponent);
        for near in [cosine, 1.0, -1.0, 0.0] {
            let (inner, error) = (near * length * codes.norm, error * length * codes.norm);
            let (lower, _) = bounds.cosine(inner, error, length);
            for reach in [lower, lower.next_up()] {
                prop_assert!(reach >= 2.0 || bounds.cosine_gap(inner, error, length, reach) <= 0.0, "{near} {reach}");
            }
        }
    }

    #[test]
    fn distances_are_those_of_plain_arithmetic(dimension in 1..600_u32, kind in 0..9_u32, seed in any::<u64>()) {
        let rows = rows(2, dimension, kind, &mut Random(seed));
        let (q, x) = (&rows[0], &rows[1]);
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            q.iter().zip(x).map(|(q, x)| of(f64::from(*q), f64::from(*x))).sum()
        };
        let (qq, xx, qx) = (sum(&|q, _| q * q), sum(&|_, x| x * x), sum(&|q, x| q * x));
        let near = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-11 * scale;
        let apart = sum(&|q, x| (q - x) * (q - x));
        prop_assert!(near(distance(Metric::L2, q, x), apart, qq + xx));
        prop_assert!(near(distance(Metric::InnerProduct, q, x), 1.0 - qx, 1.0 + (qq * xx).sqrt()));
        let cosine = if qq * xx == 0.0 { 1.0 } else { 1.0 - qx / (qq * xx).sqrt() };
        prop_assert!(near(distance(Metric::Cosine, q, x), cosine, 1.0));
        for metric in METRICS {
            prop_assert_eq!(distance(metric, q, x).to_bits(), distance(metric, x, q).to_bits());
        }
    }
}

/// The largest sums of a query, in the largest dimension. They must fit an i32 at every step.
#[test]
fn no_sum_of_products_overflows() {
    for dimension in [1, 2, 511, 4_096, 65_536] {
        let rotation = Rotation::new(dimension, 3);
        let mut random = Random(7);
        let flat: Vec<f32> = (0..dimension).map(|_| if random.next().is_multiple_of(2) { 1.0 } else { -1.0 }).collect();
        let mut spiked = flat.clone();
        spiked[0] = 1e6;
        for query in [flat, spiked] {
            let codes = QueryCodes::new(&rotation, &query);
            let absolute: i64 = codes.fine.integers.iter().map(|word| i64::from(word.unsigned_abs())).sum();
            assert!(absolute * 128 <= i64::from(i32::MAX), "{dimension}: {absolute}");
            assert!(
                absolute * 140 > i64::from(i32::MAX)
                    || codes.fine.integers.iter().any(|word| word.unsigned_abs() == 32_767)
            );
            // Every product is negative, or every one positive.
            let row: Vec<i8> = codes.fine.integers.iter().map(|word| if *word > 0 { -128 } else { 127 }).collect();
            for kernel in Kernel::available() {
                let mut dots = [0];
                kernel.fine_dots(&Queries::new([&codes]), &row, &mut dots);
                assert_eq!(i64::from(dots[0]), dot(&codes.fine.integers, &row), "{kernel:?}, {dimension}");
                kernel.coarse_dots(&Queries::new([&codes]), &row, &mut dots);
                assert_eq!(i64::from(dots[0]), dot(&codes.coarse.integers, &row), "{kernel:?}, {dimension}");
            }
            // The sign bits of the largest sum and of the least, then all set and none.
            let mut signs = vec![0; sign_bytes(dimension) * 4];
            for (number, word) in codes.fine.integers.iter().enumerate() {
                signs[number / 8] |= u8::from(*word < 0) << (number % 8);
            }
            let (first, rest) = signs.split_at_mut(sign_bytes(dimension));
            for (place, byte) in first.iter().enumerate() {
                rest[place] = !byte;
                rest[place + first.len()] = 0xff;
            }
            // As many rows as kernels take at once, instead of one by one.
            let signs = signs.repeat(8);
            let mut expected = [0; 32];
            Kernel::Portable.sign_dots(&Queries::new([&codes]), &signs, &mut expected);
            assert_eq!((expected[0], expected[2]), (-expected[1], -expected[3]));
            for kernel in Kernel::available() {
                let mut dots = [0; 32];
                kernel.sign_dots(&Queries::new([&codes]), &signs, &mut dots);
                assert_eq!(dots, expected, "{kernel:?}, {dimension}");
            }
        }
    }
}

/// Asserts that the bounds of a row hold its distance from a query, by every metric.
fn assert_bounded(rotation: &Rotation, query: &[f32], row: &[f32]) {
    let (coded, codes) = (coded(rotation, &[row.to_vec()]), QueryCodes::new(rotation, query));
    let factors = ByteFactors { norms: &coded.norms, scales: &coded.scales, residuals: &coded.residuals };
    let comparisons = comparisons(&codes, &coded.bytes, 1);
    for (metric, (of, dots)) in METRICS.into_iter().flat_map(|metric| comparisons.iter().map(move |by| (metric, by))) {
        let (lower, upper) = bounds(of(metric, &codes), dots, factors);
        let (distance, dimension) = (distance(metric, query, row), row.len());
        assert!(
            lower[0] <= distance && distance <= upper[0],
            "{metric:?}, {dimension}: {distance} is not in {}..={}",
            lower[0],
            upper[0]
        );
    }
}

/// The code of a row with one number is exact, so nothing hides the rounding of the query. In a
/// single dimension, nothing hides the rounding of the scale either.
#[test]
fn bounds_cover_the_rounding_of_query_and_scale() {
    let mut random = Random(29);
    for dimension in [1, 2, 4, 8, 16, 64] {
        for place in 0..dimension as usize {
            let rotation = Rotation::new(dimension, random.next());
            for number in [1.0, random.normal() as f32, 1e-43, 3e-44] {
                let mut row = vec![0.0; dimension as usize];
                row[place] = number;
                for kind in [0, 3] {
                    assert_bounded(&rotation, &rows(1, dimension, kind, &mut random)[0], &row);
                }
            }
        }
    }
}

/// The worst possible query points from the code to the row, so the bound is tight except for
/// rounding.
#[test]
fn bounds_hold_for_the_worst_query() {
    let mut random = Random(31);
    for dimension in [2, 3, 7, 16, 50] {
        let rotation = Rotation::new(dimension, random.next());
        for row in rows(5, dimension, 0, &mut random) {
            let coded = coded(&rotation, std::slice::from_ref(&row));
            let rotated = |row: &[f32]| {
                let mut out = Vec::new();
                rotation.apply(row, &mut out);
                out
            };
            let off: Vec<f64> = rotated(&row)
                .iter()
                .zip(&coded.bytes)
                .map(|(value, code)| value - f64::from(coded.scales[0]) * f64::from(*code))
                .collect();
            // The transpose of a rotation inverts it. Its rows are the rotated units.
            let query: Vec<f32> = (0..dimension as usize)
                .map(|place| {
                    let unit: Vec<f32> =
                        (0..dimension as usize).map(|at| if at == place { 1.0 } else { 0.0 }).collect();
                    rotated(&unit).iter().zip(&off).map(|(unit, off)| unit * off * 1e3).sum::<f64>() as f32
                })
                .collect();
            assert_bounded(&rotation, &query, &row);
            assert_bounded(&rotation, &query.iter().map(|value| -value).collect::<Vec<_>>(), &row);
        }
    }
}

/// The result of a scan of signs, computed from its definition.
#[test]
fn a_sign_dot_negates_where_a_bit_is_set() {
    let rotation = Rotation::new(70, 11);
    let mut random = Random(5);
    let query = &rows(1, 70, 0, &mut random)[0];
    let codes = QueryCodes::new(&rotation, query);
    let mut rotated = Vec::new();
    rotation.apply(query, &mut rotated);
    let signs = random.bytes(16);
    let expected: i32 = rotated
        .iter()
        .enumerate()
        .map(|(number, value)| {
            let integer = (value / codes.signed.step).round_ties_even() as i32;
            if signs[number / 8] >> (number % 8) & 1 == 1 { -integer } else { integer }
        })
        .sum();
    let mut dots = [0];
    Kernel::detect().sign_dots(&Queries::new([&codes]), &signs, &mut dots);
    assert_eq!(dots, [expected]);
}

#[test]
fn a_row_without_codes_must_be_read() {
    let rotation = Rotation::new(384, 1);
    let coded = coded(&rotation, &[vec![f32::MAX; 384]]);
    for query in [vec![0.0; 384], vec![1.0; 384], vec![f32::MAX; 384]] {
        let codes = QueryCodes::new(&rotation, &query);
        for metric in METRICS {
            if metric == Metric::Cosine && query[0] == 0.0 {
                continue;
            }
            let mut estimate = [0.0];
            let factors = ByteFactors { norms: &coded.norms, scales: &coded.scales, residuals: &coded.residuals };
            for of in [Bounds::fine, Bounds::coarse] {
                let of = of(metric, &codes);
                assert_eq!(bounds(of, &[0], factors), (vec![f64::NEG_INFINITY], vec![f64::INFINITY]));
                assert_eq!(of.may_reach(Kernel::detect(), &[0], factors, f64::NEG_INFINITY) & 1, 1);
            }
            let factors = SignFactors { norms: &coded.norms, estimators: &coded.estimators };
            estimates(metric, &codes, &[0], factors, &mut estimate);
            assert_eq!(estimate[0], f64::NEG_INFINITY);
            // No row is nearer, and the mask still lets it through.
            let of = Estimates::new(metric, &codes);
            let mask = of.may_reach(Kernel::detect(), &[0], factors, f64::NEG_INFINITY);
            assert_eq!(mask & 1, 1);
        }
    }
}

/// A zero vector has no angle. Chroma gives it the distance 1.
#[test]
fn the_cosine_distance_of_a_zero_vector_is_one() {
    let (zero, one) = ([0.0; 3], [1.0, 2.0, 3.0]);
    for (q, x) in [(zero, one), (one, zero), (zero, zero)] {
        assert_eq!(distance(Metric::Cosine, &q, &x), 1.0);
    }
    assert_eq!(distance(Metric::Cosine, &one, &one), 0.0);
    assert_eq!(distance(Metric::Cosine, &one, &one.map(|value| -value)), 2.0);
    assert_eq!(distance(Metric::L2, &one, &[1.0, 0.0, 0.0]), 13.0);
    assert_eq!(distance(Metric::InnerProduct, &one, &[1.0, 1.0, 0.0]), -2.0);
}

/// The bounds are useful: on rows of one cluster they rule out all but a few.
#[test]
fn bounds_rule_out_most_rows() {
    let mut random = Random(17);
    let rows: Vec<Vec<f32>> = (0..1_000).map(|_| (0..128).map(|_| (3.0 + random.normal()) as f32).collect()).collect();
    let rotation = Rotation::new(128, 5);
    let (coded, codes) = (coded(&rotation, &rows), QueryCodes::new(&rotation, &rows[77]));
    let factors = ByteFactors { norms: &coded.norms, scales: &coded.scales, residuals: &coded.residuals };
    let comparisons = comparisons(&codes, &coded.bytes, rows.len());
    // Coarse integers of a query leave a multiple of the rows if all lie in one cluster.
    let most = [(60, 120), (250, 300)];
    let cases = METRICS.into_iter().flat_map(|metric| comparisons.iter().zip(most).map(move |by| (metric, by)));
    for (metric, ((of, dots), (most_left, most_masked))) in cases {
        let (_, mut uppers) = bounds(Bounds::fine(metric, &codes), &comparisons[0].1, factors);
        uppers.sort_by(f64::total_cmp);
        let (lower, _) = bounds(of(metric, &codes), dots, factors);
        let left = lower.iter().filter(|lower| **lower <= uppers[9]).count();
        assert!((10..most_left).contains(&left), "{metric:?}: {left}");
        let groups = dots.chunks(GROUP).zip(coded.norms.chunks(GROUP));
        let groups = groups.zip(coded.scales.chunks(GROUP).zip(coded.residuals.chunks(GROUP)));
        let masked: u32 = groups
            .map(|((dots, norms), (scales, residuals))| {
                let factors = ByteFactors { norms, scales, residuals };
                let mask = of(metric, &codes).may_reach(Kernel::detect(), dots, factors, uppers[9]);
                (mask & (u64::MAX >> (GROUP - dots.len()))).count_ones()
            })
            .sum();
        assert!(masked as usize >= left && masked < most_masked, "{metric:?}: {masked}");
    }
}

/// Estimates are good: the hundred best hold the ten nearest, except for a few.
#[test]
fn estimates_find_the_nearest_rows() {
    let mut random = Random(23);
    let centres: Vec<Vec<f64>> = (0..10).map(|_| (0..128).map(|_| random.normal()).collect()).collect();
    let mut near = |centre: usize| -> Vec<f32> {
        centres[centre].iter().map(|value| (value + 0.7 * random.normal()) as f32).collect()
    };
    let rows: Vec<Vec<f32>> = (0..800).map(|row| near(row % 10)).collect();
    let rotation = Rotation::new(128, 5);
    let coded = coded(&rotation, &rows);
    for metric in METRICS {
        let mut found = 0;
        for centre in 0..10 {
            let query = near(centre);
            let codes = QueryCodes::new(&rotation, &query);
            let mut dots = vec![0; rows.len()];
            Kernel::detect().sign_dots(&Queries::new([&codes]), &coded.signs, &mut dots);
            let factors = SignFactors { norms: &coded.norms, estimators: &coded.estimators };
            let mut estimated = vec![0.0; rows.len()];
            estimates(metric, &codes, &dots, factors, &mut estimated);
            let nearest = |count: usize, by: &dyn Fn(usize) -> f64| {
                let mut order: Vec<usize> = (0..rows.len()).collect();
                order.sort_by(|a, b| by(*a).total_cmp(&by(*b)));
                order.truncate(count);
                order
            };
            let candidates = nearest(100, &|row| estimated[row]);
            // The mask lets few others through.
            let last = estimated[candidates[99]];
            let groups = dots.chunks(GROUP).zip(coded.norms.chunks(GROUP).zip(coded.estimators.chunks(GROUP)));
            let masks = groups.map(|(dots, (norms, estimators))| {
                let factors = SignFactors { norms, estimators };
                let mask = Estimates::new(metric, &codes).may_reach(Kernel::detect(), dots, factors, last);
                mask & (u64::MAX >> (GROUP - dots.len()))
            });
            assert_eq!(masks.map(u64::count_ones).sum::<u32>(), 100);
            let truth = nearest(10, &|row| distance(metric, &query, &rows[row]));
            found += truth.iter().filter(|row| candidates.contains(row)).count();
        }
        assert!(found >= 95, "{metric:?}: {found} of 100");
    }
}
