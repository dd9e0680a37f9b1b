//! Deletes by filter beside other writes.

use std::sync::Arc;

use deltafold::store::{Memory, Store};
use deltafold_testing::watched::Watched;
use serde_json::{Value, json};

use crate::api::{Api, COLLECTIONS, options};

/// Adds records `0`, `1`, …, whose metadata has `k` at this number.
async fn add(api: &Api, at: &str, count: usize, k: i64) {
    let ids: Vec<String> = (0..count).map(|id| id.to_string()).collect();
    let body = json!({ "ids": ids, "embeddings": vec![[0]; count], "metadatas": vec![json!({ "k": k }); count] });
    api.ok("POST", &format!("{at}/add"), body).await;
}

/// A server whose next segment of the log waits for a call of another server.
async fn interrupted(path: &'static str, body: Value) -> (Api, String) {
    let store: Watched<Memory> = Watched::default();
    let api = Api::of(Arc::new(store.clone()), options().compact(false)).await;
    let other = Api::of(Arc::new(store.inner.clone()), options().compact(false)).await;
    let at = api.collection("records").await;
    add(&api, &at, 2, 1).await;
    let path = format!("{at}/{path}");
    store.before("create", "/log/", move || async move {
        other.ok("POST", &path, body).await;
    });
    (api, at)
}

/// Story: a client deleted by filter. Between the evaluation and the append of the deletes, another
/// client wrote a record that matches. The record stayed, though its write was earlier in the log.
#[tokio::test]
async fn a_match_written_during_a_delete_goes_too() {
    let (api, at) =
        interrupted("add", json!({ "ids": ["late"], "embeddings": [[0]], "metadatas": [{ "k": 1 }] })).await;
    let deleted = api.ok("POST", &format!("{at}/delete"), json!({ "where": { "k": 1 } })).await;
    assert_eq!(deleted, json!({ "deleted": 3 }));
    assert_eq!(api.ids(&at, json!({})).await, [""; 0]);
}

/// The same with a record that another client changed meanwhile. It was deleted, though it did not
/// match any more.
#[tokio::test]
async fn a_record_changed_during_a_delete_stays() {
    let (api, at) = interrupted("update", json!({ "ids": ["1"], "metadatas": [{ "k": 2 }] })).await;
    let deleted = api.ok("POST", &format!("{at}/delete"), json!({ "where": { "k": 1 } })).await;
    assert_eq!(deleted, json!({ "deleted": 1 }));
    assert_eq!(api.ids(&at, json!({})).await, ["1"]);
}

/// Story: two clients deleted by the same filter at once. Both counted all records.
#[tokio::test(flavor = "multi_thread")]
async fn two_deletes_at_once_count_each_record_once() {
    for shards in [1, 3] {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let servers = [Api::of(store.clone(), options()).await, Api::of(store, options()).await];
        let made = json!({ "name": "records", "metadata": { "deltafold:shards": shards } });
        let made = servers[0].ok("POST", COLLECTIONS, made).await;
        let at = format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap());
        let path = format!("{at}/delete");
        for _ in 0..8 {
            add(&servers[0], &at, 40, 1).await;
            let delete = |number: usize| servers[number % 2].ok("POST", &path, json!({ "where": { "k": 1 } }));
            let counts = futures::future::join_all((0..4).map(delete)).await;
            let sum: u64 = counts.iter().map(|count| count["deleted"].as_u64().unwrap()).sum();
            assert_eq!(sum, 40, "{counts:?} with {shards} shards");
            assert_eq!(servers[1].ids(&at, json!({})).await, [""; 0]);
        }
    }
}

/// A delete that loses to the writes of its own server again and again keeps them back in the end.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_succeed_beside_constant_writes() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    add(&api, &at, 1, 0).await;
    let upsert = format!("{at}/upsert");
    let done = std::sync::atomic::AtomicBool::new(false);
    let writing = async |writer: usize| {
        for n in 0.. {
            if done.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
            let body = json!({ "ids": [format!("w{writer}")], "embeddings": [[n]], "metadatas": [{ "k": 0 }] });
            api.ok("POST", &upsert, body).await;
        }
    };
    let deleting = async {
        for round in 1..=10 {
            let body =
                json!({ "ids": ["x", "y"], "embeddings": [[0], [0]], "metadatas": [{ "k": round }, { "k": round }] });
            api.ok("POST", &upsert, body).await;
            let limited = json!({ "where": { "k": round }, "limit": 1 });
            for _ in 0..2 {
                assert_eq!(api.ok("POST", &format!("{at}/delete"), limited.clone()).await, json!({ "deleted": 1 }));
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    futures::future::join(deleting, futures::future::join_all((0..4).map(writing))).await;
}
