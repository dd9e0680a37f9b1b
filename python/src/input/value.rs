//! Metadata from dictionaries.

use std::collections::BTreeMap;

use deltafold::format::{Metadata, Value};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Metadata by key; `None` where the value is `None`. `Err` with the reason.
pub(crate) fn changes(dict: &Bound<'_, PyAny>) -> Result<BTreeMap<String, Option<Value>>, String> {
    let Ok(dict) = dict.cast::<PyDict>() else {
        return Err(format!("it is {}; give a dict or None", kind(dict)));
    };
    let mut changes = BTreeMap::new();
    for (key, held) in dict.iter() {
        let Ok(key) = key.extract::<String>() else {
            return Err(format!("a key is {}; keys are texts", kind(&key)));
        };
        let held = value(&held).map_err(|reason| format!("key `{key}`: {reason}"))?;
        changes.insert(key, held);
    }
    Ok(changes)
}

/// Metadata without the keys whose value is `None`.
pub(crate) fn metadata(dict: &Bound<'_, PyAny>) -> Result<Metadata, String> {
    Ok(changes(dict)?.into_iter().filter_map(|(key, held)| Some((key, held?))).collect())
}

fn value(held: &Bound<'_, PyAny>) -> Result<Option<Value>, String> {
    if held.is_none() {
        return Ok(None);
    }
    if let Some(scalar) = scalar(held)? {
        return Ok(Some(scalar));
    }
    if held.is_instance_of::<PyList>() || held.is_instance_of::<PyTuple>() {
        return list(held).map(Some);
    }
    // Scalars and arrays of numpy, and whatever else converts itself.
    for convert in ["tolist", "item"] {
        if let Ok(plain) = held.call_method0(convert) {
            if let Some(scalar) = scalar(&plain)? {
                return Ok(Some(scalar));
            }
            if plain.is_instance_of::<PyList>() {
                return list(&plain).map(Some);
            }
        }
    }
    Err(format!("it is {}; metadata holds str, int, float, bool, and lists of one of them", kind(held)))
}

fn scalar(held: &Bound<'_, PyAny>) -> Result<Option<Value>, String> {
    // A bool is an int, too.
    if let Ok(truth) = held.cast::<PyBool>() {
        return Ok(Some(Value::Bool(truth.is_true())));
    }
    if held.is_instance_of::<PyInt>() {
        let number = held.extract::<i64>();
        return number.map(|number| Some(Value::I64(number))).map_err(|_| too_large(held));
    }
    if let Ok(number) = held.cast::<PyFloat>() {
        return Ok(Some(Value::F64(number.value())));
    }
    if let Ok(text) = held.cast::<PyString>() {
        return Ok(Some(Value::String(text_of(text)?)));
    }
    Ok(None)
}

fn too_large(number: &Bound<'_, PyAny>) -> String {
    format!("{number} does not fit a signed 64-bit integer")
}

fn text_of(text: &Bound<'_, PyString>) -> Result<String, String> {
    text.extract().map_err(|_| "the text holds a lone surrogate, which UTF-8 cannot hold".to_owned())
}

fn list(list: &Bound<'_, PyAny>) -> Result<Value, String> {
    let mut values = Vec::new();
    for (place, element) in list.try_iter().map_err(|error| error.to_string())?.enumerate() {
        let element = element.map_err(|error| error.to_string())?;
        let plain = match scalar(&element)? {
            Some(plain) => Some(plain),
            None => element.call_method0("item").ok().map(|plain| scalar(&plain)).transpose()?.flatten(),
        };
        let reason =
            || format!("element {place} of the list is {}; a list holds str, int, float or bool", kind(&element));
        values.push(plain.ok_or_else(reason)?);
    }
    let mixed = || "the list holds values of several types; give values of one type".to_owned();
    Ok(match values.first() {
        // An empty list counts as one of texts.
        None => Value::Strings(Vec::new()),
        Some(Value::String(_)) => Value::Strings(
            all(values, |value| if let Value::String(text) = value { Some(text) } else { None }).ok_or_else(mixed)?,
        ),
        Some(Value::I64(_)) => Value::I64s(
            all(values, |value| if let Value::I64(number) = value { Some(number) } else { None }).ok_or_else(mixed)?,
        ),
        Some(Value::F64(_)) => Value::F64s(
            all(values, |value| if let Value::F64(number) = value { Some(number) } else { None }).ok_or_else(mixed)?,
        ),
        Some(_) => Value::Bools(
            all(values, |value| if let Value::Bool(truth) = value { Some(truth) } else { None }).ok_or_else(mixed)?,
        ),
    })
}

fn all<T>(values: Vec<Value>, of: impl Fn(Value) -> Option<T>) -> Option<Vec<T>> {
    values.into_iter().map(of).collect()
}

/// The type of an object, for messages.
pub(crate) fn kind(object: &Bound<'_, PyAny>) -> String {
    if object.is_none() {
        return "None".to_owned();
    }
    let name = object.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string());
    format!("of type `{name}`")
}

/// A value as an object of Python.
pub(crate) fn object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    use pyo3::IntoPyObjectExt as _;
    match value {
        Value::String(text) => text.into_bound_py_any(py),
        Value::I64(number) => number.into_bound_py_any(py),
        Value::F64(number) => number.into_bound_py_any(py),
        Value::Bool(truth) => truth.into_bound_py_any(py),
        Value::Strings(texts) => texts.into_bound_py_any(py),
        Value::I64s(numbers) => numbers.into_bound_py_any(py),
        Value::F64s(numbers) => numbers.into_bound_py_any(py),
        Value::Bools(truths) => truths.into_bound_py_any(py),
    }
}

/// Metadata as a dictionary.
pub(crate) fn dict<'py>(py: Python<'py>, metadata: &Metadata) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in metadata {
        dict.set_item(key, object(py, value)?)?;
    }
    Ok(dict)
}
