//! Lines, elements and rows that cannot be taken, where a load goes on without them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deltafold::format::OpRules;
use deltafold::jsonl::{DefaultOp, LineError};
use serde_json::{Map, Value};

/// The place of a text: the number of its file, or 0 where there is one input, and its own number.
pub(crate) type Place = (u64, u64);

/// The rules by which the texts of an input become ops.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) rules: OpRules,
    /// The op of lines that name none.
    pub(crate) default: Option<DefaultOp>,
    /// Whether a load goes on behind a line that is not an op.
    pub(crate) goes_on: bool,
    /// Texts that were turned away by an earlier run, in order. They are not read again.
    pub(crate) turned_away: Arc<[Place]>,
}

impl Rules {
    /// Whether an earlier run turned this line away.
    pub(crate) fn passes_over(&self, number: u64) -> bool {
        self.turned_away.binary_search(&(0, number)).is_ok()
    }
}

/// A line, element or row that is not an op.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reject {
    pub(crate) number: u64,
    /// The reason and the place, for scripts.
    details: Map<String, Value>,
    /// The reason and the place, for people.
    pub(crate) message: String,
}

impl Reject {
    /// A text that is not an op. `line` and `column` are its place in the input.
    pub(crate) fn text(unit: &str, error: &LineError, (line, column): (u64, usize), text: &[u8]) -> Self {
        let mut details = Map::new();
        details.insert(unit.to_owned(), error.line().into());
        details.insert("line".to_owned(), line.into());
        details.insert("column".to_owned(), column.into());
        let field = (!error.field().is_empty()).then(|| error.field().to_owned());
        details.insert("field".to_owned(), field.into());
        details.insert("reason".to_owned(), error.reason().into());
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        insert_text(&mut details, text.strip_suffix(b"\r").unwrap_or(text));
        Self { number: error.line(), details, message: error.reason().to_owned() }
    }

    /// An item of a table that the mapping or the collection refuses.
    #[cfg(feature = "mapping")]
    pub(crate) fn item(item: &deltafold::ingest::RefusedItem) -> Self {
        let mut details = Map::new();
        details.insert("file".to_owned(), item.file_number.into());
        details.insert("line".to_owned(), item.line.into());
        details.insert("key".to_owned(), item.key.as_str().into());
        details.insert("field".to_owned(), item.field.as_deref().into());
        details.insert("reason".to_owned(), item.reason.as_str().into());
        insert_text(&mut details, &item.text);
        Self { number: item.line, details, message: format!("item {}: {}", item.key, item.reason) }
    }

    /// A line that is longer than `most` bytes, by its beginning.
    pub(super) fn too_long(number: u64, most: u64, beginning: &[u8]) -> Self {
        let reason = format!("the line is longer than {most} bytes; its beginning is kept here");
        let mut details = Map::new();
        details.insert("line".to_owned(), number.into());
        details.insert("column".to_owned(), 1.into());
        details.insert("field".to_owned(), Value::Null);
        details.insert("reason".to_owned(), reason.as_str().into());
        // Cut inside a character, it would not be UTF-8.
        let text = beginning.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        details.insert("beginning".to_owned(), text.into());
        Self { number, details, message: reason }
    }

    /// A row that is not an op.
    #[cfg(feature = "columnar")]
    pub(crate) fn row(error: &deltafold::columnar::TableError) -> Self {
        let number = error.row().unwrap_or(0);
        let mut details = Map::new();
        details.insert("row".to_owned(), number.into());
        details.insert("field".to_owned(), error.column().into());
        details.insert("reason".to_owned(), error.reason().into());
        Self { number, details, message: error.to_string() }
    }

    /// Its line in a file of rejects.
    pub(crate) fn json(&self, source: &str, input: &str) -> Vec<u8> {
        // The source comes first: it tells a line that was cut short apart from a foreign file.
        let mut line = format!("{{\"source\":{},\"input\":{}", Value::from(source), Value::from(input)).into_bytes();
        for (name, value) in &self.details {
            line.extend_from_slice(format!(",{}:{value}", Value::from(name.as_str())).as_bytes());
        }
        line.extend_from_slice(b"}\n");
        line
    }
}

/// Adds a text, in base64 where it is not UTF-8.
fn insert_text(details: &mut Map<String, Value>, text: &[u8]) {
    match std::str::from_utf8(text) {
        Ok(text) => details.insert("text".to_owned(), text.into()),
        Err(_) => details.insert("base64".to_owned(), STANDARD.encode(text).into()),
    };
}
