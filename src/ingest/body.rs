//! What the body of a message says.

use deltafold_format::Op;
use serde_json::value::RawValue;

use crate::jsonl::{LineError, parse_op_for};

/// The ops of a message: one, a JSON list of them, or one a line; each in the form of [`jsonl`](crate::jsonl). Blank lines are no matter.
///
/// # Errors
///
/// A sentence that says which op of the message is none, and why; or that there is none in it.
pub fn read_body(body: &str, dimension: u32) -> Result<Vec<Op>, String> {
    let text = body.trim_ascii();
    let mut ops = Vec::new();
    if text.starts_with('[') {
        let list: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| format!("the body is no list of ops: {error}"))?;
        for (number, op) in (1..).zip(list) {
            let op = parse_op_for(op.get().as_bytes(), number, dimension);
            ops.push(op.map_err(|error| format!("op {number} of the list: {}", without_line(&error)))?);
        }
    } else {
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim_ascii().is_empty()) {
            ops.push(parse_op_for(line.as_bytes(), number, dimension).map_err(|error| error.to_string())?);
        }
    }
    if ops.is_empty() { Err("the body holds no op".to_owned()) } else { Ok(ops) }
}

/// The error of an element of a list, which has no line.
fn without_line(error: &LineError) -> String {
    let field = if error.field().is_empty() { String::new() } else { format!("field `{}`: ", error.field()) };
    format!("column {}: {field}{}", error.column(), error.reason())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_op_a_list_or_one_a_line() {
        let ids = |body: &str| -> Vec<String> { read_body(body, 2).unwrap().into_iter().map(|op| op.id).collect() };
        assert_eq!(ids(r#"{"op":"delete","id":"a"}"#), ["a"]);
        assert_eq!(ids("  [ {\"op\":\"delete\",\"id\":\"a\"},\n{\"op\":\"delete\",\"id\":\"b\"} ]\n"), ["a", "b"]);
        assert_eq!(ids("{\"op\":\"delete\",\"id\":\"a\"}\r\n\n{\"op\":\"put\",\"id\":\"b\"}\n"), ["a", "b"]);
    }

    #[test]
    fn what_is_none_is_named() {
        let refused = |body: &str, words: &[&str]| {
            let reason = read_body(body, 2).unwrap_err();
            assert!(words.iter().all(|word| reason.contains(word)), "{body}: {reason}");
        };
        refused("", &["no op"]);
        refused("[]", &["no op"]);
        refused("[1", &["no list of ops"]);
        refused("hello", &["line 1", "expected a JSON object"]);
        refused(r#"[{"op":"delete","id":"a"},{"op":"delete"}]"#, &["op 2 of the list", "`id`", "missing"]);
        refused("{\"op\":\"delete\",\"id\":\"a\"}\n{\"op\":\"x\",\"id\":\"a\"}", &["line 2", "unknown op `x`"]);
        refused(r#"{"op":"put","id":"a","embedding":[1]}"#, &["embedding", "dimension"]);
    }
}
