//! The mutation of inputs that describe objects, and the choice of those to keep.
//!
//! Left to itself the fuzzer changes several things at once and collects inputs refused for ever
//! new reasons. After a minute hardly any input is an object, and a rule behind twenty others is
//! never tried alone.

use libfuzzer_sys::{Corpus, fuzzer_mutate};

/// Every other time changes one small thing of `data[..size]`; otherwise lets libFuzzer mutate it.
/// Returns the new length.
pub fn mutated(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if seed.is_multiple_of(2) || size == 0 || size > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    // SplitMix64: the seeds of two mutations differ little.
    let mut state = u64::from(seed);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut place = |below: usize| usize::try_from(next() % below.max(1) as u64).unwrap_or(0);
    let (at, from, how) = (place(size), place(size), place(8));
    let (value, bit) = (place(256), place(8));
    let input = data.get_mut(..size).unwrap_or_default();
    match how {
        // A number of 4 or 8 bytes is replaced by another one from the input.
        0 | 1 => {
            let len = if how == 0 { 4 } else { 8 };
            if let (Some(_), Some(_)) = (input.get(at..at + len), input.get(from..from + len)) {
                input.copy_within(from..from + len, at);
            }
        }
        _ => {
            let Some(byte) = input.get_mut(at) else { return size };
            *byte = match how {
                2 => byte.wrapping_add(1),
                3 => byte.wrapping_sub(1),
                4 => u8::try_from(value).unwrap_or(0),
                _ => *byte ^ (1 << bit),
            };
        }
    }
    size
}

/// Keeps an input that reached new code if it is an object, or if it asks for no mending. An input
/// that is refused with right checksums leads nowhere.
pub fn kept(mend: Option<&u8>, is_object: bool) -> Corpus {
    if is_object || mend.is_none_or(|mend| mend % 4 == 0) { Corpus::Keep } else { Corpus::Reject }
}
