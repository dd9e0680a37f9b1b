//! Compaction, pins and sweeps on demand.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use deltafold_format::EditKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{At, opened};
use crate::compact::{CompactEvent, SweepOptions};
use crate::serve::app::App;
use crate::serve::body::Body;
use crate::serve::error::{Answer, ApiError};

/// The extent of a compaction.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Compact {
    /// Merge everything into the base, due or not.
    merge_all: bool,
}

/// The result of a compaction.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Compacted {
    folds: usize,
    merges: usize,
    /// Edits that another compactor made needless. Nothing is lost then.
    conflicts: usize,
    bytes_out: u64,
    events: Vec<Event>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Event {
    shard: u16,
    /// `fold` or `merge`.
    edit: &'static str,
    /// The version published; absent where another edit made this one needless.
    version: Option<u64>,
    rows_in: u64,
    rows_out: u64,
    bytes_in: u64,
    bytes_out: u64,
}

fn event(event: &CompactEvent) -> Event {
    Event {
        shard: event.shard.get(),
        edit: if event.kind == EditKind::Fold { "fold" } else { "merge" },
        version: event.version.map(deltafold_format::Version::get),
        rows_in: event.rows_in,
        rows_out: event.rows_out,
        bytes_in: event.bytes_in,
        bytes_out: event.bytes_out,
    }
}

pub(super) async fn compact(State(app): State<App>, at: At, Body(compact): Body<Compact>) -> Answer<Json<Compacted>> {
    let opened = opened(&app, &at).await?;
    let compacted = opened.compact_now(app.options().policy.clone(), compact.merge_all).await;
    let report = compacted.map_err(|error| app.pool().failed(&opened, error))?;
    Ok(Json(Compacted {
        folds: report.published(EditKind::Fold),
        merges: report.published(EditKind::Merge),
        conflicts: report.conflicts(),
        bytes_out: report.bytes_out(),
        events: report.events.iter().map(event).collect(),
    }))
}

/// A pin to be made. It does not cover the log: compact first.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    name: String,
    /// Seconds until it expires, by the store's clock; without it, it stays until it is removed.
    ttl_seconds: Option<f64>,
}

/// A pin, with the version of each shard in their order.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Pinned {
    name: String,
    versions: Vec<u64>,
}

pub(super) async fn pin(
    State(app): State<App>,
    at: At,
    Body(Pin { name, ttl_seconds }): Body<Pin>,
) -> Answer<(StatusCode, Json<Pinned>)> {
    let opened = opened(&app, &at).await?;
    let ttl = ttl_seconds.map(|seconds| duration("ttl_seconds", seconds)).transpose()?;
    let pinned = opened.collection().pin(&name, ttl).await.map_err(|error| app.pool().failed(&opened, error))?;
    let versions = pinned.iter().map(|(_, version)| version.get()).collect();
    Ok((StatusCode::CREATED, Json(Pinned { name, versions })))
}

pub(super) async fn unpin(
    State(app): State<App>,
    Path((tenant, database, collection, pin)): Path<(String, String, String, String)>,
) -> Answer<Json<Value>> {
    let opened = opened(&app, &Path((tenant, database, collection))).await?;
    // Here `NotFound` tells of the pin, not of the collection.
    opened.collection().unpin(&pin).await?;
    Ok(Json(json!({})))
}

/// The retention of a sweep. The server's own settings hold for absent fields.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Retention {
    /// Versions before the current one that stay readable.
    keep_versions: Option<u64>,
    /// Seconds for which an outdated version stays readable.
    min_age_seconds: Option<f64>,
}

/// The result of a sweep, or of a look at what it would delete.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Swept {
    /// Whether nothing was deleted.
    dry_run: bool,
    segments: u64,
    manifests: u64,
    parts: u64,
    bytes: u64,
    /// Uploads of large objects that were never finished.
    uploads: u64,
    shards: Vec<SweptShard>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SweptShard {
    shard: u16,
    /// Versions below this one are not readable afterwards, unless pinned.
    sweep_floor: u64,
    /// The first segment that is kept.
    truncated: u64,
    segments: u64,
    manifests: u64,
    parts: u64,
    bytes: u64,
    uploads: u64,
    expired_pins: Vec<String>,
}

/// A dry run. It only reads, so a read-only token may ask for it.
pub(super) async fn preview(
    State(app): State<App>,
    at: At,
    retention: Result<Query<Retention>, QueryRejection>,
) -> Answer<Json<Swept>> {
    let Query(retention) = retention
        .map_err(|_| ApiError::invalid("`keep_versions` and `min_age_seconds` must be numbers from 0, given once"))?;
    run(&app, &at, &retention, true).await
}

pub(super) async fn sweep(State(app): State<App>, at: At, Body(retention): Body<Retention>) -> Answer<Json<Swept>> {
    run(&app, &at, &retention, false).await
}

async fn run(app: &App, at: &At, retention: &Retention, dry_run: bool) -> Answer<Json<Swept>> {
    let opened = opened(app, at).await?;
    let own = &app.options().sweep;
    let age = retention.min_age_seconds.map(|seconds| duration("min_age_seconds", seconds)).transpose()?;
    let options = SweepOptions {
        keep_versions: retention.keep_versions.unwrap_or(own.keep_versions),
        min_age: age.unwrap_or(own.min_age),
        dry_run,
        ..own.clone()
    };
    let reports = opened.sweep_now(options).await.map_err(|error| app.pool().failed(&opened, error))?;
    let shards: Vec<SweptShard> = reports
        .into_iter()
        .map(|(shard, report)| SweptShard {
            shard: shard.get(),
            sweep_floor: report.sweep_floor.get(),
            truncated: report.truncated.get(),
            segments: report.segments,
            manifests: report.manifests,
            parts: report.parts,
            bytes: report.bytes,
            uploads: report.uploads,
            expired_pins: report.expired_pins,
        })
        .collect();
    let sum = |of: fn(&SweptShard) -> u64| shards.iter().map(of).sum();
    Ok(Json(Swept {
        dry_run,
        segments: sum(|shard| shard.segments),
        manifests: sum(|shard| shard.manifests),
        parts: sum(|shard| shard.parts),
        bytes: sum(|shard| shard.bytes),
        uploads: sum(|shard| shard.uploads),
        shards,
    }))
}

fn duration(name: &str, seconds: f64) -> Answer<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| ApiError::invalid(format!("`{name}` is {seconds}; give a number of seconds from 0")))
}
