//! The log as server-sent events.

use std::sync::Arc;

use bytes::Bytes;
use deltafold::store::Memory;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::api::{Api, options};
use crate::own::own;

/// A stream of events.
struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    /// Follows with a query string, behind an event.
    async fn of(api: &Api, collection: &str, query: &str, last: Option<&str>) -> Self {
        let connection = TcpStream::connect(api.address()).await.unwrap();
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.unwrap();
        drop(tokio::spawn(driver));
        let request =
            http::Request::builder().uri(format!("{}/follow{query}", own(collection))).header("host", "localhost");
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event: its id, and its data. `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                let (id, data) = (field("id: ").to_owned(), serde_json::from_str(field("data: ")));
                self.text = rest.to_owned();
                match data {
                    Ok(data) => return Some((id, data)),
                    // A comment.
                    Err(_) => continue,
                }
            }
            let frame = self.body.frame().await?.ok()?;
            self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn a_follower_resumes_behind_the_last_event() {
    let api = Api::of(Arc::new(Memory::new()), options()).await;
    let at = api.collection("followed").await;
    let add = |id: &str| json!({ "ids": [id], "embeddings": [[1]], "documents": ["line\nbreak"] });
    api.ok("POST", &format!("{at}/add"), add("a")).await;
    api.ok("POST", &format!("{at}/add"), add("b")).await;
    let mut events = Events::of(&api, &at, "", None).await;
    let (first, op) = events.next().await.unwrap();
    assert_eq!((&op["id"], &op["shard"], &op["position"]), (&json!("a"), &json!(0), &json!(first)));
    let mut resumed = Events::of(&api, &at, "", Some(&first)).await;
    assert_eq!(resumed.next().await.unwrap().1["id"], "b");
    let mut new = Events::of(&api, &at, "?new=true", None).await;
    api.ok("POST", &format!("{at}/add"), add("c")).await;
    assert_eq!(new.next().await.unwrap().1["id"], "c");
    assert_eq!(resumed.next().await.unwrap().1["id"], "c");
    for wrong in ["?shard=1", "?shard=x", "?after=x"] {
        let refused = api.call("GET", &format!("{}/follow{wrong}", own(&at)), &Value::Null).await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
}

/// A follower has a request that never ends, and a stop waits for requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_followers() {
    let api = Api::of(Arc::new(Memory::new()), options().grace(std::time::Duration::from_secs(3_600))).await;
    let at = api.collection("followed").await;
    api.ok("POST", &format!("{at}/add"), json!({ "ids": ["a"], "embeddings": [[1]] })).await;
    let mut events = Events::of(&api, &at, "", None).await;
    assert_eq!(events.next().await.unwrap().1["id"], "a");
    let (ended, ()) = tokio::join!(events.next(), api.stop());
    assert!(ended.is_none());
}
