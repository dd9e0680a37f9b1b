//! The expected state, built from the writes that the store saw: the log as written, and the
//! versions as published. It decodes the bytes with the format crate alone, and asks the engine
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use deltafold::format::{
    CollectionConfig, Digest, Head, Manifest, ObjectName, Op, PartObject, Position, Segment, Sequence, ShardId, Uid,
    Value, Version,
};
use deltafold::store::Key;
use deltafold::{Entry, format::EditKind};

use crate::checks::*;
use crate::executor::ProcessId;
use crate::world::Failure;
use deltafold_testing::model::{Model, untied};

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

/// The kind of object under a key.
enum Named {
    Collection,
    Head(ShardId),
    Segment(ShardId, Sequence),
    Manifest(ShardId, ObjectName),
    Part(ShardId, PartObject),
    /// The note of a reset or a drop under way.
    Note,
    Other,
}

fn named(key: &Key) -> Named {
    if key.as_str().starts_with("RESET/") || key.as_str().starts_with("DROP/") {
        return Named::Note;
    }
    let parts: Vec<&str> = key.as_str().split('/').skip(1).collect();
    let parsed = || -> Option<Named> {
        match parts[..] {
            ["collection"] => Some(Named::Collection),
            [shard, "head"] => Some(Named::Head(shard.parse().ok()?)),
            [shard, "log", name] => Some(Named::Segment(shard.parse().ok()?, name.parse().ok()?)),
            [shard, "manifest", name] => Some(Named::Manifest(shard.parse().ok()?, name.parse().ok()?)),
            [shard, "part", name] => {
                let (name, kind) = name.rsplit_once('.')?;
                let name = name.parse().ok()?;
                let object = if kind == "meta" { PartObject::Meta(name) } else { PartObject::Embeddings(name) };
                Some(Named::Part(shard.parse().ok()?, object))
            }
            _ => None,
        }
    };
    parsed().unwrap_or(Named::Other)
}

/// The objects that a version refers to.
fn objects(manifest: &Manifest) -> BTreeSet<PartObject> {
    let parts = manifest.runs.iter().flat_map(|run| &run.parts).map(|part| PartObject::Meta(part.name));
    parts.chain(manifest.embeddings.iter().map(|entry| PartObject::Embeddings(entry.name))).collect()
}

fn object_name(object: PartObject) -> ObjectName {
    match object {
        PartObject::Meta(name) | PartObject::Embeddings(name) => name,
    }
}

fn part_key(shard: &str, object: PartObject) -> Key {
    let key = match object {
        PartObject::Meta(name) => format!("{shard}/part/{name}.meta"),
        PartObject::Embeddings(name) => format!("{shard}/part/{name}.emb"),
    };
    Key::new(key).unwrap()
}

/// The append that an op names.
fn append_of(op: &Op<u32>) -> Option<usize> {
    let record = match &op.action {
        deltafold::format::Action::Put(record) => record,
        _ => return None,
    };
    match record.metadata.get("append") {
        Some(Value::I64(number)) => usize::try_from(*number).ok(),
        _ => None,
    }
}

impl Oracle {
    /// Handles the creation of an object.
    pub(crate) fn created(&mut self, key: &Key, bytes: &Bytes) -> Checked {
        match named(key) {
            Named::Collection => {
                let config = CollectionConfig::decode(bytes.clone()).ok();
                self.revisions = config.as_ref().is_some_and(|config| config.ordering.is_revision());
                self.uid = config.map(|config| config.uid);
                self.dropping = false;
                Ok(())
            }
            Named::Head(shard) => {
                let head = Head::decode(bytes.clone()).ok();
                // A collection made anew begins empty.
                self.shards.insert(shard, Shard { head, ..Shard::default() });
                Ok(())
            }
            Named::Segment(shard, sequence) => self.segment(shard, sequence, bytes),
            Named::Manifest(..) | Named::Part(..) | Named::Note | Named::Other => Ok(()),
        }
    }

    fn segment(&mut self, id: ShardId, sequence: Sequence, bytes: &Bytes) -> Checked {
        let Ok(segment) = Segment::decode(bytes.clone()) else {
            return broken(INVENTED, format!("segment {} of shard {id} is no segment", sequence.get()));
        };
        let Some(shard) = self.shards.get_mut(&id) else { return Ok(()) };
        // No reader reads a slot below `truncated`. A leftover of a dropped collection's writer
        // counts as empty.
        if sequence < shard.truncated() {
            return Ok(());
        }
        let ours = shard.head.as_ref().map(|head| head.collection);
        if ours != Some(segment.header().collection) {
            shard.voids.insert(sequence);
            shard.pass_voids();
            return Ok(());
        }
        if sequence != shard.last().next() {
            let (at, last) = (sequence.get(), shard.last().get());
            return broken(GAPS, format!("segment {at} of shard {id} is written, and the log ends with {last}"));
        }
        let whole: Vec<Op> =
            segment.ops().map(|(_, op)| op.map_embedding(|row| segment.vector(row).to_vec())).collect();
        let mut rest = &whole[..];
        let mut at = 0;
        while !rest.is_empty() {
            let number = segment.op(at).as_ref().and_then(append_of);
            let Some((number, append)) = number.and_then(|number| Some((number, self.appends.get_mut(number)?))) else {
                return broken(
                    INVENTED,
                    format!("segment {} of shard {id} holds an op that no writer appended", sequence.get()),
                );
            };
            let Some(portion) = append.portions.get_mut(&id) else {
                return broken(INVENTED, format!("append {number} has nothing for shard {id}"));
            };
            if rest.get(..portion.ops.len()) != Some(&portion.ops[..]) {
                return broken(
                    INVENTED,
                    format!("append {number} is in segment {} in part or changed", sequence.get()),
                );
            }
            if let Some(before) = portion.landed.filter(|_| append.times != Times::Any) {
                let (before, now) = (before.get(), sequence.get());
                return broken(
                    ONCE,
                    format!("append {number} is in segment {before} of shard {id}, and again in {now}"),
                );
            }
            if sequence <= portion.after {
                let (now, after) = (sequence.get(), portion.after.get());
                return broken(
                    REAL_TIME,
                    format!("append {number} began after segment {after} was acknowledged, and is in {now}"),
                );
            }
            portion.landed.get_or_insert(sequence);
            if let Times::At(source, position) = &append.times {
                let last = shard.sources.entry(source.clone()).or_default();
                if *position <= *last {
                    return broken(SOURCE_ORDER, format!("position {position} of `{source}` stands behind {last}"));
                }
                *last = *position;
            }
            if let Times::Change(source, position) = &append.times {
                for op in &portion.ops {
                    let last = shard.changes.entry((source.clone(), op.id.clone())).or_default();
                    if *position < *last {
                        let id = &op.id;
                        return broken(
                            CHANGE_ORDER,
                            format!("position {position} of `{source}` is of record `{id}` and stands behind {last}"),
                        );
                    }
                    *last = *position;
                }
            }
            rest = &rest[portion.ops.len()..];
            at += portion.ops.len();
        }
        let (ops, digest) = shard.sums.last().copied().unwrap_or_default();
        shard.sums.push((ops + whole.len() as u64, digest.plus(segment.header().digest)));
        shard.log.push(Slot { ops: whole });
        shard.pass_voids();
        Ok(())
    }

    /// Handles the replacement of a register.
    pub(crate) fn replaced(
        &mut self,
        sent: Sent,
        key: &Key,
        bytes: &Bytes,
        stored: &dyn Fn(&Key) -> Option<Bytes>,
    ) -> Checked {
        let Named::Head(id) = named(key) else { return Ok(()) };
        let Some(prefix) = key.as_str().strip_suffix("/head") else { return Ok(()) };
        let Some(shard) = self.shards.get_mut(&id) else { return Ok(()) };
        let Ok(head) = Head::decode(bytes.clone()) else { return broken(VERSIONS, format!("{key} is no head")) };
        let old = shard.head.clone();
        if old.as_ref().is_some_and(|old| old.collection != head.collection) {
            return broken(VERSIONS, format!("the head of shard {id} is swapped by someone of another collection"));
        }
        let name = ObjectName { version: head.version, nonce: head.manifest };
        let manifest = stored(&Key::new(format!("{prefix}/manifest/{name}")).unwrap());
        let Some(manifest) = manifest.and_then(|bytes| Manifest::decode(bytes).ok()) else {
            return broken(PRESENT, format!("the head of shard {id} names manifest {name}, which is not there"));
        };
        let before = old.as_ref().map_or((Version::ZERO, 0), |old| (old.version, old.manifest.get()));
        let made_from = manifest.ancestors.last().map_or((Version::ZERO, 0), |last| (last.version, last.nonce.get()));
        if head.version != before.0.next() || made_from != before || manifest.head() != head {
            let (from, to) = (before.0.get(), head.version.get());
            return broken(
                VERSIONS,
                format!("shard {id} goes from version {from} to {to}, made from {}", made_from.0.get()),
            );
        }
        let lower = old.is_some_and(|old| {
            head.folded < old.folded || head.truncated < old.truncated || head.sweep_floor < old.sweep_floor
        });
        if lower
            || head.folded > shard.last()
            || head.truncated > head.folded.next()
            || head.sweep_floor >= head.version
        {
            return broken(
                VERSIONS,
                format!("version {} of shard {id} has floors that fell or rose too far", head.version.get()),
            );
        }
        let (holds, says) = (shard.sum(head.folded), (manifest.ops, manifest.digest));
        if holds != Some(says) {
            let (holds, says) = (holds.map_or(0, |sum| sum.0), says.0);
            let folded = head.folded.get();
            return broken(
                ACCOUNTS,
                format!(
                    "version {} of shard {id} says {says} ops, and the log up to {folded} holds {holds}",
                    head.version.get()
                ),
            );
        }
        let before = shard.current().map(|before| before.pins.as_slice()).unwrap_or_default();
        let gone: Vec<_> = before.iter().filter(|pin| !manifest.pins.iter().any(|kept| kept.id == pin.id)).collect();
        let may_go = match manifest.edit.kind {
            EditKind::Unpin => gone.len() <= 1,
            EditKind::Sweep => gone.iter().all(|pin| pin.ttl_millis.is_some()),
            _ => gone.is_empty(),
        };
        if !may_go {
            let (version, kind) = (head.version.get(), manifest.edit.kind);
            return broken(PINNED, format!("version {version} of shard {id}, a {kind:?}, has lost {gone:?}"));
        }
        for object in objects(&manifest) {
            let key = part_key(prefix, object);
            if stored(&key).is_none() {
                return broken(PRESENT, format!("version {} of shard {id} refers to {key}", head.version.get()));
            }
        }
        self.published.push((sent, manifest.edit.kind));
        shard.versions.insert(head.version, manifest);
        shard.head = Some(head);
        Ok(())
    }

    /// Handles a delete before it happens.
    pub(crate) fn deleted(&mut self, keys: &[Key]) -> Checked {
        self.dropping |= keys.iter().any(|key| matches!(named(key), Named::Collection));
        if self.dropping {
            for key in keys {
                if let Named::Head(shard) = named(key) {
                    self.shards.remove(&shard);
                }
            }
            return Ok(());
        }
        let mut needed: BTreeMap<ShardId, BTreeSet<PartObject>> = BTreeMap::new();
        for key in keys {
            let why = match named(key) {
                Named::Note => None,
                Named::Collection | Named::Head(_) | Named::Other => Some("it is a register"),
                Named::Segment(id, sequence) => {
                    let truncated = self.shards.get(&id).map_or(Sequence::FIRST, Shard::truncated);
                    (sequence >= truncated).then_some("the log is not truncated so far")
                }
                Named::Manifest(id, name) => {
                    let Some(shard) = self.shards.get(&id) else { continue };
                    let retained = shard.retained().iter().any(|manifest| manifest.name() == name);
                    (retained || name.version >= shard.floor()).then_some("its version can still be read")
                }
                Named::Part(id, object) => {
                    let Some(shard) = self.shards.get(&id) else { continue };
                    let needed = needed
                        .entry(id)
                        .or_insert_with(|| shard.retained().iter().flat_map(|manifest| objects(manifest)).collect());
                    if needed.contains(&object) {
                        Some("a version that can still be read refers to it")
                    } else if object_name(object).version >= shard.floor() {
                        Some("an edit under way may add it")
                    } else {
                        None
                    }
                }
            };
            if let Some(why) = why {
                return broken(DELETED, format!("{key}: {why}"));
            }
        }
        Ok(())
    }

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
