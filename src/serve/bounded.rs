//! Fields of bodies that are bounded while they are read, not after.
//!
//! Two bytes of JSON become a value of 32 bytes, so a body within its limit could take 16 times as
//! much memory. The functions are for `#[serde(deserialize_with = "…")]`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use deltafold_format::Value;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value as Json};

/// Most records, ids or embeddings of one call.
pub(super) const MAX_RECORDS: usize = 100_000;
/// Most values of one field of free form: a filter, a schema, the metadata of one record.
const MAX_VALUES: usize = 131_072;

/// A list of at most [`MAX_RECORDS`] elements.
pub(super) fn list<'de, T: DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(List(PhantomData))
}

/// The same, where the list may be absent or null.
pub(super) fn optional_list<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<T>>, D::Error> {
    from.deserialize_option(Optional(List(PhantomData)))
}

/// A value of free form; absent if it is null.
pub(super) fn value<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    let left = Cell::new(MAX_VALUES);
    Free(&left).deserialize(from).map(|value| Some(value).filter(|value| !value.is_null()))
}

/// An object of free form; absent if it is null.
pub(super) fn object<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Map<String, Json>>, D::Error> {
    match value(from)? {
        None => Ok(None),
        Some(Json::Object(object)) => Ok(Some(object)),
        Some(_) => Err(D::Error::custom("expected an object")),
    }
}

/// Metadata of free form; absent if it is null. An integer in it fits 64 bits: the parser would
/// round a longer one.
pub(super) fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Map<String, Json>>, D::Error> {
    let text = <&RawValue>::deserialize(from)?.get();
    if let Some(digits) = long_integer(text) {
        let shown = digits.get(..40).map_or_else(|| digits.to_owned(), |start| format!("{start}…"));
        let reason = format!("the integer {shown} in metadata does not fit 64 bits; write it as a string or a float");
        return Err(D::Error::custom(reason));
    }
    object(&mut serde_json::Deserializer::from_str(text)).map_err(|error| {
        // Its position is one within the metadata.
        let text = error.to_string();
        D::Error::custom(text.split_once(" at line ").map_or(text.as_str(), |(reason, _)| reason))
    })
}

/// The first integer of a JSON text of checked syntax that fits neither an i64 nor a u64.
fn long_integer(text: &str) -> Option<&str> {
    // Shorter texts hold none, and most metadata is short.
    if text.len() < 20 {
        return None;
    }
    let (mut rest, mut is_text) = (text, false);
    while let Some(at) = rest.find(|c: char| c == '"' || (!is_text && (c == '-' || c.is_ascii_digit()))) {
        let (before, token) = rest.split_at(at);
        if token.starts_with('"') {
            let escapes = before.bytes().rev().take_while(|byte| *byte == b'\\').count();
            is_text ^= !is_text || escapes.is_multiple_of(2);
            rest = token.get(1..)?;
            continue;
        }
        let end = token.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(token.len());
        let (number, behind) = token.split_at(end);
        let is_integer = !number.contains(['.', 'e', 'E']);
        if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
            return Some(number);
        }
        rest = behind;
    }
    None
}

/// The metadata of a record in a batch. A null value removes its key.
#[derive(Debug, Default)]
pub(super) struct Given(pub(super) BTreeMap<String, Option<Value>>);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let object = metadata(from)?.ok_or_else(|| D::Error::custom("expected an object"))?;
        super::metadata::changes(object).map(Self).map_err(|refused| D::Error::custom(refused.message()))
    }
}

struct List<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while list.len() < MAX_RECORDS {
            match from.next_element()? {
                Some(element) => list.push(element),
                None => return Ok(list),
            }
        }
        match from.next_element::<IgnoredAny>()? {
            None => Ok(list),
            Some(_) => Err(A::Error::custom(format!("a call takes at most {MAX_RECORDS} records; send several"))),
        }
    }
}

struct Optional<T>(List<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Optional<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or null")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self.0).map(Some)
    }
}

/// Reads a value while the number of values that are left lasts.
#[derive(Clone, Copy)]
struct Free<'a>(&'a Cell<usize>);

impl Free<'_> {
    fn take<E: de::Error>(self) -> Result<(), E> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| E::custom(format!("it has more than {MAX_VALUES} values; make it smaller")))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Free<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        self.take()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Free<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = from.next_element_seed(self)? {
            list.push(element);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            object.insert(key, from.next_value_seed(self)?);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_that_would_be_rounded_is_found() {
        let kept = [
            r#"{"a": 9223372036854775807, "b": -9223372036854775808}"#,
            r#"{"a": 18446744073709551615, "c": 1e300, "d": -1.5E+300}"#,
            r#"{"a": 18446744073709551616.0, "b": 1844674407370955161600e2}"#,
            r#"{"18446744073709551616": "18446744073709551616"}"#,
            r#"{"a": "\" 18446744073709551616 \\\" 18446744073709551616"}"#,
        ];
        for text in kept {
            serde_json::from_str::<Json>(text).unwrap();
            assert_eq!(long_integer(text), None, "{text}");
        }
        for (text, found) in [
            (r#"{"a": 18446744073709551616}"#, "18446744073709551616"),
            (r#"{"a": [1, -9223372036854775809]}"#, "-9223372036854775809"),
            (r#"{"a": "\\", "b": 99999999999999999999999}"#, "99999999999999999999999"),
        ] {
            serde_json::from_str::<Json>(text).unwrap();
            assert_eq!(long_integer(text), Some(found), "{text}");
            let refused = serde_json::from_str::<Given>(text).unwrap_err().to_string();
            assert!(refused.contains(found) && refused.matches(" at line ").count() <= 1, "{refused}");
        }
        assert!(serde_json::from_str::<Given>("[1]").unwrap_err().to_string().contains("expected an object"));
    }
}
