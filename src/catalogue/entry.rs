//! The entry of a collection in its database's register.

use deltafold_format::Metric;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::error::{CatalogueError, Result};

/// A collection of the catalogue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its id, which a rename keeps.
    #[serde(with = "super::id_text")]
    pub(crate) id: Uuid,
    /// Its name, unique in the database.
    pub(crate) name: String,
    /// The Deltafold collection that holds its records. The first write makes it.
    pub(crate) place: String,
    /// Its metadata, as the client gave it.
    pub(crate) metadata: Option<Map<String, Value>>,
    /// Its settings.
    pub(crate) configuration: Configuration,
    /// Its schema, as the client gave it.
    #[serde(default)]
    pub(crate) schema: Option<Value>,
    /// Length of its embeddings, once a write has fixed it.
    pub(crate) dimension: Option<u32>,
    /// Number of shards of its Deltafold collection.
    pub(crate) shards: u16,
    /// Whether `deltafold create` made it, not a client of the server.
    #[serde(default)]
    pub(crate) adopted: bool,
}

/// The changes of an update. An absent field stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Update {
    pub(crate) name: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) configuration: Option<Map<String, Value>>,
}

/// The settings of a collection in Chroma's form. Only the metric has an effect: searches are exact
/// and build no graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Configuration {
    /// The parameters of the index.
    pub(crate) hnsw: Hnsw,
    /// The client's embedding function, as the client gave it.
    pub(crate) embedding_function: Option<Value>,
}

/// The parameters of an HNSW index. All but the metric are kept for clients that read them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hnsw {
    pub(crate) space: String,
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

/// The other parameters, and their defaults.
fn defaults() -> Map<String, Value> {
    let Value::Object(map) = json!({
        "ef_construction": 100,
        "ef_search": 100,
        "max_neighbors": 16,
        "resize_factor": 1.2,
        "sync_threshold": 1000,
    }) else {
        return Map::new();
    };
    map
}

/// The keys of metadata that older clients use for the same parameters.
const LEGACY: [(&str, &str); 5] = [
    ("hnsw:construction_ef", "ef_construction"),
    ("hnsw:search_ef", "ef_search"),
    ("hnsw:M", "max_neighbors"),
    ("hnsw:resize_factor", "resize_factor"),
    ("hnsw:sync_threshold", "sync_threshold"),
];

/// A metric by its name in Chroma.
pub(crate) const fn space(metric: Metric) -> &'static str {
    match metric {
        Metric::L2 => "l2",
        Metric::Cosine => "cosine",
        Metric::InnerProduct => "ip",
    }
}

impl Configuration {
    /// The settings of a collection of this metric.
    pub(super) fn of_metric(metric: Metric) -> Self {
        Self { hnsw: Hnsw { space: space(metric).to_owned(), others: defaults() }, embedding_function: None }
    }

    /// The settings that a request to create a collection states. `configuration` counts before
    /// the keys of `metadata` that older clients use.
    pub(super) fn of_request(
        configuration: Option<&Map<String, Value>>,
        metadata: Option<&Map<String, Value>>,
    ) -> Result<Self> {
        let mut hnsw = Hnsw { space: "l2".to_owned(), others: defaults() };
        let of_metadata = |key: &str| metadata.and_then(|metadata| metadata.get(key));
        if let Some(space) = of_metadata("hnsw:space") {
            hnsw.space = space_of(space)?;
        }
        for (legacy, key) in LEGACY {
            if let Some(value) = of_metadata(legacy) {
                hnsw.others.insert(key.to_owned(), number_of(legacy, value)?);
            }
        }
        let given = |key: &str| configuration.and_then(|all| all.get(key)).filter(|value| !value.is_null());
        if let Some(configuration) = configuration
            && let Some(unknown) = configuration.keys().find(|key| !KEYS.contains(&key.as_str()))
        {
            return Err(CatalogueError::Refused(format!("the configuration has no key `{unknown}`; leave it out")));
        }
        if given("hnsw").is_some() && given("spann").is_some() {
            let why = "the configuration names both `hnsw` and `spann`; leave one of them out";
            return Err(CatalogueError::Invalid(why.to_owned()));
        }
        if let Some(Value::Object(spann)) = given("spann")
            && let Some(space) = spann.get("space").filter(|space| !space.is_null())
        {
            hnsw.space = space_of(space)?;
        }
        match given("hnsw") {
            Some(Value::Object(parameters)) => hnsw.set(parameters)?,
            Some(_) => return Err(CatalogueError::Refused("`hnsw` of the configuration must be an object".to_owned())),
            None => {}
        }
        Ok(Self { hnsw, embedding_function: given("embedding_function").cloned() })
    }

    /// Changes the settings that may change.
    pub(super) fn update(&mut self, changes: &Map<String, Value>) -> Result<()> {
        for (key, value) in changes.iter().filter(|(_, value)| !value.is_null()) {
            match (key.as_str(), value) {
                ("hnsw", Value::Object(parameters)) => {
                    if parameters.get("space").is_some_and(|space| space.as_str() != Some(&self.hnsw.space)) {
                        return Err(CatalogueError::Refused(
                            "the space of a collection cannot change; make another collection".to_owned(),
                        ));
                    }
                    self.hnsw.set(parameters)?;
                }
                ("spann", Value::Object(_)) => {}
                ("embedding_function", function) => self.embedding_function = Some(function.clone()),
                _ => {
                    let why = format!("the configuration has no such key, or not of this type: `{key}`; leave it out");
                    return Err(CatalogueError::Refused(why));
                }
            }
        }
        Ok(())
    }

    /// The metric of searches.
    pub(crate) fn metric(&self) -> Metric {
        match self.hnsw.space.as_str() {
            "cosine" => Metric::Cosine,
            "ip" => Metric::InnerProduct,
            _ => Metric::L2,
        }
    }

    /// The settings as clients read them.
    pub(crate) fn document(&self) -> Value {
        json!({ "hnsw": self.hnsw, "spann": null, "embedding_function": self.embedding_function })
    }

    /// The schema of a collection whose client gave none. Without it the Python client refuses to
    /// change a configuration.
    pub(crate) fn schema(&self) -> Value {
        let index = |enabled: bool| json!({ "enabled": enabled, "config": {} });
        let vectors = |enabled: bool, source: Option<&str>| {
            let mut config = json!({ "space": self.hnsw.space, "hnsw": self.hnsw.others });
            if let (Some(source), Value::Object(config)) = (source, &mut config) {
                config.insert("source_key".to_owned(), source.into());
            }
            json!({ "vector_index": { "enabled": enabled, "config": config } })
        };
        json!({
            "defaults": {
                "string": { "fts_index": index(false), "string_inverted_index": index(true) },
                "float_list": vectors(false, None),
                "int": { "int_inverted_index": index(true) },
                "float": { "float_inverted_index": index(true) },
                "bool": { "bool_inverted_index": index(true) },
            },
            "keys": {
                "#embedding": { "float_list": vectors(true, Some("#document")) },
                "#document": { "string": { "fts_index": index(true), "string_inverted_index": index(false) } },
            },
        })
    }
}

/// The keys of a configuration.
const KEYS: [&str; 3] = ["hnsw", "spann", "embedding_function"];

impl Hnsw {
    fn set(&mut self, parameters: &Map<String, Value>) -> Result<()> {
        for (key, value) in parameters.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "space" => self.space = space_of(value)?,
                "num_threads" | "batch_size" => drop(self.others.insert(key.clone(), number_of(key, value)?)),
                key if self.others.contains_key(key) => {
                    self.others.insert(key.to_owned(), number_of(key, value)?);
                }
                key => {
                    return Err(CatalogueError::Refused(format!("`hnsw` has no parameter `{key}`; leave it out")));
                }
            }
        }
        Ok(())
    }
}

fn space_of(value: &Value) -> Result<String> {
    match value.as_str() {
        Some(space @ ("l2" | "cosine" | "ip")) => Ok(space.to_owned()),
        _ => Err(CatalogueError::Refused(format!("unknown space {value}; expected one of `l2`, `cosine` and `ip`"))),
    }
}

fn number_of(key: &str, value: &Value) -> Result<Value> {
    if value.is_number() {
        return Ok(value.clone());
    }
    Err(CatalogueError::Refused(format!("parameter `{key}` must be a number, not {value}")))
}
