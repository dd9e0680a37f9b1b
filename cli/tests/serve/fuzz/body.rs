//! Requests whose head is right and whose body is not.

use deltafold_testing::random::Random;
use serde_json::{Value, json};

use super::Request;
use super::values::hostile;
use super::victim::Victim;
use crate::api::COLLECTIONS;

/// A call: method, path and a body that the server takes.
pub(crate) fn call(random: &mut Random, victim: &Victim) -> (&'static str, String, Value) {
    let at = if random.once_in(4) { &victim.empty } else { &victim.path };
    let id = format!("id-{}", random.below(16));
    let records = json!({
        "ids": [id, "other"],
        "embeddings": [[1, 2.5], "AACAPwAAAEA="],
        "metadatas": [{ "n": 1, "x": 0.5, "b": true, "l": ["p", "q"] }, null],
        "documents": ["text", null],
        "uris": [null, "file:x"],
    });
    let filter =
        json!({ "$and": [{ "n": { "$gte": 1 } }, { "$or": [{ "tag": "kept" }, { "n": { "$in": [1, 2] } }] }] });
    let document = json!({ "$or": [{ "$contains": "doc" }, { "$regex": "d[oc]+" }] });
    match random.below(14) {
        0 | 1 => ("POST", format!("{at}/add"), records),
        2 | 3 => ("POST", format!("{at}/upsert"), records),
        4 => ("POST", format!("{at}/update"), records),
        5 | 6 => {
            let body = json!({
                "ids": [id], "where": filter, "where_document": document, "limit": 3, "offset": 1,
                "include": ["documents", "metadatas", "embeddings", "uris"],
            });
            ("POST", format!("{at}/get"), body)
        }
        7 | 8 => {
            let body = json!({
                "query_embeddings": [[1, 0.5], [0, 1]], "n_results": 4, "where": filter, "where_document": document,
                "include": ["distances", "documents", "embeddings"],
            });
            ("POST", format!("{at}/query"), body)
        }
        9 => {
            let body = json!({ "ids": ["none"], "where": filter, "where_document": document, "limit": 1 });
            ("POST", format!("{at}/delete"), body)
        }
        10 | 11 => {
            let configuration = json!({ "hnsw": { "space": "l2" }, "embedding_function": null });
            let name = format!("made-{}", random.below(3));
            let body = json!({
                "name": name, "get_or_create": true,
                "metadata": { "k": "v", "n": 1 }, "configuration": configuration, "schema": null,
            });
            ("POST", COLLECTIONS.to_owned(), body)
        }
        12 => {
            let body = json!({ "new_name": "empty", "new_metadata": { "k": "v" }, "new_configuration": {} });
            ("PUT", victim.empty.clone(), body)
        }
        _ => match random.below(3) {
            0 => ("POST", "/api/v2/tenants".to_owned(), json!({ "name": "tenant-1" })),
            1 => ("PATCH", "/api/v2/tenants/default_tenant".to_owned(), json!({ "resource_name": "x" })),
            _ => {
                let path = "/api/v2/tenants/default_tenant/databases".to_owned();
                ("POST", path, json!({ "name": "database-1" }))
            }
        },
    }
}

/// A request with a right head around a body.
pub(crate) fn framed(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A body whose values have wrong types, sizes and places.
pub(crate) fn of_wrong_shape(random: &mut Random, victim: &Victim) -> Request {
    let (method, path, mut body) = call(random, victim);
    let mut raw = Vec::new();
    for _ in 0..=random.below(3) {
        change(random, &mut body, &mut raw);
    }
    let mut text = body.to_string().into_bytes();
    // Later ones may stand within strings that earlier ones brought, so they go in first.
    for (number, value) in raw.iter().enumerate().rev() {
        let mark = mark(number).to_string().into_bytes();
        if let Some(at) = text.windows(mark.len()).position(|window| window == mark) {
            text.splice(at..at + mark.len(), value.iter().copied());
        }
    }
    Request { bytes: framed(method, &path, &text), whole: true, pieces: 1 + random.index(3) }
}

/// A mark in place of a hostile value that is not JSON, until the body is text.
fn mark(number: usize) -> Value {
    Value::String(format!("@@{number}@@"))
}

/// Number of values in a body, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(object) => object.values().map(size).sum(),
        _ => 0,
    }
}

/// The value with a number, counted from the top.
fn nth(value: &mut Value, mut number: usize) -> Option<&mut Value> {
    if number == 0 {
        return Some(value);
    }
    number -= 1;
    let below: Vec<&mut Value> = match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(object) => object.values_mut().collect(),
        _ => return None,
    };
    for value in below {
        let size = size(value);
        if number < size {
            return nth(value, number);
        }
        number -= size;
    }
    None
}

/// Changes one value of a body.
fn change(random: &mut Random, body: &mut Value, raw: &mut Vec<Vec<u8>>) {
    let number = random.index(size(body));
    let copy = nth(body, random.index(size(body))).cloned().unwrap_or_default();
    let Some(value) = nth(body, number) else { return };
    match (random.below(8), &mut *value) {
        (0, Value::Object(object)) => {
            if let Some(key) = object.keys().nth(random.index(object.len().max(1))).cloned() {
                object.remove(&key);
            }
        }
        (1, Value::Object(object)) => drop(object.insert("unknown".repeat(random.index(90)), copy)),
        (0, Value::Array(list)) => drop(list.pop()),
        (1, Value::Array(list)) => list.push(copy),
        (2, value) => *value = json!([value.take()]),
        (3, value) => *value = json!({ "$eq": value.take() }),
        (4, value) => *value = copy,
        (_, value) => {
            *value = mark(raw.len());
            raw.push(hostile(random));
        }
    }
}

/// A body that is not JSON, or that is cut short.
pub(crate) fn of_wrong_bytes(random: &mut Random, victim: &Victim) -> Request {
    let (method, path, body) = call(random, victim);
    let mut text = body.to_string().into_bytes();
    match random.below(9) {
        0 => text.truncate(1 + random.index(text.len() - 1)),
        1 => {
            for _ in 0..=random.below(8) {
                let at = random.index(text.len());
                text[at] ^= 1 << random.below(8);
            }
        }
        2 => text.extend(hostile(random)),
        3 => drop(text.splice(0..0, [0xef, 0xbb, 0xbf])),
        4 => text = text.iter().flat_map(|byte| [*byte, 0]).collect(),
        5 => text = (0..random.below(5_000)).map(|_| random.below(256) as u8).collect(),
        6 => text = hostile(random),
        7 => text = b" ".repeat(random.index(300_000)),
        _ => {
            let at = random.index(text.len());
            text.splice(at..at, hostile(random));
        }
    }
    Request { bytes: framed(method, &path, &text), whole: true, pieces: 1 + random.index(3) }
}
