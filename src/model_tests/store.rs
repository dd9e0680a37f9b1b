//! The abstract store: write-once objects, one register, and the truth that no process sees.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use deltafold_format::{Manifest, Nonce, ObjectName, Uid};

/// An appended op: its source (or writer) and its position there, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct OpId {
    pub(super) source: u8,
    pub(super) position: u8,
}

/// A large immutable thing, compared by a hash of its content.
#[derive(Debug)]
pub(super) struct Hashed<T> {
    value: Arc<T>,
    hash: u128,
}

impl<T: std::fmt::Debug> Hashed<T> {
    pub(super) fn new(value: T) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_128(format!("{value:?}").as_bytes());
        Self { value: Arc::new(value), hash }
    }
}

impl<T> Clone for Hashed<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), hash: self.hash }
    }
}

impl<T> Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl<T> Eq for Hashed<T> {}

impl<T> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

pub(super) type Snapshot = Hashed<Manifest>;

/// A batch of one op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Segment {
    pub(super) writer: u8,
    pub(super) batch: u8,
    pub(super) op: OpId,
}

/// The uid of a writer.
pub(super) fn uid(writer: u8) -> Uid {
    Uid::new(100 + u128::from(writer))
}

/// The rows of a part, and of the embedding object beside it: the ops in log order.
pub(super) type Rows = Vec<OpId>;

/// Objects and register.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Store {
    pub(super) log: BTreeMap<u64, Segment>,
    pub(super) head: Snapshot,
    pub(super) manifests: BTreeMap<ObjectName, Snapshot>,
    /// A part and its embedding object, under one name.
    pub(super) parts: BTreeMap<ObjectName, Rows>,
}

/// A write under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Write {
    Segment(u64, Segment),
    Parts(ObjectName, Rows),
    Manifest(Snapshot),
    /// Replaces the head of this name.
    Swap(ObjectName, Snapshot),
    DeleteSegment(u64),
    DeleteManifest(ObjectName),
    DeleteParts(ObjectName),
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Done,
    Refused,
    Unknown,
}

/// The truth, whether or not any process knows it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(super) struct Truth {
    /// The log: the op first created in each slot, from 1.
    pub(super) log: Vec<OpId>,
    /// The acknowledged ops, in the order of ids.
    pub(super) acked: Vec<OpId>,
    /// The acknowledged pins for good that no process has asked to remove, by id.
    pub(super) pinned: Vec<Nonce>,
    /// The pins that a process has asked to remove.
    unpinned: Vec<Nonce>,
    /// The first promise that was broken.
    pub(super) broken: Option<&'static str>,
}

impl Truth {
    pub(super) fn breaks(&mut self, promise: &'static str) {
        self.broken = self.broken.or(Some(promise));
    }

    /// A pin for good is acknowledged.
    pub(super) fn pin(&mut self, id: Nonce) {
        if !self.unpinned.contains(&id) {
            self.pinned.push(id);
        }
    }

    /// A process asks to remove a pin that it has seen.
    pub(super) fn unpin(&mut self, id: Nonce) {
        self.pinned.retain(|pinned| *pinned != id);
        if !self.unpinned.contains(&id) {
            self.unpinned.push(id);
            self.unpinned.sort_unstable();
        }
    }

    /// An op is acknowledged, at a slot where the writer knows one.
    pub(super) fn acknowledge(&mut self, op: OpId, slot: Option<u64>) {
        let place = self.log.iter().position(|logged| *logged == op).map(|index| index as u64 + 1);
        if place.is_none() || slot.is_some_and(|slot| place != Some(slot)) {
            self.breaks(ACKED);
        }
        if let Err(index) = self.acked.binary_search(&op) {
            self.acked.insert(index, op);
        }
    }
}

/// The promises.
pub(super) const ACKED: &str = "acknowledged ops are in the log";
pub(super) const ONCE: &str = "an op is in the log once, and those of a source are in order";
/// A caller has read the log up to a slot. Nothing comes between that slot and its ops.
pub(super) const NEXT: &str = "a conditional append follows directly what its caller has read";
pub(super) const GAPS: &str = "the log has no gaps";
pub(super) const VERSIONS: &str = "versions rise by one and keep the invariants";
pub(super) const READABLE: &str = "the log is readable";
pub(super) const VIEW: &str = "a reader sees one state of the log, with every op acknowledged before";
pub(super) const TOLD: &str = "a publisher hears of it";
pub(super) const PINNED: &str = "a pin and its objects stay until an edit removes it";
pub(super) const LIVE: &str = "nothing live is deleted";

impl Store {
    pub(super) fn empty() -> Self {
        let head = Snapshot::new(Manifest::empty(Uid::new(7)));
        Self { log: BTreeMap::new(), head, manifests: BTreeMap::new(), parts: BTreeMap::new() }
    }

    /// The write arrives.
    pub(super) fn arrive(&mut self, write: Write, truth: &mut Truth) -> Outcome {
        match write {
            Write::Segment(slot, segment) => {
                if self.log.contains_key(&slot) {
                    return Outcome::Refused;
                }
                self.log.insert(slot, segment);
                let end = truth.log.len() as u64;
                if slot == end + 1 {
                    let later =
                        |logged: &&OpId| logged.source == segment.op.source && logged.position >= segment.op.position;
                    if truth.log.iter().any(|logged| later(&logged)) {
                        truth.breaks(ONCE);
                    }
                    truth.log.push(segment.op);
                } else if slot > end {
                    truth.breaks(GAPS);
                }
            }
            Write::Parts(name, rows) => drop(self.parts.insert(name, rows)),
            Write::Manifest(snapshot) => drop(self.manifests.insert(snapshot.name(), snapshot)),
            Write::Swap(from, to) => {
                if self.head.name() != from {
                    return Outcome::Refused;
                }
                if to.version != self.head.version.next() {
                    truth.breaks(VERSIONS);
                }
                self.head = to;
            }
            Write::DeleteSegment(slot) => drop(self.log.remove(&slot)),
            Write::DeleteManifest(name) => drop(self.manifests.remove(&name)),
            Write::DeleteParts(name) => drop(self.parts.remove(&name)),
        }
        Outcome::Done
    }

    /// The slots behind `after`, and whether they join on to each other.
    pub(super) fn list(&self, after: u64) -> (Vec<u64>, bool) {
        let mut slots: Vec<u64> = self.log.range(after + 1..).map(|(slot, _)| *slot).collect();
        let joined = slots.iter().zip(after + 1..).take_while(|(slot, next)| *slot == next).count();
        let whole = joined == slots.len();
        slots.truncate(joined);
        (slots, whole)
    }
}
