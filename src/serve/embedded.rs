//! The server without connections: a caller brings each request and carries its answer away.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use deltafold_format::CollectionName;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tower_service::Service as _;

use super::app::App;
use super::error::ApiError;
use super::options::ServeOptions;
use super::routes::router;
use crate::env;
use crate::error::Result;
use crate::store::Store;

/// A server that gets its requests from another part of the program.
pub(crate) struct Embedded {
    router: Router,
    grown: mpsc::UnboundedReceiver<(CollectionName, u64)>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Embedded {
    /// A server of `store`. It makes no request yet.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a limit of 0.
    pub(crate) fn new(store: Arc<dyn Store>, options: ServeOptions) -> Result<Self> {
        options.check()?;
        let (sender, grown) = mpsc::unbounded_channel();
        Ok(Self { router: router(App::new(store, options, Some(sender))), grown })
    }

    /// Answers a request, with status 504 if that takes longer than `within`. `None` if the answer
    /// has a body of more than `most` bytes.
    pub(crate) async fn answer(
        &mut self,
        request: Request<Bytes>,
        within: Duration,
        most: usize,
    ) -> Option<Response<Bytes>> {
        let answering = async {
            match self.router.call(request.map(Body::from)).await {
                Ok(response) => whole(response, most).await,
                Err(never) => match never {},
            }
        };
        match env::timeout(within, answering).await {
            Some(answer) => answer,
            None => Some(refused(ApiError::too_late()).await),
        }
    }

    /// The collections that requests have appended to since the last call, each with the segments
    /// in its longest log.
    pub(crate) fn grown(&mut self) -> Vec<(CollectionName, u64)> {
        std::iter::from_fn(|| self.grown.try_recv().ok()).collect()
    }
}

/// The answer to a refused request.
pub(crate) async fn refused(error: ApiError) -> Response<Bytes> {
    whole(error.into_response(), usize::MAX).await.unwrap_or_default()
}

/// An answer with its whole body, if that has at most this many bytes.
async fn whole(response: Response<Body>, most: usize) -> Option<Response<Bytes>> {
    let (parts, body) = response.into_parts();
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(read) = stream.next().await {
        match read {
            Ok(read) => bytes.extend_from_slice(&read),
            Err(error) => {
                tracing::error!(%error, "an answer broke off");
                let mut answer = Response::new(Bytes::new());
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return Some(answer);
            }
        }
        if bytes.len() > most {
            return None;
        }
    }
    Some(Response::from_parts(parts, bytes.into()))
}
