//! Properties that hold in every state, and one that some state must reach. A model in which
//! nothing happens proves nothing.

use deltafold_format::{Manifest, ObjectName};
use stateright::Property;

use super::model::{Protocol, State};
use super::store::{ACKED, GAPS, LIVE, NEXT, ONCE, PINNED, READABLE, Store, TOLD, Truth, VERSIONS, VIEW};

/// Checks a state, and notes the first promise that it breaks.
pub(super) fn judge(state: &mut State) {
    let State { store, truth, .. } = state;
    let head = &store.head;
    if !holds(store, head, &truth.log) || !behind(store, truth) {
        truth.breaks(READABLE);
    }
    for id in &truth.pinned {
        let pin = head.pins.iter().find(|pin| pin.id == *id);
        let kept = pin.and_then(|pin| store.manifests.get(&ObjectName { version: pin.version, nonce: pin.nonce }));
        if !kept.is_some_and(|manifest| holds(store, manifest, &truth.log)) {
            truth.broken = truth.broken.or(Some(PINNED));
        }
    }
    // The current version and each that no sweep has passed can be opened, with the log behind it.
    if head.version.get() > 0 && !store.manifests.contains_key(&head.name()) {
        truth.breaks(LIVE);
    }
    let kept = head.ancestors.iter().filter(|ancestor| ancestor.version >= head.sweep_floor);
    for ancestor in kept {
        let name = ObjectName { version: ancestor.version, nonce: ancestor.nonce };
        let whole = store
            .manifests
            .get(&name)
            .is_some_and(|manifest| holds(store, manifest, &truth.log) && manifest.folded.next() >= head.truncated);
        if !whole {
            truth.breaks(LIVE);
        }
    }
}

/// Whether a version's runs hold the log up to its folded sequence, each op once and in order.
fn holds(store: &Store, manifest: &Manifest, log: &[super::store::OpId]) -> bool {
    let folded = usize::try_from(manifest.folded.get()).unwrap();
    let mut expected = log.iter().take(folded);
    for part in manifest.runs.iter().flat_map(|run| &run.parts) {
        let Some(rows) = store.parts.get(&part.name) else { return false };
        if rows.iter().any(|row| expected.next() != Some(row)) {
            return false;
        }
    }
    expected.next().is_none() && folded <= log.len()
}

/// Whether the log behind the folded sequence is complete.
fn behind(store: &Store, truth: &Truth) -> bool {
    let folded = store.head.folded.get();
    let live = truth.log.iter().zip(1..).filter(|(_, slot)| *slot > folded);
    live.into_iter().all(|(op, slot)| store.log.get(&slot).is_some_and(|segment| segment.op == *op))
}

macro_rules! promises {
    ($($promise:ident),*) => {
        vec![
            $(Property::always($promise, |_, state: &State| state.truth.broken != Some($promise)),)*
            Property::always("nothing happens that cannot", |_, state: &State| {
                state.truth.broken.is_none_or(|broken| [$($promise),*].contains(&broken))
            }),
        ]
    };
}

pub(super) fn all() -> Vec<Property<Protocol>> {
    let mut all = promises![ACKED, ONCE, NEXT, GAPS, VERSIONS, READABLE, VIEW, LIVE, TOLD, PINNED];
    all.push(Property::always("everything ends when faults stop", |model: &Protocol, state: &State| model.ends(state)));
    all.push(Property::eventually("everything ends", |_, state: &State| {
        state.finished() || state.truth.broken.is_some()
    }));
    all.push(Property::sometimes(HAPPENS, |model: &Protocol, state: &State| {
        let bounds = &model.bounds;
        let folded = bounds.compactors == 0 || state.store.head.folded.get() > 0;
        let swept = bounds.sweepers == 0 || state.store.head.truncated.get() > 1;
        let pinned = bounds.pinners == 0 || !state.truth.pinned.is_empty();
        state.finished() && folded && swept && pinned && !state.truth.acked.is_empty()
    }));
    all
}

/// The property that some state must reach.
pub(super) const HAPPENS: &str = "everything is acknowledged, folded, swept and pinned";
