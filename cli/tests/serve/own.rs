//! Calls of Deltafold's own: status, versions, pins, compaction, sweeps.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use deltafold::serve::{Access, ServeOptions, Tokens};
use deltafold::store::{Memory, Store};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::api::{Answer, Api, COLLECTIONS, options};

/// The own calls on a collection of the default database.
pub(crate) fn own(collection: &str) -> String {
    let id = collection.rsplit_once('/').unwrap().1;
    format!("/api/deltafold/tenants/default_tenant/databases/default_database/collections/{id}")
}

/// Without compaction of the server's own, so that each test decides when one happens.
fn idle() -> ServeOptions {
    options().compact(false)
}

async fn add(api: &Api, collection: &str, ids: &[&str]) {
    let embeddings: Vec<[usize; 2]> = ids.iter().map(|id| [id.len(), 1]).collect();
    api.ok("POST", &format!("{collection}/add"), json!({ "ids": ids, "embeddings": embeddings })).await;
}

/// A call with a token.
async fn with_token(api: &Api, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = http::Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {token}"));
    api.request(request.body(Full::new(body)).unwrap()).await
}

#[tokio::test]
async fn status_follows_the_log_and_its_folds() {
    let api = Api::of(Arc::new(Memory::new()), idle()).await;
    let at = api.collection("state").await;
    let own = own(&at);
    let empty = api.ok("GET", &format!("{own}/status"), Value::Null).await;
    assert_eq!((&empty["records"], &empty["dimension"], &empty["shards"]), (&json!(0), &Value::Null, &json!([])));
    assert_eq!(api.call("POST", &format!("{own}/compact"), &json!({})).await.status, 400);
    add(&api, &at, &["a", "bb", "ccc"]).await;
    add(&api, &at, &["dddd"]).await;
    let before = api.ok("GET", &format!("{own}/status"), Value::Null).await;
    assert_eq!((&before["records"], &before["dimension"]), (&json!(4), &json!(2)));
    assert_eq!((&before["lag_segments"], &before["write_amplification"]), (&json!(2), &Value::Null));
    assert!(before["lag_bytes"].as_u64().unwrap() > 0);
    assert!(before["requests"]["calls"].as_u64().unwrap() > 5, "{before}");
    assert!(before["requests"]["dollars"].as_f64().unwrap() > 0.0);
    let compacted = api.ok("POST", &format!("{own}/compact"), json!({})).await;
    assert_eq!((&compacted["folds"], &compacted["events"][0]["edit"]), (&json!(1), &json!("fold")));
    let after = api.ok("GET", &format!("{own}/status"), Value::Null).await;
    assert_eq!((&after["records"], &after["lag_segments"]), (&json!(4), &json!(0)));
    assert_eq!(after["shards"][0]["version"], 1);
    assert!(after["write_amplification"].as_f64().unwrap() > 1.0, "{after}");
    let versions = api.ok("GET", &format!("{own}/versions"), Value::Null).await;
    assert_eq!(versions["versions"].as_array().unwrap().len(), 1);
    assert_eq!(versions["versions"][0]["edit"], "fold");
    assert!(!versions["samples"].as_array().unwrap().is_empty());
}

/// The page and scripts name collections by name, clients by id.
#[tokio::test]
async fn a_collection_is_found_by_name_and_by_id() {
    let api = Api::of(Arc::new(Memory::new()), idle()).await;
    let at = api.collection("named").await;
    add(&api, &at, &["a"]).await;
    let by_id = api.ok("GET", &format!("{}/status", own(&at)), Value::Null).await;
    let by_name = api.ok("GET", &format!("{}/status", own("/named")), Value::Null).await;
    assert_eq!((&by_id["name"], &by_id["id"]), (&by_name["name"], &by_name["id"]));
    assert_eq!(api.call("GET", &format!("{}/status", own("/unknown")), &Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_read_at_a_pin_or_version_misses_later_writes() {
    let api = Api::of(Arc::new(Memory::new()), idle()).await;
    let at = api.collection("pinned").await;
    let own = own(&at);
    add(&api, &at, &["a"]).await;
    api.ok("POST", &format!("{own}/compact"), json!({})).await;
    let pinned = api.ok("POST", &format!("{own}/pins"), json!({ "name": "über/alles" })).await;
    assert_eq!(pinned["versions"], json!([1]));
    add(&api, &at, &["bb"]).await;
    let query = json!({ "query_embeddings": [[2, 1]], "include": [] });
    for (moment, ids) in
        [("", json!(["a", "bb"])), ("?pin=%C3%BCber%2Falles", json!(["a"])), ("?version=1", json!(["a"]))]
    {
        let got = api.ok("POST", &format!("{own}/get{moment}"), json!({})).await;
        assert_eq!(got["ids"], ids, "{moment}");
        let count = api.ok("GET", &format!("{own}/count{moment}"), Value::Null).await;
        assert_eq!(count, ids.as_array().unwrap().len(), "{moment}");
        let found = api.ok("POST", &format!("{own}/query{moment}"), query.clone()).await;
        assert_eq!(found["ids"][0].as_array().unwrap().len(), ids.as_array().unwrap().len(), "{moment}");
    }
    for (moment, status) in [("?pin=none", 404), ("?version=x", 400), ("?version=1&pin=x", 400), ("?version=1,1", 400)]
    {
        let refused = api.call("POST", &format!("{own}/get{moment}"), &json!({})).await;
        assert_eq!(refused.status, status, "{moment}: {}", refused.body);
    }
    // The collection is still open after a read of a version that is not there.
    assert_eq!(api.ids(&at, json!({})).await, ["a", "bb"]);
    let pin = format!("{own}/pins/%C3%BCber%2Falles");
    api.ok("DELETE", &pin, Value::Null).await;
    assert_eq!(api.call("DELETE", &pin, &Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_preview_of_a_sweep_deletes_nothing() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let api = Api::of(store.clone(), idle()).await;
    let at = api.collection("swept").await;
    let own = own(&at);
    for id in ["a", "bb", "ccc"] {
        add(&api, &at, &[id]).await;
        api.ok("POST", &format!("{own}/compact"), json!({ "merge_all": true })).await;
    }
    let objects = async || store.list_after("", None, 1_000).await.unwrap().len();
    let before = objects().await;
    let preview = api.ok("GET", &format!("{own}/sweep?keep_versions=0&min_age_seconds=0"), Value::Null).await;
    assert_eq!(preview["dry_run"], true);
    assert!(preview["parts"].as_u64().unwrap() > 0, "{preview}");
    assert_eq!(objects().await, before);
    let swept = api.ok("POST", &format!("{own}/sweep"), json!({ "keep_versions": 0, "min_age_seconds": 0 })).await;
    assert_eq!((&swept["dry_run"], &swept["parts"]), (&json!(false), &preview["parts"]));
    assert!(objects().await < before);
    assert_eq!(api.ids(&at, json!({})).await, ["a", "bb", "ccc"]);
    let wrong = api.call("POST", &format!("{own}/sweep"), &json!({ "min_age_seconds": -1 })).await;
    assert_eq!(wrong.status, 400, "{}", wrong.body);
}

#[tokio::test]
async fn a_read_only_token_looks_and_changes_nothing() {
    let tokens = Tokens::parse("all\nlooks read-only\nother tenant=other\n").unwrap();
    let options = idle().access(Access::Tokens(tokens)).address(SocketAddr::from(([127, 0, 0, 1], 0)));
    let api = Api::of(Arc::new(Memory::new()), options).await;
    let made = with_token(&api, "all", "POST", COLLECTIONS, json!({ "name": "guarded" })).await;
    let at = format!("{COLLECTIONS}/{}", made.body["id"].as_str().unwrap());
    let own = own(&at);
    let record = json!({ "ids": ["a"], "embeddings": [[1]] });
    assert_eq!(with_token(&api, "all", "POST", &format!("{at}/add"), record).await.status, 201);
    let looks = [
        ("GET", "status", Value::Null),
        ("GET", "versions", Value::Null),
        ("GET", "count", Value::Null),
        ("GET", "sweep", Value::Null),
        ("POST", "get", json!({})),
        ("POST", "query", json!({ "query_embeddings": [[1]] })),
    ];
    let changes = [
        ("POST", "compact", json!({})),
        ("POST", "sweep", json!({})),
        ("POST", "pins", json!({ "name": "p" })),
        ("DELETE", "pins/p", Value::Null),
    ];
    for (method, call, body) in looks {
        let path = format!("{own}/{call}");
        assert_eq!(with_token(&api, "looks", method, &path, body.clone()).await.status, 200, "{call}");
        assert_eq!(with_token(&api, "other", method, &path, body.clone()).await.status, 403, "{call}");
        assert_eq!(with_token(&api, "wrong", method, &path, body).await.status, 401, "{call}");
    }
    for (method, call, body) in changes {
        let path = format!("{own}/{call}");
        assert_eq!(with_token(&api, "looks", method, &path, body.clone()).await.status, 403, "{call}");
        assert_eq!(with_token(&api, "other", method, &path, body).await.status, 403, "{call}");
    }
    let server = with_token(&api, "looks", "GET", "/api/deltafold/server", Value::Null).await.body;
    assert_eq!(server["read_only"], true);
}

/// A page of another site, open in the browser of a person with access to the server, must not be
/// able to change anything: such a browser sends no token, and a server on loopback asks for none.
#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let api = Api::new().await;
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)] {
        let request = http::Request::builder().method("POST").uri(COLLECTIONS).header("host", "localhost");
        let request = request.header("sec-fetch-site", site);
        let body = json!({ "name": "from.page", "get_or_create": true }).to_string();
        let answer = api.request(request.body(Full::new(Bytes::from(body))).unwrap()).await;
        assert_eq!(answer.status, status, "{site}");
    }
}
