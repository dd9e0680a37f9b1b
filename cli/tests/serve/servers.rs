//! Several servers of one store, folds beside them, and stops.

use std::sync::Arc;
use std::time::Duration;

use deltafold::Policy;
use deltafold::serve::Embedded;
use deltafold::store::{Memory, Store};
use deltafold_testing::watched::Watched;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::api::{Api, COLLECTIONS, options};
use crate::own::own;

/// Two servers behind a balancer: a client writes through one and reads through the other. Every
/// write that was answered is in the next read.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_sees_writes_answered_by_another_server() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let options = options().policy(Policy::default().fold_segments(3));
    let servers = [Api::of(store.clone(), options.clone()).await, Api::of(store, options).await];
    let at = servers[0].collection("shared").await;
    for n in 0..40 {
        let (writes, reads) = (&servers[n % 2], &servers[(n + 1) % 2]);
        let add = json!({ "ids": [n.to_string()], "embeddings": [[n]], "metadatas": [{ "n": n }] });
        writes.ok("POST", &format!("{at}/add"), add).await;
        assert_eq!(reads.ids(&at, json!({ "where": { "n": n } })).await, [n.to_string()]);
        let count = reads.ok("GET", &format!("{at}/count"), json!(null)).await;
        assert_eq!(count, json!(n + 1));
    }
}

/// The first write makes the Deltafold collection.
///
/// The other server's first write comes between the heads and the register of ours.
#[tokio::test]
async fn a_first_write_made_meanwhile_is_kept_beside_ours() {
    let store: Watched<Memory> = Watched::default();
    let api = Api::of(Arc::new(store.clone()), options()).await;
    let other = Api::of(Arc::new(store.inner.clone()), options()).await;
    let at = api.collection("shared").await;
    let path = format!("{at}/add");
    let theirs = path.clone();
    store.before("create", "shared/collection", move || async move {
        other.ok("POST", &theirs, json!({ "ids": ["theirs"], "embeddings": [[1]] })).await;
    });
    api.ok("POST", &path, json!({ "ids": ["ours"], "embeddings": [[2]] })).await;
    assert!(store.all_reached());
    assert_eq!(api.ids(&at, json!({})).await, ["theirs", "ours"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_keeps_every_answered_write() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let api = Api::of(store.clone(), options()).await;
    let at = api.collection("kept").await;
    for n in 0..5 {
        api.ok("POST", &format!("{at}/add"), json!({ "ids": [n.to_string()], "embeddings": [[n]] })).await;
    }
    let address = api.address();
    api.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let api = Api::of(store, options()).await;
    assert_eq!(api.ids(&at, json!({})).await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_delete_through_one_server_ends_reads_of_another() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let servers = [Api::of(store.clone(), options()).await, Api::of(store, options()).await];
    let at = servers[0].collection("gone").await;
    servers[0].ok("POST", &format!("{at}/add"), json!({ "ids": ["a"], "embeddings": [[1]] })).await;
    assert_eq!(servers[1].ids(&at, json!({})).await, ["a"]);
    let by_name = at.rsplit_once('/').unwrap().0.to_owned() + "/gone";
    servers[0].ok("DELETE", &by_name, json!(null)).await;
    assert_eq!(servers[1].call("POST", &format!("{at}/get"), &json!({})).await.status, 404);
    let add = json!({ "ids": ["b"], "embeddings": [[1]] });
    assert_eq!(servers[1].call("POST", &format!("{at}/add"), &add).await.status, 404);
}

#[tokio::test]
async fn a_server_counts_its_requests() {
    let api = Api::new().await;
    api.collection("counted").await;
    let answer = api.call("GET", "/metrics", &json!(null)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(api.call("GET", "/readyz", &json!(null)).await.status, 200);
}

/// Waits until the log of a collection is folded. Returns its version.
async fn folded(api: &Api, collection: &str) -> u64 {
    let path = format!("{}/status", own(collection));
    let folded = async {
        loop {
            let status = api.ok("GET", &path, Value::Null).await;
            if status["lag_segments"] == 0 {
                return status["shards"][0]["version"].as_u64().unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), folded).await.expect("the log is folded")
}

async fn lag(api: &Api, collection: &str) -> Value {
    api.ok("GET", &format!("{}/status", own(collection)), Value::Null).await["lag_segments"].clone()
}

/// Adds a record with a document of so many bytes.
async fn add(api: &Api, collection: &str, id: &str, bytes: usize) {
    let record = json!({ "ids": [id], "embeddings": [[1]], "documents": ["x".repeat(bytes)] });
    api.ok("POST", &format!("{collection}/add"), record).await;
}

/// Story: clients brought 100,000 records, and the last tenth stayed in the log. Each search then
/// compared them one by one, which took a third of its time.
#[tokio::test]
async fn an_idle_server_folds_what_a_load_left_in_the_log() {
    let idle = Duration::from_millis(200);
    let options = options().policy(Policy::default().fold_bytes(64 << 10)).idle(idle);
    let api = Api::of(Arc::new(Memory::new()), options).await;
    let at = api.collection("records").await;
    // The second comes while the server waits for its idle moment. That begins anew, and comes.
    add(&api, &at, "a", 8 << 10).await;
    add(&api, &at, "b", 8 << 10).await;
    let version = folded(&api, &at).await;
    // So does a later one.
    add(&api, &at, "c", 8 << 10).await;
    assert!(folded(&api, &at).await > version);
}

/// Each fold costs requests.
#[tokio::test]
async fn an_idle_server_folds_a_log_of_1_mib_and_no_shorter_one() {
    let api = Api::of(Arc::new(Memory::new()), options().idle(Duration::from_millis(1))).await;
    let at = api.collection("records").await;
    for n in 1..=20 {
        add(&api, &at, &n.to_string(), 40 << 10).await;
        assert_eq!(lag(&api, &at).await, n, "segments of 40 KiB stay in the log");
    }
    add(&api, &at, "large", 300 << 10).await;
    assert_eq!(folded(&api, &at).await, 1);
}

/// Story: the log of a server grew to 64 MiB, all of it resident, as that of other compactors does.
#[tokio::test]
async fn a_busy_server_folds_a_log_of_8_mib() {
    let never_idle = options().idle(Duration::from_hours(1));
    let api = Api::of(Arc::new(Memory::new()), never_idle).await;
    let at = api.collection("records").await;
    for n in 1..=3 {
        add(&api, &at, &n.to_string(), 5 << 19).await;
        assert_eq!(lag(&api, &at).await, n, "2.5 MiB each stay in the log");
    }
    add(&api, &at, "last", 1 << 20).await;
    assert_eq!(folded(&api, &at).await, 1);
}

/// Story: a caller removed the folder of its store after the close, while a fold still wrote into
/// it.
#[tokio::test]
async fn a_close_waits_for_a_fold_under_way() {
    let store: Watched<Memory> = Watched::default();
    let options = options().policy(Policy::default().fold_segments(1));
    let server = Embedded::new(Arc::new(store.clone()), options).unwrap();
    let (reached, fold) = oneshot::channel();
    let (release, held) = oneshot::channel::<()>();
    store.before("create", "/part/", move || async move {
        reached.send(()).unwrap();
        held.await.unwrap();
    });
    let made = server.call("POST", COLLECTIONS, json!({ "name": "articles" }).to_string()).await;
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let add = format!("{COLLECTIONS}/{}/add", made["id"].as_str().unwrap());
    let batch = json!({ "ids": ["a"], "embeddings": [[1, 0]] });
    assert_eq!(server.call("POST", &add, batch.to_string()).await.status, 201);
    fold.await.unwrap();
    let mut close = Box::pin(server.close());
    for _ in 0..100 {
        assert!(futures::poll!(&mut close).is_pending());
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    close.await;
    let before = store.inner.requests();
    tokio::task::yield_now().await;
    assert_eq!(store.inner.requests(), before);
}
