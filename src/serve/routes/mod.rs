//! The calls of the API.

mod collections;
mod databases;
mod own;
mod page;
mod read;
mod system;
mod trace;
mod write;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tracing::Instrument as _;
use tracing::field::Empty;
use uuid::Uuid;

use super::answer::{Neighbours, Records};
use super::app::App;
use super::auth::guard;
use super::batch::Batch;
use super::described::{Described, Method, call};
use super::error::{Answer, ApiError};
use super::hosts::known;
use super::incidents::{DatabasePath, Refused};
use super::room::Held;
use crate::env::{self, Env as _, Stopwatch, System};

/// All calls, and the OpenAPI document of them.
pub(super) fn router(app: App) -> Router {
    use Method::{Delete, Get, Patch, Post, Put};

    let tenant = "/api/v2/tenants/{tenant}";
    let databases = &format!("{tenant}/databases");
    let database = &format!("{databases}/{{database}}");
    let collections = &format!("{database}/collections");
    // A collection's name or id. The calls decide which.
    let collection = &format!("{collections}/{{collection}}");
    let at = |rest: &str| format!("{collection}/{rest}");
    let list = |summary| call(summary).query::<databases::Page>().answer::<Vec<Value>>();
    let routes = Described::new()
        .open(Get, "/healthz", system::healthz, call("Whether the process runs").media("text/plain"))
        .open(Get, "/readyz", system::readyz, call("Whether the store answers").media("text/plain"))
        .open(Get, "/api/v2", system::heartbeat, call("The server's clock"))
        .open(Get, "/api/v2/heartbeat", system::heartbeat, call("The server's clock"))
        .open(Get, "/api/v2/healthcheck", system::healthcheck, call("Whether the process runs, for Chroma's clients"))
        .open(Get, "/", page::index, call("The page for people").media("text/html"))
        .open(Get, "/page/{file}", page::file, call("A file of the page").media("*/*"))
        .guarded(Get, "/metrics", system::metrics, call("Counts for Prometheus").media("application/openmetrics-text"))
        .guarded(Get, "/api/v2/version", system::version, call("The version of the API").answer::<String>())
        .guarded(Get, "/api/v2/pre-flight-checks", system::pre_flight_checks, call("The limits of a batch"))
        .guarded(Get, "/api/v2/auth/identity", system::identity, call("The tenant and databases of the token"))
        .guarded(Post, "/api/v2/reset", system::reset, call("Deletes everything, where allowed").answer::<bool>())
        .guarded(Post, "/api/v2/tenants", databases::create_tenant, call("Creates a tenant").body::<databases::Named>())
        .guarded(Get, tenant, databases::tenant, call("A tenant"))
        .guarded(
            Patch,
            tenant,
            databases::update_tenant,
            call("Sets the resource name of a tenant").body::<databases::TenantUpdate>(),
        )
        .guarded(Get, databases, databases::list, list("The databases of a tenant"))
        .guarded(Post, databases, databases::create, call("Creates a database").body::<databases::Named>())
        .guarded(Get, database, databases::get, call("A database"))
        .guarded(Delete, database, databases::delete, call("Deletes a database with its collections"))
        .guarded(
            Get,
            &format!("{database}/collections_count"),
            collections::count,
            call("The number of collections").answer::<usize>(),
        )
        .guarded(Get, collections, collections::list, list("The collections of a database"))
        .guarded(Post, collections, collections::create, call("Creates a collection").body::<collections::Create>())
        .guarded(
            Get,
            &format!("{collections}/by-id/{{collection}}"),
            collections::by_id,
            call("The collection of an id"),
        )
        .guarded(Get, collection, collections::get, call("The collection of a name"))
        .guarded(
            Put,
            collection,
            collections::update,
            call("Changes name, metadata or configuration").body::<collections::Changes>(),
        )
        .guarded(Delete, collection, collections::delete, call("Deletes the collection of a name"))
        .guarded(Post, &at("add"), write::add, call("Inserts records").body::<Batch>().status(201))
        .guarded(Post, &at("upsert"), write::upsert, call("Inserts or changes records").body::<Batch>())
        .guarded(Post, &at("update"), write::update, call("Changes records").body::<Batch>())
        .guarded(Post, &at("delete"), write::delete, call("Deletes records").body::<write::Delete>())
        .guarded(Post, &at("get"), read::get, call("The records that match").body::<read::Get>().answer::<Records>())
        .guarded(
            Post,
            &at("query"),
            read::query,
            call("The nearest neighbours of vectors").body::<read::Nearest>().answer::<Neighbours>(),
        )
        .guarded(Get, &at("count"), read::count, call("The number of records").answer::<u64>())
        .guarded(Get, &at("indexing_status"), read::indexing_status, call("The progress of indexing"));
    let (open, guarded) = own::add(routes).finish();
    open.merge(guarded.route_layer(middleware::from_fn_with_state(app.clone(), guard)))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), known))
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

/// Gives each request an id and a time limit, counts and logs it, and remembers errors.
async fn observed(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let held = Held::default();
    request.extensions_mut().insert(held.clone());
    let id = request.headers().get("x-request-id").filter(|id| id.len() <= REQUEST_ID).cloned();
    let fresh = || HeaderValue::from_str(&System.nonce().to_string()).unwrap_or(HeaderValue::from_static("-"));
    let id = id.unwrap_or_else(fresh);
    let id_text = id.to_str().unwrap_or("-").to_owned();
    let trace = request.headers().get("traceparent").and_then(|value| trace::parse(value.to_str().ok()?));
    let method = request.method().as_str().chars().take(16).collect::<String>();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let method = if route == "unknown" { "any".to_owned() } else { method };
    // Of the highest level, so that every line of the log has the id, whatever is filtered.
    let span = tracing::error_span!("http", id = id_text, %method, route, trace_id = Empty, parent_id = Empty);
    if let Some(trace) = &trace {
        span.record("trace_id", trace.trace_id);
        span.record("parent_id", trace.parent_id);
    }
    let limit = app.options().read_timeout.saturating_add(app.options().request_timeout);
    let mut response = match env::timeout(limit, next.run(request)).instrument(span.clone()).await {
        Some(response) => response,
        None => ApiError::too_late().into_response(),
    };
    let (status, time) = (response.status().as_u16(), watch.elapsed());
    app.metrics().count(&method, &route, status, time);
    if let Some(refused) = response.extensions_mut().remove::<Refused>() {
        let place = response.extensions_mut().remove::<DatabasePath>().unwrap_or_default();
        app.incidents().call(format!("{method} {route}"), status, &id_text, refused, place);
    }
    let millis = time.as_secs_f64() * 1_000.0;
    span.in_scope(|| tracing::debug!(status, millis, "answered a request"));
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("chroma-trace-id"), id.clone());
    headers.insert(HeaderName::from_static("x-request-id"), id);
    held.until_sent(response)
}

/// The id of a collection.
fn id(text: &str) -> Answer<Uuid> {
    Uuid::parse_str(text).map_err(|_| ApiError::invalid("Could not parse the collection's id as a UUID"))
}
