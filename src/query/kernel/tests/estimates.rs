//! Estimates of distances by sign bits.

use super::*;

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
            Kernel::detect().sign_dots(&Queries::new([&codes]), Rows::all(&coded.signs), &mut dots);
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
