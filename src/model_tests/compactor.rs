//! A compactor: reads the head, plans with the policy, does the work, publishes.

use std::collections::BTreeMap;

use deltafold_format::{
    Absent, Digest, EmbeddingEntry, Manifest, Mark, ObjectName, PartEntry, Run, Sequence, TimeRange, Version,
};

use super::bounds::Guards;
use super::publisher::{Nonces, Published, Publisher};
use super::store::{OpId, Outcome, Rows, Segment, Snapshot, Store, Truth, Write, uid};
use crate::compact::Policy;
use crate::compact::policy::{Backlog, MergePlan};
use crate::log::writer_source;
use crate::snapshot::{Accounting, Edit, Fold, Merge, OpSum, ReferenceChange};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Compactor {
    rounds: u8,
    nonces: Nonces,
    current: Option<Snapshot>,
    /// Segments behind the last one that `current` has folded.
    log: Vec<(u64, Segment)>,
    at: At,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Look,
    List,
    /// Reads these slots.
    Get(u64, u64),
    /// Reads the parts of the runs to be merged. Holds the rows read so far.
    Parts(Vec<ObjectName>, Rows, usize),
    /// To write these, and publish.
    Write(ObjectName, Rows, Box<Publisher>),
    Publish(Box<Publisher>),
    Ended,
}

fn policy() -> Policy {
    Policy { fold_segments: 1, fan_in: 2, ..Policy::default() }
}

impl Compactor {
    pub(super) fn new(process: u8, rounds: u8) -> Self {
        let at = if rounds == 0 { At::Ended } else { At::Look };
        Self { rounds, nonces: Nonces::of(process), current: None, log: Vec::new(), at }
    }

    pub(super) fn ended(&self) -> bool {
        self.at == At::Ended
    }

    pub(super) fn crash(&mut self) {
        if let At::Publish(publisher) | At::Write(_, _, publisher) = &self.at {
            self.nonces = publisher.nonces();
        }
        self.nonces.crash();
        self.current = None;
        self.log.clear();
        self.at = At::Look;
    }

    pub(super) fn write(&self) -> Option<Write> {
        match &self.at {
            At::Write(name, rows, _) => Some(Write::Parts(*name, rows.clone())),
            At::Publish(publisher) => publisher.write(),
            _ => None,
        }
    }

    pub(super) fn answered(&mut self, outcome: Outcome) {
        match &mut self.at {
            At::Write(_, _, publisher) if outcome != Outcome::Unknown => self.at = At::Publish(publisher.clone()),
            At::Publish(publisher) => {
                let published = publisher.answered(outcome);
                self.published(published);
            }
            _ => {}
        }
    }

    pub(super) fn read(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) {
        match &mut self.at {
            At::Look => {
                self.current = Some(store.head.clone());
                self.at = At::List;
            }
            At::List => {
                let folded = self.folded();
                let (slots, whole) = store.list(folded);
                if !whole {
                    self.at = At::Look;
                } else if slots.is_empty() {
                    self.plan();
                } else {
                    self.at = At::Get(folded + 1, folded + slots.len() as u64);
                }
            }
            At::Get(next, last) => {
                let (next, last) = (*next, *last);
                match store.log.get(&next) {
                    // Another process folded and swept them meanwhile.
                    None => {
                        self.log.clear();
                        self.at = At::Look;
                    }
                    Some(segment) => {
                        self.log.push((next, *segment));
                        if next == last {
                            self.plan();
                        } else {
                            self.at = At::Get(next + 1, last);
                        }
                    }
                }
            }
            At::Parts(names, rows, inputs) => {
                let (names, mut rows, inputs) = (std::mem::take(names), std::mem::take(rows), *inputs);
                for name in names {
                    match store.parts.get(&name) {
                        Some(part) => rows.extend_from_slice(part),
                        // An input that is gone was merged and swept by another process.
                        None => return self.needless(store.head.clone()),
                    }
                }
                self.merge(rows, inputs);
            }
            At::Publish(publisher) => {
                let published = publisher.read(store, truth, guards);
                self.published(published);
            }
            At::Write(..) | At::Ended => {}
        }
    }

    fn folded(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.folded.get())
    }

    /// Plans the next step, as the engine's round does.
    fn plan(&mut self) {
        let Some(current) = self.current.clone() else { return };
        let backlog = Backlog { segments: self.log.len() as u64, bytes: 1 };
        if policy().folds(backlog) {
            let (name, rows, edit) = fold(&current, &self.log, &mut self.nonces);
            self.at = At::Write(name, rows, Box::new(Publisher::new(Edit::Fold(edit), self.nonces)));
        } else if let Some(MergePlan { inputs, .. }) = policy().merge(&current, 1_000) {
            let runs = current.runs.iter().filter(|run| inputs.contains(&run.id));
            let names = runs.flat_map(|run| run.parts.iter().map(|part| part.name)).collect();
            self.at = At::Parts(names, Rows::new(), inputs.len());
        } else {
            self.end_round();
        }
    }

    fn merge(&mut self, rows: Rows, inputs: usize) {
        let Some(current) = self.current.clone() else { return };
        let (name, edit) = merge(&current, inputs, &rows, &mut self.nonces);
        self.at = At::Write(name, rows, Box::new(Publisher::new(Edit::Merge(edit), self.nonces)));
    }

    fn published(&mut self, published: Option<Published>) {
        let Some(published) = published else { return };
        if let At::Publish(publisher) = &self.at {
            self.nonces = publisher.nonces();
        }
        match published {
            Published::Yes(current) => {
                self.current = Some(current);
                let folded = self.folded();
                self.log.retain(|(slot, _)| *slot > folded);
                if self.log.first().is_some_and(|(slot, _)| *slot != folded + 1) {
                    self.log.clear();
                }
                self.plan();
            }
            Published::Needless(current) => self.needless(current),
        }
    }

    fn needless(&mut self, current: Snapshot) {
        self.current = Some(current);
        self.end_round();
    }

    fn end_round(&mut self) {
        self.rounds -= 1;
        self.log.clear();
        self.current = None;
        self.at = At::Look;
        if self.rounds == 0 {
            (self.at, self.nonces) = (At::Ended, Nonces::of(0));
        }
    }
}

fn id(op: OpId) -> String {
    format!("{}/{:03}", op.source, op.position)
}

fn sequence(slot: u64) -> Sequence {
    Sequence::new(slot).unwrap()
}

/// A run of one part whose embeddings lie in an object of the same name.
fn run(born: Version, rows: &[OpId], first: Sequence, last: Sequence, nonces: &mut Nonces) -> (Run, EmbeddingEntry) {
    let nonce = nonces.draw();
    let name = ObjectName { version: born, nonce };
    let count = u32::try_from(rows.len()).unwrap();
    let part = PartEntry {
        name,
        rows: count,
        bytes: 1,
        front_bytes: 1,
        columns_end: 1,
        crc32: 0,
        min_id: rows.iter().copied().map(id).min().unwrap_or_default(),
        max_id: rows.iter().copied().map(id).max().unwrap_or_default(),
        embeddings: vec![name],
        absent: Absent::default(),
    };
    let run = Run {
        id: nonce,
        level: 0,
        resolved: false,
        first,
        last,
        rows: count.into(),
        times: TimeRange::default(),
        parts: vec![part],
    };
    (run, EmbeddingEntry { name, rows: count, live: count, bytes: 1, crc32: 0 })
}

fn fold(current: &Manifest, log: &[(u64, Segment)], nonces: &mut Nonces) -> (ObjectName, Rows, Fold) {
    let rows: Rows = log.iter().map(|(_, segment)| segment.op).collect();
    let last = sequence(log.last().map_or(current.folded.get(), |(slot, _)| *slot));
    let (mut run, entry) = run(current.version, &rows, current.folded.next(), last, nonces);
    run.resolved = current.runs.is_empty();
    let mut sum = OpSum::default();
    let mut marks: BTreeMap<String, Mark> = BTreeMap::new();
    for (slot, segment) in log {
        let Segment { writer, batch, op } = *segment;
        sum.add(1, Digest::from_bits(u128::from(op.source) << 8 | u128::from(op.position)));
        for (source, position) in [(format!("source/{}", op.source), op.position), (writer_source(uid(writer)), batch)]
        {
            let mark = Mark { source: source.clone(), position: position.into(), sequence: sequence(*slot) };
            let known = marks.entry(source).or_insert_with(|| mark.clone());
            if mark.position >= known.position {
                *known = mark;
            }
        }
    }
    let accounting = Accounting { rows_in: sum.ops, rows_out: sum.ops, ..Accounting::default() };
    let marks = marks.into_values().collect();
    let name = entry.name;
    (name, rows, Fold { run, embeddings: vec![entry], held: sum, consumed: sum, marks, accounting, sample: None })
}

/// The merge of the newest `inputs` runs.
fn merge(current: &Manifest, inputs: usize, rows: &[OpId], nonces: &mut Nonces) -> (ObjectName, Merge) {
    let start = current.runs.len() - inputs;
    let runs = &current.runs[start..];
    let (first, last) = (runs[0].first, runs[inputs - 1].last);
    let (mut output, entry) = run(current.version, rows, first, last, nonces);
    output.resolved = start == 0;
    output.level = 1;
    let mut references: BTreeMap<ObjectName, ReferenceChange> = BTreeMap::new();
    for part in runs.iter().flat_map(|run| &run.parts) {
        for name in &part.embeddings {
            references.entry(*name).or_default().removed += part.rows;
        }
    }
    let count = rows.len() as u64;
    let accounting = Accounting { rows_in: count, rows_out: count, ..Accounting::default() };
    let inputs = runs.iter().map(|run| run.id).collect();
    (entry.name, Merge { inputs, output, embeddings: vec![entry], references, accounting })
}
