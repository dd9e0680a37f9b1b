//! Edits and invariants, without any store.

use deltafold_format::{
    Absent, Digest, EmbeddingEntry, Manifest, Mark, Nonce, ObjectName, PartEntry, Pin, Run, Sequence, TimeRange,
    Timestamp, Uid, Version,
};
use proptest::prelude::*;

use super::conflict::Conflict;
use super::edit::{
    Accounting, Edit, Floors, Fold, MAX_ANCESTORS, Merge, OpSum, ReferenceChange, Stamp, apply, nonce_of,
};
use super::invariants::{INVARIANTS, check};
use crate::log::MAX_MARKS;

fn stamp(nonce: u64) -> Stamp {
    Stamp { nonce: Nonce::new(nonce), published: Timestamp::default() }
}

fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

fn object(born: Version, nonce: u64) -> ObjectName {
    ObjectName { version: born, nonce: Nonce::new(nonce) }
}

/// A run over `first..=last` of one part with `rows` rows, whose embeddings lie in one object of
/// its own.
fn run(manifest: &Manifest, first: u64, last: u64, rows: u32, nonce: u64) -> (Run, EmbeddingEntry) {
    let embeddings = object(manifest.version, nonce + 1_000_000);
    let part = PartEntry {
        name: object(manifest.version, nonce),
        rows,
        bytes: 100,
        front_bytes: 40,
        columns_end: 60,
        crc32: 0,
        min_id: "a".to_owned(),
        max_id: "z".to_owned(),
        embeddings: vec![embeddings],
        absent: Absent::default(),
    };
    let run = Run {
        id: Nonce::new(nonce),
        level: 0,
        resolved: manifest.runs.is_empty(),
        first: sequence(first),
        last: sequence(last),
        rows: rows.into(),
        times: TimeRange::default(),
        parts: vec![part],
    };
    (run, EmbeddingEntry { name: embeddings, rows, live: rows, bytes: 100, crc32: 0 })
}

/// A pin of a version whose nonce equals its number, as `folded` makes them.
fn pin(name: &str, version: u64, id: u64) -> Pin {
    Pin {
        name: name.to_owned(),
        version: Version::new(version),
        nonce: Nonce::new(version),
        id: Nonce::new(id),
        created: Timestamp::default(),
        ttl_millis: None,
    }
}

fn unpin(name: &str, id: u64) -> Edit {
    Edit::Unpin { name: name.to_owned(), id: Nonce::new(id) }
}

/// A fold of the next `segments` segments.
fn fold(manifest: &Manifest, segments: u64, nonce: u64) -> Fold {
    let first = manifest.folded.next().get();
    let (run, entry) = run(manifest, first, first + segments - 1, 10, nonce);
    let held = OpSum { ops: 12, digest: Digest::from_bits(nonce.into()) };
    let accounting = Accounting { rows_in: 12, rows_out: 10, composed: 2, ..Accounting::default() };
    Fold { run, embeddings: vec![entry], held, consumed: held, marks: Vec::new(), sample: None, accounting }
}

/// A merge of `count` runs from `start` on, which rewrites all embeddings.
fn merge(manifest: &Manifest, start: usize, count: usize, nonce: u64) -> Merge {
    let inputs = &manifest.runs[start..start + count];
    let rows: u64 = inputs.iter().map(|run| run.rows).sum();
    let (first, last) = (inputs[0].first.get(), inputs[count - 1].last.get());
    let (mut output, entry) = run(manifest, first, last, u32::try_from(rows).unwrap(), nonce);
    output.resolved = start == 0;
    let mut references = std::collections::BTreeMap::new();
    for part in inputs.iter().flat_map(|run| &run.parts) {
        for name in &part.embeddings {
            references.entry(*name).or_insert_with(ReferenceChange::default).removed += part.rows;
        }
    }
    let accounting = Accounting { rows_in: rows, rows_out: rows, ..Accounting::default() };
    let inputs = inputs.iter().map(|run| run.id).collect();
    Merge { inputs, output, embeddings: vec![entry], references, accounting }
}

fn folded(times: u64) -> Manifest {
    (1..=times).fold(Manifest::empty(Uid::new(7)), |manifest, nonce| {
        apply(&manifest, &Edit::Fold(fold(&manifest, 4, nonce)), stamp(nonce)).unwrap()
    })
}

/// R10: two compactors fold the same segments. The second would have put every op into the snapshot
/// twice.
#[test]
fn of_two_folds_of_the_same_segments_the_second_is_a_conflict() {
    let base = folded(1);
    let (one, two) = (fold(&base, 4, 20), fold(&base, 6, 30));
    let won = apply(&base, &Edit::Fold(one), stamp(2)).unwrap();
    let lost = apply(&won, &Edit::Fold(two), stamp(3)).unwrap_err();
    assert_eq!(lost, Conflict::FoldedMeanwhile { first: sequence(5), folded: sequence(8) });
}

#[test]
fn a_merge_goes_through_over_a_later_fold() {
    let base = folded(4);
    let merged = Edit::Merge(merge(&base, 1, 2, 50));
    let won = apply(&base, &Edit::Fold(fold(&base, 1, 60)), stamp(9)).unwrap();
    let rebased = apply(&won, &merged, stamp(10)).unwrap();
    check(&won, &rebased).unwrap();
    let ids: Vec<u64> = rebased.runs.iter().map(|run| run.id.get()).collect();
    assert_eq!(ids, [1, 50, 4, 60]);
}

/// R8: another compactor merged the runs that a merge had read, before that merge published.
#[test]
fn a_merge_with_missing_inputs_is_a_conflict() {
    let base = folded(4);
    let (one, two) = (Edit::Merge(merge(&base, 1, 2, 50)), Edit::Merge(merge(&base, 2, 2, 60)));
    let won = apply(&base, &one, stamp(9)).unwrap();
    assert_eq!(apply(&won, &two, stamp(10)).unwrap_err(), Conflict::InputsVanished);
    assert_eq!(apply(&won, &one, stamp(10)).unwrap_err(), Conflict::InputsVanished);
}

/// R5: a compactor wrote its parts and slept. A sweep passed the version that it had started from,
/// and may have deleted its parts.
#[test]
fn an_edit_that_started_below_the_sweep_floor_is_fenced_off() {
    let base = folded(2);
    let stale = Edit::Fold(fold(&base, 4, 70));
    let newer = apply(&base, &Edit::Merge(merge(&base, 0, 2, 80)), stamp(3)).unwrap();
    let floors = Floors { truncated: sequence(1), sweep_floor: Version::new(3), expired: Vec::new() };
    let swept = apply(&newer, &Edit::Sweep(floors), stamp(4)).unwrap();
    check(&newer, &swept).unwrap();
    let fenced = Conflict::Fenced { born: Version::new(2), sweep_floor: Version::new(3) };
    assert_eq!(apply(&swept, &stale, stamp(5)).unwrap_err(), fenced);
}

/// Readers of the version at the floor may need objects that a later version dropped, and no
/// others. An object that the version at the floor itself dropped would stay in the list for good.
#[test]
fn a_sweep_keeps_drops_above_its_floor_listed() {
    let base = folded(2);
    let merged = apply(&base, &Edit::Merge(merge(&base, 0, 2, 80)), stamp(3)).unwrap();
    let current = apply(&merged, &Edit::Fold(fold(&merged, 1, 90)), stamp(4)).unwrap();
    let listed = |floor| {
        let floors = Floors { truncated: sequence(1), sweep_floor: Version::new(floor), expired: Vec::new() };
        let swept = apply(&current, &Edit::Sweep(floors), stamp(5)).unwrap();
        check(&current, &swept).unwrap();
        swept.dropped
    };
    assert_eq!(current.dropped.len(), 4, "two parts and their embeddings");
    assert!(current.dropped.iter().all(|dropped| dropped.version == Version::new(3)));
    assert_eq!(listed(2), current.dropped);
    assert_eq!(listed(3), []);
}

#[test]
fn a_fold_that_lost_ops_is_refused() {
    let base = folded(1);
    let mut short = fold(&base, 4, 20);
    short.consumed.ops -= 1;
    assert!(matches!(apply(&base, &Edit::Fold(short), stamp(2)), Err(Conflict::Defect(_))));
    let mut other = fold(&base, 4, 20);
    other.consumed.digest = Digest::from_bits(99);
    assert!(matches!(apply(&base, &Edit::Fold(other), stamp(2)), Err(Conflict::Defect(_))));
    let mut unaccounted = fold(&base, 4, 20);
    unaccounted.accounting.composed -= 1;
    assert!(matches!(apply(&base, &Edit::Fold(unaccounted), stamp(2)), Err(Conflict::Defect(_))));
    let base = folded(3);
    let mut merged = merge(&base, 1, 2, 50);
    merged.accounting.rows_out -= 1;
    assert!(matches!(apply(&base, &Edit::Merge(merged), stamp(4)), Err(Conflict::Defect(_))));
}

/// A fold lost an op on its way, counted what it had, and the accounting did not notice. The
/// invariants stand behind it.
#[cfg(feature = "simulation")]
#[test]
fn invariants_stand_behind_the_accounting_of_a_fold() {
    use crate::simulation::Guard;

    let base = folded(1);
    let mut short = fold(&base, 4, 20);
    short.consumed.ops -= 1;
    short.accounting.rows_in -= 1;
    let short = Edit::Fold(short);
    let guards = [Guard::Accounting, Guard::Invariants];
    assert!(matches!(apply(&base, &short, stamp(2)), Err(Conflict::Defect(_))));
    let new = Guard::without(&guards, || apply(&base, &short, stamp(2)).unwrap());
    assert_eq!(check(&base, &new).unwrap_err().0, INVARIANTS[6].0);
    Guard::without(&guards, || check(&base, &new).unwrap());
}

#[test]
fn a_pin_needs_a_readable_version_and_a_free_name() {
    let base = folded(3);
    // A version that `folded` made has its own number as nonce.
    let pin = |name: &str, version| Edit::Pin(pin(name, version, 100 + version));
    let pinned = apply(&base, &pin("p", 2), stamp(4)).unwrap();
    check(&base, &pinned).unwrap();
    assert_eq!(pinned.pins[0].nonce, Nonce::new(2));
    assert_eq!(apply(&pinned, &pin("p", 3), stamp(5)).unwrap_err(), Conflict::PinExists("p".to_owned()));
    assert_eq!(apply(&pinned, &pin("q", 9), stamp(5)).unwrap_err(), Conflict::NoVersion(Version::new(9)));
    let floors = Floors { truncated: sequence(1), sweep_floor: Version::new(3), expired: Vec::new() };
    let swept = apply(&pinned, &Edit::Sweep(floors), stamp(5)).unwrap();
    assert_eq!(apply(&swept, &pin("q", 1), stamp(6)).unwrap_err(), Conflict::NoVersion(Version::new(1)));
    assert!(apply(&swept, &pin("q", 2), stamp(6)).is_ok(), "what a pin keeps can be pinned again");
    let unpin = unpin("p", 102);
    let unpinned = apply(&swept, &unpin, stamp(6)).unwrap();
    assert!(unpinned.pins.is_empty());
    assert_eq!(apply(&unpinned, &unpin, stamp(7)).unwrap_err(), Conflict::NoPin("p".to_owned()));
}

/// A version number can come again after an old head is put back. A pin names the version that its
/// maker saw, and no other.
#[test]
fn a_pin_of_a_version_with_another_nonce_is_refused() {
    let base = folded(3);
    let other = Pin { nonce: Nonce::new(99), ..pin("p", 2, 1) };
    assert_eq!(apply(&base, &Edit::Pin(other), stamp(4)).unwrap_err(), Conflict::NoVersion(Version::new(2)));
}

/// Story: pin `p` had expired. Between a sweep's choice of floors and its publish another caller
/// removed it and pinned `p` anew for good. The sweep, applied again, dropped the new pin, which
/// was acknowledged: it named pins by name. Now each pin has a random id. An unpin and a sweep
/// remove only the pin that they saw.
#[test]
fn an_edit_removes_only_the_pins_that_it_saw() {
    let base = folded(3);
    let expired = Pin { ttl_millis: Some(1), ..pin("p", 3, 21) };
    let with = |state: &Manifest, edit: &Edit, nonce| apply(state, edit, stamp(nonce)).unwrap();
    let pinned = with(&base, &Edit::Pin(expired.clone()), 4);
    let anew = pin("p", 3, 22);
    let unpinned = with(&pinned, &unpin("p", 21), 5);
    let pinned = with(&unpinned, &Edit::Pin(anew.clone()), 6);
    let floors = Floors { truncated: sequence(1), sweep_floor: Version::new(3), expired: vec![expired] };
    assert_eq!(with(&pinned, &Edit::Sweep(floors), 7).pins, [anew]);
    assert_eq!(apply(&pinned, &unpin("p", 21), stamp(7)).unwrap_err(), Conflict::PinMadeAnew("p".to_owned()));
}

#[test]
fn marks_are_bounded_and_say_up_to_where_they_forget() {
    let mut manifest = Manifest::empty(Uid::new(7));
    for nonce in 1..=(MAX_MARKS as u64 + 10) {
        let mut edit = fold(&manifest, 1, nonce);
        let mark = |source: String| Mark { source, position: nonce.into(), sequence: sequence(nonce) };
        edit.marks = vec![mark(format!("writer/{nonce:08}")), mark("steady".to_owned())];
        let next = apply(&manifest, &Edit::Fold(edit), stamp(nonce)).unwrap();
        check(&manifest, &next).unwrap();
        manifest = next;
    }
    assert_eq!(manifest.marks.len(), MAX_MARKS);
    assert_eq!(manifest.marks_floor, sequence(11), "eleven of the writers seen longest ago had to go");
    assert!(manifest.marks.iter().any(|mark| mark.source == "steady"));
    assert_eq!(manifest.ancestors.len(), MAX_ANCESTORS);
}

#[test]
fn every_invariant_can_break() {
    let old = folded(3);
    let good = apply(&old, &Edit::Merge(merge(&old, 1, 2, 50)), stamp(9)).unwrap();
    check(&old, &good).unwrap();
    let fold_edit = apply(&old, &Edit::Fold(fold(&old, 2, 60)), stamp(9)).unwrap();
    check(&old, &fold_edit).unwrap();
    type Breakage = (usize, Box<dyn Fn(&mut Manifest)>);
    let marked = {
        let mut edit = fold(&old, 1, 90);
        edit.marks = vec![Mark { source: "s".to_owned(), position: 5, sequence: sequence(13) }];
        apply(&old, &Edit::Fold(edit), stamp(9)).unwrap()
    };
    let breakages: Vec<Breakage> = vec![
        (0, Box::new(|m| m.version = m.version.next())),
        (1, Box::new(|m| m.collection = Uid::new(8))),
        (
            2,
            Box::new(|m| {
                m.folded = Sequence::ZERO;
                m.truncated = Sequence::FIRST;
            }),
        ),
        (3, Box::new(|m| m.truncated = m.folded.next().next())),
        (4, Box::new(|m| m.sweep_floor = m.version)),
        (5, Box::new(|m| m.ops += 1)),
        (7, Box::new(|m| m.runs[1].first = m.runs[1].first.next())),
        (8, Box::new(|m| m.runs[1].resolved = true)),
        (9, Box::new(|m| m.runs[1].parts[0].rows += 1)),
        (10, Box::new(|m| m.embeddings.truncate(m.embeddings.len() - 1))),
        (11, Box::new(|m| m.embeddings[0].live = m.embeddings[0].rows + 1)),
        (
            12,
            Box::new(|m| {
                let object = deltafold_format::PartObject::Meta(m.runs[0].parts[0].name);
                m.dropped.push(deltafold_format::Dropped { object, version: m.version });
            }),
        ),
        (14, Box::new(|m| m.dropped.clear())),
        (
            15,
            Box::new(|m| {
                m.sweep_floor = Version::new(3);
                m.runs[1].parts[0].name.version = Version::new(1);
                m.dropped.retain(|dropped| dropped.version > m.sweep_floor);
            }),
        ),
        (18, Box::new(|m| m.truncated = m.folded.next())),
    ];
    for (number, breaks) in breakages {
        let mut broken = good.clone();
        breaks(&mut broken);
        assert_eq!(check(&old, &broken).unwrap_err().0, INVARIANTS[number].0);
    }
    let mut miscounted = fold_edit;
    miscounted.ops += 1;
    assert_eq!(check(&old, &miscounted).unwrap_err().0, INVARIANTS[6].0);
    let mut forgotten = good.clone();
    let next = apply(&good, &Edit::Fold(fold(&good, 1, 99)), stamp(10)).unwrap();
    forgotten.clone_from(&next);
    forgotten.dropped.remove(0);
    assert_eq!(check(&good, &forgotten).unwrap_err().0, INVARIANTS[13].0);
    let mut pinned = next.clone();
    let mut swept = good.clone();
    swept.sweep_floor = Version::new(2);
    pinned.sweep_floor = Version::new(2);
    pinned.pins.push(pin("p", 1, 7));
    assert_eq!(check(&swept, &pinned).unwrap_err().0, INVARIANTS[16].0);
    let mut unmarked = apply(&marked, &unpin("none", 1), stamp(10))
        .err()
        .map(|_| apply(&marked, &Edit::Fold(fold(&marked, 1, 98)), stamp(10)).unwrap())
        .unwrap();
    unmarked.marks.clear();
    assert_eq!(check(&marked, &unmarked).unwrap_err().0, INVARIANTS[17].0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence of edits, each possibly planned on an outdated state, keeps every invariant or
    /// is a conflict. No folded op is lost.
    #[test]
    fn any_edits_in_any_order_keep_the_invariants(
        steps in proptest::collection::vec((0_u8..6, any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..4), 1..60)
    ) {
        let mut states = vec![Manifest::empty(Uid::new(7))];
        let (mut ops, mut digest) = (0, Digest::default());
        for (number, (kind, a, b, lag)) in steps.into_iter().enumerate() {
            let nonce = number as u64 + 1;
            let current = states.last().unwrap().clone();
            let seen = &states[states.len().saturating_sub(1 + lag)];
            let edit = match kind {
                0..=2 => Edit::Fold(fold(seen, 1 + a.index(5) as u64, nonce)),
                3 if seen.runs.len() > 1 => {
                    let start = a.index(seen.runs.len() - 1);
                    Edit::Merge(merge(seen, start, 2 + b.index(seen.runs.len() - start - 1), nonce))
                }
                4 => Edit::Sweep(Floors {
                    truncated: sequence(1 + a.index(seen.folded.get() as usize + 1) as u64),
                    sweep_floor: Version::new(b.index(seen.version.get() as usize + 1) as u64),
                    expired: Vec::new(),
                }),
                _ => {
                    let version = Version::new(a.index(seen.version.get() as usize + 1) as u64);
                    let seen = nonce_of(seen, version).unwrap_or_default();
                    Edit::Pin(Pin { nonce: seen, ..pin(&format!("p{nonce}"), version.get(), nonce) })
                }
            };
            match apply(&current, &edit, stamp(nonce)) {
                Ok(next) => {
                    prop_assert_eq!(check(&current, &next), Ok(()));
                    if let Edit::Fold(fold) = &edit {
                        ops += fold.held.ops;
                        digest = digest.plus(fold.held.digest);
                    }
                    states.push(next);
                }
                Err(Conflict::Defect(why)) => prop_assert!(lag > 0 && why.contains("resolved") || why.contains("covers"), "{}", why),
                Err(_) => {}
            }
            let last = states.last().unwrap();
            prop_assert_eq!((last.ops, last.digest), (ops, digest));
        }
    }
}
