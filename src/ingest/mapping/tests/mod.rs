//! A mapping of receipt lines, and records of a stream that it maps.

use deltafold_format::{Action, Change, CollectionName, Op, Patch, Record, Value};
use serde_json::{Value as Json, json};

use super::*;

mod any;
mod attributes;
mod changes;
mod deletions;
mod files;
mod rules;

const LINES: &str = r##"
[[rule]]
name = "lines"
collection = "lines"
match = { SK = "RECEIPT#*#LINE#*" }
unless = { SK = "*#WORD#*" }
id = "IMAGE#{image_id}#RECEIPT#{receipt_id:05}#LINE#{line_id:05}"
document = "text"
embedding = "vector"

[rule.metadata]
image = { from = "image_id", type = "string" }
receipt_id = "i64"
confidence = "f64"
reviewed = "bool"
tags = "strings"
x = { from = "box.corners.0.x", type = "f64" }
"##;

const ID: &str = "IMAGE#a1#RECEIPT#00001#LINE#00002";

fn mapping(text: &str) -> Mapping {
    Mapping::parse(text, "m.toml").unwrap()
}

fn lines() -> CollectionName {
    "lines".parse().unwrap()
}

/// An item of the table.
fn item(more: Json) -> Json {
    let mut item = json!({
        "PK": {"S": "IMAGE#a1"}, "SK": {"S": "RECEIPT#00001#LINE#00002"},
        "image_id": {"S": "a1"}, "receipt_id": {"N": "1"}, "line_id": {"N": "2"}, "text": {"S": "Total"},
    });
    for (name, value) in more.as_object().unwrap() {
        item[name] = value.clone();
    }
    item.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    item
}

fn record(event: &str, old: Option<Json>, new: Option<Json>) -> StreamRecord {
    let mut record = json!({
        "eventID": "e1", "eventName": event, "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/Receipts/stream/2026-01-01T00:00:00.000",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_700_000_000, "SizeBytes": 1, "StreamViewType": "NEW_AND_OLD_IMAGES",
            "Keys": {"PK": {"S": "IMAGE#a1"}, "SK": {"S": "RECEIPT#00001#LINE#00002"}},
            "SequenceNumber": "4421584500000000017450439091",
        },
    });
    for (name, image) in [("OldImage", old), ("NewImage", new)] {
        if let Some(image) = image {
            record["dynamodb"][name] = image;
        }
    }
    serde_json::from_value(record).unwrap()
}

fn map(record: &StreamRecord) -> Mapped {
    mapping(LINES).map(&lines(), record).unwrap()
}

fn refused(mapping_text: &str, record: &StreamRecord, words: &[&str]) {
    let reason = mapping(mapping_text).map(&lines(), record).unwrap_err().to_string();
    assert!(words.iter().all(|word| reason.contains(word)), "{words:?} are not all in: {reason}");
}
