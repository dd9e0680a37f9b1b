//! Masks of the rows that may be near enough.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

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
                Kernel::detect().sign_dots(&Queries::new([&codes]), Rows::all(&coded.signs), &mut sign_dots);
                let mut estimated = vec![0.0; count];
                estimates(metric, &codes, &sign_dots, factors, &mut estimated);
                for reach in estimated.iter().copied().chain([f64::NEG_INFINITY, f64::INFINITY]) {
                    for kernel in Kernel::available() {
                        let mask = of.may_reach(kernel, &sign_dots, factors, reach);
                        let lost = estimated.iter().zip(0..).find(|(estimate, row)| **estimate <= reach && mask >> row & 1 == 0);
                        prop_assert!(lost.is_none(), "{kernel:?}, {metric:?}: {lost:?} is within {reach}");
                        let extremes = SignExtremes::of(metric, kernel, factors);
                        let is_near = estimated.iter().any(|estimate| *estimate <= reach);
                        let are_beyond = of.are_beyond(kernel, &sign_dots, &extremes, reach);
                        prop_assert!(!(is_near && are_beyond), "{kernel:?}, {metric:?}: a row is within {reach}");
                    }
                }
            }
        }
    }

    /// The mask avoids the division of the bound, and works in f32. If the bound equals the reach,
    /// rounding alone decides.
    #[test]
    fn a_cosine_mask_keeps_a_row_at_its_bound(
        query in proptest::collection::vec(-1e3..1e3_f32, 1..8),
        exponent in -44..38_i32,
        length in 0.5..2.0_f32,
        dot in -400_000..400_000_i32,
        scale in 0.0..1e-4_f32,
        residual in 0.0..0.1_f32,
        estimator in 0.0..1e-1_f32,
    ) {
        let codes = QueryCodes::new(&Rotation::new(query.len() as u32, 3), &query);
        prop_assume!(codes.norm > 0.0);
        let length = (f64::from(length) * 10.0_f64.powi(exponent)) as f32;
        let [scale, residual, estimator] = [scale, residual, estimator].map(|factor| length * factor);
        for dot in [dot, dot / 1_000, 0] {
            let factors = ByteFactors { norms: &[length], scales: &[scale], residuals: &[residual] };
            for bounds in [Bounds::fine, Bounds::coarse].map(|of| of(Metric::Cosine, &codes)) {
                let (lower, _) = bounds.of(dot, length, scale, residual);
                for reach in [lower, lower.next_up()] {
                    for kernel in Kernel::available() {
                        prop_assert_eq!(bounds.may_reach(kernel, &[dot], factors, reach) & 1, 1, "{} {}", dot, reach);
                    }
                }
            }
            let (estimates, dot) = (Estimates::new(Metric::Cosine, &codes), dot / 1_000);
            let factors = SignFactors { norms: &[length], estimators: &[estimator] };
            let reach = estimates.of(dot, length, estimator);
            prop_assert_eq!(estimates.may_reach(Kernel::detect(), &[dot], factors, reach) & 1, 1, "{} {}", dot, reach);
            let extremes = SignExtremes::of(Metric::Cosine, Kernel::detect(), factors);
            prop_assert!(!estimates.are_beyond(Kernel::detect(), &[dot], &extremes, reach), "{} {}", dot, reach);
        }
    }
}

/// Story: each query compared each row of a group with its reach, though nearly all groups lie
/// beyond it as a whole.
#[test]
fn groups_of_far_rows_are_beyond_reach() {
    let (mut random, rotation) = (Random(23), Rotation::new(384, 5));
    let rows = rows(16 * GROUP, 384, 0, &mut random);
    let (coded, codes) = (coded(&rotation, &rows), QueryCodes::new(&rotation, &rows[200]));
    let mut dots = vec![0; rows.len()];
    Kernel::detect().sign_dots(&Queries::new([&codes]), Rows::all(&coded.signs), &mut dots);
    for metric in METRICS {
        let of = Estimates::new(metric, &codes);
        let reach = of.of(dots[200], coded.norms[200], coded.estimators[200]);
        let groups = dots.chunks(GROUP).zip(coded.norms.chunks(GROUP).zip(coded.estimators.chunks(GROUP)));
        let beyond = groups.map(|(dots, (norms, estimators))| {
            let extremes = SignExtremes::of(metric, Kernel::detect(), SignFactors { norms, estimators });
            of.are_beyond(Kernel::detect(), dots, &extremes, reach)
        });
        let near: Vec<usize> = beyond.enumerate().filter(|(_, is_beyond)| !is_beyond).map(|(group, _)| group).collect();
        assert_eq!(near, [200 / GROUP], "{metric:?}");
    }
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
