//! Writes filters in their JSON form.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::ast::{Condition, DocumentCondition, Filter, Scalar};
use super::check::{DOCUMENT, name};

impl fmt::Display for Filter {
    /// The JSON form, on one line. [`from_str`](std::str::FromStr::from_str) reads it back as an
    /// equal filter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It fails for no filter, because every key is a string.
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::And(list) => one(serializer, "$and", list),
            Self::Or(list) => one(serializer, "$or", list),
            Self::Not(inner) => one(serializer, "$not", inner),
            Self::Metadata { key, condition } => one(serializer, key, condition),
            Self::Document(condition) => one(serializer, DOCUMENT, condition),
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = name(self);
        match self {
            Self::Equals(scalar)
            | Self::NotEquals(scalar)
            | Self::Greater(scalar)
            | Self::GreaterOrEqual(scalar)
            | Self::Less(scalar)
            | Self::LessOrEqual(scalar)
            | Self::Contains(scalar)
            | Self::NotContains(scalar) => one(serializer, name, scalar),
            Self::In(scalars) | Self::NotIn(scalars) => one(serializer, name, scalars),
            Self::StartsWith(prefix) => one(serializer, name, prefix),
            Self::Exists(exists) => one(serializer, name, exists),
        }
    }
}

impl Serialize for DocumentCondition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Contains(text) => one(serializer, "$contains", text),
            Self::NotContains(text) => one(serializer, "$not_contains", text),
            Self::Regex(pattern) => one(serializer, "$regex", pattern),
            Self::NotRegex(pattern) => one(serializer, "$not_regex", pattern),
            Self::Exists(exists) => one(serializer, "$exists", exists),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::String(value) => serializer.serialize_str(value),
            Self::I64(value) => serializer.serialize_i64(*value),
            Self::F64(value) => serializer.serialize_f64(*value),
            Self::Bool(value) => serializer.serialize_bool(*value),
        }
    }
}

/// An object with one key.
fn one<S: Serializer>(serializer: S, key: &str, value: &(impl Serialize + ?Sized)) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(1))?;
    object.serialize_entry(key, value)?;
    object.end()
}
