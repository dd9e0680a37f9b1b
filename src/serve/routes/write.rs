//! Calls that change records.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use deltafold_format::Op;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::id;
use crate::serve::app::App;
use crate::serve::batch::{Batch, Call, Ops, same_dimension};
use crate::serve::body::Body;
use crate::serve::bounded;
use crate::serve::erase::Doomed;
use crate::serve::error::{Answer, ApiError};
use crate::serve::filters::filter;
use crate::serve::opened::Opened;
use crate::serve::pool::Found;

type At = Path<(String, String, String)>;

pub(super) async fn add(State(app): State<App>, at: At, Body(batch): Body<Batch>) -> Answer<(StatusCode, Json<Value>)> {
    write(&app, &at, batch, Call::Add).await?;
    Ok((StatusCode::CREATED, Json(json!({}))))
}

pub(super) async fn upsert(State(app): State<App>, at: At, Body(batch): Body<Batch>) -> Answer<Json<Value>> {
    write(&app, &at, batch, Call::Upsert).await?;
    Ok(Json(json!({})))
}

pub(super) async fn update(State(app): State<App>, at: At, Body(batch): Body<Batch>) -> Answer<Json<Value>> {
    write(&app, &at, batch, Call::Update).await?;
    Ok(Json(json!({})))
}

/// Appends a batch as one segment a shard, and returns when it is durable.
async fn write(app: &App, at: &At, batch: Batch, call: Call) -> Answer<()> {
    let Path((tenant, database, collection)) = at;
    let id = id(collection)?;
    let ops = batch.ops(call)?;
    write_to(app, at, app.pool().find(tenant, database, id).await?, ops, call).await
}

/// The same for a collection that was looked up.
pub(super) async fn write_to(
    app: &App,
    Path((tenant, database, _)): &At,
    found: Found,
    Ops { ops, dimension }: Ops,
    call: Call,
) -> Answer<()> {
    let opened = match (found, dimension) {
        (Found::Open(opened), _) => opened,
        // Nothing is there to update.
        (Found::Empty(_), _) if call == Call::Update => return Ok(()),
        (Found::Empty(_), None) => return Ok(()),
        (Found::Empty(entry), Some(dimension)) => app.pool().make(tenant, database, &entry, dimension).await?,
    };
    opened.takes_writes()?;
    if let Some(dimension) = dimension {
        same_dimension(opened.dimension(), dimension)?;
    }
    append(app, &opened, ops).await
}

async fn append(app: &App, opened: &Opened, ops: Vec<Op>) -> Answer<()> {
    if ops.is_empty() {
        return Ok(());
    }
    opened.append(ops).await.map_err(|error| app.pool().failed(opened, error))
}

/// The records to delete.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Delete {
    #[serde(default, deserialize_with = "bounded::optional_list")]
    ids: Option<Vec<String>>,
    #[serde(default, deserialize_with = "bounded::value")]
    r#where: Option<Value>,
    #[serde(default, deserialize_with = "bounded::value")]
    where_document: Option<Value>,
    limit: Option<usize>,
}

/// Deletes records by id, by filter, or by both. Deletes by id take effect together in each shard.
pub(super) async fn delete(
    State(app): State<App>,
    Path((tenant, database, collection)): At,
    Body(delete): Body<Delete>,
) -> Answer<Json<Value>> {
    let id = id(&collection)?;
    let Delete { ids, limit, .. } = delete;
    let filter = filter(delete.r#where.as_ref(), delete.where_document.as_ref())?;
    if limit.is_some() && filter.is_none() {
        return Err(ApiError::invalid("`limit` needs `where` or `where_document`; leave it out to delete by id"));
    }
    let deleted = match (app.pool().find(&tenant, &database, id).await?, filter) {
        (Found::Empty(_), Some(_)) => 0,
        (Found::Empty(_), None) => ids.map_or(0, |ids| ids.len() as u64),
        (Found::Open(opened), Some(filter)) => {
            opened.takes_writes()?;
            let _turn = app.turn().await?;
            let erased = opened.erase(&Doomed { filter, ids, limit }).await;
            erased.map_err(|broken| app.pool().broken(&opened, broken))?
        }
        (Found::Open(opened), None) => {
            opened.takes_writes()?;
            let ids = ids.unwrap_or_default();
            let count = ids.len() as u64;
            append(&app, &opened, ids.into_iter().map(Op::delete).collect()).await?;
            count
        }
    };
    Ok(Json(json!({ "deleted": deleted })))
}
