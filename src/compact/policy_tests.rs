//! The decisions of the policy, case by case.

use deltafold_format::{
    Absent, EmbeddingEntry, Manifest, Nonce, ObjectName, PartEntry, Run, Sequence, TimeRange, Uid, Version,
};

use super::policy::{Backlog, Policy};

const OBJECT_ROWS: u32 = 10_000;

/// A manifest with one run for each (level, rows, embedding rows, live embedding rows), oldest
/// first.
fn manifest(runs: &[(u8, u64, u32, u32)]) -> Manifest {
    let mut manifest = Manifest::empty(Uid::new(1));
    for (number, (level, rows, embedded, live)) in runs.iter().enumerate() {
        let id = number as u64 + 1;
        let name = ObjectName { version: Version::new(1), nonce: Nonce::new(id) };
        let part = PartEntry {
            name,
            rows: u32::try_from(*rows).unwrap(),
            bytes: 0,
            front_bytes: 0,
            columns_end: 0,
            crc32: 0,
            min_id: "a".to_owned(),
            max_id: "b".to_owned(),
            embeddings: vec![name],
            absent: Absent::default(),
        };
        manifest.embeddings.push(EmbeddingEntry { name, rows: *embedded, live: *live, bytes: 0, crc32: 0 });
        manifest.runs.push(Run {
            id: Nonce::new(id),
            level: *level,
            resolved: number == 0,
            first: Sequence::new(id).unwrap(),
            last: Sequence::new(id).unwrap(),
            rows: *rows,
            times: TimeRange::default(),
            parts: vec![part],
        });
    }
    manifest
}

/// The runs that the next merge takes, its level, and the objects it rewrites, all by number from
/// 1.
fn decided(runs: &[(u8, u64, u32, u32)]) -> Option<(Vec<u64>, u8, Vec<u64>)> {
    let plan = Policy::default().merge(&manifest(runs), OBJECT_ROWS)?;
    let inputs = plan.inputs.iter().map(|id| id.get()).collect();
    Some((inputs, plan.level, plan.rewrite.iter().map(|name| name.nonce.get()).collect()))
}

#[test]
fn folds_by_count_or_by_bytes_and_never_nothing() {
    let policy = Policy::default();
    let folds = |segments, bytes| policy.folds(Backlog { segments, bytes });
    assert!(!folds(0, 0));
    assert!(!folds(63, 1 << 20));
    assert!(folds(64, 0));
    assert!(folds(1, 64 << 20));
}

#[test]
fn a_base_alone_is_left_alone() {
    assert_eq!(decided(&[]), None);
    assert_eq!(decided(&[(0, 1_000, 1_000, 400)]), None);
}

#[test]
fn the_base_absorbs_the_tiers_when_they_reach_an_eighth() {
    assert_eq!(decided(&[(0, 8_001, 8_000, 8_000), (0, 1_000, 1_000, 1_000)]), None);
    let due = decided(&[(0, 8_000, 8_000, 8_000), (0, 400, 400, 400), (0, 600, 600, 600)]);
    // The base's object is large and live, so it stays referenced. The small ones are consolidated.
    assert_eq!(due, Some((vec![1, 2, 3], 0, vec![2, 3])));
}

#[test]
fn a_small_base_object_is_consolidated_once_as_many_rows_come() {
    let due = decided(&[(0, 1_000, 1_000, 1_000), (0, 999, 999, 999)]);
    assert_eq!(due, Some((vec![1, 2], 0, vec![2])));
    let due = decided(&[(0, 1_000, 1_000, 1_000), (0, 1_000, 1_000, 1_000)]);
    assert_eq!(due, Some((vec![1, 2], 0, vec![1, 2])));
    // A quarter of a full object is not small.
    let due = decided(&[(0, 2_499, 2_499, 2_499), (0, 2_500, 2_500, 2_500)]);
    assert_eq!(due, Some((vec![1, 2], 0, vec![1, 2])));
    let due = decided(&[(0, 2_500, 2_500, 2_500), (0, 2_500, 2_500, 2_500)]);
    assert_eq!(due, Some((vec![1, 2], 0, vec![2])));
}

#[test]
fn eight_runs_of_a_tier_become_one_of_the_next() {
    let mut runs = vec![(0, 1_000_000, 10_000, 10_000)];
    runs.extend([(1, 500, 500, 500); 3]);
    runs.extend([(0, 100, 100, 100); 7]);
    assert_eq!(decided(&runs), None);
    runs.push((0, 100, 100, 100));
    let (inputs, level, rewrite) = decided(&runs).unwrap();
    assert_eq!((inputs, level), ((5..=12).collect(), 1));
    assert_eq!(rewrite, (5..=12).collect::<Vec<_>>(), "coalesced once, one tier up");
}

#[test]
fn higher_tiers_merge_by_reference_except_half_dead_objects() {
    let mut runs = vec![(0, 1_000_000, 10_000, 10_000)];
    runs.extend([(1, 500, 500, 500); 7]);
    runs.push((1, 500, 500, 249));
    let (inputs, level, rewrite) = decided(&runs).unwrap();
    assert_eq!((inputs, level, rewrite), ((2..=9).collect(), 2, vec![9]));
}

#[test]
fn a_merge_rewrites_the_two_deadest_objects_of_the_base() {
    let mut manifest = manifest(&[(0, 30_000, 10_000, 4_000), (0, 4_000, 9_000, 9_000)]);
    for (nonce, live) in [(11, 1_000), (12, 4_500), (13, 5_000)] {
        let name = ObjectName { version: Version::new(1), nonce: Nonce::new(nonce) };
        manifest.embeddings.push(EmbeddingEntry { name, rows: 10_000, live, bytes: 0, crc32: 0 });
        manifest.runs[0].parts[0].embeddings.push(name);
    }
    let plan = Policy::default().merge(&manifest, OBJECT_ROWS).unwrap();
    assert_eq!(plan.rewrite.iter().map(|name| name.nonce.get()).collect::<Vec<_>>(), [1, 11]);
}
