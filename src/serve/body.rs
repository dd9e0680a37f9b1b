//! Bodies of requests: JSON, read within the server's limits.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::app::App;
use super::error::{Answer, ApiError};
use crate::env;

/// A body of this size is parsed away from the async tasks.
const LARGE: usize = 256 << 10;

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Answer<Self> {
        let limit = app.options().max_body;
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

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the body cannot be used: {error}; correct it there");
        if error.is_data() { ApiError::unprocessable(message) } else { ApiError::invalid(message) }
    })
}
