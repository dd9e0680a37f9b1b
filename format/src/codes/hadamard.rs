//! The fast Walsh-Hadamard transform, not scaled.

/// Transforms values in place; their number must be a power of two.
///
/// Stage `h = 1, 2, 4, …` replaces each pair `(a, b)` at distance `h` by `(a + b, a - b)`. Stages
/// run in threes and twos. That changes the order of memory accesses and no result.
pub(super) fn transform(values: &mut [f64]) {
    let mut half = 1;
    if values.len() >= 8 {
        for eight in values.as_chunks_mut::<8>().0 {
            *eight = of_eight(*eight);
        }
        half = 8;
    }
    while half * 4 <= values.len() {
        for block in values.chunks_exact_mut(half * 4) {
            two_stages(block, half);
        }
        half *= 4;
    }
    // At most one stage is left. If none is, no block is this long.
    for block in values.chunks_exact_mut(half * 2) {
        let (low, high) = block.split_at_mut(half);
        for (a, b) in low.iter_mut().zip(high) {
            (*a, *b) = (*a + *b, *a - *b);
        }
    }
}

/// Stages 1, 2 and 4.
#[inline]
fn of_eight([a, b, c, d, e, f, g, h]: [f64; 8]) -> [f64; 8] {
    let [a, b, c, d] = [a + b, a - b, c + d, c - d];
    let [e, f, g, h] = [e + f, e - f, g + h, g - h];
    let [a, b, c, d] = [a + c, b + d, a - c, b - d];
    let [e, f, g, h] = [e + g, f + h, e - g, f - h];
    [a + e, b + f, c + g, d + h, a - e, b - f, c - g, d - h]
}

/// Stages `half` and `2 half` of a block of `4 half`.
#[inline]
fn two_stages(block: &mut [f64], half: usize) {
    let (low, high) = block.split_at_mut(half * 2);
    let ((first, second), (third, fourth)) = (low.split_at_mut(half), high.split_at_mut(half));
    for (((a, b), c), d) in first.iter_mut().zip(second).zip(third).zip(fourth) {
        let [w, x, y, z] = [*a + *b, *a - *b, *c + *d, *c - *d];
        [*a, *b, *c, *d] = [w + y, x + z, w - y, x - z];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, stage by stage.
    fn by_definition(values: &mut [f64]) {
        let mut half = 1;
        while half < values.len() {
            for low in (0..values.len()).filter(|i| i & half == 0) {
                let (a, b) = (values[low], values[low + half]);
                (values[low], values[low + half]) = (a + b, a - b);
            }
            half *= 2;
        }
    }

    #[test]
    fn every_length_equals_the_definition_bit_for_bit() {
        for log in 0..13 {
            let mut fast: Vec<f64> = (0..1_u32 << log).map(|i| f64::from(i * 7 % 31).sqrt() - 2.5).collect();
            let mut slow = fast.clone();
            transform(&mut fast);
            by_definition(&mut slow);
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&fast), bits(&slow), "2^{log}");
        }
    }
}
