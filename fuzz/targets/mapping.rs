//! Mapping files and stream records. Any text is a mapping or an error, and any record is ops or an
//! error. A change leaves the record that an insertion of the changed item would leave.
//!
//! An input is a mapping, a line `---`, and records.
#![no_main]

use std::collections::BTreeMap;

use deltafold::format::{Action, CollectionName, Op, Record};
use deltafold::ingest::{Event, Mapped, Mapping, StreamRecord, stream_records};
use deltafold::jsonl::{parse_op, write_op};
use deltafold_fuzz::memory::Bounded;
use deltafold_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

const BETWEEN: &str = "\n---\n";

#[global_allocator]
static MEMORY: Bounded<{ 16 << 20 }> = Bounded;

fuzz_target!(init: seeds::write_if_asked(seeds), |input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        let (mapping, records) = text.split_once(BETWEEN).unwrap_or((text, text));
        check(mapping, records);
    }
});

fn check(mapping: &str, records: &str) {
    let samples = stream_records(records);
    for (line, sample) in &samples {
        assert!(*line >= 1 && *line <= records.bytes().filter(|byte| *byte == b'\n').count() + 1);
        assert!(sample.as_ref().err().is_none_or(|reason| !reason.is_empty()));
    }
    let mapping = match Mapping::parse(mapping, "mapping.toml") {
        Ok(read) => {
            assert_eq!(
                Mapping::parse(mapping, "other.toml").as_ref(),
                Ok(&read),
                "a mapping depends on its text alone"
            );
            read
        }
        Err(error) => {
            assert!(error.to_string().contains("mapping.toml"), "{error}");
            return;
        }
    };
    let collections: Vec<CollectionName> = mapping.collections().into_iter().cloned().collect();
    assert!(!collections.is_empty());
    for record in samples.into_iter().filter_map(|(_, sample)| sample.ok()).take(8) {
        for collection in collections.iter().take(4) {
            check_record(&mapping, collection, &record);
        }
    }
}

fn check_record(mapping: &Mapping, collection: &CollectionName, record: &StreamRecord) {
    let mapped = mapping.map(collection, record);
    assert_eq!(mapped, mapping.map(collection, record));
    let Ok(mapped) = mapped else { return };
    assert!(mapped.ops.len() <= 2);
    assert_eq!(mapped.ops.is_empty(), mapped.skipped.is_some());
    mapped.ops.iter().for_each(check_op);
    if record.event == Event::Modify
        && let (Some(old), Some(new)) = (&record.change.old, &record.change.new)
    {
        let inserted = |item| {
            let mut record = record.clone();
            record.event = Event::Insert;
            (record.change.old, record.change.new) = (None, Some(item));
            mapping.map(collection, &record)
        };
        if let (Ok(before), Ok(after)) = (inserted(old.clone()), inserted(new.clone())) {
            check_change(&before, &mapped, &after);
        }
    }
}

/// A mapped op can be printed and read. Numbers in binary embeddings need not be finite; the writer
/// refuses those.
fn check_op(op: &Op) {
    if op.action.embedding().is_some_and(|embedding| embedding.iter().any(|number| !number.is_finite())) {
        return;
    }
    let mut line = Vec::new();
    write_op(&mut line, op);
    let read = parse_op(&line, 1).expect("a mapped op can be printed and read");
    // An empty list prints without the type of its elements.
    let mut again = Vec::new();
    write_op(&mut again, &read);
    assert_eq!(again, line);
}

/// An inserted and then changed item leaves the same record as an insertion of the final item.
fn check_change(before: &Mapped, change: &Mapped, after: &Mapped) {
    let (mut changed, mut inserted) = (BTreeMap::new(), BTreeMap::new());
    before.ops.iter().chain(&change.ops).for_each(|op| apply(&mut changed, op));
    after.ops.iter().for_each(|op| apply(&mut inserted, op));
    for (id, record) in &inserted {
        assert_eq!(changed.get(id), Some(record), "`{id}` after {before:?} and {change:?}, against {after:?}");
    }
}

fn apply(state: &mut BTreeMap<String, Record>, op: &Op) {
    let Op { id, action, .. } = op.clone();
    let old = state.remove(&id);
    let new = match (action, old) {
        (Action::Delete, _) | (Action::Patch(_), None) => None,
        (Action::Put(record), _) | (Action::Add(record), None) => Some(record),
        (Action::Add(_), Some(old)) => Some(old),
        (Action::Upsert(patch), None) => Some(patch.apply(Record::default())),
        (Action::Patch(patch) | Action::Upsert(patch), Some(old)) => Some(patch.apply(old)),
    };
    state.extend(new.map(|record| (id, record)));
}

fn seeds() -> Vec<Vec<u8>> {
    let mappings = [LINES, WORDS, SMALL];
    let records = [INSERT, MODIFY, REMOVE, EVERY_TYPE];
    mappings
        .iter()
        .flat_map(|mapping| records.iter().map(move |records| format!("{mapping}{BETWEEN}{records}").into_bytes()))
        .collect()
}

const LINES: &str = r##"unmatched = "refuse"
[[rule]]
name = "lines"
collection = "lines"
table = "Receipts"
match = { SK = "RECEIPT#*#LINE#*" }
unless = { SK = ["*#WORD#*", "x"] }
id = "IMAGE#{image_id}#LINE#{line_id:05}"
document = "text"
embedding = "vector"
insert = "put"
modify = "patch"
remove = "delete"
[rule.metadata]
image = { from = "image_id", type = "string" }
line_id = "i64"
confidence = "f64"
reviewed = "bool"
tags = "strings"
ns = "i64s"
fs = "f64s"
bs = "bools"
x = { from = "box.corners.0.x", type = "f64" }
"##;

const WORDS: &str = r##"[[rule]]
collection = "words"
arn = "arn:aws:dynamodb:*:*:table/Receipts/*"
id = "{SK}"
revision = "version"
insert = "upsert"
modify = "upsert"
remove = "keep"
metadata = { text = "string" }

[[rule]]
collection = "lines"
id = "{PK}#{SK}"
modify = "put"
document = "text"
"##;

const SMALL: &str = "[[rule]]\ncollection = \"a\"\nid = \"{id}\"\nmetadata = { n = \"f64\" }\n";

const INSERT: &str = r#"{"eventID":"e1","eventName":"INSERT","eventSourceARN":"arn:aws:dynamodb:us-east-1:123456789012:table/Receipts/stream/2026","dynamodb":{"Keys":{"PK":{"S":"IMAGE#7"},"SK":{"S":"RECEIPT#1#LINE#2"}},"SequenceNumber":"442158450000","NewImage":{"PK":{"S":"IMAGE#7"},"SK":{"S":"RECEIPT#1#LINE#2"},"image_id":{"S":"7"},"line_id":{"N":"2"},"text":{"S":"Total"},"version":{"N":"3"},"id":{"S":"x"},"n":{"N":"1e2"}}}}"#;

const MODIFY: &str = r#"{"Records":[{"eventName":"MODIFY","eventSourceARN":"arn:aws:dynamodb:us-east-1:123456789012:table/Receipts/stream/2026","dynamodb":{"Keys":{"PK":{"S":"IMAGE#7"},"SK":{"S":"RECEIPT#1#LINE#2"}},"OldImage":{"PK":{"S":"IMAGE#7"},"SK":{"S":"RECEIPT#1#LINE#2"},"image_id":{"S":"7"},"line_id":{"N":"2"},"confidence":{"N":"0.5"},"tags":{"SS":["b","a"]},"version":{"N":"3"},"id":{"S":"x"},"n":{"N":"1"}},"NewImage":{"PK":{"S":"IMAGE#7"},"SK":{"S":"RECEIPT#1#LINE#2"},"image_id":{"S":"7"},"line_id":{"N":"2"},"text":{"S":"Sum"},"tags":{"L":[{"S":"c"}]},"version":{"N":"4"},"id":{"S":"x"},"n":{"NULL":true}}}}]}"#;

const REMOVE: &str = r#"[{"eventName":"REMOVE","dynamodb":{"Keys":{"SK":{"S":"RECEIPT#1#LINE#2"},"id":{"N":"4"}},"OldImage":{"SK":{"S":"RECEIPT#1#LINE#2"},"image_id":{"S":"7"},"line_id":{"N":"2"}}}},
{"eventName":"REMOVE","dynamodb":{"Keys":{"SK":{"S":"RECEIPT#1#LINE#2"},"id":{"N":"4"}}}}]"#;

const EVERY_TYPE: &str = r#"{"eventName":"INSERT","dynamodb":{"NewImage":{"SK":{"S":"RECEIPT#1#LINE#2"},"PK":{"S":"p"},"image_id":{"S":"7"},"line_id":{"N":"-2"},"vector":{"L":[{"N":"0.5"},{"N":"-2"}]},"tags":{"SS":["b","a"]},"ns":{"NS":["2","1e1"]},"fs":{"L":[{"N":"1.5"}]},"bs":{"L":[{"BOOL":true}]},"reviewed":{"BOOL":false},"box":{"M":{"corners":{"L":[{"M":{"x":{"N":"3"}}}]}}},"raw":{"B":"AACAPw=="},"set":{"BS":["AA=="]},"gone":{"NULL":true}}}}
{"eventName":"INSERT","dynamodb":{"NewImage":{"SK":{"S":"RECEIPT#1#LINE#3"},"PK":{"S":"p"},"image_id":{"S":"7"},"line_id":{"N":"3"},"vector":{"B":"AACAPwAAAAA="},"version":{"N":"340282366920938463463374607431768211455"},"id":{"S":""}}}}"#;
