//! Distances of rows in full precision.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

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
