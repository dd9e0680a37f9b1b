//! Metadata of requests and answers: Chroma's JSON, and the metadata of records.
//!
//! The URI of a record is metadata under the key `#uri`. Clients cannot use it, as their keys may
//! not begin with `#`. A sparse vector is a list of two strings: a mark, and its JSON.

use std::collections::BTreeMap;

use deltafold_format::{Metadata, Value};
use serde_json::{Map, Value as Json};

use super::error::{Answer, ApiError};
use crate::catalogue::SPARSE_MARK;
pub(super) use crate::catalogue::URI;

/// The type of a sparse vector in JSON.
const SPARSE: &str = "sparse_vector";
const TYPE: &str = "#type";

/// The metadata of a record. No value may be null.
pub(super) fn metadata(given: Map<String, Json>) -> Answer<Metadata> {
    without_nulls(changes(given)?)
}

/// Checks the metadata of a collection, in a field of the request. Like Chroma, the server refuses
/// an empty object; only an absent one is no metadata.
pub(super) fn check_collection(given: Option<&Map<String, Json>>, field: &str) -> Answer<()> {
    let Some(given) = given else { return Ok(()) };
    if given.is_empty() {
        return Err(empty(field));
    }
    metadata(given.clone()).map(drop)
}

/// Checks the new metadata of a collection. It replaces the old one, so Chroma leaves out keys
/// whose value is null.
pub(super) fn replacement(given: Option<Map<String, Json>>, field: &str) -> Answer<Option<Map<String, Json>>> {
    let Some(mut given) = given else { return Ok(None) };
    if given.is_empty() {
        return Err(empty(field));
    }
    given.retain(|_, value| !value.is_null());
    metadata(given.clone())?;
    Ok(Some(given))
}

fn empty(field: &str) -> ApiError {
    ApiError::invalid(format!("`{field}` is empty; leave it out, or give it a key"))
}

/// The metadata of a new record, which has nothing to remove.
pub(super) fn without_nulls(changes: BTreeMap<String, Option<Value>>) -> Answer<Metadata> {
    let set = |(key, value): (String, Option<Value>)| match value {
        Some(value) => Ok((key, value)),
        None => Err(refused(&key, "is null; leave the key out")),
    };
    changes.into_iter().map(set).collect()
}

/// The changes of metadata: a null value removes its key.
pub(super) fn changes(given: Map<String, Json>) -> Answer<BTreeMap<String, Option<Value>>> {
    given
        .into_iter()
        .map(|(key, value)| {
            check(&key)?;
            let value = self::value(&key, value)?;
            Ok((key, value))
        })
        .collect()
}

fn check(key: &str) -> Answer<()> {
    if key.starts_with('#') || key.starts_with('$') {
        return Err(refused(key, "has a reserved key; begin keys neither with `#` nor with `$`"));
    }
    Ok(())
}

fn refused(key: &str, why: &str) -> ApiError {
    let shown: String = key.chars().take(64).flat_map(char::escape_debug).collect();
    ApiError::unprocessable(format!("metadata `{shown}` {why}"))
}

const TYPES: &str =
    "must be a string, a number that fits 64 bits, a boolean, a list of one of these, or a sparse vector";

fn value(key: &str, value: Json) -> Answer<Option<Value>> {
    Ok(Some(match value {
        Json::Null => return Ok(None),
        Json::Bool(value) => Value::Bool(value),
        Json::Number(value) => match (value.as_i64(), value.as_f64()) {
            (Some(value), _) => Value::I64(value),
            (None, Some(float)) if value.is_f64() => Value::F64(float),
            _ => return Err(refused(key, TYPES)),
        },
        Json::String(value) => Value::String(value),
        Json::Array(list) => self::list(list).ok_or_else(|| refused(key, TYPES))?,
        Json::Object(object) => sparse(&object).ok_or_else(|| refused(key, TYPES))?,
    }))
}

fn list(list: Vec<Json>) -> Option<Value> {
    let all = |is: fn(&Json) -> bool| list.iter().all(is);
    if list.is_empty() {
        return None;
    }
    if all(Json::is_string) {
        let texts: Vec<String> = list.into_iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
        return (texts.first().map(String::as_str) != Some(SPARSE_MARK)).then_some(Value::Strings(texts));
    }
    if all(Json::is_boolean) {
        return Some(Value::Bools(list.iter().filter_map(Json::as_bool).collect()));
    }
    if all(Json::is_i64) {
        return Some(Value::I64s(list.iter().filter_map(Json::as_i64).collect()));
    }
    all(Json::is_f64).then(|| Value::F64s(list.iter().filter_map(Json::as_f64).collect()))
}

/// A sparse vector, if the object is one.
fn sparse(object: &Map<String, Json>) -> Option<Value> {
    let numbers = |key: &str, is: fn(&Json) -> bool| {
        let list = object.get(key)?.as_array()?;
        list.iter().all(is).then_some(list.len())
    };
    let fits = object.get(TYPE)?.as_str()? == SPARSE
        && numbers("indices", Json::is_u64)? == numbers("values", Json::is_number)?;
    let text = fits.then(|| serde_json::to_string(object).ok()).flatten()?;
    Some(Value::Strings(vec![SPARSE_MARK.to_owned(), text]))
}

/// The metadata of a record as JSON, and its URI. `None` without metadata.
pub(super) fn document(metadata: Metadata) -> (Option<Map<String, Json>>, Option<String>) {
    let mut uri = None;
    let mut object = Map::new();
    for (key, value) in metadata {
        match value {
            Value::String(text) if key == URI => uri = Some(text),
            value => drop(object.insert(key, json(value))),
        }
    }
    ((!object.is_empty()).then_some(object), uri)
}

fn json(value: Value) -> Json {
    match value {
        Value::String(value) => value.into(),
        Value::I64(value) => value.into(),
        Value::F64(value) => value.into(),
        Value::Bool(value) => value.into(),
        Value::Strings(list) => match &list[..] {
            [mark, text] if mark == SPARSE_MARK => {
                serde_json::from_str(text).unwrap_or_else(|_| Json::from(list.clone()))
            }
            _ => list.into(),
        },
        Value::I64s(list) => list.into(),
        Value::F64s(list) => list.into(),
        Value::Bools(list) => list.into(),
    }
}
