//! Decides from the evidence alone how to mend a head.

use deltafold_format::{Ancestor, EditKind, EditSummary, Head, Manifest, Run, Sequence, TimeRange, Version};

use super::RepairStep;
use super::evidence::{Evidence, HeadFound, Looked, base, candidates};
use crate::shard::Shard;
use crate::snapshot::MAX_ANCESTORS;

/// The write to make.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Nothing,
    /// The head, over an existing manifest or over none.
    Point(Head),
    /// A manifest that continues from what is left, and the head over it.
    Publish(Box<Manifest>),
}

/// The problem of a head, and the action that mends it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// `None` for a head that is intact.
    pub(super) problem: Option<String>,
    pub(super) action: Action,
    pub(super) notes: Vec<String>,
    pub(super) losses: Vec<String>,
    pub(super) replaces: bool,
}

impl Plan {
    fn intact() -> Self {
        Self { problem: None, action: Action::Nothing, notes: Vec::new(), losses: Vec::new(), replaces: false }
    }

    /// The step that users see; `None` for a head that is intact.
    pub(super) fn step(&self, shard: &Shard) -> Option<RepairStep> {
        let problem = self.problem.clone()?;
        let over = |head: &Head| match head.version {
            Version::ZERO => "the head of version 0, which holds nothing; the log has everything".to_owned(),
            version => {
                format!("the head of version {}, with the log folded up to {}", version.get(), head.folded.get())
            }
        };
        let remedy = match &self.action {
            Action::Nothing => None,
            Action::Point(head) => Some(over(head)),
            Action::Publish(manifest) => Some(format!("a new manifest, and {}", over(&manifest.head()))),
        };
        Some(RepairStep {
            key: shard.layout().head().to_string(),
            problem,
            remedy,
            notes: self.notes.clone(),
            losses: self.losses.clone(),
            replaces: self.replaces,
            done: false,
        })
    }
}

/// The manifests that prove themselves, of the highest version that has one.
pub(super) fn plan(evidence: &Evidence) -> Plan {
    let newest = evidence.manifests.iter().filter_map(|looked| looked.manifest.as_deref().ok());
    let newest = newest.map(|manifest| manifest.version).max().unwrap_or_default();
    // The maker of a manifest had seen the version before it. So had the maker of a claim.
    let published = Version::new(newest.get().saturating_sub(1)).max(evidence.claimed);
    let (problem, replaces) = match &evidence.head {
        HeadFound::Missing => ("it is missing".to_owned(), false),
        HeadFound::Damaged { why, .. } => (why.clone(), true),
        HeadFound::Foreign { uid, .. } => (format!("it belongs to another collection, {uid}"), true),
        HeadFound::Own { head, .. } if published > head.version => {
            let (old, new) = (head.version.get(), published.get());
            (format!("it names version {old}, and version {new} was published: an old copy was put back"), true)
        }
        HeadFound::Own { manifest: Err(why), head, .. } => {
            (format!("it names version {}, whose manifest cannot be used: {why}", head.version.get()), true)
        }
        HeadFound::Own { .. } => return Plan::intact(),
    };
    let mut plan = Plan { problem: Some(problem), replaces, ..Plan::intact() };
    match &evidence.head {
        HeadFound::Damaged { tag: None, .. } => {
            let note = "the store does not hand it out, so it cannot be replaced; delete it and run `repair` again";
            plan.notes.push(note.to_owned());
        }
        HeadFound::Own { head, .. } if !descends(base(&evidence.manifests), head) => plan.notes.push(
            "a compactor has published over the old copy, so there are two histories; restore the shard from a copy"
                .to_owned(),
        ),
        _ => rebuild(evidence, published, &mut plan),
    }
    plan
}

/// Whether a manifest descends from the state that a head names, as far as its ancestors tell.
fn descends(manifest: Option<&Manifest>, head: &Head) -> bool {
    let Some(manifest) = manifest.filter(|manifest| manifest.version > head.version) else { return true };
    let Some(oldest) = manifest.ancestors.first().filter(|oldest| oldest.version <= head.version) else { return true };
    let same = |known: &Ancestor| (known.version, known.nonce) == (head.version, head.manifest);
    head.version < oldest.version || manifest.ancestors.iter().any(same)
}

/// Chooses the new content of the head, and lists the losses.
fn rebuild(evidence: &Evidence, published: Version, plan: &mut Plan) {
    let base = base(&evidence.manifests);
    let version = base.map_or(Version::ZERO, |base| base.version);
    let unusable: Vec<&Looked> =
        evidence.manifests.iter().filter(|looked| looked.manifest.is_err() && looked.name.version >= version).collect();
    for looked in &unusable {
        if let Err(why) = &looked.manifest {
            plan.losses.push(format!("manifest {} cannot be used: {why}", looked.name));
        }
    }
    let head = if let HeadFound::Own { head, .. } = &evidence.head { head.version } else { Version::ZERO };
    let known = published.max(evidence.born).max(head);
    if known > version {
        plan.losses.push(format!("version {} was published, and its manifest is lost", known.get()));
    }
    if let HeadFound::Own { head, manifest: Err(_), .. } = &evidence.head
        && head.version == version
    {
        plan.losses.push(format!("the manifest of version {} that the head names is lost", version.get()));
    }
    let mut new = base.cloned().unwrap_or_else(|| Manifest::empty(evidence.uid));
    let mut differs = join(&mut new, &candidates(&evidence.manifests), plan);
    if !plan.losses.is_empty() {
        differs = true;
        plan.losses.push("pins that were made or removed since the version that is left are lost".to_owned());
    }
    if let Some(gap) = evidence.gap {
        differs = true;
        bridge(&mut new, gap, evidence, plan);
    }
    if !differs {
        plan.action = Action::Point(new.head());
        return;
    }
    if !plan.losses.is_empty() {
        truncate(&mut new, evidence);
    }
    let highest = evidence.manifests.iter().map(|looked| looked.name.version).max().unwrap_or_default();
    if let Some(base) = base {
        new.ancestors.push(Ancestor { version: base.version, nonce: base.nonce });
        let excess = new.ancestors.len().saturating_sub(MAX_ANCESTORS);
        new.ancestors.drain(..excess);
    }
    // Above every number ever used, so that none is given twice.
    new.version = highest.max(known).next();
    new.nonce = evidence.nonces[0];
    new.published = evidence.now;
    new.edit = EditSummary { kind: EditKind::Repair, rows_in: 0, rows_out: 0, bytes_in: 0, bytes_out: 0 };
    plan.action = Action::Publish(Box::new(new));
}

/// Merges the parts of the other candidates that must survive if one of them was published: pins,
/// and the truncation of the log. Returns whether that changes anything.
fn join(new: &mut Manifest, candidates: &[&Manifest], plan: &mut Plan) -> bool {
    let mut differs = false;
    for other in candidates {
        for pin in &other.pins {
            if new.pins.iter().any(|known| known.id == pin.id || known.name == pin.name) {
                continue;
            }
            plan.notes.push(format!("pin `{}` is kept: whether it was removed cannot be told", pin.name));
            new.pins.push(pin.clone());
            differs = true;
        }
        if other.truncated > new.truncated {
            new.truncated = other.truncated.min(new.folded.max(Sequence::FIRST)).max(new.truncated);
            differs = true;
        }
    }
    new.pins.sort_by(|a, b| a.name.cmp(&b.name));
    differs
}

/// Continues behind lost segments: an empty run takes their place.
fn bridge(new: &mut Manifest, (first, last): (Sequence, Sequence), evidence: &Evidence, plan: &mut Plan) {
    let (from, to) = (first.get(), last.get());
    plan.losses
        .push(format!("the ops of segments {from} to {to} are lost: they are in no manifest and not in the log"));
    new.runs.push(Run {
        id: evidence.nonces[1],
        level: 0,
        resolved: new.runs.is_empty(),
        first,
        last,
        rows: 0,
        times: TimeRange::default(),
        parts: Vec::new(),
    });
    new.folded = last;
    // The high-water marks in the lost segments are unknown.
    new.marks_floor = last;
}

/// Truncates the log to the segments that are left.
fn truncate(new: &mut Manifest, evidence: &Evidence) {
    let mut start = new.folded.next();
    while start > new.truncated && evidence.log.contains(&start.prev()) {
        start = start.prev();
    }
    new.truncated = new.truncated.max(start);
}

#[cfg(test)]
mod tests;
