//! Bounds of distances by codes of 8 bits: they hold for every row, and they are useful.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

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
