//! Edits of snapshots, some right and some with a mistake, planned on a state that may be out of
//! date when they are applied. A published manifest keeps every invariant, encodes and decodes to
//! itself, and counts every op that was folded. A right edit is never refused as a defect, and no
//! mistake is published.
#![no_main]

use std::collections::BTreeMap;

use deltafold::format::{Manifest, Nonce, Version};
use deltafold::rehearsal::{Mistake, Rehearsal, Rehearsed, Step};
use deltafold_fuzz::{Choices, seeds};
use libfuzzer_sys::fuzz_target;

/// The number of steps in one run.
const STEPS: usize = 160;

const MISTAKES: [Mistake; 6] = [
    Mistake::Uncounted,
    Mistake::LeftOut,
    Mistake::Exchanged,
    Mistake::Released,
    Mistake::Misplaced,
    Mistake::Misresolved,
];

fuzz_target!(init: seeds::write_if_asked(seeds), |input: &[u8]| check(Choices::of(input)));

fn check(mut choices: Choices<'_>) {
    let mut rehearsal = Rehearsal::default();
    let mut history: BTreeMap<Version, Nonce> = BTreeMap::new();
    for _ in 0..STEPS {
        if choices.is_empty() {
            break;
        }
        let how = choices.byte();
        // Most edits are right, and planned on the current state.
        let lag = if how & 0x18 == 0x18 { how >> 5 } else { 0 };
        let mistake = if how & 7 == 7 { choices.one_of(&MISTAKES) } else { None };
        let step = step(&mut choices);
        let before = rehearsal.current().clone();
        match rehearsal.step(&step, lag, mistake) {
            Rehearsed::Published => {
                assert!(mistake.is_none(), "{mistake:?} in {step:?} was published");
                published(&before, rehearsal.current(), &history);
                history.insert(rehearsal.current().version, rehearsal.current().nonce);
            }
            Rehearsed::Refused(rule) => {
                assert!(mistake.is_some(), "{step:?}, {lag} versions old, was refused: {rule}");
                assert_eq!(*rehearsal.current(), before);
            }
            Rehearsed::Conflict => assert_eq!(*rehearsal.current(), before),
            Rehearsed::Nothing => {}
        }
        let current = rehearsal.current();
        assert_eq!((current.ops, current.digest), rehearsal.folded());
    }
}

fn published(old: &Manifest, new: &Manifest, history: &BTreeMap<Version, Nonce>) {
    let encoded = new.encode().expect("a published manifest can be encoded");
    let decoded = Manifest::decode(encoded.to_bytes()).expect("an encoded object can be decoded");
    assert_eq!(decoded, *new);
    assert_eq!(new.version, old.version.next());
    for (version, nonce) in new.ancestors.iter().map(|ancestor| (ancestor.version, ancestor.nonce)) {
        assert_eq!(history.get(&version), Some(&nonce), "a version remembers one that never was");
    }
    for pin in &new.pins {
        assert_eq!(history.get(&pin.version), Some(&pin.nonce), "a pin keeps a version that never was");
    }
}

fn step(choices: &mut Choices<'_>) -> Step {
    match choices.below(12) {
        0..=4 => {
            let segments = choices.byte();
            let parts = (0..choices.below(4)).map(|_| choices.byte()).collect();
            let marks = (0..choices.below(4)).map(|_| (choices.byte(), choices.byte())).collect();
            Step::Fold { segments, parts, marks, day: choices.coin().then(|| choices.byte()) }
        }
        5..=7 => Step::Merge {
            start: choices.byte(),
            count: choices.byte(),
            carried: choices.byte(),
            keeps_embeddings: choices.coin(),
        },
        8 => Step::Pin { name: choices.byte(), back: choices.byte() },
        9 => Step::Unpin(choices.byte()),
        _ => {
            let (segments, versions) = (choices.byte(), choices.byte());
            Step::Sweep { segments, versions, expired: choices.coin().then(|| choices.byte()) }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let fold = |how: u8, rows: u8| vec![how, 0, 2, 2, rows, 9, 1, rows, 7, 1, rows];
    let merge = |how: u8, start: u8, carried: u8| vec![how, 5, start, 1, carried, start];
    let others: [&[u8]; 6] = [
        &[0, 8, 1, 1],
        &[0, 9, 1],
        &[0, 10, 2, 3, 0],
        &[0x38, 10, 0, 1, 1, 1],
        &[7, 1, 0, 0, 1, 3, 0, 0],
        &[0x78, 6, 0, 2, 1, 0],
    ];
    let mut seeds = Vec::new();
    for round in 0..12u8 {
        let mut seed = Vec::new();
        for number in 0..=round {
            seed.extend(fold(number.wrapping_mul(round) << 3, number));
            seed.extend(merge(round << 3, number % 3, number % 2));
            seed.extend_from_slice(others[usize::from(number) % others.len()]);
        }
        seeds.push(seed);
    }
    seeds
}
