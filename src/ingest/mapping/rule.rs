//! One rule: the items that it takes, and the records that it maps them to.

use std::collections::BTreeMap;

use deltafold_format::{Change, CollectionName, Metadata, Patch, Record, Value};

use super::attribute::{Attribute, Item};
use super::condition::Condition;
use super::convert::{self, Kind};
use super::error::RecordError;
use super::path::Path;
use super::pattern::Patterns;
use super::stream::StreamRecord;
use super::template::Template;
use super::view::View;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    /// Its name in messages.
    pub(super) name: String,
    pub(super) collection: CollectionName,
    pub(super) tables: Option<Patterns>,
    pub(super) arns: Option<Patterns>,
    /// The rule takes an item if all of these exist and match.
    pub(super) matches: Vec<Condition>,
    /// And none of these matches.
    pub(super) unless: Vec<Condition>,
    pub(super) id: Template,
    pub(super) document: Option<Path>,
    pub(super) embedding: Option<Path>,
    pub(super) metadata: BTreeMap<String, (Path, Kind)>,
    pub(super) revision: Revision,
    pub(super) insert: Insert,
    pub(super) modify: Modify,
    pub(super) remove: Remove,
}

/// The origin of a change's revision.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Revision {
    /// The stream's `SequenceNumber`.
    Sequence,
    Attribute(Path),
}

/// The op for a new item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Insert {
    Put,
    Upsert,
}

/// The op for a changed item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modify {
    Patch,
    Upsert,
    Put,
}

/// The fate of the record of a deleted item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remove {
    Delete,
    Keep,
}

impl Rule {
    /// Whether the rule covers the record's table.
    pub(super) fn is_of_table(&self, record: &StreamRecord) -> Result<bool, RecordError> {
        let unknown = |what: &str| {
            let reason =
                format!("the rule is about certain tables, and the record does not say of which it is ({what})");
            RecordError::new(reason).in_rule(&self.name)
        };
        let of_table = match (&self.tables, record.table()) {
            (None, _) => true,
            (Some(patterns), Some(table)) => patterns.match_text(table),
            (Some(_), None) => {
                return Err(unknown("it has no `tableName`, and no `eventSourceARN` or one of no table"));
            }
        };
        let of_stream = match (&self.arns, record.source_arn.as_deref()) {
            (None, _) => true,
            (Some(patterns), Some(arn)) => patterns.match_arn(arn),
            (Some(_), None) => return Err(unknown("it has no `eventSourceARN`; name the table under `table` instead")),
        };
        Ok(of_table && of_stream)
    }

    /// Whether the rule takes the item.
    pub(super) fn takes(&self, view: View<'_>) -> Result<bool, RecordError> {
        for one in &self.matches {
            if !one.fits(view)? {
                return Ok(false);
            }
        }
        for one in &self.unless {
            if one.fits(view)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The record of an item.
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

    /// The patch from the record of the old item to that of the new one. Without the old item, it
    /// sets or clears every field. An old value that cannot be converted counts as changed, so that
    /// it does not block its own repair.
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
    // Equal attributes convert to equal values, and most of an item never changes.
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
