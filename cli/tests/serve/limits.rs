//! Writes that are too many or too large.

use std::sync::Arc;

use deltafold::MemoryLimit;
use deltafold::store::Memory;
use deltafold_testing::watched::{Fault, Watched};
use serde_json::json;
use tokio::sync::oneshot;

use crate::api::{Api, options};

/// A batch of documents of this many MiB each.
fn documents(ids: &[&str], mib: usize) -> serde_json::Value {
    json!({ "ids": ids, "embeddings": vec![[0]; ids.len()], "documents": vec!["x".repeat(mib << 20); ids.len()] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_applies_nothing_and_says_when_to_retry() {
    let store: Watched<Memory> = Watched::default();
    let api = Api::of(Arc::new(store.clone()), options().memory(MemoryLimit::SMALLEST)).await;
    let at = api.collection("records").await;
    let add = format!("{at}/add");
    api.ok("POST", &add, documents(&["first"], 0)).await;
    // The store holds a write back, and another one does not fit beside it.
    let (reached, waits) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    store.before("create", "/log/", move || async move {
        reached.send(()).unwrap();
        released.await.unwrap();
    });
    let large = documents(&["a", "b"], 12);
    let pressing = async {
        waits.await.unwrap();
        let refused = api.call("POST", &add, &documents(&["c", "d"], 12)).await;
        release.send(()).unwrap();
        refused
    };
    let (written, refused) = futures::future::join(api.call("POST", &add, &large), pressing).await;
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert_eq!(refused.body["error"], "RateLimitError");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(written.status, 201);
    assert_eq!(api.ids(&at, json!({ "include": [] })).await, ["first", "a", "b"]);
    api.ok("POST", &add, documents(&["c", "d"], 12)).await;
}

#[tokio::test]
async fn a_batch_beyond_a_segment_names_its_limit() {
    let api = Api::of(Arc::new(Memory::new()), options().max_body(128 << 20)).await;
    let at = api.collection("records").await;
    let refused = api.call("POST", &format!("{at}/add"), &documents(&["a", "b", "c", "d", "e"], 15)).await;
    assert_eq!(refused.status, 413, "{}", refused.body);
    assert_eq!(refused.body["error"], "BatchSizeExceededError");
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("67108864") && message.contains("smaller batches"), "{message}");
    assert_eq!(api.ids(&at, json!({})).await, [""; 0]);
}

/// Story: a full disk was an internal error, and clients were told to look into the server's log.
#[tokio::test]
async fn a_full_disk_is_507_and_leaves_the_server_usable() {
    let store: Watched<Memory> = Watched::default();
    let api = Api::of(Arc::new(store.clone()), options()).await;
    let at = api.collection("records").await;
    let add = format!("{at}/add");
    api.ok("POST", &add, documents(&["first"], 0)).await;
    store.fail("create", "/log/", Fault::Full);
    let refused = api.call("POST", &add, &documents(&["second"], 0)).await;
    assert_eq!(refused.status, 507, "{}", refused.body);
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("is full") && message.contains("free space"), "{message}");
    assert_eq!(api.ids(&at, json!({})).await, ["first"]);
    api.ok("POST", &add, documents(&["third"], 0)).await;
    assert_eq!(api.ids(&at, json!({})).await, ["first", "third"]);
}

/// The program hands `--memory` to its server.
#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_memory_setting_bounds_writes_that_wait() {
    use std::time::Duration;

    use crate::api::{COLLECTIONS, send};
    use crate::program::{Program, in_bucket};

    let bucket = deltafold_testing::s3::Server::start();
    let mut command = in_bucket(&bucket);
    command.args(["--memory", "64MiB"]);
    let server = Program::start(command, &[]);
    let made = send(server.address, "POST", COLLECTIONS, &json!({ "name": "records" })).await.unwrap();
    let add = format!("{COLLECTIONS}/{}/add", made.body["id"].as_str().unwrap());
    let call = async |body| send(server.address, "POST", &add, &body).await.unwrap();
    assert_eq!(call(documents(&["first"], 0)).await.status, 201);
    // The store holds a large write back, and a small one does not fit beside it. Where it does,
    // the store goes on by itself, and the test fails.
    let (reached, waits) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    bucket.before("create", "/log/", 0, move |_| {
        reached.send(()).unwrap();
        let _ = released.recv_timeout(Duration::from_secs(8));
    });
    let pressing = async {
        waits.await.unwrap();
        let refused = call(documents(&["d"], 3)).await;
        drop(release);
        refused
    };
    let (written, refused) = futures::future::join(call(documents(&["a", "b", "c"], 10)), pressing).await;
    assert_eq!(refused.status, 429, "{}", refused.body);
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("the limit is 33554432"), "{message}");
    assert_eq!(written.status, 201);
}
