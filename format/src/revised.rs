//! The result of a set of ops with revisions for one id: a map of fields in which the last writer
//! wins.
//!
//! It is a join semilattice. [`Revised::join`] is commutative, associative and idempotent, so ops
//! may arrive in any order, repeat, and be joined in any grouping.
//!
//! The argument: the state is a function of the set of ops. Its base is the highest put or delete.
//! Each field is the highest write among those that are not below the base. The join of two states
//! takes the same maxima of maxima. A write that a lower base has dropped lies below the higher
//! base as well.

use std::collections::BTreeMap;

use crate::name::Timestamp;
use crate::op::Action;
use crate::record::{Change, Patch, Record, Value};
use crate::stamp::Stamp;
use crate::transition::Stored;

/// The result of a set of ops with revisions.
///
/// No write in it lies below its base. A write older than the newest put or delete is dropped,
/// whenever it arrives.
#[derive(Debug, Clone, PartialEq)]
pub struct Revised<E> {
    /// The newest put or delete.
    pub base: Option<Base>,
    /// The newest upsert, if it is above the base.
    pub upserted: Option<Stamp>,
    /// The newest write of the embedding.
    pub embedding: Option<Write<E>>,
    /// The newest write of the document.
    pub document: Option<Write<String>>,
    /// The newest write of each metadata key.
    pub metadata: BTreeMap<String, Write<Value>>,
    /// The date of the absence, if there is no record. Compaction drops the absence when this is
    /// old enough, by the store's clock. It decides between no two ops.
    pub dated: Timestamp,
}

/// The newest put or delete of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Its stamp.
    pub at: Stamp,
    /// True for a put, false for a delete.
    pub put: bool,
}

/// The newest write of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct Write<T> {
    /// The stamp of the op that wrote it.
    pub at: Stamp,
    /// The value. `None` if the field was removed, which must be kept as long as an older write may
    /// arrive.
    pub value: Option<T>,
}

impl<E> Default for Revised<E> {
    /// The result of no ops.
    fn default() -> Self {
        Self {
            base: None,
            upserted: None,
            embedding: None,
            document: None,
            metadata: BTreeMap::new(),
            dated: Timestamp::default(),
        }
    }
}

impl<E> Revised<E> {
    /// The result of one op.
    pub fn from_op(action: Action<E>, at: Stamp) -> Self {
        match action {
            // No op with a revision is an `add`: encoder and decoder refuse it.
            Action::Put(record) | Action::Add(record) => {
                let Record { embedding, metadata, document } = record;
                let write = |value| Write { at, value: Some(value) };
                Self {
                    base: Some(Base { at, put: true }),
                    embedding: embedding.map(|value| Write { at, value: Some(value) }),
                    document: document.map(|value| Write { at, value: Some(value) }),
                    metadata: metadata.into_iter().map(|(key, value)| (key, write(value))).collect(),
                    ..Self::default()
                }
            }
            Action::Delete => Self { base: Some(Base { at, put: false }), ..Self::default() },
            Action::Patch(patch) => Self::patched(patch, at),
            Action::Upsert(patch) => Self { upserted: Some(at), ..Self::patched(patch, at) },
        }
    }

    fn patched(patch: Patch<E>, at: Stamp) -> Self {
        let Patch { embedding, metadata, document } = patch;
        Self {
            embedding: change(embedding, at),
            document: change(document, at),
            metadata: metadata.into_iter().map(|(key, value)| (key, Write { at, value })).collect(),
            ..Self::default()
        }
    }

    /// The result of both sets of ops together. Commutative, associative, idempotent. If both hold
    /// one write, `self` keeps its copy.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let base = match (self.base, other.base) {
            (Some(a), Some(b)) => Some(if b.at > a.at { b } else { a }),
            (a, b) => a.or(b),
        };
        let above = |at: Stamp| base.is_none_or(|base| at >= base.at);
        let mut metadata = self.metadata;
        for (key, write) in other.metadata {
            match metadata.get_mut(&key) {
                Some(older) if older.at >= write.at => {}
                Some(older) => *older = write,
                None => drop(metadata.insert(key, write)),
            }
        }
        if self.base != base || other.base != base {
            metadata.retain(|_, write| above(write.at));
        }
        Self {
            base,
            upserted: self.upserted.max(other.upserted).filter(|at| above(*at)),
            embedding: newest(self.embedding, other.embedding).filter(|write| above(write.at)),
            document: newest(self.document, other.document).filter(|write| above(write.at)),
            metadata,
            dated: self.dated.max(other.dated),
        }
    }

    /// Whether there is a record: the newest put or delete is a put, or an upsert is newer than it.
    pub fn is_present(&self) -> bool {
        self.base.is_some_and(|base| base.put) || self.upserted.is_some()
    }

    /// The stamp that inserted the record: of the newest put if no newer op deletes, otherwise of
    /// the newest upsert.
    pub fn inserted(&self) -> Option<Stamp> {
        self.base.filter(|base| base.put).map(|base| base.at).or(self.upserted)
    }

    /// The newest of all stamps.
    pub fn changed(&self) -> Option<Stamp> {
        self.stamps().max()
    }

    /// Every stamp in it, in the order of base, upsert, embedding, document, metadata.
    pub(crate) fn stamps(&self) -> impl Iterator<Item = Stamp> {
        let base = self.base.map(|base| base.at);
        base.into_iter().chain(self.slots())
    }

    /// The stamps above the base, in the order of upsert, embedding, document, metadata.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Stamp> {
        let embedding = self.embedding.as_ref().map(|write| write.at);
        let document = self.document.as_ref().map(|write| write.at);
        let metadata = self.metadata.values().map(|write| write.at);
        self.upserted.into_iter().chain(embedding).chain(document).chain(metadata)
    }

    /// The record, if there is one.
    pub fn resolve(self) -> Option<Stored<E, Stamp>> {
        let (inserted, changed) = self.inserted().zip(self.changed())?;
        let value = |(key, write): (String, Write<Value>)| Some((key, write.value?));
        let record = Record {
            embedding: self.embedding.and_then(|write| write.value),
            document: self.document.and_then(|write| write.value),
            metadata: self.metadata.into_iter().filter_map(value).collect(),
        };
        Some(Stored { record, inserted, changed })
    }

    /// The presence and insertion of the record, without its fields.
    pub fn outline<F>(&self) -> Revised<F> {
        Revised { base: self.base, upserted: self.upserted, ..Revised::default() }
    }

    /// The embedding that it sets.
    pub fn embedding(&self) -> Option<&E> {
        self.embedding.as_ref().and_then(|write| write.value.as_ref())
    }

    /// The same with its embedding mapped to another form.
    pub fn map_embedding<F>(self, map: impl FnOnce(E) -> F) -> Revised<F> {
        let Self { base, upserted, embedding, document, metadata, dated } = self;
        let embedding = embedding.map(|Write { at, value }| Write { at, value: value.map(map) });
        Revised { base, upserted, embedding, document, metadata, dated }
    }
}

fn change<T>(change: Change<T>, at: Stamp) -> Option<Write<T>> {
    match change {
        Change::Keep => None,
        Change::Clear => Some(Write { at, value: None }),
        Change::Set(value) => Some(Write { at, value: Some(value) }),
    }
}

fn newest<T>(a: Option<Write<T>>, b: Option<Write<T>>) -> Option<Write<T>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.at > a.at { b } else { a }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
#[path = "revised_tests.rs"]
mod tests;
