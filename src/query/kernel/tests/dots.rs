//! Dots of queries and codes: every kernel gives the same integers, and none overflows.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Codes may hold anything, even -128. A damaged object must not make two machines differ.
    #[test]
    fn all_kernels_equal_the_portable_one(
        dimension in 1..1_300_u32,
        count in 0..150_usize,
        queries in prop_oneof![1..7_usize, 8..70_usize],
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
            kernel.fine_dots(&together, Rows::all(&bytes), &mut fine);
            kernel.coarse_dots(&together, Rows::all(&bytes), &mut coarse);
            kernel.sign_dots(&together, Rows::all(&signs), &mut sign_dots);
            (fine, coarse, sign_dots)
        };
        let expected = dots(Kernel::Portable);
        for kernel in Kernel::available() {
            prop_assert_eq!(&dots(kernel), &expected, "{:?}", kernel);
        }
        // Wanted rows alone have the same dots; those of others are arbitrary.
        for one_in in [2, 10] {
            let picks: Vec<u32> = (0..count as u32).filter(|_| random.next().is_multiple_of(one_in)).collect();
            for kernel in Kernel::available() {
                let [mut fine, mut coarse, mut sign_dots] = [4, 5, 6].map(|fill| vec![fill; queries.len() * count]);
                kernel.fine_dots(&together, Rows::picked(&bytes, &picks), &mut fine);
                kernel.coarse_dots(&together, Rows::picked(&bytes, &picks), &mut coarse);
                kernel.sign_dots(&together, Rows::picked(&signs, &picks), &mut sign_dots);
                for place in (0..queries.len()).flat_map(|query| picks.iter().map(move |pick| query * count + *pick as usize)) {
                    let found = (fine[place], coarse[place], sign_dots[place]);
                    prop_assert_eq!(found, (expected.0[place], expected.1[place], expected.2[place]), "{:?}", kernel);
                }
            }
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
            // One query, and as many as share a pass.
            for (kernel, queries) in Kernel::available().into_iter().flat_map(|kernel| [(kernel, 1), (kernel, 32)]) {
                let (together, mut dots) = (Queries::new(vec![&codes; queries]), vec![0; queries]);
                kernel.fine_dots(&together, Rows::all(&row), &mut dots);
                let expected = [dot(&codes.fine.integers, &row), dot(&codes.coarse.integers, &row)];
                assert!(dots.iter().all(|dot| i64::from(*dot) == expected[0]), "{kernel:?}, {dimension}");
                kernel.coarse_dots(&together, Rows::all(&row), &mut dots);
                assert!(dots.iter().all(|dot| i64::from(*dot) == expected[1]), "{kernel:?}, {dimension}");
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
            Kernel::Portable.sign_dots(&Queries::new([&codes]), Rows::all(&signs), &mut expected);
            assert_eq!((expected[0], expected[2]), (-expected[1], -expected[3]));
            for (kernel, queries) in Kernel::available().into_iter().flat_map(|kernel| [(kernel, 1), (kernel, 32)]) {
                let mut dots = vec![0; 32 * queries];
                kernel.sign_dots(&Queries::new(vec![&codes; queries]), Rows::all(&signs), &mut dots);
                assert!(dots.chunks(32).all(|dots| dots == expected), "{kernel:?}, {dimension}");
            }
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
    Kernel::detect().sign_dots(&Queries::new([&codes]), Rows::all(&signs), &mut dots);
    assert_eq!(dots, [expected]);
}
