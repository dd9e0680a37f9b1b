//! Bodies that name an object instead of holding ops.

use std::fmt;

use serde_json::{Map, Value};

use super::delivery::Cause;

/// An object of ops, as a message names it: `{"s3":"s3://BUCKET/KEY"}`. The sender may add the ETag
/// that it must have (`"etag"`), and the version of a versioned bucket (`"version"`). An event
/// notification of a bucket names its object, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// The bucket.
    pub bucket: String,
    /// The key in it.
    pub key: String,
    /// The required ETag, without quotes.
    pub etag: Option<String>,
    /// The version to read, in a bucket with versions.
    pub version: Option<String>,
    /// The sequencer of an event: it tells two writes of one key apart.
    pub sequencer: Option<String>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// The outcome of an object.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Ops that were appended.
    pub(super) ops: u64,
    /// The reason why part of it is not in the log.
    pub(super) failure: Option<(String, Cause)>,
}

impl Reference {
    /// Reads a body that names an object. `None` if it names none.
    pub(super) fn read(body: &str) -> Option<Result<Self, String>> {
        // Most bodies are ops, so this spares them a second parse.
        if !body.contains("\"s3\"") || !body.trim_ascii_start().starts_with('{') {
            return None;
        }
        let members: Map<String, Value> = serde_json::from_str(body).ok()?;
        (members.contains_key("s3") && !members.contains_key("op")).then(|| Self::of(members))
    }

    fn of(members: Map<String, Value>) -> Result<Self, String> {
        let (mut address, mut etag, mut version) = (String::new(), None, None);
        for (name, value) in members {
            match (name.as_str(), value) {
                ("s3", Value::String(text)) => address = text,
                ("etag", Value::String(text)) => etag = Some(text.trim_matches('"').to_owned()),
                ("version", Value::String(text)) => version = Some(text),
                ("etag" | "version", Value::Null) => {}
                ("s3" | "etag" | "version", _) => return Err(format!("field `{name}`: expected a string")),
                _ => {
                    return Err(format!(
                        "unknown field `{name}`; a reference to an object has `s3`, and may have `etag` and `version`"
                    ));
                }
            }
        }
        let parts = address.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        let Some((bucket, key)) = parts.filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty()) else {
            let cut: String = address.chars().take(100).collect();
            return Err(format!("field `s3`: `{cut}` is not an address of an object; write `s3://BUCKET/KEY`"));
        };
        Self { bucket: bucket.to_owned(), key: key.to_owned(), etag, version, sequencer: None }.checked()
    }

    /// The same, if its ETag and its version can be those of an object.
    pub(super) fn checked(self) -> Result<Self, String> {
        for (field, what, value) in [("etag", "ETag", &self.etag), ("version", "version", &self.version)] {
            if value
                .as_ref()
                .is_some_and(|value| value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()))
            {
                return Err(format!(
                    "field `{field}`: it is no {what}; leave it out, or give the {what} that the store reports"
                ));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_addresses_and_perhaps_etags() {
        let read = |body: &str| Reference::read(body).map(Result::unwrap);
        let named = |key: &str, etag: Option<&str>| {
            let etag = etag.map(str::to_owned);
            Some(Reference { bucket: "b".to_owned(), key: key.to_owned(), etag, ..Reference::default() })
        };
        assert_eq!(read(r#"{"s3":"s3://b/a/b c%20?#.zst"}"#), named("a/b c%20?#.zst", None));
        assert_eq!(read("{\n \"etag\": \"\\\"x-2\\\"\", \"s3\": \"s3://b/k\" }"), named("k", Some("x-2")));
        assert_eq!(read(r#"{"s3":"s3://b/k","etag":null}"#), named("k", None));
        let version = read(r#"{"s3":"s3://b/k","version":"3/L4kqtJ"}"#).unwrap().version;
        assert_eq!(version.as_deref(), Some("3/L4kqtJ"));
        assert_eq!(read("\r\n {\"s3\":\"s3://b/k\"}\n"), named("k", None), "JSON may begin with white space");
        for ops in [r#"{"op":"put","id":"a","document":"\"s3\""}"#, r#"[{"s3":"s3://b/k"}]"#, "", "{\"s3\":"] {
            assert_eq!(Reference::read(ops), None, "{ops}");
        }
    }

    #[test]
    fn a_bad_reference_names_its_field() {
        for (body, words) in [
            (r#"{"s3":"s3://b"}"#, "s3://BUCKET/KEY"),
            (r#"{"s3":"s3:///k"}"#, "field `s3`"),
            (r#"{"s3":"https://b/k"}"#, "`https://b/k`"),
            (r#"{"s3":7}"#, "expected a string"),
            (r#"{"s3":"s3://b/k","tag":"x"}"#, "unknown field `tag`"),
            (r#"{"s3":"s3://b/k","etag":""}"#, "field `etag`"),
            (r#"{"s3":"s3://b/k","version":"a b"}"#, "field `version`"),
        ] {
            let said = Reference::read(body).unwrap().unwrap_err();
            assert!(said.contains(words), "{body}: {said}");
        }
    }
}
