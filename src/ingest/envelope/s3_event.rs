//! Event notifications of a bucket: an object was created, or something else happened.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Envelope, Members, cut};
use crate::ingest::reference::Reference;

/// Events that bring no new object. The ops of an object stay when it goes.
const WITHOUT_OBJECT: [&str; 11] = [
    "ObjectRemoved:",
    "ObjectRestore:",
    "ObjectTagging:",
    "ObjectAcl:",
    "ObjectAccessed:",
    "ObjectAnnotation:",
    "LifecycleExpiration:",
    "LifecycleTransition",
    "IntelligentTiering",
    "Replication:",
    "ReducedRedundancyLostObject",
];
/// The same in EventBridge.
const WITHOUT_OBJECT_THERE: [&str; 6] = [
    "Object Deleted",
    "Object Restore",
    "Object Tags",
    "Object ACL",
    "Object Storage Class Changed",
    "Object Access Tier Changed",
];

/// A record of `Records[].s3`. Keys are encoded as in the query of a URL.
pub(super) fn classic<'a>(event: &str, of: &Members<'_>) -> Result<Envelope<'a>, String> {
    let name = event.strip_prefix("s3:").unwrap_or(event);
    if WITHOUT_OBJECT.iter().any(|other| name.starts_with(other)) {
        return Ok(Envelope::Nothing(format!("the event `{name}` of a bucket")));
    }
    if !name.starts_with("ObjectCreated:") {
        return Err(unknown(event));
    }
    let (bucket, object) = (of.value("bucket"), of.value("object"));
    let names = Names { etag: "eTag", version: "versionId" };
    created(&bucket, &object, names, |key| {
        let key = key.replace('+', " ");
        let decoded = percent_decode_str(&key).decode_utf8();
        decoded.map(|key| key.into_owned()).map_err(|_| format!("the key `{}` of the event is not UTF-8", cut(&key)))
    })
}

/// The `detail` of an EventBridge event of a bucket. Keys stand as they are.
pub(super) fn of_event_bridge<'a>(kind: &str, detail: &Value) -> Result<Envelope<'a>, String> {
    if WITHOUT_OBJECT_THERE.iter().any(|other| kind.starts_with(other)) {
        return Ok(Envelope::Nothing(format!("the event `{kind}` of a bucket")));
    }
    if kind != "Object Created" {
        return Err(unknown(kind));
    }
    let names = Names { etag: "etag", version: "version-id" };
    let member = |name: &str| detail.get(name).cloned().unwrap_or_default();
    created(&member("bucket"), &member("object"), names, |key| Ok(key.to_owned()))
}

/// The members of an object, by the form of the event.
struct Names {
    etag: &'static str,
    version: &'static str,
}

fn created<'a>(
    bucket: &Value,
    object: &Value,
    names: Names,
    decode: impl Fn(&str) -> Result<String, String>,
) -> Result<Envelope<'a>, String> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let given = |name: &str| Some(text(object, name)).filter(|text| !text.is_empty());
    let (bucket, key) = (text(bucket, "name"), decode(&text(object, "key"))?);
    if bucket.is_empty() || key.is_empty() {
        return Err("the event of a bucket names no object; it has `bucket.name` and `object.key`".to_owned());
    }
    // Consoles make such objects to show a folder.
    if key.ends_with('/') && object.get("size").and_then(Value::as_u64) == Some(0) {
        return Ok(Envelope::Nothing(format!("the folder `{}` of a bucket", cut(&key))));
    }
    let etag = given(names.etag).map(|etag| etag.trim_matches('"').to_owned());
    let version = given(names.version).filter(|version| version != "null");
    // Hexadecimal, and compared as if both had the same length.
    let sequencer = given("sequencer").map(|text| text.trim_start_matches('0').to_ascii_uppercase());
    Reference { bucket, key, etag, version, sequencer }.checked().map(Envelope::Object)
}

fn unknown(event: &str) -> String {
    format!(
        "the event `{}` of a bucket is not known here; let the bucket notify of `s3:ObjectCreated:*` alone",
        cut(event)
    )
}
