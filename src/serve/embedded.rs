//! The server without connections: a caller brings each request and carries its answer away.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use futures::StreamExt as _;
use tower_service::Service as _;

use super::app::App;
use super::error::ApiError;
use super::options::ServeOptions;
use super::routes::router;
use crate::error::Result;
use crate::store::Store;

/// A server that gets its requests from another part of the program. It opens no socket, and checks
/// no tokens unless [`access`](ServeOptions::access) names some.
///
/// ```
/// # use std::sync::Arc;
/// # use deltafold::serve::{Embedded, ServeOptions};
/// # use deltafold::store::Memory;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Embedded::new(Arc::new(Memory::new()), ServeOptions::default())?;
/// let path = "/api/v2/tenants/default_tenant/databases/default_database/collections";
/// let reply = server.call("POST", path, br#"{"name": "articles"}"#.to_vec()).await;
/// assert_eq!(reply.status, 200);
/// server.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Embedded {
    app: App,
    router: Router,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status of HTTP. From 400 on, the body is `{"error": NAME, "message": SENTENCE}`.
    pub status: u16,
    /// The body: JSON, but for pages, metrics and probes.
    pub body: Bytes,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Embedded {
    /// A server of `store`. It makes no request yet. Address, TLS and limits of connections have no
    /// effect.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a limit of 0.
    pub fn new(store: Arc<dyn Store>, options: ServeOptions) -> Result<Self> {
        options.check()?;
        Ok(Self::of(App::new(store, options, None)))
    }

    fn of(app: App) -> Self {
        Self { router: router(app.clone()), app }
    }

    /// Answers a request with a body of JSON. `path` may end with a query (`?limit=10`), and its
    /// segments are percent-encoded.
    ///
    /// A call that is dropped may have taken effect, as one whose connection broke.
    pub async fn call(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Reply {
        let json = "application/json";
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, json);
        let response = match request.body(Body::from(body.into())) {
            Ok(request) => self.response(request).await,
            Err(error) => {
                let why = format!("`{method} {path}` is no request: {error}; percent-encode the segments of the path");
                ApiError::invalid(why).into_response()
            }
        };
        // Without a limit there is always an answer.
        let response = whole(response, usize::MAX).await.unwrap_or_default();
        Reply { status: response.status().as_u16(), body: response.into_body() }
    }

    /// Decides every write that was accepted, and closes what is open. Folds and merges under way
    /// end before it returns. Later calls open collections anew.
    pub async fn close(&self) {
        self.app.pool().flush().await;
        self.app.pool().close_all();
        self.app.pool().idle().await;
    }

    async fn response(&self, request: Request<Body>) -> Response<Body> {
        match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// For functions of AWS Lambda.
#[cfg(feature = "lambda")]
mod watched {
    use std::time::Duration;

    use deltafold_format::CollectionName;
    use tokio::sync::mpsc;

    use super::*;
    use crate::env;

    /// A server that tells which logs grow, because they are folded elsewhere.
    #[derive(Debug)]
    pub(crate) struct Watched {
        server: Embedded,
        grown: mpsc::UnboundedReceiver<(CollectionName, u64)>,
    }

    impl Watched {
        /// A server of `store`. It makes no request yet.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a limit of 0.
        pub(crate) fn new(store: Arc<dyn Store>, options: ServeOptions) -> Result<Self> {
            options.check()?;
            let (sender, grown) = mpsc::unbounded_channel();
            Ok(Self { server: Embedded::of(App::new(store, options, Some(sender))), grown })
        }

        /// Answers a request, with status 504 if that takes longer than `within`. `None` if the
        /// answer has a body of more than `most` bytes.
        pub(crate) async fn answer(
            &self,
            request: Request<Bytes>,
            within: Duration,
            most: usize,
        ) -> Option<Response<Bytes>> {
            let answering = async { whole(self.server.response(request.map(Body::from)).await, most).await };
            match env::timeout(within, answering).await {
                Some(answer) => answer,
                None => Some(refused(ApiError::too_late()).await),
            }
        }

        /// The collections that requests have appended to since the last call, each with the
        /// segments in its longest log.
        pub(crate) fn grown(&mut self) -> Vec<(CollectionName, u64)> {
            std::iter::from_fn(|| self.grown.try_recv().ok()).collect()
        }
    }

    /// The answer to a refused request.
    pub(crate) async fn refused(error: ApiError) -> Response<Bytes> {
        whole(error.into_response(), usize::MAX).await.unwrap_or_default()
    }
}

#[cfg(feature = "lambda")]
pub(crate) use watched::{Watched, refused};

/// An answer with its whole body, if that has at most this many bytes.
async fn whole(response: Response<Body>, most: usize) -> Option<Response<Bytes>> {
    let (parts, body) = response.into_parts();
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(read) = stream.next().await {
        match read {
            // Most answers are one piece.
            Ok(read) if bytes.is_empty() && stream.is_end_stream() => {
                let fits = read.len() <= most;
                return fits.then(|| Response::from_parts(parts, read));
            }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::Memory;

    const COLLECTIONS: &str = "/api/v2/tenants/default_tenant/databases/default_database/collections";

    async fn answered(server: &Embedded, method: &str, path: &str, body: Value) -> Value {
        let reply = server.call(method, path, body.to_string()).await;
        assert!(reply.status < 300, "{method} {path}: {} {:?}", reply.status, reply.body);
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[tokio::test]
    async fn calls_are_answered_without_a_socket() {
        let server = Embedded::new(Arc::new(Memory::new()), ServeOptions::default()).unwrap();
        let made = answered(&server, "POST", COLLECTIONS, json!({ "name": "articles" })).await;
        let at = |rest: &str| format!("{COLLECTIONS}/{}/{rest}", made["id"].as_str().unwrap());
        let batch = json!({ "ids": ["a", "b"], "embeddings": [[1.0, 0.0], "AAAAAAAAgD8="] });
        answered(&server, "POST", &at("add"), batch).await;
        // A close decides writes and forgets nothing.
        server.close().await;
        assert_eq!(answered(&server, "GET", &at("count"), json!({})).await, json!(2));
        let listed = answered(&server, "GET", &format!("{COLLECTIONS}?limit=1&offset=1"), json!({})).await;
        assert_eq!(listed, json!([]));
        server.close().await;
    }

    #[tokio::test]
    async fn put_leaves_nothing_of_the_record_before() {
        let server = Embedded::new(Arc::new(Memory::new()), ServeOptions::default()).unwrap();
        let made = answered(&server, "POST", COLLECTIONS, json!({ "name": "articles" })).await;
        let at = |rest: &str| format!("{COLLECTIONS}/{}/{rest}", made["id"].as_str().unwrap());
        let put = at("put").replace("/api/v2/", "/api/deltafold/");
        let full = json!({
            "ids": ["a"], "embeddings": [[1.0, 0.0]], "metadatas": [{ "n": 1 }], "documents": ["x"], "uris": ["u"],
        });
        answered(&server, "POST", &put, full).await;
        answered(&server, "POST", &put, json!({ "ids": ["a"], "embeddings": [[2.0, 0.0]] })).await;
        let include = json!({ "include": ["embeddings", "metadatas", "documents", "uris"] });
        let got = answered(&server, "POST", &at("get"), include).await;
        assert_eq!((&got["embeddings"], &got["metadatas"]), (&json!([[2.0, 0.0]]), &json!([null])));
        assert_eq!((&got["documents"], &got["uris"]), (&json!([null]), &json!([null])));
        let reply = server.call("POST", &put, json!({ "ids": ["a"] }).to_string()).await;
        assert_eq!(reply.status, 422, "a record needs an embedding");
    }

    #[tokio::test]
    async fn a_request_of_wrong_form_is_refused() {
        let server = Embedded::new(Arc::new(Memory::new()), ServeOptions::default()).unwrap();
        for (method, path) in [("GET", "a b"), ("G T", "/"), ("GET", ""), ("", "/api/v2"), ("GET", "/\u{7f}")] {
            let reply = server.call(method, path, Bytes::new()).await;
            let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            assert!((400..500).contains(&reply.status), "{method:?} {path:?}: {}", reply.status);
            assert!(body["message"].is_string(), "{method:?} {path:?}: {body}");
        }
    }

    #[test]
    fn a_limit_of_zero_is_refused() {
        let options = ServeOptions::default().max_queries(0);
        assert!(Embedded::new(Arc::new(Memory::new()), options).is_err());
    }
}
