//! One line to one op.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use deltafold_format::{Change, Metadata, Op, OpRules, Patch, Record};
use serde_json::value::RawValue;

use super::error::LineError;
use super::kind::Kind;
use super::object::{Line, Members, Text};
use super::refused;
use super::value::{self, FieldPath};
use crate::log::{IdempotencyKey, MAX_CHANGE_SOURCE_BYTES};

/// The fields of a line, values still as text.
#[derive(Default)]
struct Fields<'a> {
    op: Option<&'a str>,
    id: Option<&'a str>,
    embedding: Option<&'a str>,
    metadata: Option<&'a str>,
    document: Option<&'a str>,
    revision: Option<&'a str>,
    source: Option<&'a str>,
    position: Option<&'a str>,
}

/// Parses line `number` (counted from 1, for messages) as an op. Ignores white space around it.
///
/// It does not check the limits of the format and the collection's rules; [`parse_op_for`] does.
///
/// # Errors
///
/// The first error of the line: no JSON object, an unknown, missing or repeated field, a value of
/// the wrong type, a list of several types, an integer beyond 64 bits, a number beyond its float
/// type, an invalid revision.
pub fn parse_op(line: &[u8], number: u64) -> Result<Op, LineError> {
    parse(line, false, None).map(|(op, _)| op).map_err(|error| error.at_line(number))
}

/// [`parse_op`], with a check against every limit of the format and [the collection's
/// rules](deltafold_format::CollectionConfig::rules).
///
/// # Errors
///
/// Those of [`parse_op`], a field over its limit, an embedding of another dimension, a revision
/// that is missing or that the collection does not take.
pub fn parse_op_for(line: &[u8], number: u64, rules: OpRules) -> Result<Op, LineError> {
    parse_op_or(line, number, rules, None)
}

/// The op of lines that name none, such as those of `deltafold scan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the ops")]
pub enum DefaultOp {
    Put,
    Add,
    Upsert,
    Patch,
}

impl DefaultOp {
    /// Every op that a line without one can stand for.
    pub const ALL: [Self; 4] = [Self::Put, Self::Add, Self::Upsert, Self::Patch];

    /// Its name in lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Add => "add",
            Self::Upsert => "upsert",
            Self::Patch => "patch",
        }
    }
}

/// [`parse_op_for`], where a line without an op stands for `default`.
///
/// # Errors
///
/// Those of [`parse_op_for`].
pub fn parse_op_or(line: &[u8], number: u64, rules: OpRules, default: Option<DefaultOp>) -> Result<Op, LineError> {
    let (op, _) = parse(line, false, default).map_err(|error| error.at_line(number))?;
    validate(&op, line, number, rules)?;
    Ok(op)
}

/// [`parse_op_for`], with the op's idempotency key if it names one: `source` and `position`, both
/// or none.
///
/// # Errors
///
/// Those of [`parse_op_for`]; one of the two alone, a source that is empty or too long, a position
/// that is not a whole number below 2^128.
pub fn parse_sourced_op_for(
    line: &[u8],
    number: u64,
    rules: OpRules,
) -> Result<(Op, Option<IdempotencyKey>), LineError> {
    let (op, key) = parse(line, true, None).map_err(|error| error.at_line(number))?;
    validate(&op, line, number, rules)?;
    Ok((op, key))
}

/// Checks an op that was parsed from this line.
fn validate(op: &Op, line: &[u8], number: u64, rules: OpRules) -> Result<(), LineError> {
    op.validate(rules).map_err(|error| {
        let column = column_of(line, error.field()).unwrap_or(1);
        let (field, rest) = match error.field().split_once(' ') {
            Some((field, rest)) => (field, format!("{rest} ")),
            None => (error.field(), String::new()),
        };
        // The error's sentence without the record and the field, because the line error names both.
        let text = error.to_string();
        let reason = text.split_once(&format!("{} ", error.field())).map_or(text.as_str(), |(_, reason)| reason);
        LineError::new(column, field, format!("{rest}{reason}")).at_line(number)
    })
}

/// The column of the field that an input error names, in a line that parses.
fn column_of(line: &[u8], field: &str) -> Option<usize> {
    let text = Line(std::str::from_utf8(line).ok()?);
    let fields = fields(text, true).ok()?;
    let part = match field.split([' ', '[']).next()? {
        "id" => fields.id,
        "embedding" => fields.embedding,
        "document" => fields.document,
        "op" => fields.op,
        "revision" => fields.revision,
        _ => fields.metadata,
    };
    part.map(|part| text.column(part))
}

/// An op with its idempotency key. `sourced` allows one; `default` is the op of a line without one.
fn parse(line: &[u8], sourced: bool, default: Option<DefaultOp>) -> Result<(Op, Option<IdempotencyKey>), LineError> {
    let text = std::str::from_utf8(line).map_err(|error| refused::not_utf8(line, error.valid_up_to()))?;
    let line = Line(text);
    let fields = fields(line, sourced)?;
    let op = match (fields.op, default) {
        (None, Some(default)) => Cow::Borrowed(default.name()),
        (None, None) => return Err(LineError::no_op()),
        (Some(_), _) => string(line, fields.op, "op", "")?,
    };
    let id = string(line, fields.id, "id", "every op names a record")?;
    let revision = fields.revision.map(|text| value::revision(line, text)).transpose()?;
    let id = id.into_owned();
    let op = match &*op {
        "put" => Op::put(id, record(line, &fields)?),
        "add" => Op::add(id, record(line, &fields)?),
        "upsert" => Op::upsert(id, patch(line, &fields)?),
        "patch" => Op::patch(id, patch(line, &fields)?),
        "delete" => {
            let carried =
                [("embedding", fields.embedding), ("metadata", fields.metadata), ("document", fields.document)];
            for (field, text) in carried {
                if let Some(text) = text.filter(|text| Kind::of(text) != Kind::Null) {
                    return Err(LineError::new(line.column(text), field, "a delete carries nothing but the id"));
                }
            }
            Op::delete(id)
        }
        other => {
            return Err(LineError::new(fields.op.map_or(1, |op| line.column(op)), "op", refused::unknown_op(other)));
        }
    };
    Ok((Op { revision, ..op }, idempotency_key(line, &fields)?))
}

/// The idempotency key of the op.
fn idempotency_key(line: Line<'_>, fields: &Fields<'_>) -> Result<Option<IdempotencyKey>, LineError> {
    let alone = |text: &str, field: &str, other: &str| {
        let reason = format!("`{other}` is missing beside it; give both or neither");
        Err(LineError::new(line.column(text), field, reason))
    };
    let (source, position) = match (fields.source, fields.position) {
        (None, None) => return Ok(None),
        (Some(source), None) => return alone(source, "source", "position"),
        (None, Some(position)) => return alone(position, "position", "source"),
        (Some(source), Some(position)) => (source, position),
    };
    let at = line.column(source);
    let source = string(line, Some(source), "source", "")?.into_owned();
    if source.is_empty() || source.len() > MAX_CHANGE_SOURCE_BYTES {
        let reason = format!("it has {} bytes; it must have 1 to {MAX_CHANGE_SOURCE_BYTES}", source.len());
        return Err(LineError::new(at, "source", reason));
    }
    Ok(Some(IdempotencyKey { source, position: value::position(line, position)? }))
}

fn fields<'a>(line: Line<'a>, sourced: bool) -> Result<Fields<'a>, LineError> {
    let text = line.0.trim_ascii();
    if Kind::of(text) != Kind::Object {
        return Err(refused::no_object(line.0, text));
    }
    let mut fields = Fields::default();
    for (Text(name), value) in line.read::<Members<'a>>(text, "")?.0 {
        let place = match &*name {
            "op" => &mut fields.op,
            "id" => &mut fields.id,
            "embedding" => &mut fields.embedding,
            "metadata" => &mut fields.metadata,
            "document" => &mut fields.document,
            "revision" => &mut fields.revision,
            "source" if sourced => &mut fields.source,
            "position" if sourced => &mut fields.position,
            _ => {
                let reason = refused::unknown_field(&name);
                return Err(LineError::new(line.column(value.get()), name, reason));
            }
        };
        if place.replace(value.get()).is_some() {
            return Err(LineError::new(line.column(value.get()), name, "the line holds it twice; remove one"));
        }
    }
    Ok(fields)
}

/// A field that must be a string.
fn string<'a>(line: Line<'a>, text: Option<&'a str>, field: &str, missing: &str) -> Result<Cow<'a, str>, LineError> {
    let Some(text) = text else {
        return Err(LineError::new(1, field, format!("it is missing; {missing}")));
    };
    match Kind::of(text) {
        Kind::String => line.text(text, field),
        kind => Err(LineError::new(line.column(text), field, format!("expected a string, found {}", kind.name()))),
    }
}

/// A document.
fn document(line: Line<'_>, text: &str) -> Result<String, LineError> {
    string(line, Some(text), "document", "").map(Cow::into_owned)
}

fn record(line: Line<'_>, fields: &Fields<'_>) -> Result<Record, LineError> {
    let mut metadata = Metadata::new();
    for (Text(key), value) in members(line, fields.metadata)? {
        let Some(read) = value::metadata(line, value.get(), FieldPath::of(&key))? else {
            let reason = "null is not a value; leave the key out, or remove it with a patch";
            return Err(LineError::new(line.column(value.get()), FieldPath::of(&key), reason));
        };
        metadata.insert(key.into_owned(), read);
    }
    let embedding = fields.embedding.filter(|text| Kind::of(text) != Kind::Null);
    let text = fields.document.filter(|text| Kind::of(text) != Kind::Null);
    Ok(Record {
        embedding: embedding.map(|text| value::embedding(line, text)).transpose()?,
        metadata,
        document: text.map(|text| document(line, text)).transpose()?,
    })
}

fn patch(line: Line<'_>, fields: &Fields<'_>) -> Result<Patch, LineError> {
    let mut metadata = BTreeMap::new();
    for (Text(key), value) in members(line, fields.metadata)? {
        let read = value::metadata(line, value.get(), FieldPath::of(&key))?;
        metadata.insert(key.into_owned(), read);
    }
    Ok(Patch {
        embedding: change(fields.embedding, |text| value::embedding(line, text))?,
        metadata,
        document: change(fields.document, |text| document(line, text))?,
    })
}

fn change<'a, T>(
    text: Option<&'a str>,
    read: impl FnOnce(&'a str) -> Result<T, LineError>,
) -> Result<Change<T>, LineError> {
    Ok(match text {
        None => Change::Keep,
        Some(text) if Kind::of(text) == Kind::Null => Change::Clear,
        Some(text) => Change::Set(read(text)?),
    })
}

/// The metadata keys of a line, no key twice, and the text of their values.
fn members<'a>(line: Line<'a>, text: Option<&'a str>) -> Result<Vec<(Text<'a>, &'a RawValue)>, LineError> {
    let Some(text) = text.filter(|text| Kind::of(text) != Kind::Null) else { return Ok(Vec::new()) };
    if Kind::of(text) != Kind::Object {
        let reason = format!("expected an object of keys and values, found {}", Kind::of(text).name());
        return Err(LineError::new(line.column(text), "metadata", reason));
    }
    let members = line.read::<Members<'a>>(text, "metadata")?.0;
    if let Some((Text(key), value)) = repeated(&members) {
        let reason = "the metadata holds the key twice; remove one";
        return Err(LineError::new(line.column(value.get()), FieldPath::of(key), reason));
    }
    Ok(members)
}

/// The first member whose key came before.
fn repeated<'m, 'a>(members: &'m [(Text<'a>, &'a RawValue)]) -> Option<&'m (Text<'a>, &'a RawValue)> {
    /// So few keys are compared with each other faster than they are hashed.
    const FEW: usize = 8;
    if members.len() <= FEW {
        let came_before = |place: usize, key: &str| members.iter().take(place).any(|(Text(other), _)| other == key);
        return members.iter().enumerate().find(|(place, (Text(key), _))| came_before(*place, key)).map(|(_, it)| it);
    }
    let mut seen = HashSet::with_capacity(members.len());
    members.iter().find(|(Text(key), _)| !seen.insert(&**key))
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
