//! One op as a row of bytes: what a segment stores and what an op's hash is taken of.

use std::collections::BTreeMap;

use crate::codec::{Cursor, Writer};
use crate::error::FormatError;
use crate::limits::MAX_METADATA_KEYS;
use crate::op::{Action, Op};
use crate::record::{Change, Patch, Record, Value};
use crate::revision::Revision;

/// Action tags.
const PUT: u8 = 1;
const UPSERT: u8 = 2;
const ADD: u8 = 3;
const PATCH: u8 = 4;
const DELETE: u8 = 5;
/// Added to the tag of an op with a revision.
const REVISED: u8 = 0x80;

/// States of a field: left alone (or absent), removed, set.
const KEEP: u8 = 0;
const CLEAR: u8 = 1;
const SET: u8 = 2;

/// Value tags; 0 removes the key.
const REMOVED: u8 = 0;
const STRING: u8 = 1;
const I64: u8 = 2;
const F64: u8 = 3;
const BOOL: u8 = 4;
const STRINGS: u8 = 5;
const I64S: u8 = 6;
const F64S: u8 = 7;
const BOOLS: u8 = 8;

/// The shortest row: an action, an id of one byte.
pub(super) const MIN_ROW_BYTES: usize = 6;

/// The shortest metadata entry: a key of one byte, removed.
const MIN_ENTRY_BYTES: usize = 6;

/// Appends the op without its embedding's numbers.
pub(super) fn write<E>(out: &mut Writer, op: &Op<E>) {
    let tag = match &op.action {
        Action::Put(_) => PUT,
        Action::Upsert(_) => UPSERT,
        Action::Add(_) => ADD,
        Action::Patch(_) => PATCH,
        Action::Delete => DELETE,
    };
    match op.revision {
        None => {
            out.u8(tag);
            out.string(&op.id);
        }
        Some(revision) => {
            out.u8(tag | REVISED);
            out.string(&op.id);
            out.u128(revision.get());
        }
    }
    match &op.action {
        Action::Put(record) | Action::Add(record) => {
            out.u8(if record.embedding.is_some() { SET } else { KEEP });
            match &record.document {
                None => out.u8(KEEP),
                Some(text) => {
                    out.u8(SET);
                    out.string(text);
                }
            }
            out.count(record.metadata.len());
            for (key, value) in &record.metadata {
                out.string(key);
                write_value(out, value);
            }
        }
        Action::Upsert(patch) | Action::Patch(patch) => {
            out.u8(state(&patch.embedding));
            out.u8(state(&patch.document));
            if let Change::Set(text) = &patch.document {
                out.string(text);
            }
            out.count(patch.metadata.len());
            for (key, value) in &patch.metadata {
                out.string(key);
                match value {
                    None => out.u8(REMOVED),
                    Some(value) => write_value(out, value),
                }
            }
        }
        Action::Delete => {}
    }
}

fn state<T>(change: &Change<T>) -> u8 {
    match change {
        Change::Keep => KEEP,
        Change::Clear => CLEAR,
        Change::Set(_) => SET,
    }
}

fn write_value(out: &mut Writer, value: &Value) {
    fn list<T>(out: &mut Writer, tag: u8, items: &[T], mut item: impl FnMut(&mut Writer, &T)) {
        out.u8(tag);
        out.count(items.len());
        for each in items {
            item(out, each);
        }
    }
    match value {
        Value::String(text) => {
            out.u8(STRING);
            out.string(text);
        }
        Value::I64(number) => {
            out.u8(I64);
            out.i64(*number);
        }
        Value::F64(number) => {
            out.u8(F64);
            out.f64(*number);
        }
        Value::Bool(value) => {
            out.u8(BOOL);
            out.bool(*value);
        }
        Value::Strings(texts) => list(out, STRINGS, texts, |out, text| out.string(text)),
        Value::I64s(numbers) => list(out, I64S, numbers, |out, number| out.i64(*number)),
        Value::F64s(numbers) => list(out, F64S, numbers, |out, number| out.f64(*number)),
        Value::Bools(values) => list(out, BOOLS, values, |out, value| out.bool(*value)),
    }
}

/// Reads a row that must end where `from` does. An embedding gets the number `vector`.
pub(super) fn read(mut from: Cursor<'_>, vector: u32) -> Result<Op<u32>, FormatError> {
    let tag = from.u8()?;
    let id = from.string()?.to_owned();
    let revised = tag & REVISED != 0;
    let revision = if revised { Some(Revision::new(from.u128()?)) } else { None };
    let action = match tag & !REVISED {
        PUT => Action::Put(read_record(&mut from, vector)?),
        UPSERT => Action::Upsert(read_patch(&mut from, vector)?),
        ADD => Action::Add(read_record(&mut from, vector)?),
        PATCH => Action::Patch(read_patch(&mut from, vector)?),
        DELETE => Action::Delete,
        _ => return Err(from.invalid(format!("no action has number {tag}"))),
    };
    from.finish()?;
    let op = Op { id, action, revision };
    op.validate_fields(revised).map_err(|error| FormatError::invalid("ops", error.to_string()))?;
    Ok(op)
}

fn read_state<T>(
    from: &mut Cursor<'_>,
    set: impl FnOnce(&mut Cursor<'_>) -> Result<T, FormatError>,
) -> Result<Change<T>, FormatError> {
    match from.u8()? {
        KEEP => Ok(Change::Keep),
        CLEAR => Ok(Change::Clear),
        SET => set(from).map(Change::Set),
        other => Err(from.invalid(format!("no state of a field has number {other}"))),
    }
}

fn read_patch(from: &mut Cursor<'_>, vector: u32) -> Result<Patch<u32>, FormatError> {
    Ok(Patch {
        embedding: read_state(from, |_| Ok(vector))?,
        document: read_state(from, |from| from.string().map(str::to_owned))?,
        metadata: read_metadata(from, read_value)?,
    })
}

fn read_record(from: &mut Cursor<'_>, vector: u32) -> Result<Record<u32>, FormatError> {
    fn field<T>(from: &Cursor<'_>, change: Change<T>) -> Result<Option<T>, FormatError> {
        match change {
            Change::Keep => Ok(None),
            Change::Set(value) => Ok(Some(value)),
            Change::Clear => Err(from.invalid("a whole record removes a field")),
        }
    }
    let embedding = read_state(from, |_| Ok(vector))?;
    let document = read_state(from, |from| from.string().map(str::to_owned))?;
    let metadata = read_metadata(from, |from| match read_value(from)? {
        Some(value) => Ok(value),
        None => Err(from.invalid("a whole record removes a key")),
    })?;
    Ok(Record { embedding: field(from, embedding)?, document: field(from, document)?, metadata })
}

fn read_metadata<V>(
    from: &mut Cursor<'_>,
    mut value: impl FnMut(&mut Cursor<'_>) -> Result<V, FormatError>,
) -> Result<BTreeMap<String, V>, FormatError> {
    if let Ok(count) = from.clone().count(MIN_ENTRY_BYTES)
        && count > MAX_METADATA_KEYS
    {
        return Err(from.invalid(format!("{count} metadata keys, the limit is {MAX_METADATA_KEYS}")));
    }
    // Collecting a sorted vector builds the map in one pass.
    let entries = from.list(MIN_ENTRY_BYTES, |from| Ok((from.string()?.to_owned(), value(from)?)))?;
    if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(from.invalid("metadata keys are not in order"));
    }
    Ok(entries.into_iter().collect())
}

fn read_value(from: &mut Cursor<'_>) -> Result<Option<Value>, FormatError> {
    Ok(Some(match from.u8()? {
        REMOVED => return Ok(None),
        STRING => Value::String(from.string()?.to_owned()),
        I64 => Value::I64(from.i64()?),
        F64 => Value::F64(from.f64()?),
        BOOL => Value::Bool(from.bool()?),
        STRINGS => Value::Strings(from.list(4, |from| from.string().map(str::to_owned))?),
        I64S => Value::I64s(from.list(8, Cursor::i64)?),
        F64S => Value::F64s(from.list(8, Cursor::f64)?),
        BOOLS => Value::Bools(from.list(1, Cursor::bool)?),
        other => return Err(from.invalid(format!("no type of value has number {other}"))),
    }))
}
