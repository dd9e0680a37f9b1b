//! Collections: made, listed, changed, deleted.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::databases::Page;
use super::id;
use crate::catalogue::{Entry, NewCollection, Update};
use crate::serve::app::App;
use crate::serve::body::Body;
use crate::serve::bounded;
use crate::serve::error::Answer;
use crate::serve::metadata;

/// A collection to be made.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Create {
    name: String,
    #[serde(default, deserialize_with = "bounded::metadata")]
    metadata: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "bounded::object")]
    configuration: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "bounded::value")]
    schema: Option<Value>,
    #[serde(default)]
    get_or_create: bool,
}

/// The changes of a collection.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Changes {
    new_name: Option<String>,
    #[serde(default, deserialize_with = "bounded::metadata")]
    new_metadata: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "bounded::object")]
    new_configuration: Option<Map<String, Value>>,
}

/// A collection as clients see it.
fn document(entry: &Entry, tenant: &str, database: &str) -> Value {
    json!({
        "id": entry.id.to_string(),
        "name": entry.name,
        "configuration_json": entry.configuration.document(),
        "schema": entry.schema.clone().unwrap_or_else(|| entry.configuration.schema()),
        "metadata": entry.metadata,
        "dimension": entry.dimension,
        "tenant": tenant,
        "database": database,
        "log_position": 0,
        "version": 0,
    })
}

pub(super) async fn create(
    State(app): State<App>,
    Path((tenant, database)): Path<(String, String)>,
    Body(new): Body<Create>,
) -> Answer<Json<Value>> {
    metadata::check_collection(new.metadata.as_ref(), "metadata")?;
    let Create { name, metadata, configuration, schema, get_or_create } = new;
    let new = NewCollection { name, metadata, configuration, schema, get_or_create };
    let entry = app.catalogue().create_collection(&tenant, &database, new).await?;
    Ok(Json(document(&entry, &tenant, &database)))
}

pub(super) async fn list(
    State(app): State<App>,
    Path((tenant, database)): Path<(String, String)>,
    page: Result<Query<Page>, QueryRejection>,
) -> Answer<Json<Value>> {
    let page = Page::of(page)?;
    let all = app.catalogue().collections(&tenant, &database).await?;
    Ok(Json(page.cut(all).map(|entry| document(&entry, &tenant, &database)).collect()))
}

pub(super) async fn count(
    State(app): State<App>,
    Path((tenant, database)): Path<(String, String)>,
) -> Answer<Json<usize>> {
    Ok(Json(app.catalogue().collections(&tenant, &database).await?.len()))
}

pub(super) async fn get(
    State(app): State<App>,
    Path((tenant, database, name)): Path<(String, String, String)>,
) -> Answer<Json<Value>> {
    let entry = app.catalogue().collection(&tenant, &database, &name).await?;
    Ok(Json(document(&entry, &tenant, &database)))
}

pub(super) async fn by_id(
    State(app): State<App>,
    Path((tenant, database, collection)): Path<(String, String, String)>,
) -> Answer<Json<Value>> {
    let entry = app.catalogue().collection_by_id(&tenant, &database, id(&collection)?).await?;
    Ok(Json(document(&entry, &tenant, &database)))
}

pub(super) async fn update(
    State(app): State<App>,
    Path((tenant, database, collection)): Path<(String, String, String)>,
    Body(changes): Body<Changes>,
) -> Answer<Json<Value>> {
    let Changes { new_name: name, new_metadata, new_configuration: configuration } = changes;
    let metadata = metadata::replacement(new_metadata, "new_metadata")?;
    let update = Update { name, metadata, configuration };
    app.catalogue().update_collection(&tenant, &database, id(&collection)?, update).await?;
    Ok(Json(json!({})))
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((tenant, database, name)): Path<(String, String, String)>,
) -> Answer<Json<Value>> {
    let id = app.catalogue().delete_collection(&tenant, &database, &name).await?;
    app.pool().close(id);
    Ok(Json(json!({})))
}
