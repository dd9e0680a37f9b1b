//! Records at a version or pin, and records put in place of others. The bodies are those of
//! Chroma's calls.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use deltafold_format::Version;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{At, found};
use crate::reader;
use crate::serve::app::App;
use crate::serve::batch::{Batch, Call};
use crate::serve::body::Body;
use crate::serve::columns::Columns;
use crate::serve::error::{Answer, ApiError};
use crate::serve::routes::read::{self, Get, Nearest};
use crate::serve::routes::write;

/// The state to read: the latest, a version, or the versions of a pin.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Moment {
    /// One version for each shard, in their order, separated by commas.
    version: Option<String>,
    /// The name of a pin.
    pin: Option<String>,
}

type Given = Result<Query<Moment>, QueryRejection>;

fn moment(given: Given) -> Answer<reader::At> {
    let Query(Moment { version, pin }) =
        given.map_err(|_| ApiError::invalid("give `version` or `pin` once in the query string"))?;
    match (version, pin) {
        (None, None) => Ok(reader::At::Latest),
        (None, Some(pin)) => Ok(reader::At::Pin(pin)),
        (Some(versions), None) => {
            let version = |text: &str| text.trim().parse().ok().map(Version::new);
            let versions: Option<Vec<Version>> = versions.split(',').map(version).collect();
            versions
                .map(reader::At::Versions)
                .ok_or_else(|| ApiError::invalid("`version` must hold one number for each shard, separated by commas"))
        }
        (Some(_), Some(_)) => Err(ApiError::invalid("both `version` and `pin` are given; leave one of them out")),
    }
}

pub(super) async fn count(State(app): State<App>, at: At, given: Given) -> Answer<Json<u64>> {
    let moment = moment(given)?;
    read::count_at(&app, found(&app, &at).await?, &moment).await
}

pub(super) async fn get(State(app): State<App>, at: At, given: Given, Body(get): Body<Get>) -> Answer<Columns> {
    let moment = moment(given)?;
    read::get_at(&app, found(&app, &at).await?, get, &moment).await
}

pub(super) async fn query(
    State(app): State<App>,
    at: At,
    given: Given,
    Body(nearest): Body<Nearest>,
) -> Answer<Columns> {
    let moment = moment(given)?;
    read::query_at(&app, found(&app, &at).await?, nearest, &moment).await
}

pub(super) async fn put(State(app): State<App>, at: At, Body(batch): Body<Batch>) -> Answer<Json<Value>> {
    let ops = batch.ops(Call::Put)?;
    write::write_to(&app, &at, found(&app, &at).await?, ops, Call::Put).await?;
    Ok(Json(json!({})))
}
