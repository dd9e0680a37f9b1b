//! The content of a collection: a record, its metadata and its values.

use std::collections::BTreeMap;

/// One metadata value: a scalar, or a list of scalars of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    String(String),
    /// A signed 64-bit integer.
    I64(i64),
    /// A finite 64-bit float.
    F64(f64),
    /// True or false.
    Bool(bool),
    /// A list of texts; also the type of an empty list of unknown element type.
    Strings(Vec<String>),
    /// A list of integers.
    I64s(Vec<i64>),
    /// A list of finite floats.
    F64s(Vec<f64>),
    /// A list of booleans.
    Bools(Vec<bool>),
}

/// Metadata of a record, in key order.
pub type Metadata = BTreeMap<String, Value>;

/// A record without its id. `E` is the form of the embedding: the numbers, or a reference to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<E = Vec<f32>> {
    /// The embedding, as long as the collection's dimension.
    pub embedding: Option<E>,
    /// The metadata.
    pub metadata: Metadata,
    /// The document.
    pub document: Option<String>,
}

impl<E> Default for Record<E> {
    fn default() -> Self {
        Self { embedding: None, metadata: Metadata::new(), document: None }
    }
}

impl<E> Record<E> {
    /// The same record with its embedding mapped to another form.
    pub fn map_embedding<F>(self, map: impl FnOnce(E) -> F) -> Record<F> {
        Record { embedding: self.embedding.map(map), metadata: self.metadata, document: self.document }
    }
}

/// The change of one field by a patch.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Change<T> {
    /// Leaves it.
    #[default]
    Keep,
    /// Removes it.
    Clear,
    /// Sets it.
    Set(T),
}

impl<T> Change<T> {
    /// The field after this change.
    pub fn apply(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Keep => old,
            Self::Clear => None,
            Self::Set(new) => Some(new),
        }
    }

    /// This change, then `newer`.
    #[must_use]
    pub fn then(self, newer: Self) -> Self {
        if matches!(newer, Self::Keep) { self } else { newer }
    }

    /// The same change to a value held another way.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(map(value)),
        }
    }

    /// The value set, if any.
    pub fn value(&self) -> Option<&T> {
        if let Self::Set(value) = self { Some(value) } else { None }
    }
}

/// Changes to some fields of a record. Other fields stay as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch<E = Vec<f32>> {
    /// The embedding.
    pub embedding: Change<E>,
    /// Metadata by key: `Some` sets, `None` removes.
    pub metadata: BTreeMap<String, Option<Value>>,
    /// The document.
    pub document: Change<String>,
}

impl<E> Default for Patch<E> {
    fn default() -> Self {
        Self { embedding: Change::Keep, metadata: BTreeMap::new(), document: Change::Keep }
    }
}

impl<E> Patch<E> {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        matches!(self.embedding, Change::Keep) && self.metadata.is_empty() && matches!(self.document, Change::Keep)
    }

    /// The record after this patch.
    pub fn apply(self, mut record: Record<E>) -> Record<E> {
        record.embedding = self.embedding.apply(record.embedding);
        record.document = self.document.apply(record.document);
        for (key, value) in self.metadata {
            match value {
                Some(value) => record.metadata.insert(key, value),
                None => record.metadata.remove(&key),
            };
        }
        record
    }

    /// This patch, then `newer`.
    #[must_use]
    pub fn then(mut self, newer: Self) -> Self {
        self.embedding = self.embedding.then(newer.embedding);
        self.document = self.document.then(newer.document);
        self.metadata.extend(newer.metadata);
        self
    }

    /// The same patch with its embedding mapped to another form.
    pub fn map_embedding<F>(self, map: impl FnOnce(E) -> F) -> Patch<F> {
        Patch { embedding: self.embedding.map(map), metadata: self.metadata, document: self.document }
    }
}
