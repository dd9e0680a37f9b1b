//! Answers of reads: parallel lists, as Chroma's clients expect them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::embedding::{Encoded, Encoding};
use super::metadata;
use crate::query::{Hit, Include};
use crate::reader::Entry;

/// A field that an answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Field {
    Distances,
    Documents,
    Embeddings,
    Metadatas,
    Uris,
}

/// The fields of records that these fields of an answer need.
pub(super) fn include(fields: &[Field]) -> Include {
    Include {
        embedding: fields.contains(&Field::Embeddings),
        metadata: fields.contains(&Field::Metadatas) || fields.contains(&Field::Uris),
        document: fields.contains(&Field::Documents),
    }
}

/// The metadata of a record; `None` where it has none.
type Metadata = Option<Map<String, Value>>;

/// Records of one list.
#[derive(Debug, Default)]
struct Columns {
    ids: Vec<String>,
    embeddings: Vec<Encoded>,
    documents: Vec<Option<String>>,
    uris: Vec<Option<String>>,
    metadatas: Vec<Metadata>,
    distances: Vec<f64>,
}

impl Columns {
    fn push(&mut self, entry: Entry, encoding: Encoding) {
        let (metadata, uri) = metadata::document(entry.record.metadata);
        self.ids.push(entry.id);
        self.embeddings.push(encoding.of(entry.record.embedding));
        self.documents.push(entry.record.document);
        self.uris.push(uri);
        self.metadatas.push(metadata);
    }
}

/// The answer to `get`, as [`columns`](super::columns) writes it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Records {
    ids: Vec<String>,
    embeddings: Option<Vec<Encoded>>,
    documents: Option<Vec<Option<String>>>,
    uris: Option<Vec<Option<String>>>,
    metadatas: Option<Vec<Metadata>>,
    include: Vec<Field>,
}

/// The answer to `query`: one inner list for each query.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Neighbours {
    ids: Vec<Vec<String>>,
    embeddings: Option<Vec<Vec<Encoded>>>,
    documents: Option<Vec<Vec<Option<String>>>>,
    uris: Option<Vec<Vec<Option<String>>>>,
    metadatas: Option<Vec<Vec<Metadata>>>,
    distances: Option<Vec<Vec<f64>>>,
    include: Vec<Field>,
}

impl Neighbours {
    pub(super) fn new(answers: Vec<Vec<Hit>>, include: Vec<Field>, encoding: Encoding) -> Self {
        let has = |field| include.contains(&field);
        let mut all = Self {
            ids: Vec::new(),
            embeddings: has(Field::Embeddings).then(Vec::new),
            documents: has(Field::Documents).then(Vec::new),
            uris: has(Field::Uris).then(Vec::new),
            metadatas: has(Field::Metadatas).then(Vec::new),
            distances: has(Field::Distances).then(Vec::new),
            include,
        };
        for hits in answers {
            let mut columns = Columns::default();
            for hit in hits {
                columns.distances.push(hit.distance);
                columns.push(hit.entry, encoding);
            }
            all.ids.push(columns.ids);
            push(&mut all.embeddings, columns.embeddings);
            push(&mut all.documents, columns.documents);
            push(&mut all.uris, columns.uris);
            push(&mut all.metadatas, columns.metadatas);
            push(&mut all.distances, columns.distances);
        }
        all
    }
}

fn push<T>(lists: &mut Option<Vec<T>>, list: T) {
    if let Some(lists) = lists {
        lists.push(list);
    }
}
