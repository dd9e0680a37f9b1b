//! One rule: which items it takes, and what it makes of them.

use std::collections::BTreeMap;

use deltafold_format::{Change, CollectionName, Metadata, Patch, Record, Value};

use super::attribute::{Attribute, Item};
use super::convert::{self, Kind};
use super::error::RecordError;
use super::path::Path;
use super::pattern::Patterns;
use super::stream::StreamRecord;
use super::template::Template;
use super::view::View;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    /// As messages call it.
    pub(super) name: String,
    pub(super) collection: CollectionName,
    pub(super) tables: Option<Patterns>,
    pub(super) arns: Option<Patterns>,
    /// An item is taken if all of these are there and fit.
    pub(super) matches: Vec<(Path, Patterns)>,
    /// And none of these.
    pub(super) unless: Vec<(Path, Patterns)>,
    pub(super) id: Template,
    pub(super) document: Option<Path>,
    pub(super) embedding: Option<Path>,
    pub(super) metadata: BTreeMap<String, (Path, Kind)>,
    pub(super) revision: Revision,
    pub(super) insert: Insert,
    pub(super) modify: Modify,
    pub(super) remove: Remove,
}

/// Where the revision of a change comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Revision {
    /// The stream's `SequenceNumber`.
    Sequence,
    Attribute(Path),
}

/// What becomes of an item that is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Insert {
    Put,
    Upsert,
}

/// What becomes of an item that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modify {
    Patch,
    Upsert,
    Put,
}

/// What becomes of the record of an item that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remove {
    Delete,
    Keep,
}

impl Rule {
    /// Whether it is about the record's table.
    pub(super) fn is_of_table(&self, record: &StreamRecord) -> Result<bool, RecordError> {
        let fits = |patterns: &Option<Patterns>, found: Option<&str>| {
            match (patterns, found) {
            (None, _) => Ok(true),
            (Some(patterns), Some(found)) => Ok(patterns.match_text(found)),
            (Some(_), None) => Err(RecordError::new(
                "the rule is about certain tables, and the record does not say of which it is (it has no `eventSourceARN`, or one of no table)",
            )
            .in_rule(&self.name)),
        }
        };
        Ok(fits(&self.tables, record.table())? && fits(&self.arns, record.source_arn.as_deref())?)
    }

    /// Whether it takes the item.
    pub(super) fn takes(&self, view: View<'_>) -> Result<bool, RecordError> {
        let fits = |(path, patterns): &(Path, Patterns)| {
            Ok::<_, RecordError>(match view.find(path, "decides whether the rule takes the item")? {
                Some(Attribute::String(text) | Attribute::Number(text)) => patterns.match_text(text),
                Some(Attribute::Bool(truth)) => patterns.match_text(if *truth { "true" } else { "false" }),
                _ => false,
            })
        };
        for one in &self.matches {
            if !fits(one)? {
                return Ok(false);
            }
        }
        for one in &self.unless {
            if fits(one)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The record that an item is.
    pub(super) fn record(&self, item: &Item) -> Result<Record, RecordError> {
        let mut metadata = Metadata::new();
        for (key, (path, kind)) in &self.metadata {
            if let Some(value) = convert(path, item, |attribute| kind.value(attribute))? {
                metadata.insert(key.clone(), value);
            }
        }
        let embedding = field(self.embedding.as_ref(), item, convert::embedding)?;
        let document = field(self.document.as_ref(), item, convert::document)?;
        Ok(Record { embedding, metadata, document })
    }

    /// What makes the record of an item as it was into that of the item as it is. Where it cannot
    /// be seen how it was, everything is set, or removed. What the item was and no record could be
    /// made of counts as changed: it must not stand in the way of its own repair.
    pub(super) fn patch(&self, old: Option<&Item>, new: &Item) -> Result<Patch, RecordError> {
        let mut metadata: BTreeMap<String, Option<Value>> = BTreeMap::new();
        for (key, (path, kind)) in &self.metadata {
            match difference(path, old, new, |attribute| kind.value(attribute))? {
                Change::Keep => {}
                Change::Clear => drop(metadata.insert(key.clone(), None)),
                Change::Set(value) => drop(metadata.insert(key.clone(), Some(value))),
            }
        }
        let embedding = match &self.embedding {
            Some(path) => difference(path, old, new, convert::embedding)?,
            None => Change::Keep,
        };
        let document = match &self.document {
            Some(path) => difference(path, old, new, convert::document)?,
            None => Change::Keep,
        };
        Ok(Patch { embedding, metadata, document })
    }
}

fn field<T>(
    path: Option<&Path>,
    item: &Item,
    read: impl Fn(&Attribute) -> Result<T, String>,
) -> Result<Option<T>, RecordError> {
    path.map_or(Ok(None), |path| convert(path, item, read))
}

fn convert<T>(
    path: &Path,
    item: &Item,
    read: impl Fn(&Attribute) -> Result<T, String>,
) -> Result<Option<T>, RecordError> {
    let found = path.find(item).map(read).transpose();
    found.map_err(|reason| RecordError::of(&path.to_string(), reason))
}

fn difference<T: PartialEq>(
    path: &Path,
    old: Option<&Item>,
    new: &Item,
    read: impl Fn(&Attribute) -> Result<T, String>,
) -> Result<Change<T>, RecordError> {
    // What is the same before it is read is the same afterwards: most of an item never changes.
    if old.is_some_and(|old| path.find(old) == path.find(new)) {
        return Ok(Change::Keep);
    }
    let new = convert(path, new, &read)?;
    let old = old.map(|old| convert(path, old, &read));
    Ok(match (old, new) {
        (Some(Ok(old)), new) if old == new => Change::Keep,
        (_, Some(new)) => Change::Set(new),
        (_, None) => Change::Clear,
    })
}
