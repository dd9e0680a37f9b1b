//! The expected state, built from the writes that the store saw: the log as written, and the
//! versions as published. It decodes the bytes with the format crate alone, and asks the engine
//! nothing.

mod creation;
mod deletion;
mod named;
mod publish;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use deltafold::Entry;
use deltafold::format::{Digest, EditKind, Head, Manifest, Op, Position, Sequence, ShardId, Uid, Version};
use deltafold::store::Key;
use deltafold_testing::model::{Model, untied};

use crate::checks::*;
use crate::executor::ProcessId;
use crate::world::Failure;
use named::{objects, part_key};

pub(crate) type Checked<T = ()> = Result<T, Failure>;

pub(crate) fn broken<T>(check: &'static str, detail: impl Into<String>) -> Checked<T> {
    Err(Failure { check, detail: detail.into() })
}

/// The outcome of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No outcome yet, or an unknown one.
    Maybe,
    Acked,
    /// Nothing was appended, and nothing will be.
    Refused,
}

/// The ops of one append for one shard. The first of them names the append.
#[derive(Debug, Clone)]
pub(crate) struct Portion {
    pub(crate) ops: Vec<Op>,
    pub(crate) landed: Option<Sequence>,
    /// The last slot acknowledged before the append began.
    after: Sequence,
}

/// The number of times that the ops of an append may be in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Times {
    Once,
    /// Once, at this position of this source, however often they are appended.
    At(String, u128),
    /// Once, at the position of the source in the ops themselves. Not at all if a later change of
    /// one of their records came first.
    Change(String, u128),
    /// Once for each time they are appended.
    Any,
}

/// An append.
#[derive(Debug, Clone)]
pub(crate) struct Append {
    pub(crate) portions: BTreeMap<ShardId, Portion>,
    pub(crate) times: Times,
    pub(crate) state: State,
}

/// One slot of a log.
#[derive(Debug, Clone)]
struct Slot {
    ops: Vec<Op>,
}

/// One shard.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// From slot 1 on.
    log: Vec<Slot>,
    /// Number and digest of the ops up to each slot, from none on.
    sums: Vec<(u64, Digest)>,
    pub(crate) head: Option<Head>,
    versions: BTreeMap<Version, Manifest>,
    /// The highest slot that was acknowledged.
    acked: Sequence,
    /// Slots with leftovers of writers of a dropped collection. They count as empty.
    voids: BTreeSet<Sequence>,
    /// The last position of each source in it.
    sources: BTreeMap<String, u128>,
    /// The last position of each source's changes of each record.
    changes: BTreeMap<(String, String), u128>,
}

impl Shard {
    pub(crate) fn last(&self) -> Sequence {
        Sequence::new(self.log.len() as u64).unwrap_or_default()
    }

    fn pass_voids(&mut self) {
        while self.voids.remove(&self.last().next()) {
            self.sums.push(self.sums.last().copied().unwrap_or_default());
            self.log.push(Slot { ops: Vec::new() });
        }
    }

    fn sum(&self, folded: Sequence) -> Option<(u64, Digest)> {
        match folded.get() {
            0 => Some((0, Digest::default())),
            n => self.sums.get(usize::try_from(n).ok()? - 1).copied(),
        }
    }

    pub(crate) fn floor(&self) -> Version {
        self.head.as_ref().map_or(Version::ZERO, |head| head.sweep_floor)
    }

    pub(crate) fn truncated(&self) -> Sequence {
        self.head.as_ref().map_or(Sequence::FIRST, |head| head.truncated)
    }

    pub(crate) fn version(&self) -> Version {
        self.head.as_ref().map_or(Version::ZERO, |head| head.version)
    }

    pub(crate) fn folded_at(&self, version: Version) -> Option<Sequence> {
        if version == Version::ZERO { Some(Sequence::ZERO) } else { self.versions.get(&version).map(|m| m.folded) }
    }

    fn current(&self) -> Option<&Manifest> {
        self.versions.get(&self.version())
    }

    /// The readable versions: those from the floor on, and pinned ones.
    fn retained(&self) -> Vec<&Manifest> {
        let pins = self.current().map(|current| current.pins.as_slice()).unwrap_or_default();
        let pinned = |version: &Version| pins.iter().any(|pin| pin.version == *version);
        let kept = self.versions.iter().filter(|(version, _)| **version >= self.floor() || pinned(version));
        kept.map(|(_, manifest)| manifest).collect()
    }
}

/// The sender of a write, and its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) process: ProcessId,
    pub(crate) at: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    uid: Option<Uid>,
    pub(crate) shards: BTreeMap<ShardId, Shard>,
    pub(crate) appends: Vec<Append>,
    /// Published edits, each with the sender and the time of its request.
    pub(crate) published: Vec<(Sent, EditKind)>,
    /// A drop is under way: every object may go.
    pub(crate) dropping: bool,
    /// The collection is ordered by revision.
    revisions: bool,
}

impl Oracle {
    /// Registers an append that begins. `make` builds its ops from its number.
    pub(crate) fn issue(&mut self, times: Times, make: impl FnOnce(usize) -> Vec<(ShardId, Vec<Op>)>) -> usize {
        let number = self.appends.len();
        let portions = make(number)
            .into_iter()
            .map(|(id, ops)| {
                let after = if times == Times::Once { self.acked(id) } else { Sequence::ZERO };
                (id, Portion { ops, landed: None, after })
            })
            .collect();
        self.appends.push(Append { portions, times, state: State::Maybe });
        number
    }

    fn acked(&self, id: ShardId) -> Sequence {
        self.shards.get(&id).map_or(Sequence::ZERO, |shard| shard.acked)
    }

    /// Handles the ack of an append.
    pub(crate) fn acked_at(&mut self, number: usize, segments: Option<&[(ShardId, Sequence)]>) -> Checked {
        let append = &mut self.appends[number];
        append.state = State::Acked;
        for (id, portion) in &append.portions {
            let Some(landed) = portion.landed else {
                return broken(ACKED, format!("append {number} was acknowledged, and shard {id} has nothing of it"));
            };
            let said = segments.and_then(|segments| segments.iter().find(|(shard, _)| shard == id)).map(|(_, at)| *at);
            if said.is_some_and(|said| said != landed) || (said.is_none() && append.times == Times::Once) {
                let said = said.map_or(0, Sequence::get);
                return broken(
                    ACKED,
                    format!("append {number} is in segment {} of shard {id}, not in {said}", landed.get()),
                );
            }
            if let Some(shard) = self.shards.get_mut(id) {
                shard.acked = shard.acked.max(landed);
            }
        }
        Ok(())
    }

    /// Handles the refusal of an append: nothing of it is in the log, and nothing will be.
    pub(crate) fn refused(&mut self, number: usize) {
        let append = &mut self.appends[number];
        if append.times == Times::Once && append.state == State::Maybe {
            append.state = State::Refused;
        }
    }

    /// Whether a change came too late: the log holds a later change of one of its records.
    pub(crate) fn is_passed(&self, number: usize) -> bool {
        let append = &self.appends[number];
        let Times::Change(source, position) = &append.times else { return false };
        let missing = append.portions.iter().filter(|(_, portion)| portion.landed.is_none());
        let mut records = missing.flat_map(|(id, portion)| portion.ops.iter().map(move |op| (id, &op.id)));
        records.any(|(id, record)| {
            let changes = self.shards.get(id).map(|shard| &shard.changes);
            let last = changes.and_then(|changes| changes.get(&(source.clone(), record.clone())));
            last.is_some_and(|last| last > position)
        })
    }

    /// The highest acknowledged slot of each shard.
    pub(crate) fn acked_now(&self) -> BTreeMap<ShardId, Sequence> {
        self.shards.iter().map(|(id, shard)| (*id, shard.acked)).collect()
    }

    /// The records up to a slot of each shard.
    pub(crate) fn model(&self, tails: &BTreeMap<ShardId, Sequence>) -> Model {
        let mut model = Model::default();
        for (id, tail) in tails {
            let Some(shard) = self.shards.get(id) else { continue };
            for (slot, sequence) in shard.log.iter().zip(1..=tail.get()) {
                let sequence = Sequence::new(sequence).unwrap();
                for (index, op) in slot.ops.iter().enumerate() {
                    if self.revisions {
                        model.revise(op.clone(), *id);
                        continue;
                    }
                    model.apply(op.clone(), *id, Position::new(sequence, index).unwrap());
                }
            }
        }
        model
    }

    /// The first op behind a position.
    pub(crate) fn op_behind(&self, id: ShardId, after: Position) -> Option<(Position, &Op)> {
        let shard = self.shards.get(&id)?;
        let first = usize::try_from(after.sequence().get().saturating_sub(1)).ok()?;
        let slots = shard.log.iter().enumerate().skip(first);
        slots
            .flat_map(|(slot, Slot { ops })| {
                let sequence = Sequence::new(slot as u64 + 1).unwrap();
                ops.iter().enumerate().map(move |(index, op)| (Position::new(sequence, index).unwrap(), op))
            })
            .find(|(position, _)| *position > after)
    }

    /// The pins that every shard has.
    pub(crate) fn pins(&self) -> Vec<String> {
        let mut shards = self.shards.values().map(|shard| {
            let pins = shard.current().map(|current| current.pins.as_slice()).unwrap_or_default();
            pins.iter().map(|pin| pin.name.clone()).collect::<BTreeSet<String>>()
        });
        let first = shards.next().unwrap_or_default();
        shards.fold(first, |all, pins| all.intersection(&pins).cloned().collect()).into_iter().collect()
    }

    /// Checks every append at the end of a history.
    pub(crate) fn settle(&self) -> Checked {
        for (number, append) in self.appends.iter().enumerate() {
            for (id, portion) in &append.portions {
                match (append.state, portion.landed) {
                    (State::Acked, None) => {
                        return broken(
                            ACKED,
                            format!("append {number} was acknowledged, and shard {id} has nothing of it"),
                        );
                    }
                    (State::Refused, Some(at)) => {
                        return broken(
                            REFUSED,
                            format!("append {number} was refused, and is in segment {} of shard {id}", at.get()),
                        );
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The objects that must remain after sweeps that keep no old version.
    pub(crate) fn needed(&self, prefix: &str) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for (id, shard) in &self.shards {
            for manifest in shard.retained() {
                keys.insert(Key::new(format!("{prefix}/{id}/manifest/{}", manifest.name())).unwrap());
                keys.extend(objects(manifest).into_iter().map(|object| part_key(&format!("{prefix}/{id}"), object)));
            }
            for sequence in shard.truncated().get()..=shard.last().get() {
                keys.insert(Key::new(format!("{prefix}/{id}/log/{}", Sequence::new(sequence).unwrap())).unwrap());
            }
        }
        keys
    }
}

/// Compares the answer of a scan with the model.
pub(crate) fn same(found: &[Entry], expected: &[Entry]) -> Checked {
    let found: Vec<Entry> = found.iter().cloned().map(untied).collect();
    if found == expected {
        return Ok(());
    }
    let wrong = found.iter().zip(expected).find(|(found, expected)| found != expected);
    let detail = match wrong {
        Some((found, expected)) => format!("{found:?}\n    instead of {expected:?}"),
        None => format!("{} records instead of {}", found.len(), expected.len()),
    };
    broken(SNAPSHOT, detail)
}
