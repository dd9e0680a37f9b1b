//! Edits: the changes that a snapshot allows. `apply(manifest, edit)` is pure. So an edit that lost
//! the race for the head is applied again to the winner, and its work is never done twice.

use std::collections::BTreeMap;

use deltafold_format::{
    Ancestor, Digest, Dropped, EditKind, EditSummary, EmbeddingEntry, Manifest, Mark, Nonce, ObjectName, PartEntry,
    PartObject, Pin, Run, Sequence, Timestamp, Version,
};

use super::conflict::Conflict;
use super::sources::{ClockSample, forget_silent, merge_marks};
use crate::simulation::Guard;

/// The ancestors that a manifest lists. A read decides an unknown publish while fewer versions have
/// followed.
pub(crate) const MAX_ANCESTORS: usize = 64;

/// A change to a snapshot.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Fold(Fold),
    Merge(Merge),
    /// Keeps a version under a name. The pin names the version as its maker saw it: number and
    /// nonce.
    Pin(Pin),
    /// Removes the pin with this id. A new pin of the same name stays.
    Unpin {
        name: String,
        id: Nonce,
    },
    Sweep(Floors),
}

/// Log segments become the newest run.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    /// The new run. Its `first` and `last` bound the folded segments.
    pub(crate) run: Run,
    /// The embedding objects written for it.
    pub(crate) embeddings: Vec<EmbeddingEntry>,
    /// The ops that the segments hold by their headers.
    pub(crate) held: OpSum,
    /// The ops that went into the run, counted on the way.
    pub(crate) consumed: OpSum,
    /// The highest position of each source in the segments.
    pub(crate) marks: Vec<Mark>,
    /// The store's clock, where the fold read it. The edit then forgets silent sources.
    pub(crate) sample: Option<ClockSample>,
    pub(crate) accounting: Accounting,
}

/// Adjacent runs become one.
#[derive(Debug, Clone)]
pub(crate) struct Merge {
    /// The runs, oldest first.
    pub(crate) inputs: Vec<Nonce>,
    /// The run that replaces them.
    pub(crate) output: Run,
    /// The embedding objects written for it.
    pub(crate) embeddings: Vec<EmbeddingEntry>,
    /// For each older embedding object: the references given up, and those added.
    pub(crate) references: BTreeMap<ObjectName, ReferenceChange>,
    pub(crate) accounting: Accounting,
}

/// The change in references to one embedding object.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReferenceChange {
    pub(crate) removed: u32,
    pub(crate) added: u32,
}

/// Rising floors. Once they are published, sweep may delete what lies below them.
#[derive(Debug, Clone)]
pub(crate) struct Floors {
    pub(crate) truncated: Sequence,
    pub(crate) sweep_floor: Version,
    /// The expired pins that the sweep saw. The edit drops them by id.
    pub(crate) expired: Vec<Pin>,
}

/// A number of ops and their digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OpSum {
    pub(crate) ops: u64,
    pub(crate) digest: Digest,
}

impl OpSum {
    pub(crate) fn add(&mut self, ops: u64, digest: Digest) {
        self.ops += ops;
        self.digest = self.digest.plus(digest);
    }
}

/// Accounts for every op (fold) or row (merge) that went in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Accounting {
    /// Ops or rows read.
    pub(crate) rows_in: u64,
    /// Rows of parts carried over by reference. They count in `rows_in` and in `rows_out`.
    pub(crate) carried: u64,
    /// Rows written or carried over.
    pub(crate) rows_out: u64,
    /// Composed into a newer row of the same id.
    pub(crate) composed: u64,
    /// Dropped from the base because the id ends up absent: tombstones, and patches of absent
    /// records; in collections ordered by revision, once they are old enough. Dropped from any run:
    /// patches with revisions that name no field.
    pub(crate) absent: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Accounting {
    fn balances(&self) -> bool {
        self.rows_in == self.rows_out + self.composed + self.absent
    }

    fn summary(&self, kind: EditKind) -> EditSummary {
        EditSummary {
            kind,
            rows_in: self.rows_in,
            rows_out: self.rows_out,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
        }
    }
}

/// The content of a new manifest besides the edit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) nonce: Nonce,
    pub(crate) published: Timestamp,
}

/// The manifest after `edit`, or the reason why the edit does not fit this manifest (any more).
pub(crate) fn apply(old: &Manifest, edit: &Edit, stamp: Stamp) -> Result<Manifest, Conflict> {
    let mut new = next(old, stamp);
    match edit {
        Edit::Fold(fold) => apply_fold(&mut new, fold)?,
        Edit::Merge(merge) => apply_merge(&mut new, merge)?,
        Edit::Pin(pin) => {
            if nonce_of(old, pin.version) != Some(pin.nonce) {
                return Err(Conflict::NoVersion(pin.version));
            }
            if new.pins.iter().any(|other| other.name == pin.name) {
                return Err(Conflict::PinExists(pin.name.clone()));
            }
            new.pins.push(pin.clone());
            new.pins.sort_by(|a, b| a.name.cmp(&b.name));
            new.edit = Accounting::default().summary(EditKind::Pin);
        }
        Edit::Unpin { name, id } => {
            let Some(at) = new.pins.iter().position(|pin| is_seen(pin, name, *id)) else {
                let is_anew = new.pins.iter().any(|pin| pin.name == *name);
                let name = name.clone();
                return Err(if is_anew { Conflict::PinMadeAnew(name) } else { Conflict::NoPin(name) });
            };
            new.pins.remove(at);
            new.edit = Accounting::default().summary(EditKind::Unpin);
        }
        Edit::Sweep(floors) => apply_sweep(&mut new, floors)?,
    }
    Ok(new)
}

/// The nonce of a readable version: the current one, one above the floor, or a pinned one.
pub(crate) fn nonce_of(manifest: &Manifest, version: Version) -> Option<Nonce> {
    if version == manifest.version && version > Version::ZERO {
        return Some(manifest.nonce);
    }
    let pinned = manifest.pins.iter().find(|pin| pin.version == version).map(|pin| pin.nonce);
    let ancestor = || manifest.ancestors.iter().find(|ancestor| ancestor.version == version).map(|a| a.nonce);
    pinned.or_else(|| (version >= manifest.sweep_floor).then(ancestor).flatten())
}

/// Whether a pin is the one with this name and id. A name alone may belong to a newer pin.
pub(crate) fn is_seen(pin: &Pin, name: &str, id: Nonce) -> bool {
    pin.name == name && (pin.id == id || !Guard::PinsById.holds())
}

/// `old` one version later.
fn next(old: &Manifest, stamp: Stamp) -> Manifest {
    let mut new = old.clone();
    new.version = old.version.next();
    new.nonce = stamp.nonce;
    new.published = stamp.published;
    if old.version > Version::ZERO {
        new.ancestors.push(Ancestor { version: old.version, nonce: old.nonce });
    }
    let excess = new.ancestors.len().saturating_sub(MAX_ANCESTORS);
    new.ancestors.drain(..excess);
    new
}

fn apply_fold(new: &mut Manifest, fold: &Fold) -> Result<(), Conflict> {
    let (first, last) = (fold.run.first, fold.run.last);
    if first != new.folded.next() && Guard::FoldConflict.holds() {
        return Err(Conflict::FoldedMeanwhile { first, folded: new.folded });
    }
    if last < first || first < new.truncated {
        return Err(Conflict::Defect("a fold's segments lie above the folded and the swept ones"));
    }
    if fold.run.resolved != new.runs.is_empty() {
        return Err(Conflict::Defect("the oldest run and only it is resolved"));
    }
    let counted = fold.held == fold.consumed && fold.accounting.rows_in == fold.held.ops;
    if !(counted && fold.accounting.balances()) && Guard::Accounting.holds() {
        return Err(Conflict::Defect("every op of the folded segments is accounted for"));
    }
    fence(new, &fold.run.parts, &fold.embeddings)?;
    new.folded = last;
    new.ops += fold.held.ops;
    new.digest = new.digest.plus(fold.held.digest);
    new.runs.push(fold.run.clone());
    add_embeddings(new, &fold.embeddings);
    if Guard::MarksSurviveFold.holds() {
        merge_marks(new, &fold.marks);
    }
    if let Some(sample) = fold.sample {
        forget_silent(new, sample);
    }
    new.edit = fold.accounting.summary(EditKind::Fold);
    Ok(())
}

fn apply_merge(new: &mut Manifest, merge: &Merge) -> Result<(), Conflict> {
    let vanished = || Conflict::InputsVanished;
    let oldest = merge.inputs.first().ok_or(Conflict::Defect("a merge has inputs"))?;
    let start = new.runs.iter().position(|run| run.id == *oldest).ok_or_else(vanished)?;
    let end = start + merge.inputs.len();
    let inputs = new.runs.get(start..end).ok_or_else(vanished)?;
    if !inputs.iter().map(|run| &run.id).eq(&merge.inputs) {
        return Err(vanished());
    }
    let rows_in: u64 = inputs.iter().map(|run| run.rows).sum();
    if rows_in != merge.accounting.rows_in || !merge.accounting.balances() {
        return Err(Conflict::Defect("every row of the merged runs is accounted for"));
    }
    let span = (inputs.first().map(|run| run.first), inputs.last().map(|run| run.last));
    if span != (Some(merge.output.first), Some(merge.output.last)) || merge.output.resolved != (start == 0) {
        return Err(Conflict::Defect("a merged run covers the slots of its inputs"));
    }
    let before: Vec<PartEntry> = inputs.iter().flat_map(|run| run.parts.iter().cloned()).collect();
    let added: Vec<PartEntry> = merge.output.parts.iter().filter(|part| !before.contains(part)).cloned().collect();
    fence(new, &added, &merge.embeddings)?;
    let version = new.version;
    for part in before {
        if !merge.output.parts.contains(&part) {
            new.dropped.push(Dropped { object: PartObject::Meta(part.name), version });
        }
    }
    new.runs.splice(start..end, [merge.output.clone()]);
    for (name, change) in &merge.references {
        let entry = new.embeddings.iter_mut().find(|entry| entry.name == *name).ok_or_else(vanished)?;
        let live = entry.live.checked_add(change.added).and_then(|live| live.checked_sub(change.removed));
        entry.live = live.ok_or(Conflict::Defect("no embedding row is released more often than it is referred to"))?;
    }
    for entry in new.embeddings.extract_if(.., |entry| entry.live == 0) {
        new.dropped.push(Dropped { object: PartObject::Embeddings(entry.name), version });
    }
    add_embeddings(new, &merge.embeddings);
    new.edit = merge.accounting.summary(EditKind::Merge);
    Ok(())
}

/// The limit of truncation: the last segment folded stays. An appender that tries the slot behind a
/// swept one then finds it taken or swept, too. So it never appends behind a slot that it does not
/// know to be swept.
pub(crate) fn highest_truncated(folded: Sequence) -> Sequence {
    folded.max(Sequence::FIRST)
}

/// Whether a log start keeps the last segment folded.
pub(crate) fn keeps_last(truncated: Sequence, folded: Sequence) -> bool {
    truncated <= highest_truncated(folded) || !Guard::LastSegmentKept.holds()
}

fn apply_sweep(new: &mut Manifest, floors: &Floors) -> Result<(), Conflict> {
    let lower = floors.truncated < new.truncated || floors.sweep_floor < new.sweep_floor;
    let higher = floors.truncated > new.truncated && !keeps_last(floors.truncated, new.folded);
    if lower || higher || floors.sweep_floor >= new.version {
        return Err(Conflict::SweptMeanwhile);
    }
    new.truncated = floors.truncated;
    new.sweep_floor = floors.sweep_floor;
    new.pins.retain(|pin| !floors.expired.iter().any(|seen| is_seen(pin, &seen.name, seen.id)));
    // The manifests of the remaining versions and pins tell what they need. The list holds the
    // objects that this edit releases.
    new.dropped.retain(|dropped| dropped.version > floors.sweep_floor);
    new.edit = Accounting::default().summary(EditKind::Sweep);
    Ok(())
}

/// Refuses objects born below the floor. Nothing referred to them, so a sweep may have deleted them
/// already.
fn fence(manifest: &Manifest, parts: &[PartEntry], embeddings: &[EmbeddingEntry]) -> Result<(), Conflict> {
    let born = parts.iter().map(|part| part.name.version).chain(embeddings.iter().map(|entry| entry.name.version));
    match born.min() {
        Some(born) if born < manifest.sweep_floor && Guard::SweepFloor.holds() => {
            Err(Conflict::Fenced { born, sweep_floor: manifest.sweep_floor })
        }
        _ => Ok(()),
    }
}

fn add_embeddings(new: &mut Manifest, added: &[EmbeddingEntry]) {
    new.embeddings.extend(added.iter().filter(|entry| entry.live > 0).cloned());
    new.embeddings.sort_by_key(|entry| entry.name);
}
