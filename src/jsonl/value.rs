//! Embeddings and metadata values from their JSON text.

use deltafold_format::{Revision, Value};
use serde_json::value::RawValue;

use super::decimal;
use super::error::LineError;
use super::kind::Kind;
use super::object::Line;
use super::refused;

/// The most numbers for which an embedding gets memory before they are read.
const CAPACITY: usize = 1 << 16;

/// The path of a metadata value, for errors.
#[derive(Clone, Copy)]
pub(super) struct FieldPath<'a> {
    key: &'a str,
    /// Its element, in a list.
    index: Option<usize>,
}

impl<'a> FieldPath<'a> {
    pub(super) fn of(key: &'a str) -> Self {
        Self { key, index: None }
    }
}

impl From<FieldPath<'_>> for String {
    fn from(path: FieldPath<'_>) -> Self {
        match path.index {
            None => format!("metadata.{}", path.key),
            Some(index) => format!("metadata.{}[{index}]", path.key),
        }
    }
}

/// The numbers of an embedding. `text` is a JSON list of checked syntax. So an element with a comma
/// or a bracket begins with one of `"`, `[`, `{`, and those are refused.
pub(super) fn embedding(line: Line<'_>, text: &str) -> Result<Vec<f32>, LineError> {
    let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        return Err(LineError::new(line.column(text), "embedding", refused::no_embedding(text)));
    };
    if inner.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let commas = memchr::memchr_iter(b',', inner.as_bytes()).count();
    let mut numbers = Vec::with_capacity((commas + 1).min(CAPACITY));
    let mut rest = Some(inner);
    while let Some(text) = rest.map(str::trim_ascii_start) {
        if let Some((number, length)) = decimal::leading(text.as_bytes())
            && let end @ (None | Some(b',')) = text.as_bytes().get(length)
        {
            // A short decimal is far below the limit of an f32.
            numbers.push(number as f32);
            rest = end.and_then(|_| text.get(length + 1..));
            continue;
        }
        let (element, behind) = match text.split_once(',') {
            Some((element, behind)) => (element, Some(behind)),
            None => (text, None),
        };
        numbers.push(embedding_number(line, element.trim_ascii_end(), numbers.len())?);
        rest = behind;
    }
    Ok(numbers)
}

/// One number of an embedding, of any form.
fn embedding_number(line: Line<'_>, element: &str, index: usize) -> Result<f32, LineError> {
    let field = || format!("embedding[{index}]");
    let kind = Kind::of(element);
    if kind != Kind::Number {
        return Err(LineError::new(line.column(element), field(), refused::no_number(element)));
    }
    // Through f64, as NumPy's `float32(x)` of a parsed number does.
    let number = element.parse::<f64>().map_or(f32::NAN, |number| number as f32);
    if !number.is_finite() {
        let reason = format!("{} is too large for a 32-bit float, the limit is {:e}", cut(element), f32::MAX);
        return Err(LineError::new(line.column(element), field(), reason));
    }
    Ok(number)
}

/// A revision: digits, as a number or as a string.
pub(super) fn revision(line: Line<'_>, text: &str) -> Result<Revision, LineError> {
    whole(line, text, "revision")
}

/// A position in a source: digits, as a number or as a string.
pub(super) fn position(line: Line<'_>, text: &str) -> Result<u128, LineError> {
    // A position has the same form as a revision: any number below 2^128.
    whole(line, text, "position").map(Revision::get)
}

fn whole(line: Line<'_>, text: &str, field: &str) -> Result<Revision, LineError> {
    let refuse = |reason: String| Err(LineError::new(line.column(text), field, reason));
    let digits = match Kind::of(text) {
        Kind::Number => text.to_owned(),
        Kind::String => Line::read::<String>(line, text, field)?,
        kind => return refuse(format!("expected a number or a string of digits, found {}", kind.name())),
    };
    match digits.parse() {
        Ok(revision) => Ok(revision),
        Err(_) => refuse(format!("{} is not a whole number of up to 39 digits below 2^128", cut(text))),
    }
}

/// A metadata value; `None` for null.
pub(super) fn metadata(line: Line<'_>, text: &str, path: FieldPath<'_>) -> Result<Option<Value>, LineError> {
    Ok(Some(match Kind::of(text) {
        Kind::Null => return Ok(None),
        Kind::Object => {
            let reason = "an object cannot be a metadata value; flatten it into keys of its own";
            return Err(LineError::new(line.column(text), path, reason));
        }
        Kind::List => list(line, &line.read::<Vec<&RawValue>>(text, path)?, path)?,
        _ => scalar(line, text, path)?,
    }))
}

fn scalar(line: Line<'_>, text: &str, path: FieldPath<'_>) -> Result<Value, LineError> {
    let refuse = |reason: String| Err(LineError::new(line.column(text), path, reason));
    match Kind::of(text) {
        Kind::String => Ok(Value::String(line.text(text, path)?.into_owned())),
        Kind::Bool => Ok(Value::Bool(text == "true")),
        Kind::Number if text.contains(['.', 'e', 'E']) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::F64(number)),
            _ => refuse(format!("{} is too large for a 64-bit float", cut(text))),
        },
        Kind::Number => match text.parse::<i64>() {
            Ok(number) => Ok(Value::I64(number)),
            Err(_) => {
                refuse(format!("{} does not fit a 64-bit integer; write it as a string or as a float", cut(text)))
            }
        },
        kind @ (Kind::Null | Kind::List | Kind::Object) => {
            refuse(format!("a list holds strings, integers, floats or booleans, not {}", kind.name()))
        }
    }
}

fn list(line: Line<'_>, elements: &[&RawValue], path: FieldPath<'_>) -> Result<Value, LineError> {
    let mut list = None;
    for (index, element) in elements.iter().enumerate() {
        let path = FieldPath { index: Some(index), ..path };
        let mixed = |list: &str, value: &str| {
            let reason = format!("a list holds values of one type; this one began with {list}, and here is {value}");
            Err(LineError::new(line.column(element.get()), path, reason))
        };
        let value = scalar(line, element.get(), path)?;
        match (&mut list, value) {
            (list @ None, value) => *list = Some(one(value, elements.len())),
            (Some(Value::Strings(list)), Value::String(value)) => list.push(value),
            (Some(Value::I64s(list)), Value::I64(value)) => list.push(value),
            (Some(Value::F64s(list)), Value::F64(value)) => list.push(value),
            (Some(Value::Bools(list)), Value::Bool(value)) => list.push(value),
            (Some(list), value) => return mixed(type_name(list), type_name(&value)),
        }
    }
    Ok(list.unwrap_or(Value::Strings(Vec::new())))
}

/// A list that begins with `value`.
fn one(value: Value, capacity: usize) -> Value {
    fn of<T>(value: T, capacity: usize) -> Vec<T> {
        let mut list = Vec::with_capacity(capacity);
        list.push(value);
        list
    }
    match value {
        Value::String(value) => Value::Strings(of(value, capacity)),
        Value::I64(value) => Value::I64s(of(value, capacity)),
        Value::F64(value) => Value::F64s(of(value, capacity)),
        Value::Bool(value) => Value::Bools(of(value, capacity)),
        list => list,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) | Value::Strings(_) => "a string",
        Value::I64(_) | Value::I64s(_) => "an integer",
        Value::F64(_) | Value::F64s(_) => "a float",
        Value::Bool(_) | Value::Bools(_) => "a boolean",
    }
}

/// A number in the form for messages.
fn cut(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    if shown.len() == text.len() { format!("`{text}`") } else { format!("`{shown}…`") }
}
