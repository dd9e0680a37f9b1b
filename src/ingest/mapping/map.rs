//! The way from a record of a stream to ops.

use std::collections::BTreeMap;

use deltafold_format::{Change, CollectionName, Op, Patch, Record};

use super::attribute::Item;
use super::convert;
use super::error::RecordError;
use super::rule::{Insert, Modify, Remove, Revision, Rule};
use super::stream::{Event, StreamRecord};
use super::view::View;

/// The outcome of a record in one collection.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Mapped {
    /// The rule that took it, as messages name it.
    pub rule: Option<String>,
    /// No op, one op, or two where the id has changed.
    pub ops: Vec<Op>,
    /// The ops' revision, for collections ordered by revision. `None` if the record has none.
    pub revision: Option<u128>,
    /// The reason why there is no op.
    pub skipped: Option<Skip>,
}

/// The reason why a record yields no op, though nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// No rule of this collection takes the old item or the new one.
    NoRule,
    /// Nothing that the rule maps has changed.
    Unchanged,
    /// The item was deleted, and the rule keeps its record.
    Kept,
}

impl Skip {
    /// A few words for people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoRule => "no rule takes it",
            Self::Unchanged => "nothing changed that is mapped",
            Self::Kept => "the rule keeps records of items that are gone",
        }
    }
}

/// An item at one time, by the rule that takes it.
struct Taken<'a> {
    place: usize,
    rule: &'a Rule,
    id: String,
    view: View<'a>,
}

/// Maps a record by these rules, all of one collection.
pub(super) fn map<'a>(rules: impl Iterator<Item = &'a Rule>, record: &StreamRecord) -> Result<Mapped, RecordError> {
    let change = &record.change;
    let mut of_table = Vec::new();
    for rule in rules {
        if rule.is_of_table(record)? {
            of_table.push(rule);
        }
    }
    let (old, new) = match record.event {
        Event::Insert => (None, Some(image(change.new.as_ref(), record)?)),
        Event::Modify => {
            let old = change.old.as_ref().map_or(View::key(&change.keys), View::whole);
            (Some(old), Some(image(change.new.as_ref(), record)?))
        }
        Event::Remove => {
            let old = change.old.as_ref().map_or(View::key(&change.keys), View::whole);
            (Some(old.gone(record.user_identity.as_ref())), None)
        }
    };
    let new = match new {
        Some(view) => taken(&of_table, view)?,
        None => None,
    };
    let old = match old {
        // An old item that cannot be mapped had no record.
        Some(view) => match taken(&of_table, view) {
            Err(_) if view.item().is_some() => None,
            taken => taken?,
        },
        None => None,
    };
    let mut ops = Vec::new();
    let (rule, skipped) = match (old, new) {
        (None, None) => (None, Some(Skip::NoRule)),
        (None, Some(new)) => {
            let rule = new.rule;
            ops.push(new.inserted()?);
            (Some(rule), None)
        }
        (Some(old), None) if old.rule.remove == Remove::Keep => (Some(old.rule), Some(Skip::Kept)),
        (Some(old), None) => {
            ops.push(Op::delete(old.id));
            (Some(old.rule), None)
        }
        (Some(old), Some(new)) if old.id != new.id => {
            let rule = new.rule;
            let inserted = new.inserted()?;
            if old.rule.remove == Remove::Delete {
                ops.push(Op::delete(old.id));
            }
            ops.push(inserted);
            (Some(rule), None)
        }
        (Some(old), Some(new)) if old.place != new.place => {
            let record = new.record()?;
            ops.push(Op::put(new.id, record));
            (Some(new.rule), None)
        }
        (Some(old), Some(new)) => {
            let rule = new.rule;
            ops.extend(modified(&old, new)?);
            (Some(rule), ops.is_empty().then_some(Skip::Unchanged))
        }
    };
    let revision = match rule {
        Some(rule) if !ops.is_empty() => revision(rule, record)?,
        _ => None,
    };
    Ok(Mapped { rule: rule.map(|rule| rule.name.clone()), ops, revision, skipped })
}

/// The new item. The stream must show it.
fn image<'a>(new: Option<&'a Item>, record: &StreamRecord) -> Result<View<'a>, RecordError> {
    new.map(View::whole).ok_or_else(|| {
        let event = record.event.name();
        RecordError::new(format!(
            "the record of the {event} does not show the item as it is; let the stream show NEW_AND_OLD_IMAGES"
        ))
    })
}

/// The first rule that takes the item, with the id that it gives.
fn taken<'a>(rules: &[&'a Rule], view: View<'a>) -> Result<Option<Taken<'a>>, RecordError> {
    for (place, rule) in rules.iter().copied().enumerate() {
        if rule.takes(view).map_err(|error| error.in_rule(&rule.name))? {
            let id = rule.id.render(view).map_err(|error| error.in_rule(&rule.name))?;
            return Ok(Some(Taken { place, rule, id, view }));
        }
    }
    Ok(None)
}

impl Taken<'_> {
    fn record(&self) -> Result<Record, RecordError> {
        match self.view.item() {
            Some(item) => self.rule.record(item).map_err(|error| error.in_rule(&self.rule.name)),
            None => Ok(Record::default()),
        }
    }

    fn inserted(self) -> Result<Op, RecordError> {
        let record = self.record()?;
        Ok(match self.rule.insert {
            Insert::Put => Op::put(self.id, record),
            Insert::Upsert => Op::upsert(self.id, setting(record)),
        })
    }
}

/// The op for a changed item that keeps its rule and its id.
fn modified(old: &Taken<'_>, new: Taken<'_>) -> Result<Option<Op>, RecordError> {
    let Some(item) = new.view.item() else { return Ok(None) };
    let rule = new.rule;
    let patch = rule.patch(old.view.item(), item).map_err(|error| error.in_rule(&rule.name))?;
    if patch == Patch::default() {
        return Ok(None);
    }
    Ok(Some(match rule.modify {
        Modify::Patch => Op::patch(new.id, patch),
        Modify::Upsert => Op::upsert(new.id, patch),
        Modify::Put => {
            let record = new.record()?;
            Op::put(new.id, record)
        }
    }))
}

/// The patch that sets every field of a record.
fn setting(record: Record) -> Patch {
    let metadata: BTreeMap<_, _> = record.metadata.into_iter().map(|(key, value)| (key, Some(value))).collect();
    Patch {
        embedding: record.embedding.map_or(Change::Keep, Change::Set),
        metadata,
        document: record.document.map_or(Change::Keep, Change::Set),
    }
}

fn revision(rule: &Rule, record: &StreamRecord) -> Result<Option<u128>, RecordError> {
    let Revision::Attribute(path) = &rule.revision else {
        return match (&record.change.sequence, record.sequence()) {
            (Some(text), None) => {
                let reason =
                    format!("`SequenceNumber` is not a number of up to 128 bits: `{}`", super::error::cut(text));
                Err(RecordError::new(reason).in_rule(&rule.name))
            }
            (_, sequence) => Ok(sequence),
        };
    };
    let of = |item: &Item| {
        let found = path.find(item).map(convert::revision);
        found.unwrap_or_else(|| Err("the item has none, and the mapping takes revisions from it".to_owned()))
    };
    let change = &record.change;
    let read = match (&change.new, &change.old) {
        (Some(new), _) => of(new),
        // A deletion has no revision of its own. Of two changes with one revision, a deletion
        // counts as the later one.
        (None, Some(old)) => of(old),
        (None, None) => Err(
            "the stream does not show the item as it was, and the mapping takes revisions from it; let the stream show NEW_AND_OLD_IMAGES".to_owned(),
        ),
    };
    read.map(Some).map_err(|reason| RecordError::of(&path.to_string(), reason).in_rule(&rule.name))
}

/// The names of collections, each once, in the order of the rules.
pub(super) fn collections(rules: &[Rule]) -> Vec<&CollectionName> {
    let mut names: Vec<&CollectionName> = Vec::new();
    for rule in rules {
        if !names.contains(&&rule.collection) {
            names.push(&rule.collection);
        }
    }
    names
}
