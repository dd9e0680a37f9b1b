//! Calls about the server: its load, and errors of the recent past.

use axum::extract::State;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::requests::Made;
use crate::catalogue::{DEFAULT_DATABASE, DEFAULT_TENANT};
use crate::serve::app::App;
use crate::serve::incidents::Incident;
use crate::serve::tokens::Scope;

/// A server, as the holder of a token sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Server {
    /// The version of the program.
    version: &'static str,
    /// Seconds since its start.
    uptime_seconds: f64,
    /// Whether it folds, merges and sweeps the collections that it has open.
    compacts: bool,
    /// The tenant to begin with.
    tenant: String,
    /// The database to begin with.
    database: String,
    /// Whether the token may only read.
    read_only: bool,
    /// Open connections.
    connections: usize,
    /// Reads that run now.
    queries_running: usize,
    /// Reads that wait for their turn.
    queries_waiting: usize,
    /// Collections that it has open.
    open_collections: usize,
    /// Requests answered since the start.
    answered: u64,
    /// Of those, requests refused: status 400 to 499.
    refused: u64,
    /// Of those, requests failed: status 500 and above.
    failed: u64,
    /// Mean time of an answer, in seconds.
    mean_seconds: f64,
    /// Requests to the store, of all collections.
    requests: Made,
}

/// The load of this server, and the limits of the token.
pub(super) async fn server(State(app): State<App>, Extension(scope): Extension<Scope>) -> Json<Server> {
    let (gauges, answers) = (app.gauges(), app.metrics().answers());
    Json(Server {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.uptime().as_secs_f64(),
        compacts: app.options().compact,
        tenant: scope.tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        database: scope.database.unwrap_or_else(|| DEFAULT_DATABASE.to_owned()),
        read_only: scope.read_only,
        connections: gauges.connections,
        queries_running: gauges.queries_running,
        queries_waiting: gauges.queries_waiting,
        open_collections: gauges.open_collections,
        answered: answers.all,
        refused: answers.refused,
        failed: answers.failed,
        mean_seconds: answers.mean.as_secs_f64(),
        requests: Made::of(&app.catalogue().store().requests()),
    })
}

/// Errors that the token may see, newest first.
pub(super) async fn errors(State(app): State<App>, Extension(scope): Extension<Scope>) -> Json<Vec<Incident>> {
    Json(app.incidents().seen_by(&scope))
}
