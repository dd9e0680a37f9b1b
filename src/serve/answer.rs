//! Answers of reads: parallel lists, as Chroma's clients expect them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::embedding::Encoded;
use crate::query::Include;

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

/// The answer to `query`: one inner list for each query. [`columns`](super::columns) writes it.
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
