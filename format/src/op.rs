//! One change to one record, as a writer states it.

use crate::record::{Patch, Record};
use crate::revision::Revision;

/// A change to the record `id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Op<E = Vec<f32>> {
    /// The record's id.
    pub id: String,
    /// The change.
    pub action: Action<E>,
    /// Its place among the changes of the record, in a collection ordered by revision; `None` in
    /// one ordered by its log.
    pub revision: Option<Revision>,
}

/// The action of an op.
#[derive(Debug, Clone, PartialEq)]
pub enum Action<E = Vec<f32>> {
    /// Sets the record, whether it was present or absent.
    Put(Record<E>),
    /// Patches the record if it is present. Otherwise inserts the patch applied to an empty record.
    Upsert(Patch<E>),
    /// Inserts the record if it is absent, otherwise does nothing. Invalid in a collection ordered
    /// by revision.
    Add(Record<E>),
    /// Patches the record if it is present, otherwise does nothing.
    Patch(Patch<E>),
    /// Removes the record.
    Delete,
}

impl<E> Op<E> {
    /// An op without a revision.
    pub fn new(id: impl Into<String>, action: Action<E>) -> Self {
        Self { id: id.into(), action, revision: None }
    }

    /// The same op at a revision.
    #[must_use]
    pub fn at(self, revision: Revision) -> Self {
        Self { revision: Some(revision), ..self }
    }

    /// An op that [`Action::Put`]s.
    pub fn put(id: impl Into<String>, record: Record<E>) -> Self {
        Self::new(id, Action::Put(record))
    }

    /// An op that [`Action::Upsert`]s.
    pub fn upsert(id: impl Into<String>, patch: Patch<E>) -> Self {
        Self::new(id, Action::Upsert(patch))
    }

    /// An op that [`Action::Add`]s.
    pub fn add(id: impl Into<String>, record: Record<E>) -> Self {
        Self::new(id, Action::Add(record))
    }

    /// An op that [`Action::Patch`]es.
    pub fn patch(id: impl Into<String>, patch: Patch<E>) -> Self {
        Self::new(id, Action::Patch(patch))
    }

    /// An op that [`Action::Delete`]s.
    pub fn delete(id: impl Into<String>) -> Self {
        Self::new(id, Action::Delete)
    }

    /// The same op with its embedding mapped to another form.
    pub fn map_embedding<F>(self, map: impl FnOnce(E) -> F) -> Op<F> {
        let action = match self.action {
            Action::Put(record) => Action::Put(record.map_embedding(map)),
            Action::Upsert(patch) => Action::Upsert(patch.map_embedding(map)),
            Action::Add(record) => Action::Add(record.map_embedding(map)),
            Action::Patch(patch) => Action::Patch(patch.map_embedding(map)),
            Action::Delete => Action::Delete,
        };
        Op { id: self.id, action, revision: self.revision }
    }
}

impl<E> Action<E> {
    /// The embedding of the op, if it has one.
    pub fn embedding(&self) -> Option<&E> {
        match self {
            Self::Put(record) | Self::Add(record) => record.embedding.as_ref(),
            Self::Upsert(patch) | Self::Patch(patch) => patch.embedding.value(),
            Self::Delete => None,
        }
    }

    /// The op's name in JSON and on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Upsert(_) => "upsert",
            Self::Add(_) => "add",
            Self::Patch(_) => "patch",
            Self::Delete => "delete",
        }
    }
}
