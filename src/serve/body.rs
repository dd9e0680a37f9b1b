//! Bodies of requests: JSON, read within the server's limits.

use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::app::App;
use super::error::{Answer, ApiError};
use super::room::Held;
use crate::{env, jsonl};

/// A body of this size is parsed away from the async tasks.
const LARGE: usize = 256 << 10;
/// The memory of a body and of the ops that it becomes, in lengths of the body.
const COPIES: usize = 3;

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Answer<Self> {
        let limit = app.options().max_body;
        let held = request.extensions().get::<Held>().cloned();
        let announced = request.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
        if let Some(held) = held {
            room(app, &held, announced.unwrap_or(limit).min(limit)).await?;
        }
        let reading = Bytes::from_request(request, app);
        let Some(read) = env::timeout(app.options().read_timeout, reading).await else {
            let why = "the body did not arrive in time; send it faster, or in smaller batches";
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "ChromaError", why));
        };
        let bytes = read.map_err(|refused| match refused.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::too_large(format!("the body exceeds the limit of {limit} bytes; send smaller batches"))
            }
            _ => ApiError::invalid("the body broke off; send it again"),
        })?;
        if bytes.len() < LARGE {
            return parse(&bytes).map(Self);
        }
        env::blocking(move || parse(&bytes)).await.map(Self)
    }
}

/// Waits until there is room for the body, before any byte of it is read.
async fn room(app: &App, held: &Held, bytes: usize) -> Answer<()> {
    let room = app.room().wait(held, bytes.saturating_mul(COPIES));
    if env::timeout(app.options().read_timeout, room).await.is_none() {
        let why = "the bodies of other requests fill the server's memory for them; try again soon";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ChromaError", why));
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    // Programs of Windows begin a text with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let named = jsonl::in_body(bytes, &error).map(|named| format!("{named} (line {line}, column {column})"));
        let why = named.unwrap_or_else(|| error.to_string());
        let message = format!("the body cannot be used: {why}; correct it there");
        if error.is_data() { ApiError::unprocessable(message) } else { ApiError::invalid(message) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Story: `NaN` in a batch of vectors was "expected value at line 1 column 34".
    #[test]
    fn a_body_that_is_not_json_is_told_with_its_field() {
        let said = |body: &[u8]| parse::<serde_json::Value>(body).unwrap_err().message().to_owned();
        let nan = said(br#"{"ids":["a"],"embeddings":[[0.1,NaN]]}"#);
        assert!(nan.contains("field `embeddings[0][1]`: `NaN` is not a number"), "{nan}");
        assert!(nan.contains("line 1, column 33"), "{nan}");
        assert!(said(b"{\"ids\":").contains("EOF"));
        assert!(parse::<serde_json::Value>(b"\xef\xbb\xbf{}").is_ok());
    }
}
