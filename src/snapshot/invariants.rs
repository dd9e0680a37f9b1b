//! The invariants between a manifest and the one published over it. Every publish checks them
//! first, for every kind of edit.

use std::collections::{BTreeMap, BTreeSet};

use deltafold_format::{EditKind, Manifest, ObjectName, PartObject, Pin, Sequence};

use crate::log::eviction_watermark_of;
use crate::shard::objects::{name, objects};
use crate::simulation::Guard;

/// A named invariant that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) &'static str);

type Check = fn(&Manifest, &Manifest) -> bool;

/// The name and the check of each.
pub(crate) const INVARIANTS: &[(&str, Check)] = &[
    ("a version follows the one before it", |old, new| new.version == old.version.next()),
    ("a collection never changes its identity", |old, new| new.collection == old.collection),
    ("the last folded slot only rises", |old, new| new.folded >= old.folded),
    ("only folded slots lie below the log start, which only rises", |old, new| {
        new.truncated >= old.truncated && new.truncated <= new.folded.next()
    }),
    ("the sweep floor only rises and stays below the version", |old, new| {
        new.sweep_floor >= old.sweep_floor && new.sweep_floor < new.version
    }),
    ("only a fold adds ops", |old, new| {
        (new.ops, new.digest, new.folded) == (old.ops, old.digest, old.folded) || new.edit.kind == EditKind::Fold
    }),
    ("a fold adds exactly the ops of its segments", |old, new| {
        new.edit.kind != EditKind::Fold || new.ops == old.ops + new.edit.rows_in
    }),
    ("runs cover the log from its first slot to the last folded one", |_, new| {
        let mut next = deltafold_format::Sequence::FIRST;
        let contiguous = new.runs.iter().all(|run| {
            let fits = run.first == next && run.last >= run.first;
            next = run.last.next();
            fits
        });
        contiguous && next == new.folded.next()
    }),
    ("the oldest run and only it is resolved", |_, new| {
        new.runs.iter().enumerate().all(|(i, run)| run.resolved == (i == 0))
    }),
    ("a run's parts are in order, do not overlap and hold its rows", |_, new| {
        new.runs.iter().all(|run| {
            let rows: u64 = run.parts.iter().map(|part| u64::from(part.rows)).sum();
            let ordered = run.parts.windows(2).all(|pair| pair[0].max_id < pair[1].min_id);
            rows == run.rows && ordered && run.parts.iter().all(|part| part.rows > 0 && part.min_id <= part.max_id)
        })
    }),
    ("every embedding object referred to is listed, and every one listed is referred to", |_, new| {
        let referred: BTreeSet<ObjectName> =
            new.runs.iter().flat_map(|run| &run.parts).flat_map(|part| part.embeddings.iter().copied()).collect();
        let listed: BTreeSet<ObjectName> = new.embeddings.iter().map(|entry| entry.name).collect();
        referred == listed && listed.len() == new.embeddings.len()
    }),
    ("no embedding object has more live rows than rows", |_, new| {
        new.embeddings.iter().all(|entry| entry.live > 0 && entry.live <= entry.rows)
    }),
    ("nothing in use is listed as dropped", |_, new| {
        let used = objects(new);
        new.dropped.iter().all(|dropped| !used.contains(&dropped.object))
    }),
    ("a dropped object stays listed until the floor has passed it", |old, new| {
        old.dropped
            .iter()
            .filter(|dropped| dropped.version > new.sweep_floor)
            .all(|dropped| new.dropped.contains(dropped))
    }),
    ("an object that the new version no longer uses is listed as dropped", |old, new| {
        let used = objects(new);
        let dropped: BTreeSet<PartObject> = new.dropped.iter().map(|dropped| dropped.object).collect();
        objects(old).iter().all(|object| used.contains(object) || dropped.contains(object))
    }),
    ("an object that the new version uses anew was born above the floor", |old, new| {
        let used = objects(old);
        objects(new).iter().all(|object| used.contains(object) || name(*object).version >= new.sweep_floor)
    }),
    ("a version pinned can still be read", |old, new| {
        let kept = |pin: &Pin| old.pins.iter().any(|old| (old.version, old.nonce) == (pin.version, pin.nonce));
        new.pins.iter().all(|pin| kept(pin) || pin.version >= old.sweep_floor)
    }),
    ("a mark never moves back unless it is forgotten", |old, new| {
        let marks: BTreeMap<&str, u128> = new.marks.iter().map(|mark| (mark.source.as_str(), mark.position)).collect();
        old.marks.iter().all(|mark| {
            // A change may go alone, where its source has an eviction watermark.
            let floor = eviction_watermark_of(&mark.source).and_then(|floor| marks.get(floor));
            let position = marks.get(mark.source.as_str()).or(floor);
            position.map_or(mark.sequence <= new.marks_floor, |position| *position >= mark.position)
        })
    }),
    ("the last segment folded is not truncated", |old, new| {
        new.truncated == old.truncated || new.truncated <= new.folded.max(Sequence::FIRST)
    }),
];

/// Checks all invariants.
pub(crate) fn check(old: &Manifest, new: &Manifest) -> Result<(), Broken> {
    match INVARIANTS.iter().find(|(_, holds)| !holds(old, new)) {
        Some((invariant, _)) if Guard::Invariants.holds() => Err(Broken(invariant)),
        _ => Ok(()),
    }
}
