//! Errors as Chroma's clients expect them: a status, a name and a sentence.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use deltafold_format::InputErrorKind;
use serde_json::json;

use super::incidents::Refused;
use crate::catalogue::CatalogueError;
use crate::error::{Error, ErrorKind, Repr};
use crate::store::StoreErrorKind;

/// A refused request.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(super) status: StatusCode,
    /// The name by which clients choose the class of the exception.
    name: &'static str,
    message: String,
}

pub(super) type Answer<T> = Result<T, ApiError>;

/// Seconds after which a client should try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl ApiError {
    pub(crate) fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self { status, name, message: message.into() }
    }

    /// A request whose meaning is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidArgumentError", message)
    }

    /// A body of another form than the call takes.
    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidArgumentError", message)
    }

    /// A body, or a batch in it, that exceeds a limit.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BatchSizeExceededError", message)
    }

    pub(super) fn no_collection(id: impl std::fmt::Display) -> Self {
        CatalogueError::NoCollection(id.to_string()).into()
    }

    /// A call that a limit of the server's load refuses.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitError", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AuthorizationError", message)
    }

    /// A call that may have taken effect, or has in part.
    pub(super) fn in_doubt(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "ChromaError", message)
    }

    /// Whether its status tells the client that nothing was applied, and to try again.
    pub(super) fn promises_nothing_applied(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }

    /// A request that was cut by its time limit.
    pub(super) fn too_late() -> Self {
        let why = "the request took too long; a write of it may have taken effect, so read before you try again";
        Self::in_doubt(why)
    }

    /// The name by which clients choose the class of the exception.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The reason and the remedy.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// A call for which the server has no space on its disk.
    fn full(error: &impl std::fmt::Display) -> Self {
        tracing::error!(%error, "there is no space left");
        let message = "the disk of the server or of its store is full, which the server's log names; free space \
                       there, or sweep old versions, then try again";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "InternalError", message)
    }

    /// A failure whose reason is for the server's log, as it may name internals.
    fn internal(error: &impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        let message = "the server could not read or write its store; the reason is in the server's log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }
}

/// Whether a batch has more ops or bytes than a segment takes. No single record is at fault then.
fn is_too_large(error: &Error) -> bool {
    let Repr::Input(error) = error.repr() else { return false };
    let too_much = matches!(error.kind(), InputErrorKind::TooMany { .. } | InputErrorKind::TooLong { .. });
    error.id().is_none() && too_much
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        if let Repr::NoRecord(_) = error.repr() {
            // Clients look for these words.
            return Self::invalid(format!("Error finding id: {error}"));
        }
        if is_too_large(&error) {
            return Self::too_large(format!("{error}; send smaller batches"));
        }
        if let Repr::Store(full) = error.repr()
            && full.kind() == StoreErrorKind::Full
        {
            return Self::full(&error);
        }
        let (status, name) = match error.kind() {
            ErrorKind::InvalidInput => (StatusCode::BAD_REQUEST, "InvalidArgumentError"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "NotFoundError"),
            ErrorKind::AlreadyExists => (StatusCode::CONFLICT, "ChromaError"),
            ErrorKind::Busy => (StatusCode::TOO_MANY_REQUESTS, "RateLimitError"),
            ErrorKind::Conflict | ErrorKind::Superseded => (StatusCode::SERVICE_UNAVAILABLE, "ChromaError"),
            ErrorKind::Corrupt | ErrorKind::NewerFormat | ErrorKind::Unknown | ErrorKind::Closed => {
                tracing::error!(%error, "a request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
            }
            ErrorKind::OutOfMemory => (StatusCode::INSUFFICIENT_STORAGE, "ChromaError"),
            ErrorKind::Unavailable => {
                let mut answer = Self::internal(&error);
                answer.status = StatusCode::SERVICE_UNAVAILABLE;
                return answer;
            }
            _ => return Self::internal(&error),
        };
        Self::new(status, name, error.to_string())
    }
}

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> Self {
        let (status, name) = match error {
            CatalogueError::Engine(error) => return error.into(),
            CatalogueError::NoTenant(_) | CatalogueError::NoDatabase(_) | CatalogueError::NoCollection(_) => {
                (StatusCode::NOT_FOUND, "NotFoundError")
            }
            CatalogueError::TenantExists(_)
            | CatalogueError::DatabaseExists(_)
            | CatalogueError::CollectionExists(_) => (StatusCode::CONFLICT, "ChromaError"),
            CatalogueError::Invalid(_) => (StatusCode::BAD_REQUEST, "InvalidArgumentError"),
            CatalogueError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "InvalidArgumentError"),
            CatalogueError::Contended(_) => (StatusCode::SERVICE_UNAVAILABLE, "ChromaError"),
        };
        Self::new(status, name, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry = self.promises_nothing_applied();
        let body = Json(json!({ "error": self.name, "message": &self.message }));
        let mut response = (self.status, body).into_response();
        if retry {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response.extensions_mut().insert(Refused { name: self.name, message: self.message });
        response
    }
}
