//! The settings of a collection: its names, its metric, and its configuration.

use deltafold_format::Metric;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::database::{CollectionRow, Database};
use crate::error::Result;

/// A collection of a directory.
#[derive(Debug, Clone)]
pub struct Found {
    pub(super) row: CollectionRow,
    pub(super) id: Uuid,
    pub(super) metric: Metric,
}

impl Found {
    pub(super) fn new(database: &Database, row: CollectionRow) -> Result<Self> {
        let shown = row.id.escape_debug();
        let id = Uuid::parse_str(&row.id)
            .map_err(|_| database.damaged(format!("the id `{shown}` of a collection is not a UUID")))?;
        let metric = match space(&row) {
            "l2" => Metric::L2,
            "cosine" => Metric::Cosine,
            "ip" => Metric::InnerProduct,
            other => {
                let why = format!("collection `{}` has the unknown space `{}`", row.id, other.escape_debug());
                return Err(database.damaged(why));
            }
        };
        Ok(Self { row, id, metric })
    }

    /// Its UUID.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.row.name
    }

    /// Its tenant.
    pub fn tenant(&self) -> &str {
        &self.row.tenant
    }

    /// Its database.
    pub fn database(&self) -> &str {
        &self.row.database
    }

    /// The metric of its searches.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Its configuration as a client of the server would state it.
    pub(super) fn configuration(&self) -> Map<String, Value> {
        let told = &self.row.configuration;
        let of_schema = index_of(&self.row);
        let old = &self.row.metadata;
        let mut hnsw = Map::new();
        for (key, legacy) in PARAMETERS {
            let sources = [
                of_schema.and_then(|index| index.get("hnsw")?.get(key)),
                told.get("hnsw").and_then(|hnsw| hnsw.get(key)),
                old.get(legacy),
            ];
            if let Some(value) = sources.into_iter().flatten().find(|value| value.is_number()) {
                hnsw.insert(key.to_owned(), value.clone());
            }
        }
        hnsw.insert("space".to_owned(), json!(space(&self.row)));
        let mut configuration = Map::from_iter([("hnsw".to_owned(), Value::Object(hnsw))]);
        let function = of_schema.and_then(|index| index.get("embedding_function"));
        if let Some(function) = function.or_else(|| told.get("embedding_function")).filter(|value| value.is_object()) {
            configuration.insert("embedding_function".to_owned(), function.clone());
        }
        configuration
    }
}

/// The parameters of an index that the server keeps, and their names in metadata of old versions.
const PARAMETERS: [(&str, &str); 5] = [
    ("ef_construction", "hnsw:construction_ef"),
    ("ef_search", "hnsw:search_ef"),
    ("max_neighbors", "hnsw:M"),
    ("resize_factor", "hnsw:resize_factor"),
    ("sync_threshold", "hnsw:sync_threshold"),
];

/// The index of the embeddings in the schema of Chroma 1.x.
fn index_of(row: &CollectionRow) -> Option<&Value> {
    let schema = row.schema.as_ref()?;
    let own = schema.pointer("/keys/#embedding/float_list/vector_index/config");
    own.or_else(|| schema.pointer("/defaults/float_list/vector_index/config"))
}

/// The name of the metric. The schema counts first, then the configuration, then the metadata.
///
/// Chroma 0.5 wrote `l2` into its form of the configuration, whatever the metadata said, and obeyed
/// the metadata. That form has a `_type`.
fn space(row: &CollectionRow) -> &str {
    let of_schema = index_of(row).and_then(|index| index.get("space")?.as_str());
    let of_metadata = row.metadata.get("hnsw:space").and_then(Value::as_str);
    let configuration = &row.configuration;
    let of_configuration = configuration.pointer("/hnsw/space").and_then(Value::as_str);
    let of_spann = configuration.pointer("/spann/space").and_then(Value::as_str);
    let of_old = configuration.pointer("/hnsw_configuration/space").and_then(Value::as_str);
    of_schema.or(of_configuration).or(of_spann).or(of_metadata).or(of_old).unwrap_or("l2")
}
