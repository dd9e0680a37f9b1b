//! The log of a shard as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use deltafold_format::{Op, Position, Sequence, ShardId};
use futures::StreamExt as _;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{At, opened};
use crate::env;
use crate::error::Error;
use crate::log::{Follow, FollowOptions};
use crate::serve::app::{App, stopped};
use crate::serve::error::{Answer, ApiError};
use crate::serve::opened::Opened;

/// The pause after which a comment shows that the connection stands.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The place in the log to begin with: the oldest segment kept, unless a field names another.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct From {
    /// The shard: 0 by default.
    shard: Option<u16>,
    /// Begin behind this position, the `id` of an event. `Last-Event-ID` counts before it.
    after: Option<String>,
    /// Begin at the present end of the log.
    new: Option<bool>,
}

pub(super) async fn follow(
    State(app): State<App>,
    at: At,
    from: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Answer<Response> {
    let Query(mut from) = from.map_err(|_| ApiError::invalid("`shard` must be a number, and `new` true or false"))?;
    if let Some(last) = headers.get("last-event-id") {
        from.after =
            Some(last.to_str().map_err(|_| ApiError::invalid("`Last-Event-ID` is not a position"))?.to_owned());
    }
    let opened = opened(&app, &at).await?;
    let permit = app.follower()?;
    let failed = |error: Error| app.pool().failed(&opened, error);
    let shards = opened.collection().config().shards;
    let shard = ShardId::new(from.shard.unwrap_or(0)).filter(|shard| shard.get() < shards);
    let shard =
        shard.ok_or_else(|| ApiError::invalid(format!("there is no such shard; the collection has {shards}")))?;
    let options = match &from.after {
        Some(after) => {
            let after: Position = after.parse().map_err(|_| {
                ApiError::invalid("the position to begin behind is not the `id` of an event; send an `id` unchanged")
            })?;
            FollowOptions::default().after(after)
        }
        None => {
            let status = opened.collection().status().await.map_err(failed)?;
            let state = status.shards.iter().find(|state| state.shard == shard);
            let new = from.new.unwrap_or(false);
            let first = state.map_or(Sequence::FIRST, |state| if new { state.tail.next() } else { state.truncated });
            FollowOptions::default().from_segment(first)
        }
    };
    let ops = opened.collection().follow(shard, options).map_err(failed)?;
    let following = Following {
        ops,
        shard,
        stopped: app.stopping().subscribe(),
        ended: false,
        _opened: opened.clone(),
        _permit: permit,
    };
    let events = stream::unfold(following, Following::next).map(Ok::<Bytes, Infallible>);
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// A client that follows a log.
struct Following {
    ops: Follow,
    shard: ShardId,
    stopped: watch::Receiver<bool>,
    ended: bool,
    _opened: Arc<Opened>,
    _permit: OwnedSemaphorePermit,
}

impl Following {
    /// The next event. The stream ends when the server stops, and after an error.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.ended {
            return None;
        }
        let event = tokio::select! {
            biased;
            () = stopped(&mut self.stopped) => return None,
            next = self.ops.next() => match next? {
                Ok((position, op)) => event(self.shard, position, &op),
                Err(error) => {
                    self.ended = true;
                    failure(error)
                }
            },
            () = env::sleep(KEEP_ALIVE) => Bytes::from_static(b":\n\n"),
        };
        Some((event, self))
    }
}

/// An op with its position. JSON holds no line break, so it is one line of data.
fn event(shard: ShardId, position: Position, op: &Op) -> Bytes {
    let shard = shard.get();
    let mut text =
        format!("id: {position}\nevent: op\ndata: {{\"shard\":{shard},\"position\":\"{position}\",").into_bytes();
    let mut line = Vec::new();
    crate::jsonl::write_op(&mut line, op);
    text.extend_from_slice(line.get(1..).unwrap_or_default());
    text.extend_from_slice(b"\n\n");
    text.into()
}

/// The error that ends the stream.
fn failure(error: Error) -> Bytes {
    let refused = ApiError::from(error);
    let body = json!({ "error": refused.name(), "message": refused.message() });
    Bytes::from(format!("event: error\ndata: {body}\n\n"))
}
