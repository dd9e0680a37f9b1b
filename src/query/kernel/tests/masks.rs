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
                    }
                }
            }
        }
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
