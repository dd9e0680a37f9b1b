//! Tenants and databases.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::serve::app::App;
use crate::serve::body::Body;
use crate::serve::error::{Answer, ApiError};

/// A name in a body.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Named {
    name: String,
}

/// The part of a list that a client wants.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Page {
    limit: Option<usize>,
    offset: Option<usize>,
}

impl Page {
    pub(super) fn of(page: Result<Query<Self>, QueryRejection>) -> Answer<Self> {
        page.map(|Query(page)| page).map_err(|_| ApiError::invalid("`limit` and `offset` must be numbers from 0"))
    }

    pub(super) fn cut<T>(&self, all: Vec<T>) -> impl Iterator<Item = T> + use<T> {
        all.into_iter().skip(self.offset.unwrap_or(0)).take(self.limit.unwrap_or(usize::MAX))
    }
}

pub(super) async fn create_tenant(State(app): State<App>, Body(new): Body<Named>) -> Answer<Json<Value>> {
    app.catalogue().create_tenant(&new.name).await?;
    Ok(Json(json!({})))
}

pub(super) async fn tenant(State(app): State<App>, Path(tenant): Path<String>) -> Answer<Json<Value>> {
    let resource_name = app.catalogue().tenant_resource(&tenant).await?;
    Ok(Json(json!({ "name": tenant, "resource_name": resource_name })))
}

/// A change of a tenant.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct TenantUpdate {
    resource_name: String,
}

pub(super) async fn update_tenant(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Body(update): Body<TenantUpdate>,
) -> Answer<Json<Value>> {
    app.catalogue().update_tenant(&tenant, &update.resource_name).await?;
    Ok(Json(json!({})))
}

pub(super) async fn list(
    State(app): State<App>,
    Path(tenant): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Answer<Json<Value>> {
    let page = Page::of(page)?;
    let all = app.catalogue().databases(&tenant).await?;
    let document = |found: crate::catalogue::DatabaseName| json!({ "id": found.id.to_string(), "name": found.name, "tenant": tenant });
    Ok(Json(page.cut(all).map(document).collect()))
}

pub(super) async fn create(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Body(new): Body<Named>,
) -> Answer<Json<Value>> {
    app.catalogue().create_database(&tenant, &new.name).await?;
    Ok(Json(json!({})))
}

pub(super) async fn get(
    State(app): State<App>,
    Path((tenant, database)): Path<(String, String)>,
) -> Answer<Json<Value>> {
    let found = app.catalogue().database(&tenant, &database).await?;
    Ok(Json(json!({ "id": found.id.to_string(), "name": found.name, "tenant": tenant })))
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((tenant, database)): Path<(String, String)>,
) -> Answer<Json<Value>> {
    for id in app.catalogue().delete_database(&tenant, &database).await? {
        app.pool().close(id);
    }
    Ok(Json(json!({})))
}
