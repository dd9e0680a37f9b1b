//! A server under test, and a client of it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use deltafold::serve::{ServeOptions, Server};
use deltafold::store::{Memory, Store};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The collections of the default database.
pub(crate) const COLLECTIONS: &str = "/api/v2/tenants/default_tenant/databases/default_database/collections";

/// A running server.
pub(crate) struct Api {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

/// An answer: status, headers, and the body as text and as JSON; null where it is none.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

/// Options on a free port, with resets.
pub(crate) fn options() -> ServeOptions {
    ServeOptions::default().address(SocketAddr::from(([127, 0, 0, 1], 0))).allow_reset(true)
}

/// An error if the server is gone, or goes before its answer is whole.
type Sent = Result<Answer, Box<dyn std::error::Error + Send + Sync>>;

/// One request to any server, on a connection of its own.
pub(crate) async fn send(server: SocketAddr, method: &str, path: &str, body: &Value) -> Sent {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = http::Request::builder().method(method).uri(path).header("host", "localhost");
    requested(server, request.body(Full::new(body))?).await
}

pub(crate) async fn requested(server: SocketAddr, request: http::Request<Full<Bytes>>) -> Sent {
    let connection = TcpStream::connect(server).await?;
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    let driving = tokio::spawn(driver);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    driving.abort();
    let text = String::from_utf8_lossy(&body).into_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, text, body })
}

impl Api {
    /// A server of an empty store in memory.
    pub(crate) async fn new() -> Self {
        Self::of(Arc::new(Memory::new()), options()).await
    }

    pub(crate) async fn of(store: Arc<dyn Store>, options: ServeOptions) -> Self {
        let server = Server::bind(store, options).await.unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Self { address, stop, running }
    }

    /// Stops the server and waits for its end.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.running.await.unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// One request on a connection of its own.
    pub(crate) async fn request(&self, request: http::Request<Full<Bytes>>) -> Answer {
        requested(self.address, request).await.unwrap()
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        send(self.address, method, path, body).await.unwrap()
    }

    /// A call that must succeed.
    pub(crate) async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.call(method, path, &body).await;
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        answer.body
    }

    /// Makes a collection and returns its path.
    pub(crate) async fn collection(&self, name: &str) -> String {
        let made = self.ok("POST", COLLECTIONS, json!({ "name": name, "get_or_create": true })).await;
        format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap())
    }

    /// The ids that `get` finds with this body.
    pub(crate) async fn ids(&self, collection: &str, body: Value) -> Vec<String> {
        let found = self.ok("POST", &format!("{collection}/get"), body).await;
        serde_json::from_value(found["ids"].clone()).unwrap()
    }
}
