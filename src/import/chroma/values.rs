//! Values of metadata and vectors, between Chroma's forms and those of a record.

use deltafold_format::Value;
use serde_json::Value as Json;

use super::index::floats;
use crate::catalogue::SPARSE_MARK;

/// A value as JSON.
pub(super) fn to_json(value: Value) -> Json {
    match value {
        Value::String(value) => value.into(),
        Value::I64(value) => value.into(),
        Value::F64(value) => value.into(),
        Value::Bool(value) => value.into(),
        Value::Strings(list) => list.into(),
        Value::I64s(list) => list.into(),
        Value::F64s(list) => list.into(),
        Value::Bools(list) => list.into(),
    }
}

/// A value of JSON; `None` for null. The reason of a refusal is a clause about the value.
pub(super) fn of_json(value: Json) -> Result<Option<Value>, &'static str> {
    Ok(Some(match value {
        Json::Null => return Ok(None),
        Json::Bool(value) => Value::Bool(value),
        Json::Number(value) => match (value.as_i64(), value.as_f64()) {
            (Some(value), _) => Value::I64(value),
            (None, Some(float)) if value.is_f64() => Value::F64(float),
            _ => return Err("a number beyond 64 bits"),
        },
        Json::String(value) => Value::String(value),
        Json::Array(elements) => {
            let elements = elements.into_iter().map(of_json).collect::<Result<Option<Vec<_>>, _>>()?;
            elements.and_then(list).ok_or("a list of mixed types")?
        }
        Json::Object(_) => Value::Strings(vec![SPARSE_MARK.to_owned(), value.to_string()]),
    }))
}

/// A list of values of one type. `None` where the types differ.
pub(super) fn list(elements: Vec<Value>) -> Option<Value> {
    macro_rules! all {
        ($One:ident, $Many:ident) => {
            elements
                .into_iter()
                .map(|value| if let Value::$One(value) = value { Some(value) } else { None })
                .collect::<Option<Vec<_>>>()
                .map(Value::$Many)
        };
    }
    match elements.first() {
        None => Some(Value::Strings(Vec::new())),
        Some(Value::String(_)) => all!(String, Strings),
        Some(Value::I64(_)) => all!(I64, I64s),
        Some(Value::F64(_)) => all!(F64, F64s),
        Some(Value::Bool(_)) => all!(Bool, Bools),
        Some(_) => None,
    }
}

/// A vector of the queue. Integers become floats, as Chroma compares them.
pub(super) fn vector(bytes: &[u8], encoding: Option<&str>) -> Option<Vec<f32>> {
    match encoding {
        Some("FLOAT32") | None => Some(floats(bytes)),
        Some("INT32") => {
            let (numbers, _) = bytes.as_chunks::<4>();
            Some(numbers.iter().map(|bytes| i32::from_le_bytes(*bytes) as f32).collect())
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_values_keep_their_types() {
        for (text, expected) in [
            ("1", Value::I64(1)),
            ("1.0", Value::F64(1.0)),
            ("true", Value::Bool(true)),
            ("\"a\"", Value::String("a".to_owned())),
            ("[1,2]", Value::I64s(vec![1, 2])),
            ("[1.5]", Value::F64s(vec![1.5])),
            ("[]", Value::Strings(Vec::new())),
        ] {
            assert_eq!(of_json(serde_json::from_str(text).unwrap()), Ok(Some(expected)), "{text}");
        }
        assert_eq!(of_json(Json::Null), Ok(None));
        for text in ["[1,\"a\"]", "[null]", "[[1]]", "18446744073709551615"] {
            assert!(of_json(serde_json::from_str(text).unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn vectors_of_integers_become_floats() {
        let bytes: Vec<u8> = [1i32, -2].iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(vector(&bytes, Some("INT32")), Some(vec![1.0, -2.0]));
        assert_eq!(vector(&1.5f32.to_le_bytes(), Some("FLOAT32")), Some(vec![1.5]));
        assert_eq!(vector(&bytes, Some("FLOAT64")), None);
    }
}
