//! Rehearses edits without a store. It plans an edit on one snapshot, applies it to another, as
//! happens when another process publishes in between, and checks the invariants. For tests.

use std::collections::BTreeMap;
use std::time::Duration;

use deltafold_format::{
    Absent, Digest, EmbeddingEntry, Manifest, Mark, Nonce, ObjectName, PartEntry, Pin, Run, Sequence, TimeRange,
    Timestamp, Uid, Version,
};

use super::conflict::Conflict;
use super::edit::{Accounting, Edit, Floors, Fold, Merge, OpSum, ReferenceChange, Stamp, apply, nonce_of};
use super::invariants::check;
use super::sources::ClockSample;

/// The most rows of a part in a rehearsal.
const MAX_ROWS: u32 = 60_000;

/// An edit to rehearse. Numbers out of range are taken modulo the valid ones, so that any step is a
/// valid one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The next segments become a run.
    Fold {
        /// The number of segments.
        segments: u8,
        /// The rows of each part written.
        parts: Vec<u8>,
        /// Sources with positions in the segments, and those positions.
        marks: Vec<(u8, u8)>,
        /// The day on the store's clock, if the fold reads it.
        day: Option<u8>,
    },
    /// Adjacent runs become one.
    Merge {
        /// The first run.
        start: u8,
        /// The number of runs.
        count: u8,
        /// The parts of the first run that are carried over by reference.
        carried: u8,
        /// Whether the embedding rows stay where they are.
        keeps_embeddings: bool,
    },
    /// A version gets a name.
    Pin {
        /// The name.
        name: u8,
        /// The distance of the version, counted back from the current one.
        back: u8,
    },
    /// A pin goes.
    Unpin(u8),
    /// The floors rise.
    Sweep {
        /// The folded segments that stay.
        segments: u8,
        /// The versions that stay.
        versions: u8,
        /// A pin that has expired.
        expired: Option<u8>,
    },
}

/// A mistake in an edit, which must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// An op or row is not accounted for.
    Uncounted,
    /// One op was left out on the way.
    LeftOut,
    /// As many ops as were left out are other ops.
    Exchanged,
    /// The edit gives up more references to an embedding object than exist.
    Released,
    /// The run claims another place in the log.
    Misplaced,
    /// The run wrongly claims, or denies, that it is the oldest.
    Misresolved,
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Rehearsed {
    /// The edit is published.
    Published,
    /// The edit did not fit the current snapshot because of another edit; nothing happened.
    Conflict,
    /// The edit was refused as a defect; nothing happened.
    Refused(String),
    /// The snapshot allows no such step.
    Nothing,
}

/// All snapshots of a shard, from the empty one on.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    states: Vec<Manifest>,
    /// The number of rows of each embedding object that a part refers to.
    references: BTreeMap<ObjectName, BTreeMap<ObjectName, u32>>,
    nonces: u64,
    folded: OpSum,
}

impl Default for Rehearsal {
    fn default() -> Self {
        let states = vec![Manifest::empty(Uid::new(7))];
        Self { states, references: BTreeMap::new(), nonces: 0, folded: OpSum::default() }
    }
}

impl Rehearsal {
    /// The current snapshot.
    pub fn current(&self) -> &Manifest {
        self.seen(0)
    }

    /// Number and digest of all ops that the published folds claim.
    pub fn folded(&self) -> (u64, Digest) {
        (self.folded.ops, self.folded.digest)
    }

    /// Plans `step` on the snapshot that is `lag` versions old, possibly with a mistake, and
    /// applies it to the current one.
    ///
    /// # Panics
    ///
    /// Where an edit passes and breaks an invariant: the rehearsal looks for that.
    pub fn step(&mut self, step: &Step, lag: u8, mistake: Option<Mistake>) -> Rehearsed {
        // A wrong place on the older snapshot may be the right one on the current.
        let lag = if mistake == Some(Mistake::Misplaced) { 0 } else { lag };
        let Some(mut edit) = self.plan(step, usize::from(lag)) else { return Rehearsed::Nothing };
        if let Some(mistake) = mistake
            && !err(&mut edit, mistake)
        {
            return Rehearsed::Nothing;
        }
        let old = self.current().clone();
        let stamp = Stamp { nonce: self.nonce(), published: Timestamp::from_millis(1) };
        match apply(&old, &edit, stamp) {
            Ok(new) => {
                if let Err(broken) = check(&old, &new) {
                    assert!(mistake.is_some(), "{}: after {step:?}, {lag} versions old", broken.0);
                    return Rehearsed::Refused(broken.0.to_owned());
                }
                if let Edit::Fold(fold) = &edit {
                    self.folded.add(fold.held.ops, fold.held.digest);
                }
                self.states.push(new);
                Rehearsed::Published
            }
            Err(Conflict::Defect(rule)) => Rehearsed::Refused(rule.to_owned()),
            Err(_) => Rehearsed::Conflict,
        }
    }

    fn seen(&self, lag: usize) -> &Manifest {
        // The empty snapshot is always there.
        &self.states[self.states.len().saturating_sub(1 + lag)]
    }

    fn nonce(&mut self) -> Nonce {
        self.nonces += 1;
        Nonce::new(self.nonces)
    }

    fn plan(&mut self, step: &Step, lag: usize) -> Option<Edit> {
        let seen = self.seen(lag).clone();
        Some(match step {
            Step::Fold { segments, parts, marks, day } => {
                let first = seen.folded.next();
                let last = Sequence::new(first.get() + u64::from(segments % 8))?;
                Edit::Fold(self.fold(&seen, (first, last), parts, marks, *day))
            }
            Step::Merge { start, count, carried, keeps_embeddings } => {
                let runs = seen.runs.len();
                let start = usize::from(*start) % runs.max(1);
                let count = 1 + usize::from(*count) % (runs.saturating_sub(start)).max(1);
                let inputs = seen.runs.get(start..start + count)?;
                Edit::Merge(self.merge(&seen, inputs, usize::from(*carried), *keeps_embeddings))
            }
            Step::Pin { name, back } => {
                let version = Version::new(seen.version.get().saturating_sub((*back).into()));
                Edit::Pin(Pin {
                    name: pin_name(*name),
                    version,
                    nonce: nonce_of(&seen, version)?,
                    id: self.nonce(),
                    created: Timestamp::default(),
                    ttl_millis: (name & 1 == 1).then_some(7),
                })
            }
            Step::Unpin(name) => {
                let pin = seen.pins.iter().find(|pin| pin.name == pin_name(*name))?;
                Edit::Unpin { name: pin.name.clone(), id: pin.id }
            }
            Step::Sweep { segments, versions, expired } => Edit::Sweep(Floors {
                truncated: Sequence::new(seen.folded.next().get().saturating_sub((*segments).into()).max(1))?,
                sweep_floor: Version::new(seen.version.get().saturating_sub((*versions).into())),
                expired: seen
                    .pins
                    .iter()
                    .filter(|pin| expired.is_some_and(|name| pin.name == pin_name(name)))
                    .cloned()
                    .collect(),
            }),
        })
    }

    fn fold(
        &mut self,
        seen: &Manifest,
        (first, last): (Sequence, Sequence),
        parts: &[u8],
        marks: &[(u8, u8)],
        day: Option<u8>,
    ) -> Fold {
        let parts = parts.get(..parts.len().min(4)).unwrap_or_default();
        let rows: u64 = parts.iter().map(|rows| u64::from(*rows) + 1).sum();
        let (mut written, mut embeddings) = (Vec::new(), Vec::new());
        for rows in parts {
            let entry = self.embeddings(seen, u32::from(*rows) + 1);
            written.push(self.part(seen, u32::from(*rows) + 1, BTreeMap::from([(entry.name, entry.live)])));
            embeddings.push(entry);
        }
        let composed = u64::from(last.get() == first.get());
        let held = OpSum { ops: rows + composed, digest: Digest::from_bits(u128::from(self.nonces) << 64 | 1) };
        let accounting = Accounting { rows_in: held.ops, rows_out: rows, composed, ..Accounting::default() };
        let run = self.run(seen, seen.runs.is_empty(), (first, last), written);
        let mut marks: Vec<Mark> = marks
            .iter()
            .map(|(source, position)| Mark {
                source: format!("s{source}"),
                position: (*position).into(),
                sequence: last,
            })
            .collect();
        marks.sort_by(|a, b| (&a.source, b.position).cmp(&(&b.source, a.position)));
        marks.dedup_by(|a, b| a.source == b.source);
        let sample = day.map(|day| ClockSample {
            now: Timestamp::from_millis(i64::from(day) * 86_400_000),
            forget_after: Duration::from_secs(14 * 86_400),
        });
        Fold { run, embeddings, held, consumed: held, marks, sample, accounting }
    }

    fn merge(&mut self, seen: &Manifest, inputs: &[Run], carried: usize, keeps_embeddings: bool) -> Merge {
        let all = || inputs.iter().flat_map(|run| &run.parts);
        let first = inputs.first().map_or(0, |run| run.parts.len());
        let mut parts: Vec<PartEntry> = all().take(carried.min(first)).cloned().collect();
        let rows: u64 = parts.iter().map(|part| u64::from(part.rows)).sum();
        let mut changes: BTreeMap<ObjectName, ReferenceChange> = BTreeMap::new();
        let mut referred: BTreeMap<ObjectName, u32> = BTreeMap::new();
        let mut rewritten = 0u32;
        for part in all().skip(parts.len()) {
            // Rows beyond the limit of a part count as absent.
            rewritten = rewritten.saturating_add(part.rows).min(MAX_ROWS);
            for (object, count) in self.references.get(&part.name).into_iter().flatten() {
                changes.entry(*object).or_default().removed += count;
                *referred.entry(*object).or_default() += count;
            }
        }
        let mut embeddings = Vec::new();
        if rewritten > 0 {
            let references = if keeps_embeddings {
                for (object, count) in &referred {
                    changes.entry(*object).or_default().added += count;
                }
                referred
            } else {
                let live = referred.values().sum::<u32>().max(1);
                let entry = self.embeddings(seen, live);
                let references = BTreeMap::from([(entry.name, entry.live)]);
                embeddings.push(entry);
                references
            };
            parts.push(self.part(seen, rewritten, references));
        }
        let rows_in: u64 = inputs.iter().map(|run| run.rows).sum();
        let rows_out = rows + u64::from(rewritten);
        let accounting =
            Accounting { rows_in, carried: rows, rows_out, absent: rows_in - rows_out, ..Accounting::default() };
        let span = (
            inputs.first().map_or(Sequence::FIRST, |run| run.first),
            inputs.last().map_or(Sequence::FIRST, |run| run.last),
        );
        let output = self.run(seen, span.0 == Sequence::FIRST, span, parts);
        let inputs = inputs.iter().map(|run| run.id).collect();
        Merge { inputs, output, embeddings, references: changes, accounting }
    }

    fn object(&mut self, seen: &Manifest) -> ObjectName {
        ObjectName { version: seen.version, nonce: self.nonce() }
    }

    fn embeddings(&mut self, seen: &Manifest, rows: u32) -> EmbeddingEntry {
        let rows = rows.min(MAX_ROWS);
        EmbeddingEntry { name: self.object(seen), rows, live: rows, bytes: 100, crc32: 0 }
    }

    /// A part whose ids are higher than those of all parts made before.
    fn part(&mut self, seen: &Manifest, rows: u32, references: BTreeMap<ObjectName, u32>) -> PartEntry {
        let name = self.object(seen);
        let embeddings = references.keys().copied().collect();
        self.references.insert(name, references);
        let min_id = format!("{:08}a", self.nonces);
        let max_id = if rows == 1 { min_id.clone() } else { format!("{:08}b", self.nonces) };
        let (bytes, front_bytes, columns_end) = (100, 40, 60);
        let absent = Absent::default();
        PartEntry { name, rows, bytes, front_bytes, columns_end, crc32: 0, min_id, max_id, embeddings, absent }
    }

    fn run(&mut self, seen: &Manifest, resolved: bool, span: (Sequence, Sequence), parts: Vec<PartEntry>) -> Run {
        let id = self.object(seen).nonce;
        let rows = parts.iter().map(|part| u64::from(part.rows)).sum();
        Run { id, level: 0, resolved, first: span.0, last: span.1, rows, times: TimeRange::default(), parts }
    }
}

fn pin_name(name: u8) -> String {
    format!("pin{}", name % 8)
}

/// Puts a mistake in an edit, if the edit allows that mistake.
fn err(edit: &mut Edit, mistake: Mistake) -> bool {
    match (edit, mistake) {
        (Edit::Fold(fold), Mistake::Uncounted) => fold.accounting.composed += 1,
        (Edit::Fold(fold), Mistake::LeftOut) => fold.consumed.ops = fold.consumed.ops.wrapping_sub(1),
        (Edit::Fold(fold), Mistake::Exchanged) => fold.consumed.digest = Digest::from_bits(3),
        (Edit::Fold(fold), Mistake::Misplaced) => fold.run.first = fold.run.first.next(),
        (Edit::Fold(fold), Mistake::Misresolved) => fold.run.resolved = !fold.run.resolved,
        (Edit::Merge(merge), Mistake::Uncounted) => merge.accounting.rows_out += 1,
        (Edit::Merge(merge), Mistake::Misplaced) => merge.output.last = merge.output.last.next(),
        (Edit::Merge(merge), Mistake::Misresolved) => merge.output.resolved = !merge.output.resolved,
        (Edit::Merge(merge), Mistake::Released) => match merge.references.values_mut().next() {
            Some(change) => change.removed = change.removed.saturating_add(1 << 20),
            None => return false,
        },
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fuzzer of edits relies on it: a rehearsal that refuses every merge would try none.
    #[test]
    fn a_merge_of_two_runs_is_published() {
        let mut rehearsal = Rehearsal::default();
        let fold = Step::Fold { segments: 1, parts: vec![3], marks: Vec::new(), day: None };
        for _ in 0..2 {
            assert_eq!(rehearsal.step(&fold, 0, None), Rehearsed::Published);
        }
        for keeps_embeddings in [true, false] {
            let merge = Step::Merge { start: 0, count: 2, carried: 0, keeps_embeddings };
            assert_eq!(rehearsal.clone().step(&merge, 0, None), Rehearsed::Published);
        }
    }
}
