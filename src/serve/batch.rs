//! Batches of records in requests, and the ops that they become.

use deltafold_format::{Change, Op, Patch, Record, Value};
use schemars::JsonSchema;
use serde::Deserialize;

use super::bounded::{self, Given};
use super::embedding::Embedding;
use super::error::{Answer, ApiError};
use super::metadata;

/// A batch: parallel lists.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Batch {
    #[serde(deserialize_with = "bounded::list")]
    ids: Vec<String>,
    #[serde(default, deserialize_with = "bounded::optional_list")]
    embeddings: Option<Vec<Option<Embedding>>>,
    #[serde(default, deserialize_with = "bounded::optional_list")]
    #[schemars(with = "Option<Vec<Option<serde_json::Map<String, serde_json::Value>>>>")]
    metadatas: Option<Vec<Option<Given>>>,
    #[serde(default, deserialize_with = "bounded::optional_list")]
    documents: Option<Vec<Option<String>>>,
    #[serde(default, deserialize_with = "bounded::optional_list")]
    uris: Option<Vec<Option<String>>>,
}

/// The call that brings a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Inserts records. Ids that are there stay as they are.
    Add,
    /// Inserts records, in place of those that are there.
    Put,
    /// Inserts or patches records.
    Upsert,
    /// Patches records. Ids that are not there stay so.
    Update,
}

/// The ops of a batch.
#[derive(Debug)]
pub(super) struct Ops {
    pub(super) ops: Vec<Op>,
    /// Length of the embeddings; `None` where there is none.
    pub(super) dimension: Option<u32>,
}

impl Batch {
    /// The ops of the batch, in its order.
    pub(super) fn ops(self, call: Call) -> Answer<Ops> {
        let count = self.ids.len();
        same_length("embeddings", self.embeddings.as_ref().map(Vec::len), count)?;
        same_length("metadatas", self.metadatas.as_ref().map(Vec::len), count)?;
        same_length("documents", self.documents.as_ref().map(Vec::len), count)?;
        same_length("uris", self.uris.as_ref().map(Vec::len), count)?;
        let mut embeddings = self.embeddings.unwrap_or_default().into_iter();
        let mut metadatas = self.metadatas.unwrap_or_default().into_iter();
        let mut documents = self.documents.unwrap_or_default().into_iter();
        let mut uris = self.uris.unwrap_or_default().into_iter();
        let mut ops = Vec::with_capacity(count);
        let mut dimension = None;
        for id in self.ids {
            let embedding = embeddings.next().flatten().map(|Embedding(numbers)| numbers);
            match &embedding {
                Some(numbers) => check(numbers, &mut dimension)?,
                None if call == Call::Update => {}
                None => {
                    return Err(ApiError::unprocessable(
                        "every record of `add`, `put` and `upsert` needs an embedding",
                    ));
                }
            }
            let Given(given) = metadatas.next().flatten().unwrap_or_default();
            let document = documents.next().flatten();
            let uri = uris.next().flatten().map(Value::String);
            ops.push(match call {
                Call::Add | Call::Put => {
                    let mut metadata = metadata::without_nulls(given)?;
                    metadata.extend(uri.map(|uri| (metadata::URI.to_owned(), uri)));
                    let record = Record { embedding, metadata, document };
                    if call == Call::Add { Op::add(id, record) } else { Op::put(id, record) }
                }
                Call::Upsert | Call::Update => {
                    let mut metadata = given;
                    metadata.extend(uri.map(|uri| (metadata::URI.to_owned(), Some(uri))));
                    let patch = Patch { embedding: set(embedding), metadata, document: set(document) };
                    if call == Call::Upsert { Op::upsert(id, patch) } else { Op::patch(id, patch) }
                }
            });
        }
        Ok(Ops { ops, dimension })
    }
}

fn set<T>(value: Option<T>) -> Change<T> {
    value.map_or(Change::Keep, Change::Set)
}

fn same_length(what: &str, found: Option<usize>, count: usize) -> Answer<()> {
    match found {
        Some(found) if found != count => Err(ApiError::invalid(format!(
            "`{what}` has {found} elements and `ids` has {count}; give one for each id, or leave the list out"
        ))),
        _ => Ok(()),
    }
}

/// Checks that an embedding is finite and as long as the others.
fn check(numbers: &[f32], dimension: &mut Option<u32>) -> Answer<()> {
    let found = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    if found == 0 {
        return Err(ApiError::invalid("an embedding is empty; give at least one number"));
    }
    if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
        return Err(ApiError::invalid(format!("number {at} of an embedding is not finite; give finite numbers")));
    }
    same_dimension(*dimension.get_or_insert(found), found)
}

/// Refuses an embedding of another length than the collection's.
pub(super) fn same_dimension(expected: u32, found: u32) -> Answer<()> {
    if expected == found {
        return Ok(());
    }
    Err(ApiError::invalid(format!("Collection expecting embedding with dimension of {expected}, got {found}")))
}
