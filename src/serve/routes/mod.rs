//! The calls of the API.

mod collections;
mod databases;
mod read;
mod system;
mod write;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use uuid::Uuid;

use super::app::App;
use super::auth::guard;
use super::error::{Answer, ApiError};
use super::room::Held;
use crate::env::{self, Env as _, Stopwatch, System};

/// All calls. Those above the line need no token.
pub(super) fn router(app: App) -> Router {
    let open = Router::new()
        .route("/healthz", get(system::healthz))
        .route("/readyz", get(system::readyz))
        .route("/api/v2", get(system::heartbeat))
        .route("/api/v2/heartbeat", get(system::heartbeat))
        .route("/api/v2/healthcheck", get(system::healthcheck));
    let tenant = "/api/v2/tenants/{tenant}";
    let databases = &format!("{tenant}/databases");
    let database = &format!("{databases}/{{database}}");
    let collections = &format!("{database}/collections");
    // A collection's name or id. The calls decide which.
    let collection = &format!("{collections}/{{collection}}");
    let guarded = Router::new()
        .route("/metrics", get(system::metrics))
        .route("/api/v2/version", get(system::version))
        .route("/api/v2/pre-flight-checks", get(system::pre_flight_checks))
        .route("/api/v2/auth/identity", get(system::identity))
        .route("/api/v2/reset", post(system::reset))
        .route("/api/v2/tenants", post(databases::create_tenant))
        .route(tenant, get(databases::tenant).patch(databases::update_tenant))
        .route(databases, get(databases::list).post(databases::create))
        .route(database, get(databases::get).delete(databases::delete))
        .route(&format!("{database}/collections_count"), get(collections::count))
        .route(collections, get(collections::list).post(collections::create))
        .route(&format!("{collections}/by-id/{{collection}}"), get(collections::by_id))
        .route(collection, get(collections::get))
        .route(collection, put(collections::update))
        .route(collection, delete(collections::delete))
        .route(&format!("{collection}/add"), post(write::add))
        .route(&format!("{collection}/upsert"), post(write::upsert))
        .route(&format!("{collection}/update"), post(write::update))
        .route(&format!("{collection}/delete"), post(write::delete))
        .route(&format!("{collection}/get"), post(read::get))
        .route(&format!("{collection}/query"), post(read::query))
        .route(&format!("{collection}/count"), get(read::count))
        .route(&format!("{collection}/indexing_status"), get(read::indexing_status))
        .route_layer(middleware::from_fn_with_state(app.clone(), guard));
    open.merge(guarded)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(app.options().max_body))
        .layer(middleware::from_fn_with_state(app.clone(), observed))
        .with_state(app)
}

async fn unknown(request: Request) -> ApiError {
    if request.uri().path().starts_with("/api/v1") {
        let why = "The v1 API is deprecated. Please use /v2 apis";
        return ApiError::new(StatusCode::GONE, "Unimplemented", why);
    }
    ApiError::new(StatusCode::NOT_FOUND, "NotFoundError", "there is no such call; see the documentation of the API")
}

async fn wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "ChromaError", "this call has another method")
}

/// Longest request id of a client that is repeated.
const REQUEST_ID: usize = 128;

/// Gives each request an id and a time limit, and counts and logs it.
async fn observed(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let held = Held::default();
    request.extensions_mut().insert(held.clone());
    let id = request.headers().get("x-request-id").filter(|id| id.len() <= REQUEST_ID).cloned();
    let fresh = || HeaderValue::from_str(&System.nonce().to_string()).unwrap_or(HeaderValue::from_static("-"));
    let id = id.unwrap_or_else(fresh);
    let trace = request.headers().get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let method = request.method().as_str().chars().take(16).collect::<String>();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let limit = app.options().read_timeout.saturating_add(app.options().request_timeout);
    let mut response = match env::timeout(limit, next.run(request)).await {
        Some(response) => response,
        None => ApiError::too_late().into_response(),
    };
    let (status, time) = (response.status().as_u16(), watch.elapsed());
    let method = if route == "unknown" { "any".to_owned() } else { method };
    app.metrics().count(&method, &route, status, time);
    let millis = time.as_secs_f64() * 1_000.0;
    tracing::debug!(id = ?id, trace, %method, route, status, millis, "answered a request");
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("chroma-trace-id"), id.clone());
    headers.insert(HeaderName::from_static("x-request-id"), id);
    held.until_sent(response)
}

/// The id of a collection.
fn id(text: &str) -> Answer<Uuid> {
    Uuid::parse_str(text).map_err(|_| ApiError::invalid("Could not parse the collection's id as a UUID"))
}
