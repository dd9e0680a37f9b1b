//! Names of fields and ops that users of other programs write, and slips of the keyboard.

/// The names of a field elsewhere.
const FIELDS: &[(&str, &[&str])] = &[
    ("op", &["action", "operation", "type", "method", "_op", "_op_type", "event"]),
    ("id", &["ids", "_id", "key", "uuid", "pk", "record_id", "point_id"]),
    ("embedding", &["embeddings", "vector", "vectors", "values", "emb", "vec", "dense_vector"]),
    ("metadata", &["metadatas", "meta", "payload", "attributes", "properties", "fields", "tags"]),
    ("document", &["documents", "text", "content", "contents", "page_content", "body", "chunk", "doc"]),
    ("revision", &["version", "rev", "_version", "seq", "timestamp"]),
];

/// The names of an op elsewhere.
const OPS: &[(&str, &[&str])] = &[
    ("put", &["set", "index", "replace", "write", "store", "save", "overwrite"]),
    ("add", &["insert", "create", "new"]),
    ("patch", &["update", "modify", "edit"]),
    ("upsert", &["merge", "upsertrecord"]),
    ("delete", &["remove", "del", "erase", "rm", "unset"]),
];

/// The reason for a field of this name.
pub(in crate::jsonl) fn unknown_field(name: &str) -> String {
    let expected = "expected op, id, embedding, metadata, document or revision";
    match meant(FIELDS, name) {
        Some("id") if name == "ids" => format!(
            "unknown field; {expected}. This is one object for many records, as `get` of Chroma answers: a list for \
             each field. Make an op of each record: jq -c '{COLUMNAR}' FILE"
        ),
        Some(meant) => format!("unknown field; did you mean `{meant}`?"),
        None => format!("unknown field; {expected}. Other data belongs in `metadata`"),
    }
}

/// A program of jq that makes ops of a result of Chroma.
const COLUMNAR: &str = "range(.ids|length) as $i | {op:\"put\", id:.ids[$i], embedding:.embeddings[$i]?, \
                        metadata:.metadatas[$i]?, document:.documents[$i]?}";

/// The reason for an op of this name.
pub(in crate::jsonl) fn unknown_op(name: &str) -> String {
    let shown = super::shown(name);
    match meant(OPS, name) {
        Some(meant) => {
            format!("unknown op `{shown}`; did you mean `{meant}`? The ops are put, upsert, add, patch and delete")
        }
        None => format!("unknown op `{shown}`; expected put, upsert, add, patch or delete"),
    }
}

/// The known name that another one stands for.
fn meant(known: &[(&'static str, &[&str])], name: &str) -> Option<&'static str> {
    let name = name.trim().to_ascii_lowercase();
    let is = |known: &str, others: &[&str]| known == name || others.contains(&name.as_str());
    if let Some((known, _)) = known.iter().find(|(known, others)| is(known, others)) {
        return Some(known);
    }
    // Two letters of a short name are another name.
    let close = |known: &str| known.len() > 4 && name.len() < 32 && strsim::osa_distance(known, &name) <= 2;
    known.iter().map(|(known, _)| *known).find(|known| close(known))
}
