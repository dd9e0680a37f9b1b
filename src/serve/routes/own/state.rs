//! The state of a collection, and its versions.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use deltafold_format::EditKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::requests::Made;
use super::{At, found, opened};
use crate::catalogue::{Entry, space};
use crate::collection::{CollectionStatus, Finding, History, HistoryEntry, ShardStatus};
use crate::serve::app::App;
use crate::serve::error::{Answer, ApiError};
use crate::serve::pool::Found;
use crate::serve::samples::Sample;
use crate::store::Requests;

/// The state of a collection. Times are milliseconds since 1970.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Status {
    id: String,
    name: String,
    tenant: String,
    database: String,
    /// The name for the command line.
    collection: String,
    /// Length of the embeddings; absent before the first write.
    dimension: Option<u32>,
    /// `l2`, `cosine` or `ip`.
    metric: &'static str,
    /// `log` or `revision`.
    ordering: &'static str,
    created: Option<i64>,
    records: u64,
    /// Segments that are not folded yet, all shards together.
    lag_segments: u64,
    /// Their bytes.
    lag_bytes: u64,
    /// Bytes of the snapshot's columns and embeddings, all shards together.
    snapshot_bytes: u64,
    /// Bytes written by appends, folds and merges for each byte appended, over the readable
    /// versions; absent where none of them is a fold.
    write_amplification: Option<f64>,
    /// Requests to the store for this collection since this server opened it.
    requests: Made,
    shards: Vec<Shard>,
}

/// The state of a shard.
#[derive(Debug, Serialize, JsonSchema)]
struct Shard {
    shard: u16,
    version: u64,
    published: i64,
    /// The last segment that the snapshot contains.
    folded: u64,
    /// The last segment of the log.
    tail: u64,
    /// The first segment that is kept.
    truncated: u64,
    /// The oldest version that is readable without a pin.
    sweep_floor: u64,
    unfolded_segments: u64,
    unfolded_bytes: u64,
    /// Ops ever folded.
    ops: u64,
    runs: Vec<Run>,
    embedding_objects: u64,
    embedding_bytes: u64,
    embedding_rows: u64,
    live_embedding_rows: u64,
    /// Objects that only older versions need.
    dropped_objects: u64,
    pins: Vec<Pin>,
    damage: Vec<Damage>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Run {
    level: u8,
    first: u64,
    last: u64,
    rows: u64,
    parts: u64,
    bytes: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Pin {
    name: String,
    version: u64,
    created: i64,
    expires: Option<i64>,
}

/// A missing or damaged object.
#[derive(Debug, Serialize, JsonSchema)]
struct Damage {
    shard: u16,
    object: String,
    problem: String,
}

/// The number of versions to show.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Limit {
    /// Most versions of each shard, the newest ones: 50 by default.
    limit: Option<usize>,
}

/// The readable versions.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Versions {
    /// Shard by shard, oldest first.
    versions: Vec<Version>,
    /// Bytes written by appends, folds and merges for each byte appended, over all readable
    /// versions.
    write_amplification: Option<f64>,
    /// Lag and version over time, as this server saw them, oldest first.
    samples: Vec<Sample>,
    damage: Vec<Damage>,
}

/// A version, and the edit that made it.
#[derive(Debug, Serialize, JsonSchema)]
struct Version {
    shard: u16,
    version: u64,
    published: i64,
    edit: &'static str,
    rows_in: u64,
    rows_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    folded: u64,
    ops: u64,
    runs: u64,
    rows: u64,
}

pub(super) async fn status(State(app): State<App>, at: At) -> Answer<Json<Status>> {
    let opened = match found(&app, &at).await? {
        Found::Open(opened) => opened,
        Found::Empty(entry) => return Ok(Json(Status::of_empty(&at, &entry))),
    };
    let Path((tenant, database, _)) = &at;
    let entry = app.catalogue().collection_by_id(tenant, database, opened.id).await?;
    let failed = |error| app.pool().failed(&opened, error);
    let turn = app.turn().await?;
    let records = opened.read(|reader| async move { reader.count().await }).await.map_err(failed)?;
    drop(turn);
    let status = opened.collection().status().await.map_err(failed)?;
    let history = opened.collection().history().await.map_err(failed)?;
    let requests = opened.collection().store().requests();
    Ok(Json(Status::new(&at, &entry, records, &status, &history, &requests)))
}

impl Status {
    fn of_empty(Path((tenant, database, _)): &At, entry: &Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            name: entry.name.clone(),
            tenant: tenant.clone(),
            database: database.clone(),
            collection: entry.place.clone(),
            dimension: None,
            metric: space(entry.configuration.metric()),
            ordering: "log",
            created: None,
            records: 0,
            lag_segments: 0,
            lag_bytes: 0,
            snapshot_bytes: 0,
            write_amplification: None,
            requests: Made::of(&Requests::default()),
            shards: Vec::new(),
        }
    }

    fn new(
        at: &At,
        entry: &Entry,
        records: u64,
        status: &CollectionStatus,
        history: &History,
        requests: &Requests,
    ) -> Self {
        let shards: Vec<Shard> = status.shards.iter().map(shard).collect();
        let columns = |shard: &Shard| shard.runs.iter().map(|run| run.bytes).sum::<u64>();
        Self {
            dimension: Some(status.config.dimension),
            metric: space(status.config.metric),
            ordering: if status.config.ordering.is_revision() { "revision" } else { "log" },
            created: Some(status.config.created.as_millis()),
            records,
            lag_segments: shards.iter().map(|shard| shard.unfolded_segments).sum(),
            lag_bytes: shards.iter().map(|shard| shard.unfolded_bytes).sum(),
            snapshot_bytes: shards.iter().map(|shard| columns(shard) + shard.embedding_bytes).sum(),
            write_amplification: amplification(&history.versions),
            requests: Made::of(requests),
            shards,
            ..Self::of_empty(at, entry)
        }
    }
}

pub(super) async fn versions(
    State(app): State<App>,
    at: At,
    limit: Result<Query<Limit>, QueryRejection>,
) -> Answer<Json<Versions>> {
    let Query(limit) = limit.map_err(|_| ApiError::invalid("`limit` must be a number from 0"))?;
    if let Found::Empty(_) = found(&app, &at).await? {
        let (versions, samples, damage) = (Vec::new(), Vec::new(), Vec::new());
        return Ok(Json(Versions { versions, write_amplification: None, samples, damage }));
    }
    let opened = opened(&app, &at).await?;
    let mut history = opened.collection().history().await.map_err(|error| app.pool().failed(&opened, error))?;
    let write_amplification = amplification(&history.versions);
    history.keep_newest(limit.limit.unwrap_or(50));
    Ok(Json(Versions {
        versions: history.versions.iter().map(version).collect(),
        write_amplification,
        samples: opened.samples().all(),
        damage: history.damage.iter().map(damage).collect(),
    }))
}

/// Bytes written for each byte appended. Appends write each byte once, folds and merges again.
fn amplification(entries: &[HistoryEntry]) -> Option<f64> {
    let appended: u64 = entries.iter().filter(|entry| entry.edit.kind == EditKind::Fold).map(|e| e.edit.bytes_in).sum();
    let is_work = |entry: &&HistoryEntry| matches!(entry.edit.kind, EditKind::Fold | EditKind::Merge);
    let written: u64 = entries.iter().filter(is_work).map(|entry| entry.edit.bytes_out).sum();
    (appended > 0).then(|| 1.0 + written as f64 / appended as f64)
}

fn shard(shard: &ShardStatus) -> Shard {
    let runs = shard.runs.iter().map(|run| Run {
        level: run.level,
        first: run.first.get(),
        last: run.last.get(),
        rows: run.rows,
        parts: run.parts,
        bytes: run.bytes,
    });
    let pins = shard.pins.iter().map(|pin| Pin {
        name: pin.name.clone(),
        version: pin.version.get(),
        created: pin.created.as_millis(),
        expires: pin.expires.map(|expires| expires.as_millis()),
    });
    Shard {
        shard: shard.shard.get(),
        version: shard.version.get(),
        published: shard.published.as_millis(),
        folded: shard.folded.get(),
        tail: shard.tail.get(),
        truncated: shard.truncated.get(),
        sweep_floor: shard.sweep_floor.get(),
        unfolded_segments: shard.tail.get().saturating_sub(shard.folded.get()),
        unfolded_bytes: shard.unfolded_bytes,
        ops: shard.ops,
        runs: runs.collect(),
        embedding_objects: shard.embedding_objects,
        embedding_bytes: shard.embedding_bytes,
        embedding_rows: shard.embedding_rows,
        live_embedding_rows: shard.live_embedding_rows,
        dropped_objects: shard.dropped_objects,
        pins: pins.collect(),
        damage: shard.damage.iter().map(damage).collect(),
    }
}

fn damage(finding: &Finding) -> Damage {
    Damage { shard: finding.shard.get(), object: finding.key.clone(), problem: finding.problem.clone() }
}

fn version(entry: &HistoryEntry) -> Version {
    Version {
        shard: entry.shard.get(),
        version: entry.version.get(),
        published: entry.published.as_millis(),
        edit: entry.edit.kind.name(),
        rows_in: entry.edit.rows_in,
        rows_out: entry.edit.rows_out,
        bytes_in: entry.edit.bytes_in,
        bytes_out: entry.edit.bytes_out,
        folded: entry.folded.get(),
        ops: entry.ops,
        runs: entry.runs,
        rows: entry.rows,
    }
}
