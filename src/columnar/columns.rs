//! The column of each field: by its usual names, or by the caller's word.

use std::fmt;
use std::str::FromStr;

use arrow_schema::{DataType, Schema};

use super::TableError;

const IDS: &[&str] = &["id", "ids", "_id"];
const EMBEDDINGS: &[&str] = &["embedding", "embeddings", "vector", "vectors", "emb", "vec"];
const DOCUMENTS: &[&str] = &["document", "documents", "text"];
const REVISIONS: &[&str] = &["revision"];
/// Columns of an export: metadata of typed keys, and the other keys as JSON.
pub(super) const METADATA: &str = "metadata";
pub(super) const METADATA_JSON: &str = "metadata_json";
/// The id of a row is its number.
const ROW_NUMBER: &str = "@row";

/// The columns that a caller names. All others are found by their usual names.
///
/// Its text form is `FIELD=COLUMN,…`. The fields are `id`, `embedding`, `document`, `revision` and
/// `metadata`. `metadata` may come often; without it every other column is metadata, and
/// `metadata=` alone means none. `id=@row` takes the number of the row, from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    id: Option<String>,
    embedding: Option<String>,
    document: Option<String>,
    revision: Option<String>,
    metadata: Option<Vec<String>>,
}

/// A list of columns that is not of the form `FIELD=COLUMN,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnsError(String);

impl fmt::Display for ColumnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ColumnsError {}

impl FromStr for Columns {
    type Err = ColumnsError;

    fn from_str(text: &str) -> Result<Self, ColumnsError> {
        let mut columns = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let wrong = || ColumnsError(format!("`{part}` does not have the form FIELD=COLUMN"));
            let (field, column) = part.split_once('=').ok_or_else(wrong)?;
            let place = match field.trim() {
                "id" => &mut columns.id,
                "embedding" => &mut columns.embedding,
                "document" => &mut columns.document,
                "revision" => &mut columns.revision,
                "metadata" => {
                    let metadata = columns.metadata.get_or_insert_default();
                    metadata.extend((!column.is_empty()).then(|| column.to_owned()));
                    continue;
                }
                other => {
                    let fields = "id, embedding, document, revision or metadata";
                    return Err(ColumnsError(format!("`{other}` is not a field; choose {fields}")));
                }
            };
            if column.is_empty() || place.replace(column.to_owned()).is_some() {
                return Err(ColumnsError(format!("name one column for `{field}`")));
            }
        }
        Ok(columns)
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            ("id", &self.id),
            ("embedding", &self.embedding),
            ("document", &self.document),
            ("revision", &self.revision),
        ];
        let mut parts: Vec<String> =
            named.iter().filter_map(|(field, column)| Some(format!("{field}={}", column.as_ref()?))).collect();
        if let Some(metadata) = &self.metadata {
            let none = metadata.is_empty().then(|| "metadata=".to_owned());
            parts.extend(none.into_iter().chain(metadata.iter().map(|column| format!("metadata={column}"))));
        }
        f.write_str(&parts.join(","))
    }
}

/// The place of each field in a schema.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// `None`: the number of the row.
    pub(super) id: Option<usize>,
    pub(super) embedding: Option<usize>,
    pub(super) document: Option<usize>,
    pub(super) revision: Option<usize>,
    pub(super) metadata: Vec<usize>,
}

impl Columns {
    pub(super) fn places(&self, schema: &Schema, by_revision: bool) -> Result<Places, TableError> {
        let find = |field: &str, named: Option<&String>, usual: &[&str]| match named {
            Some(name) => schema.index_of(name).map(Some).map_err(|_| missing(schema, field, name)),
            None => Ok(usual.iter().find_map(|name| schema.index_of(name).ok())),
        };
        let mut places = Places {
            embedding: find("embedding", self.embedding.as_ref(), EMBEDDINGS)?,
            document: find("document", self.document.as_ref(), DOCUMENTS)?,
            revision: if by_revision { find("revision", self.revision.as_ref(), REVISIONS)? } else { None },
            ..Places::default()
        };
        if self.id.as_deref() != Some(ROW_NUMBER) {
            places.id = find("id", self.id.as_ref(), IDS)?;
            if places.id.is_none() {
                let text = format!(
                    "there is no column of ids ({}); name it with `id=COLUMN`, or take the number of each row with \
                     `id={ROW_NUMBER}`. The columns are: {}",
                    IDS.join(", "),
                    names(schema)
                );
                return Err(TableError::new(text));
            }
        }
        if by_revision && places.revision.is_none() {
            let text = "the collection is ordered by revision, and there is no column `revision`; name it with \
                        `revision=COLUMN`";
            return Err(TableError::new(text));
        }
        let taken = [places.id, places.embedding, places.document, places.revision];
        places.metadata = match &self.metadata {
            Some(names) => names
                .iter()
                .map(|name| schema.index_of(name).map_err(|_| missing(schema, "metadata", name)))
                .collect::<Result<_, _>>()?,
            None => (0..schema.fields().len()).filter(|place| !taken.contains(&Some(*place))).collect(),
        };
        Ok(places)
    }
}

fn missing(schema: &Schema, field: &str, name: &str) -> TableError {
    TableError::new(format!("there is no column `{name}` for `{field}`; the columns are: {}", names(schema)))
}

fn names(schema: &Schema) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).take(50).collect();
    names.join(", ")
}

/// Whether a column of metadata holds keys and values instead of one value.
pub(super) fn holds_keys(name: &str, kind: &DataType) -> bool {
    match kind {
        DataType::Struct(_) => name == METADATA,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => name == METADATA_JSON || name == METADATA,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::Field;

    use super::*;

    fn schema(names: &[&str]) -> Schema {
        Schema::new(names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>())
    }

    #[test]
    fn columns_are_found_by_their_usual_names() {
        let schema = schema(&["price", "text", "vector", "ids"]);
        let places = Columns::default().places(&schema, false).unwrap();
        assert_eq!((places.id, places.embedding, places.document), (Some(3), Some(2), Some(1)));
        assert_eq!(places.metadata, [0]);
        let named: Columns = "id=price,document=ids,metadata=text".parse().unwrap();
        let places = named.places(&schema, false).unwrap();
        assert_eq!((places.id, places.document, places.metadata), (Some(0), Some(3), vec![1]));
        let none: Columns = "id=@row,metadata=".parse().unwrap();
        let places = none.places(&schema, false).unwrap();
        assert_eq!((places.id, places.metadata), (None, vec![]));
        for text in ["", "id=@row,metadata=", "id=a,embedding=b,document=c,revision=d,metadata=e,metadata=f"] {
            assert_eq!(text.parse::<Columns>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_missing_column_is_named_with_those_that_exist() {
        let schema = schema(&["a", "b"]);
        for (columns, by_revision, says) in [
            ("", false, "there is no column of ids"),
            ("id=c", false, "no column `c` for `id`; the columns are: a, b"),
            ("id=a,metadata=c", false, "no column `c` for `metadata`"),
            ("id=a", true, "no column `revision`"),
        ] {
            let error = columns.parse::<Columns>().unwrap().places(&schema, by_revision).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        for (text, says) in [("id", "FIELD=COLUMN"), ("key=a", "is not a field"), ("id=a,id=b", "one column for `id`")]
        {
            assert!(text.parse::<Columns>().unwrap_err().to_string().contains(says), "{text}");
        }
    }
}
