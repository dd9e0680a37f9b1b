//! A JSON object as its members. Each value stays text, so that it knows its column.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::LineError;
use super::refused;

/// A string, in the line itself unless it holds an escape.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl<'de> Visitor<'de> for Take {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Take)
    }
}

/// The members in order. A key may occur twice.
pub(super) struct Members<'a>(pub(super) Vec<(Text<'a>, &'a RawValue)>);

/// Members for which memory is taken at once.
const MEMBERS: usize = 8;

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::with_capacity(MEMBERS);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// One line, for the columns of its parts.
#[derive(Clone, Copy)]
pub(super) struct Line<'a>(pub(super) &'a str);

impl<'a> Line<'a> {
    /// The column, from 1, at which a part of the line begins.
    pub(super) fn column(self, part: &str) -> usize {
        // Parts are slices of the line, so this is an offset in it.
        (part.as_ptr() as usize).wrapping_sub(self.0.as_ptr() as usize).wrapping_add(1)
    }

    /// A string of the line. `raw` is its JSON, of checked syntax.
    pub(super) fn text(self, raw: &'a str, field: impl Into<String>) -> Result<Cow<'a, str>, LineError> {
        let inner = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match inner.filter(|text| memchr::memchr(b'\\', text.as_bytes()).is_none()) {
            // The syntax check refused control characters, so the JSON is the text itself.
            Some(text) => Ok(Cow::Borrowed(text)),
            None => self.read::<Text<'a>>(raw, field).map(|text| text.0),
        }
    }

    /// Parses `text`, a part of the line.
    pub(super) fn read<T: Deserialize<'a>>(self, text: &'a str, field: impl Into<String>) -> Result<T, LineError> {
        serde_json::from_str(text).map_err(|error| {
            let offset = self.column(text) - 1 + refused::offset(text, &error);
            refused::json(self.0, offset, &error, field.into())
        })
    }
}
