//! Calls about the server itself.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::catalogue::{DEFAULT_DATABASE, DEFAULT_TENANT};
use crate::env::{self, Env as _, System};
use crate::serve::app::App;
use crate::serve::error::{Answer, ApiError};
use crate::serve::metrics::MEDIA;
use crate::serve::tokens::Scope;

/// The version of the API that this server speaks.
const VERSION: &str = "1.0.0";
/// The time within which a store answers that can be used.
const READY_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn heartbeat() -> Json<Value> {
    let nanos = i128::from(System.now().as_millis()) * 1_000_000;
    Json(json!({ "nanosecond heartbeat": u64::try_from(nanos).unwrap_or(0) }))
}

pub(super) async fn healthcheck() -> Json<Value> {
    Json(json!({ "is_executor_ready": true, "is_log_client_ready": true }))
}

/// The process runs.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The store answers.
pub(super) async fn readyz(State(app): State<App>) -> Answer<&'static str> {
    match env::timeout(READY_WITHIN, app.catalogue().is_reachable()).await {
        Some(Ok(())) => return Ok("ready\n"),
        Some(Err(error)) => tracing::warn!(%error, "the store cannot be read"),
        None => tracing::warn!("the store did not answer in time"),
    }
    let why = "the store cannot be reached; the reason is in the server's log";
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "InternalError", why))
}

/// Counts of this server. A limited token sees only the collections that it reaches.
pub(super) async fn metrics(State(app): State<App>, Extension(scope): Extension<Scope>) -> impl IntoResponse {
    let mut opened = app.pool().all();
    opened.retain(|open| scope.covers(Some(&open.tenant), Some(&open.database)));
    let text = app.metrics().text(&app.catalogue().store().requests(), app.gauges(), &opened);
    ([(header::CONTENT_TYPE, MEDIA)], text)
}

pub(super) async fn version() -> Json<&'static str> {
    Json(VERSION)
}

pub(super) async fn pre_flight_checks(State(app): State<App>) -> Json<Value> {
    Json(json!({ "max_batch_size": app.options().max_batch, "supports_base64_encoding": true }))
}

/// The tenant and the databases that a client without settings of its own should use.
pub(super) async fn identity(Extension(scope): Extension<Scope>) -> Json<Value> {
    let tenant = scope.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
    let database = scope.database.as_deref().unwrap_or(DEFAULT_DATABASE);
    Json(json!({ "user_id": "", "tenant": tenant, "databases": [database] }))
}

pub(super) async fn reset(State(app): State<App>) -> Answer<Json<bool>> {
    if !app.options().allow_reset {
        let why = "Resetting is not allowed by this configuration; start the server with `--allow-reset`";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "ChromaError", why));
    }
    app.pool().close_all();
    app.catalogue().reset().await?;
    app.pool().close_all();
    Ok(Json(true))
}
