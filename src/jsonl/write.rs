//! Ops and records to lines.

use std::io::Write as _;

use crate::setters::setters;
use deltafold_format::{Action, Change, Metadata, Op, Patch, Record, Value};

/// The fields of a record to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fields {
    /// The embedding.
    pub embedding: bool,
    /// The metadata.
    pub metadata: bool,
    /// The document.
    pub document: bool,
}

setters!(Fields { embedding: bool, metadata: bool, document: bool });

impl Default for Fields {
    fn default() -> Self {
        Self { embedding: true, metadata: true, document: true }
    }
}

/// Appends the record to `out` as `{"id":…,"embedding":[…],"metadata":{…},"document":…}`, metadata
/// in key order, without a line end. A missing value is `null`. A field that `fields` excludes is
/// absent.
pub fn write_record(out: &mut Vec<u8>, id: &str, record: &Record, fields: Fields) {
    out.extend_from_slice(b"{\"id\":");
    write_string(out, id);
    if fields.embedding {
        out.extend_from_slice(b",\"embedding\":");
        match &record.embedding {
            Some(embedding) => write_embedding(out, embedding),
            None => out.extend_from_slice(b"null"),
        }
    }
    if fields.metadata {
        out.extend_from_slice(b",\"metadata\":");
        write_metadata(out, &record.metadata);
    }
    if fields.document {
        out.extend_from_slice(b",\"document\":");
        match &record.document {
            Some(document) => write_string(out, document),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

/// Appends the op to `out` as a line that [`parse_op`](super::parse_op) reads, without the line
/// end.
pub fn write_op(out: &mut Vec<u8>, op: &Op) {
    out.extend_from_slice(b"{\"op\":\"");
    out.extend_from_slice(op.action.name().as_bytes());
    out.extend_from_slice(b"\",\"id\":");
    write_string(out, &op.id);
    if let Some(revision) = op.revision {
        out.extend_from_slice(b",\"revision\":");
        let digits = revision.to_string();
        // Many readers of JSON round numbers beyond 2^53.
        if revision.get() < 1 << 53 {
            out.extend_from_slice(digits.as_bytes());
        } else {
            write_string(out, &digits);
        }
    }
    match &op.action {
        Action::Put(record) | Action::Add(record) => write_whole(out, record),
        Action::Upsert(patch) | Action::Patch(patch) => write_patch(out, patch),
        Action::Delete => {}
    }
    out.push(b'}');
}

fn write_whole(out: &mut Vec<u8>, record: &Record) {
    if let Some(embedding) = &record.embedding {
        out.extend_from_slice(b",\"embedding\":");
        write_embedding(out, embedding);
    }
    if !record.metadata.is_empty() {
        out.extend_from_slice(b",\"metadata\":");
        write_metadata(out, &record.metadata);
    }
    if let Some(document) = &record.document {
        out.extend_from_slice(b",\"document\":");
        write_string(out, document);
    }
}

fn write_patch(out: &mut Vec<u8>, patch: &Patch) {
    write_change(out, "embedding", &patch.embedding, |out, embedding| write_embedding(out, embedding));
    if !patch.metadata.is_empty() {
        out.extend_from_slice(b",\"metadata\":");
        write_list(out, b"{}", &patch.metadata, |out, (key, value)| {
            write_string(out, key);
            out.push(b':');
            match value {
                Some(value) => write_value(out, value),
                None => out.extend_from_slice(b"null"),
            }
        });
    }
    write_change(out, "document", &patch.document, |out, document| write_string(out, document));
}

fn write_change<T>(out: &mut Vec<u8>, field: &str, change: &Change<T>, write: impl FnOnce(&mut Vec<u8>, &T)) {
    if matches!(change, Change::Keep) {
        return;
    }
    out.push(b',');
    write_string(out, field);
    out.push(b':');
    match change.value() {
        Some(value) => write(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    write_list(out, b"{}", metadata, |out, (key, value)| {
        write_string(out, key);
        out.push(b':');
        write_value(out, value);
    });
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => write_string(out, text),
        Value::I64(number) => write_json(out, number),
        Value::F64(number) => write_json(out, number),
        Value::Bool(truth) => write_json(out, truth),
        Value::Strings(list) => write_list(out, b"[]", list, |out, text| write_string(out, text)),
        Value::I64s(list) => write_list(out, b"[]", list, write_json),
        Value::F64s(list) => write_list(out, b"[]", list, write_json),
        Value::Bools(list) => write_list(out, b"[]", list, write_json),
    }
}

fn write_embedding(out: &mut Vec<u8>, embedding: &[f32]) {
    write_list(out, b"[]", embedding, |out, number| {
        let whole = *number as i32;
        if whole.unsigned_abs() < 1 << f32::MANTISSA_DIGITS && (whole as f32).to_bits() == number.to_bits() {
            write_json(out, &whole);
            out.extend_from_slice(b".0");
            return;
        }
        let start = out.len();
        write_json(out, number);
        // JSON readers parse the shortest text of an f32 by way of an f64. Where the double
        // rounding would give another value, this writes more digits.
        let text = out.get(start..).and_then(|text| std::str::from_utf8(text).ok());
        if text.and_then(|text| text.parse::<f64>().ok()).map(|read| read as f32) != Some(*number) {
            out.truncate(start);
            write_json(out, &f64::from(*number));
        }
    });
}

fn write_list<T>(
    out: &mut Vec<u8>,
    brackets: &[u8; 2],
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(brackets[0]);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(brackets[1]);
}

/// A text as a JSON string, with the same escapes as `serde_json`. It checks many bytes at once, so
/// that long documents cost little more than a copy.
fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((plain, escaped)) = rest.split_at_checked(plain_bytes(rest)) {
        out.extend_from_slice(plain);
        let Some((byte, behind)) = escaped.split_first() else { break };
        rest = behind;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            other => {
                let digit = |number: u8| char::from_digit(number.into(), 16).map_or(b'0', |digit| digit as u8);
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(other >> 4), digit(other & 15)]);
            }
        }
    }
    out.push(b'"');
}

/// The length of the longest beginning that needs no escapes in JSON.
fn plain_bytes(text: &[u8]) -> usize {
    const LANES: usize = 32;
    let is_escaped = |byte: &u8| (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
    // Without a branch for each byte, so that the compiler compares a register of bytes at once.
    let is_plain = |lane: &&[u8; LANES]| !lane.iter().fold(false, |any, byte| any | is_escaped(byte));
    let (lanes, _) = text.as_chunks::<LANES>();
    let plain = lanes.iter().take_while(is_plain).count() * LANES;
    let behind = text.get(plain..).unwrap_or_default();
    plain + behind.iter().position(is_escaped).unwrap_or(behind.len())
}

fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    if serde_json::to_writer(&mut *out, value).is_err() {
        // A write of a string or a number to memory cannot fail.
        let _ = out.write_all(b"null");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_character_is_escaped_as_serde_json_does() {
        for c in (0..=0x300).filter_map(char::from_u32) {
            for before in [0, 1, 30, 31, 32, 33, 70] {
                let text = format!("{}{c}{}", "x".repeat(before), "y".repeat(40));
                assert_eq!(string(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in "(?s)[ -~]{0,70}(.|\n|\u{1}|ü){0,9}[ -~]{0,70}") {
            prop_assert_eq!(string(&text), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn whole_numbers_are_written_as_serde_json_writes_them(
            number in prop_oneof![(-20_000_000..20_000_000_i32).prop_map(|number| number as f32), any::<f32>()],
        ) {
            prop_assume!(number.is_finite());
            let mut out = Vec::new();
            write_embedding(&mut out, &[number, -0.0]);
            let text = String::from_utf8(out).unwrap();
            let read: Vec<f64> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read[0] as f32, number);
            if number.fract() == 0.0 && number.abs() < 16_777_216.0 {
                prop_assert_eq!(text, format!("[{},-0.0]", serde_json::to_string(&number).unwrap()));
            }
        }
    }
}
