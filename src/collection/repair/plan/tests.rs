//! The plan for a head, case by case.

use std::collections::BTreeSet;

use deltafold_format::{Nonce, ObjectName, Pin, Timestamp, Uid};

use super::*;
use crate::store::Tag;

const UID: Uid = Uid::new(7);

fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

/// A manifest that has folded ten segments a version. Its parent has nonce 1.
fn manifest(version: u64, nonce: u64) -> Manifest {
    let run = |number: u64| Run {
        id: Nonce::new(number),
        level: 0,
        resolved: number == 1,
        first: sequence(10 * number - 9),
        last: sequence(10 * number),
        rows: 0,
        times: TimeRange::default(),
        parts: Vec::new(),
    };
    let ancestors = (1..version).map(|version| Ancestor { version: Version::new(version), nonce: Nonce::new(1) });
    Manifest {
        version: Version::new(version),
        nonce: Nonce::new(nonce),
        folded: sequence(10 * version),
        runs: (1..=version).map(run).collect(),
        ancestors: ancestors.collect(),
        ..Manifest::empty(UID)
    }
}

fn proven(manifest: Manifest) -> Looked {
    Looked { name: manifest.name(), manifest: Ok(Box::new(manifest)) }
}

fn unusable(version: u64) -> Looked {
    let name = ObjectName { version: Version::new(version), nonce: Nonce::new(1) };
    Looked { name, manifest: Err("it is cut".to_owned()) }
}

fn own(version: u64, nonce: u64) -> HeadFound {
    HeadFound::Own { head: manifest(version, nonce).head(), tag: Tag::new("t"), manifest: Ok(()) }
}

/// A shard whose log holds the slots from 1 to 40.
fn evidence(head: HeadFound, manifests: Vec<Looked>) -> Evidence {
    Evidence {
        uid: UID,
        head,
        manifests,
        claimed: Version::ZERO,
        born: Version::ZERO,
        log: (1..=40).map(sequence).collect::<BTreeSet<_>>(),
        gap: None,
        nonces: [Nonce::new(50), Nonce::new(51)],
        now: Timestamp::default(),
    }
}

fn published(plan: &Plan) -> &Manifest {
    let Action::Publish(manifest) = &plan.action else { panic!("{plan:?}") };
    manifest.encode().unwrap();
    manifest
}

#[test]
fn an_intact_head_is_left_alone() {
    // The compactor that made the manifest of version 4 may have lost the race.
    for manifests in [vec![proven(manifest(3, 1))], vec![proven(manifest(4, 1)), proven(manifest(3, 1))]] {
        assert_eq!(plan(&evidence(own(3, 1), manifests)), Plan::intact());
    }
    assert_eq!(plan(&evidence(own(3, 1), vec![unusable(4), proven(manifest(3, 1))])), Plan::intact());
}

#[test]
fn a_lost_head_goes_to_the_newest_manifest() {
    let plan = plan(&evidence(HeadFound::Missing, vec![proven(manifest(3, 1))]));
    assert_eq!(plan.action, Action::Point(manifest(3, 1).head()));
    assert!(plan.losses.is_empty() && !plan.replaces, "{plan:?}");
}

#[test]
fn a_lost_head_of_an_empty_shard_is_that_of_version_0() {
    let plan = plan(&evidence(HeadFound::Missing, Vec::new()));
    assert_eq!(plan.action, Action::Point(Head::empty(UID)));
    assert!(plan.losses.is_empty(), "{plan:?}");
}

#[test]
fn an_old_head_is_replaced_where_the_newest_descends_from_it() {
    let plan = plan(&evidence(own(1, 1), vec![proven(manifest(3, 1))]));
    assert_eq!(plan.action, Action::Point(manifest(3, 1).head()));
    assert!(plan.replaces && plan.problem.is_some_and(|problem| problem.contains("old copy")));
}

#[test]
fn a_head_of_another_history_is_not_replaced() {
    let plan = plan(&evidence(own(1, 9), vec![proven(manifest(3, 1))]));
    assert_eq!(plan.action, Action::Nothing);
    assert!(plan.problem.is_some() && plan.notes[0].contains("two histories"), "{plan:?}");
}

#[test]
fn a_claim_of_a_later_version_shows_an_old_head() {
    let mut evidence = evidence(own(3, 1), vec![proven(manifest(3, 1))]);
    evidence.claimed = Version::new(4);
    let plan = plan(&evidence);
    assert!(plan.problem.is_some() && !plan.losses.is_empty(), "what version 4 held is lost: {plan:?}");
}

/// Another manifest of the same version lost the race. It is not the acknowledged one.
#[test]
fn a_twin_of_the_manifest_that_the_head_names_is_a_loss() {
    let head =
        HeadFound::Own { head: manifest(3, 9).head(), tag: Tag::new("t"), manifest: Err("it is missing".into()) };
    let plan = plan(&evidence(head, vec![proven(manifest(3, 1))]));
    assert!(plan.losses[0].contains("version 3 that the head names"), "{plan:?}");
    assert_eq!(published(&plan).version, Version::new(4));
}

#[test]
fn an_unusable_newer_manifest_is_a_loss() {
    let plan = plan(&evidence(HeadFound::Missing, vec![unusable(5), proven(manifest(3, 1))]));
    let new = published(&plan);
    assert!(plan.losses[0].contains("cannot be used"), "{plan:?}");
    assert_eq!((new.version, new.folded), (Version::new(6), sequence(30)), "no number of a version is given twice");
    assert_eq!(new.ancestors.last().unwrap().version, Version::new(3));
}

#[test]
fn parts_that_were_born_later_show_a_lost_manifest() {
    let mut evidence = evidence(HeadFound::Missing, vec![proven(manifest(3, 1))]);
    evidence.born = Version::new(7);
    let plan = plan(&evidence);
    assert_eq!(published(&plan).version, Version::new(8));
    assert!(plan.losses[0].contains("version 7 was published"), "{plan:?}");
}

#[test]
fn a_gap_in_the_log_is_bridged_and_named() {
    let mut evidence = evidence(HeadFound::Missing, vec![proven(manifest(3, 1))]);
    evidence.log = (36..=40).map(sequence).collect();
    evidence.gap = Some((sequence(31), sequence(35)));
    let plan = plan(&evidence);
    assert!(plan.losses.iter().any(|loss| loss.contains("segments 31 to 35")), "{plan:?}");
    let new = published(&plan);
    assert_eq!((new.folded, new.truncated, new.marks_floor), (sequence(35), sequence(36), sequence(35)));
}

#[test]
fn pins_of_all_candidates_are_kept_and_the_highest_floor_leads() {
    let pin = |name: &str, id| Pin {
        name: name.to_owned(),
        version: Version::new(2),
        nonce: Nonce::new(1),
        id: Nonce::new(id),
        created: Timestamp::default(),
        ttl_millis: None,
    };
    let pinned = Manifest { pins: vec![pin("p", 1)], ..manifest(3, 1) };
    let swept = Manifest { sweep_floor: Version::new(2), truncated: sequence(9), ..manifest(3, 2) };
    let plan = plan(&evidence(HeadFound::Missing, vec![proven(pinned.clone()), proven(swept)]));
    assert!(plan.losses.is_empty(), "{plan:?}");
    let new = published(&plan);
    assert_eq!((new.version, new.sweep_floor, new.truncated), (Version::new(4), Version::new(2), sequence(9)));
    assert_eq!(new.pins, pinned.pins);
}

#[test]
fn equal_candidates_need_no_new_version() {
    let twin = manifest(3, 2);
    let plan = plan(&evidence(HeadFound::Missing, vec![proven(manifest(3, 1)), proven(twin.clone())]));
    assert_eq!(plan.action, Action::Point(twin.head()));
}
