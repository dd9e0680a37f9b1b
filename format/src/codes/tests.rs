use proptest::prelude::*;

use super::*;

/// A query's side of the bound, with the query itself in place of its integers.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|value| f64::from(*value)).collect()
}

struct Encoded {
    signs: Vec<u8>,
    bytes: Vec<i8>,
    factors: Factors,
}

fn encode(rotation: &Rotation, row: &[f32]) -> Encoded {
    let mut signs = vec![0xff; sign_bytes(rotation.dimension())];
    let mut bytes = vec![0xff; row.len()];
    let factors = CodeEncoder::new(rotation.clone()).encode(row, &mut signs, &mut bytes);
    Encoded { signs, bytes: bytes.into_iter().map(|byte| byte as i8).collect(), factors }
}

/// Random numbers of one of the kinds that break floats.
fn rows(dimension: u32, kind: u32, seed: u64) -> [Vec<f32>; 2] {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from((state >> 33) as u32) / f64::from(1_u32 << 31)
    };
    let mut normal = move || (0..12).map(|_| next()).sum::<f64>() - 6.0;
    let offset = normal() * 3.0;
    [0, 1].map(|which| {
        let value = |number: u32, normal: f64| match kind {
            0 => normal,
            // A cluster far from the origin.
            1 => offset + normal * 1e-3,
            2 => normal * 1e-38,
            3 => normal * 1e-44,
            4 => normal * 1e37,
            5 => f64::from(f32::MAX) * normal.signum(),
            // One dimension outshines the others.
            6 if number == dimension / 2 => normal * 1e6,
            // One row holds a single number, the other nothing.
            7 if which == 1 || number > 0 => 0.0,
            _ => normal * 1e-3,
        };
        (0..dimension).map(|number| value(number, normal()) as f32).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rotation_keeps_inner_products(dimension in 1..2_048_u32, kind in 0..8_u32, seed in any::<u64>()) {
        let rotation = Rotation::new(dimension, seed);
        let [x, y] = rows(dimension, kind, seed);
        let [mut rx, mut ry] = [Vec::new(), Vec::new()];
        rotation.apply(&x, &mut rx);
        rotation.apply(&y, &mut ry);
        let (x, y) = (wide(&x), wide(&y));
        let allowed = 4.0 * ROTATION_ERROR * (dot(&x, &x) * dot(&y, &y)).sqrt();
        prop_assert!((dot(&rx, &ry) - dot(&x, &y)).abs() <= allowed);
        prop_assert!((dot(&rx, &rx) - dot(&x, &x)).abs() <= 4.0 * ROTATION_ERROR * dot(&x, &x));
    }

    #[test]
    fn factors_equal_their_definition(dimension in 1..2_048_u32, kind in 0..8_u32, seed in any::<u64>()) {
        let rotation = Rotation::new(dimension, seed);
        let [x, q] = rows(dimension, kind, seed);
        let Encoded { signs, bytes, factors } = encode(&rotation, &x);
        let mut rotated = Vec::new();
        rotation.apply(&x, &mut rotated);
        let norm = dot(&wide(&x), &wide(&x)).sqrt();
        if !(norm as f32).is_finite() {
            prop_assert_eq!((factors.norm, factors.residual), (f32::INFINITY, f32::INFINITY));
            return Ok(());
        }
        prop_assert!((f64::from(factors.norm) - norm).abs() <= norm * SCALE_ERROR + 1e-45);
        for (number, value) in rotated.iter().enumerate() {
            prop_assert_eq!(signs[number / 8] >> (number % 8) & 1 == 1, *value < 0.0);
        }
        let set: u32 = signs.iter().map(|byte| byte.count_ones()).sum();
        prop_assert_eq!(set as usize, rotated.iter().filter(|value| **value < 0.0).count());
        let code: Vec<f64> = bytes.iter().map(|byte| f64::from(*byte)).collect();
        let near: Vec<f64> = code.iter().map(|code| f64::from(factors.scale) * code).collect();
        let off: Vec<f64> = rotated.iter().zip(&near).map(|(y, near)| y - near).collect();
        let distance = dot(&off, &off).sqrt();
        let residual = f64::from(factors.residual);
        prop_assert!(distance <= residual);
        prop_assert!(residual <= distance + norm * (2.0 * ROTATION_ERROR + SCALE_ERROR) + 1e-44);
        // The residual vector is orthogonal to the code, except for the rounding of the scale.
        let rounding = SCALE_ERROR * norm + SCALE_UNDERFLOW;
        let length = dot(&code, &code).sqrt();
        prop_assert!(dot(&off, &code).abs() <= rounding * length);
        // The bound and its tighter form.
        let mut rq = Vec::new();
        rotation.apply(&q, &mut rq);
        let (exact, told) = (dot(&wide(&q), &wide(&x)), dot(&rq, &near));
        let query = dot(&rq, &rq).sqrt();
        prop_assert!((exact - told).abs() <= query * residual * (1.0 + 1e-9));
        let squared = dot(&near, &near);
        let across = if squared > 0.0 { (query * query - told * told / squared).max(0.0).sqrt() } else { query };
        prop_assert!((exact - told).abs() <= (across + query * 1e-7) * residual + query * rounding);
        if norm > 1e-30 {
            let signed = rotated.iter().map(|value| value.abs()).sum::<f64>();
            prop_assert!((f64::from(factors.estimator) * signed / (norm * norm) - 1.0).abs() < 1e-6);
        }
    }
}

/// The rotation as SPEC.md describes it, number by number.
fn rotated_by_the_book(seed: u64, row: &[f32]) -> Vec<f64> {
    let (dimension, mut state) = (row.len(), seed);
    let mut word = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let power = (0..).map(|log| 1_usize << log).take_while(|power| *power <= dimension).last().unwrap();
    let mut values = wide(row);
    for round in 0..3 {
        let words: Vec<u64> = (0..dimension.div_ceil(64)).map(|_| word()).collect();
        for (number, value) in values.iter_mut().enumerate() {
            if words[number / 64] >> (number % 64) & 1 == 1 {
                *value = -*value;
            }
        }
        let first = if round == 1 { dimension - power } else { 0 };
        let before = values[first..first + power].to_vec();
        for (out, value) in values[first..first + power].iter_mut().enumerate() {
            let signed =
                before.iter().enumerate().map(|(of, x)| if (of & out).count_ones() % 2 == 1 { -x } else { *x });
            *value = signed.sum::<f64>() / (power as f64).sqrt();
        }
        if round == 1 && power < dimension {
            let half = dimension.div_ceil(2);
            for low in 0..dimension - half {
                let (a, b) = (values[low], values[low + half]);
                (values[low], values[low + half]) = ((a + b) / 2_f64.sqrt(), (a - b) / 2_f64.sqrt());
            }
        }
    }
    values
}

/// Story: a wrong rotation, which also mixed the halves of 128 numbers, passed because it kept all
/// inner products. Readers of another program would have found no neighbour by codes.
#[test]
fn a_rotation_is_the_one_that_spec_describes() {
    for dimension in [1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 96, 100, 128, 200] {
        let [row, _] = rows(dimension, 0, 5);
        let mut rotated = Vec::new();
        Rotation::new(dimension, 0x0f1e_2d3c).apply(&row, &mut rotated);
        let expected = rotated_by_the_book(0x0f1e_2d3c, &row);
        let far = rotated.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(rotated.len() == expected.len() && far < 1e-12, "{dimension}: {far:e}");
    }
}

#[test]
fn a_zero_row_has_no_residual() {
    for dimension in [1, 3, 64, 100] {
        for zero in [0.0, -0.0] {
            let encoded = encode(&Rotation::new(dimension, 9), &vec![zero; dimension as usize]);
            assert_eq!(encoded.factors, Factors::default());
            assert!(encoded.signs.iter().all(|byte| *byte == 0) && encoded.bytes.iter().all(|byte| *byte == 0));
        }
    }
}

/// A norm that f32 cannot hold. No bound by codes exists, and the factors must not claim one.
#[test]
fn a_row_beyond_f32_falls_out_of_the_codes() {
    let row = vec![f32::MAX; 384];
    let encoded = encode(&Rotation::new(384, 1), &row);
    let expected = Factors { norm: f32::INFINITY, estimator: 0.0, scale: 0.0, residual: f32::INFINITY };
    assert_eq!(encoded.factors, expected);
    assert!(encoded.bytes.iter().all(|byte| *byte == 0));
    // The largest norm that fits has codes.
    let mut row = vec![0.0; 384];
    row[7] = f32::MAX;
    let factors = encode(&Rotation::new(384, 1), &row).factors;
    assert!(factors.residual < f32::MAX / 20.0 && factors.norm == f32::MAX);
}

/// The least number of f32. Its scale is zero, so its code decodes to zero, and the residual
/// accounts for that.
#[test]
fn the_smallest_rows_keep_a_sound_residual() {
    let least = f32::from_bits(1);
    let mut row = vec![0.0; 100];
    row[3] = least;
    let factors = encode(&Rotation::new(100, 1), &row).factors;
    assert_eq!((factors.norm, factors.scale), (least, 0.0));
    assert!(factors.residual >= least);
}

#[test]
fn a_seed_and_a_dimension_make_a_rotation() {
    let row: Vec<f32> = (0..50_u16).map(f32::from).collect();
    let rotated = |dimension, seed| {
        let mut out = Vec::new();
        Rotation::new(dimension, seed).apply(&row, &mut out);
        out
    };
    assert_eq!(rotated(50, 1), rotated(50, 1));
    assert_ne!(rotated(50, 1), rotated(50, 2));
    // Any dimension and any row are accepted.
    assert_eq!(Rotation::new(0, 1).dimension(), 1);
    assert_eq!(Rotation::new(u32::MAX, 1).dimension(), 65_536);
    assert_eq!((rotated(3, 1).len(), rotated(70, 1).len()), (3, 70));
}

/// Each number of a rotated row depends on each of the row, so the rotation spreads an outlier.
#[test]
fn a_rotation_spreads_every_coordinate() {
    for dimension in [8, 12, 100, 384, 500, 768, 1_000] {
        let rotation = Rotation::new(dimension, 42);
        for number in 0..dimension as usize {
            let mut row = vec![0.0; dimension as usize];
            row[number] = 1.0;
            let mut out = Vec::new();
            rotation.apply(&row, &mut out);
            let largest = out.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            assert!(largest < 6.0 / f64::from(dimension).sqrt(), "{number} of {dimension}: {largest}");
        }
    }
}

/// A looser bound gives the same answers from more rows, so no search would tell.
#[test]
fn bounds_of_rounding_are_the_powers_that_they_claim() {
    assert_eq!(ROTATION_ERROR, 2.0_f64.powi(-36));
    assert_eq!(SCALE_ERROR, 2.0_f64.powi(-23));
    assert_eq!(SCALE_UNDERFLOW, 2.0_f64.powi(15 - 150));
}
