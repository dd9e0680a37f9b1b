//! Calls of Deltafold's own, below `/api/deltafold`: state, versions, upkeep, and the log.

mod follow;
mod records;
mod requests;
mod server;
mod state;
mod upkeep;

use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use uuid::Uuid;

use crate::serve::answer::{Neighbours, Records};
use crate::serve::app::App;
use crate::serve::batch::Batch;
use crate::serve::described::{Described, Method, call};
use crate::serve::error::{Answer, ApiError};
use crate::serve::incidents::Incident;
use crate::serve::opened::Opened;
use crate::serve::pool::Found;

/// Tenant, database, and the collection's name or id.
type At = Path<(String, String, String)>;

/// Adds the calls.
pub(super) fn add(routes: Described) -> Described {
    of_upkeep(of_records(of_state(of_server(routes))))
}

/// The path of a call about one collection.
fn at(rest: &str) -> String {
    format!("/api/deltafold/tenants/{{tenant}}/databases/{{database}}/collections/{{collection}}/{rest}")
}

/// The calls about the server itself.
fn of_server(routes: Described) -> Described {
    routes
        .guarded(
            Method::Get,
            "/api/deltafold/server",
            server::server,
            call("The load of this server, its requests to the store, and the limits of the token")
                .answer::<server::Server>(),
        )
        .guarded(
            Method::Get,
            "/api/deltafold/errors",
            server::errors,
            call("Calls that this server refused or failed, newest first").answer::<Vec<Incident>>(),
        )
}

/// The calls that tell the state of a collection.
fn of_state(routes: Described) -> Described {
    routes
        .guarded(
            Method::Get,
            &at("status"),
            state::status,
            call("The state of a collection: records, shards, log, pins, requests").answer::<state::Status>(),
        )
        .guarded(
            Method::Get,
            &at("versions"),
            state::versions,
            call("The readable versions, the edits that made them, and the lag over time")
                .query::<state::Limit>()
                .answer::<state::Versions>(),
        )
}

/// The calls that read and write records.
fn of_records(routes: Described) -> Described {
    routes
        .guarded(
            Method::Get,
            &at("count"),
            records::count,
            call("The number of records at a version or pin").query::<records::Moment>().answer::<u64>(),
        )
        .guarded(
            Method::Post,
            &at("get"),
            records::get,
            call("The records that match, at a version or pin")
                .query::<records::Moment>()
                .body::<super::read::Get>()
                .answer::<Records>(),
        )
        .guarded(
            Method::Post,
            &at("query"),
            records::query,
            call("The nearest neighbours of vectors, at a version or pin")
                .query::<records::Moment>()
                .body::<super::read::Nearest>()
                .answer::<Neighbours>(),
        )
        .guarded(
            Method::Post,
            &at("put"),
            records::put,
            call("Inserts records, in place of those that are there").body::<Batch>(),
        )
        .guarded(
            Method::Get,
            &at("follow"),
            follow::follow,
            call("The ops of a shard's log as they arrive, as server-sent events")
                .query::<follow::From>()
                .media("text/event-stream"),
        )
}

/// The calls that compact, pin and sweep.
fn of_upkeep(routes: Described) -> Described {
    routes
        .guarded(
            Method::Post,
            &at("compact"),
            upkeep::compact,
            call("Folds the whole log now, and merges what is due")
                .body::<upkeep::Compact>()
                .answer::<upkeep::Compacted>(),
        )
        .guarded(
            Method::Post,
            &at("pins"),
            upkeep::pin,
            call("Keeps the current version of every shard under a name")
                .body::<upkeep::Pin>()
                .answer::<upkeep::Pinned>()
                .status(201),
        )
        .guarded(Method::Delete, &at("pins/{pin}"), upkeep::unpin, call("Removes a pin"))
        .guarded(
            Method::Get,
            &at("sweep"),
            upkeep::preview,
            call("What a sweep would delete now").query::<upkeep::Retention>().answer::<upkeep::Swept>(),
        )
        .guarded(
            Method::Post,
            &at("sweep"),
            upkeep::sweep,
            call("Deletes the objects that no reader and no writer can need any more")
                .body::<upkeep::Retention>()
                .answer::<upkeep::Swept>(),
        )
}

/// The collection that a path names.
async fn found(app: &App, Path((tenant, database, collection)): &At) -> Answer<Found> {
    if let Ok(id) = Uuid::parse_str(collection) {
        match app.pool().find(tenant, database, id).await {
            Err(error) if error.status == StatusCode::NOT_FOUND => {}
            found => return found,
        }
    }
    let entry = app.catalogue().collection(tenant, database, collection).await?;
    app.pool().find(tenant, database, entry.id).await
}

/// The collection that a path names, which must have been written to.
async fn opened(app: &App, at: &At) -> Answer<Arc<Opened>> {
    match found(app, at).await? {
        Found::Open(opened) => Ok(opened),
        Found::Empty(entry) => Err(ApiError::invalid(format!(
            "nothing was written to collection `{}` yet, so there is no log and no version; add a record first",
            entry.name
        ))),
    }
}
