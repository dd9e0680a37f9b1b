//! Makes an op of a row.

use super::tag::{ADD, PATCH, PUT, UPSERT};
use super::value::ValueRef;
use super::walk::{Field, Fields, Front, walk};
use crate::error::FormatError;
use crate::op::{Action, Op};
use crate::record::{Change, Patch, Record, Value};

/// The op of a row. An embedding gets the number `vector`.
pub(super) fn read(bytes: &[u8], vector: u32) -> Result<Op<u32>, FormatError> {
    // Collecting a sorted vector builds the map in one pass.
    let mut entries = Vec::new();
    let (front, fields) = walk(bytes, |key, value| entries.push((key.to_owned(), value.map(ValueRef::to_value))))?;
    let Front { action, id, revision } = front;
    let action = match fields {
        None => Action::Delete,
        Some(fields) => action_of(action, fields, entries, vector)?,
    };
    Ok(Op { id: id.to_owned(), action, revision })
}

fn action_of(
    action: u8,
    fields: Fields<'_>,
    entries: Vec<(String, Option<Value>)>,
    vector: u32,
) -> Result<Action<u32>, FormatError> {
    let embedding = change(fields.embedding, |()| vector);
    let document = change(fields.document, str::to_owned);
    let as_action = match action {
        PUT => Action::Put,
        ADD => Action::Add,
        UPSERT | PATCH => {
            let patch = Patch { embedding, document, metadata: entries.into_iter().collect() };
            return Ok(if action == UPSERT { Action::Upsert(patch) } else { Action::Patch(patch) });
        }
        other => return Err(FormatError::invalid("ops", format!("an op has the unknown action {other}"))),
    };
    let metadata = entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    Ok(as_action(Record { embedding: embedding.apply(None), document: document.apply(None), metadata }))
}

fn change<T, U>(field: Field<T>, set: impl FnOnce(T) -> U) -> Change<U> {
    match field {
        Field::Keep => Change::Keep,
        Field::Clear => Change::Clear,
        Field::Set(value) => Change::Set(set(value)),
    }
}
