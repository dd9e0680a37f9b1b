//! The rules of `compact/sweep.rs` for the objects that a sweep keeps and deletes. The engine has
//! them as part of its requests.

use std::collections::BTreeSet;

use deltafold_format::{Manifest, ObjectName, PartObject, Pin, Sequence, Version};

use super::bounds::Guards;
use super::store::Store;
use crate::shard::objects::{name, objects};
use crate::snapshot::{Floors, highest_truncated};

/// The highest sweep floor allowed: the highest version that is old enough, and at least `keep`
/// versions below the current one. The version at the floor made those below it out of date. `old`
/// holds the versions of the manifests that are old enough.
pub(super) fn sweep_floor(current: &Manifest, old: impl Iterator<Item = Version>, keep: u64) -> Version {
    let highest = Version::new(current.version.get().saturating_sub(keep));
    old.filter(|version| *version <= highest).max().unwrap_or_default().max(current.sweep_floor)
}

/// The highest truncation allowed. `at_floor` is the folded sequence of each manifest that bears
/// the version at the floor.
///
/// Readers of the versions kept continue in the log behind the segments that these have folded.
/// More than one manifest may bear the version. The losers of the race start from the same
/// predecessor as the winner, so the least of them has folded no more than the winner.
pub(super) fn truncated(current: &Manifest, at_floor: impl Iterator<Item = Sequence>, guards: &Guards) -> Sequence {
    let highest = if guards.last_kept { highest_truncated(current.folded) } else { current.folded.next() };
    let behind = at_floor.min().map(|folded| folded.next().min(highest));
    behind.map_or(current.truncated, |behind| behind.max(current.truncated))
}

/// Objects that no sweep may delete.
#[derive(Debug)]
pub(super) struct Keep {
    truncated: Sequence,
    sweep_floor: Version,
    needed: BTreeSet<PartObject>,
    pinned: BTreeSet<ObjectName>,
}

impl Keep {
    /// The objects kept by a manifest that holds the floors. A pinned manifest, if it still exists,
    /// tells which objects its pin needs.
    pub(super) fn of(manifest: &Manifest, floors: &Floors, store: &Store, guards: &Guards) -> Self {
        let is_kept = |pin: &&Pin| guards.pins_kept && !floors.expired.iter().any(|expired| expired.id == pin.id);
        let pins = manifest.pins.iter().filter(is_kept);
        let pinned: BTreeSet<ObjectName> =
            pins.map(|pin| ObjectName { version: pin.version, nonce: pin.nonce }).collect();
        let mut needed: BTreeSet<PartObject> = objects(manifest);
        needed.extend(pinned.iter().filter_map(|name| store.manifests.get(name)).flat_map(|pinned| objects(pinned)));
        // Versions from the floor on need the objects dropped after it.
        needed.extend(manifest.dropped.iter().filter(|d| d.version > floors.sweep_floor).map(|d| d.object));
        Self { truncated: floors.truncated, sweep_floor: floors.sweep_floor, needed, pinned }
    }

    /// Whether a log slot is never read again.
    pub(super) fn dooms_segment(&self, sequence: Sequence) -> bool {
        sequence < self.truncated
    }

    /// Whether a version cannot be read any more.
    pub(super) fn dooms_manifest(&self, manifest: ObjectName) -> bool {
        manifest.version < self.sweep_floor && !self.pinned.contains(&manifest)
    }

    /// Whether no version kept, no pin and no edit under way can need the object.
    pub(super) fn dooms_part(&self, object: PartObject) -> bool {
        name(object).version < self.sweep_floor && !self.needed.contains(&object)
    }
}
