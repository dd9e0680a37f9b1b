//! The first inputs of the fuzzer: a few days of work each, calm and stormy.

/// Actions as `step.rs` reads them, and fates as the store does.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // An append of two ops, and the actions that may come between two appends.
    let append = |writer: u8, put: u8| vec![writer << 5, 0x80, 0, 0, 0x0d, 3, 7, put, 1, 2, 0xca, 5, 9];
    let from = |source: u8, put: u8| vec![9 | source << 6, 0x41, 2, 3, 0x2a, put];
    let middles: [&[u8]; 8] = [
        &[13],
        &[15, 24],
        &[13, 17, 19, 25],
        &[21, 13, 23, 22],
        &[28, 13, 15, 19, 24],
        &[26, 27, 25],
        &[60, 12, 1, 13, 45, 24],
        &[19, 25, 17, 26],
    ];
    let fates: [&[u8]; 5] = [
        &[0],
        &[0, 0, 48, 0, 51, 0],
        &[0, 56, 0, 0, 62, 54, 0],
        &[64, 128, 0, 192, 59, 0, 60],
        &[0, 0, 0, 0, 0, 0, 0, 61],
    ];
    let mut seeds = Vec::new();
    for settings in 0..16u8 {
        let mut steps = vec![settings];
        // Short inputs: the fuzzer makes longer ones of several.
        for (round, middle) in (0u8..4).zip(middles.iter().cycle().skip(usize::from(settings))) {
            steps.extend(append(round & 1, round));
            steps.extend(from(round & 1, round));
            steps.extend_from_slice(middle);
        }
        let fates = fates[usize::from(settings) % fates.len()];
        let fates: Vec<u8> = fates.iter().copied().cycle().take(steps.len()).collect();
        seeds.push([steps, fates].concat());
    }
    seeds
}
