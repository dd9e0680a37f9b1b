//! Tenants, databases and collections.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::Metric;
use deltafold::store::{Memory, Store};
use deltafold::{Collection, CreateOptions};
use deltafold_testing::watched::Watched;
use serde_json::{Value, json};

use crate::api::{Api, COLLECTIONS, options};

#[tokio::test]
async fn a_client_starts_with_the_default_tenant() {
    let api = Api::new().await;
    let identity = api.ok("GET", "/api/v2/auth/identity", Value::Null).await;
    assert_eq!(identity["tenant"], "default_tenant");
    assert_eq!(identity["databases"], json!(["default_database"]));
    api.ok("GET", "/api/v2/tenants/default_tenant", Value::Null).await;
    let database = api.ok("GET", "/api/v2/tenants/default_tenant/databases/default_database", Value::Null).await;
    assert_eq!(database["name"], "default_database");
    assert_eq!(api.ok("GET", COLLECTIONS, Value::Null).await, json!([]));
}

#[tokio::test]
async fn a_collection_keeps_id_and_records_through_a_rename() {
    let api = Api::new().await;
    let collection = api.collection("before").await;
    api.ok("POST", &format!("{collection}/add"), json!({ "ids": ["a"], "embeddings": [[1, 2]] })).await;
    api.ok("PUT", &collection, json!({ "new_name": "after" })).await;
    let renamed = api.ok("GET", &format!("{COLLECTIONS}/after"), Value::Null).await;
    assert!(collection.ends_with(renamed["id"].as_str().unwrap()));
    assert_eq!(renamed["dimension"], 2);
    assert_eq!(api.call("GET", &format!("{COLLECTIONS}/before"), &Value::Null).await.status, 404);
    assert_eq!(api.ids(&collection, json!({})).await, ["a"]);
}

/// Another server takes the name between the look at the database and the change of its register.
#[tokio::test]
async fn a_name_taken_meanwhile_is_refused() {
    let store: Watched<Memory> = Watched::default();
    let api = Api::of(Arc::new(store.clone()), options()).await;
    let other = Api::of(Arc::new(store.inner.clone()), options()).await;
    let body = json!({ "name": "wanted" });
    let same = body.clone();
    store.before("create", "CATALOGUE/", move || async move {
        other.ok("POST", COLLECTIONS, same).await;
    });
    assert_eq!(api.call("POST", COLLECTIONS, &body).await.status, 409);
    assert_eq!(api.ok("GET", COLLECTIONS, Value::Null).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn get_or_create_returns_the_collection_as_it_is() {
    let api = Api::new().await;
    let first = api.ok("POST", COLLECTIONS, json!({ "name": "one", "metadata": { "v": 1 } })).await;
    let body = json!({ "name": "one", "metadata": { "v": 2 }, "get_or_create": true });
    let second = api.ok("POST", COLLECTIONS, body).await;
    assert_eq!((&second["id"], &second["metadata"]), (&first["id"], &json!({ "v": 1 })));
}

/// Chroma's own property tests found it: the server took `{}` for no metadata, where Chroma answers
/// 400. A change of the metadata to `{}` then removed all of it.
#[tokio::test]
async fn empty_metadata_of_a_collection_is_refused() {
    let api = Api::new().await;
    let made = api.ok("POST", COLLECTIONS, json!({ "name": "one", "metadata": { "v": 1 } })).await;
    let at = format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap());
    for (method, path, body) in [
        ("POST", COLLECTIONS, json!({ "name": "two", "metadata": {} })),
        ("POST", COLLECTIONS, json!({ "name": "two", "metadata": {}, "get_or_create": true })),
        ("POST", COLLECTIONS, json!({ "name": "one", "metadata": {}, "get_or_create": true })),
        ("PUT", &at, json!({ "new_metadata": {} })),
    ] {
        let answer = api.call(method, path, &body).await;
        assert_eq!((answer.status, &answer.body["error"]), (400, &json!("InvalidArgumentError")), "{body}");
        assert!(answer.text.contains("is empty; leave it out"), "{}", answer.text);
    }
    assert_eq!(api.ok("GET", &format!("{COLLECTIONS}/one"), Value::Null).await["metadata"], json!({ "v": 1 }));
    assert_eq!(api.call("GET", &format!("{COLLECTIONS}/two"), &Value::Null).await.status, 404);
}

/// Chroma's client sends null for keys that it drops, and Chroma replaces the metadata by the rest.
#[tokio::test]
async fn null_in_new_metadata_of_a_collection_leaves_the_key_out() {
    let api = Api::new().await;
    let made = api.ok("POST", COLLECTIONS, json!({ "name": "one", "metadata": { "a": 1, "b": 2 } })).await;
    let at = format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap());
    for (given, kept) in [(json!({ "a": null, "c": 3 }), json!({ "c": 3 })), (json!({ "a": null }), Value::Null)] {
        api.ok("PUT", &at, json!({ "new_metadata": given })).await;
        assert_eq!(api.ok("GET", &format!("{COLLECTIONS}/one"), Value::Null).await["metadata"], kept);
    }
    let refused = api.call("POST", COLLECTIONS, &json!({ "name": "two", "metadata": { "a": null } })).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
}

#[tokio::test]
async fn a_delete_leaves_no_object_of_the_collection() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let api = Api::of(store.clone(), options()).await;
    let collection = api.collection("gone").await;
    api.ok("POST", &format!("{collection}/add"), json!({ "ids": ["a"], "embeddings": [[1]] })).await;
    api.ok("DELETE", &format!("{COLLECTIONS}/gone"), Value::Null).await;
    let left = store.list_after("", None, 1_000).await.unwrap();
    let left: Vec<&str> = left.iter().map(|listed| listed.key.as_str()).collect();
    assert!(left.iter().all(|key| key.starts_with("CATALOGUE/")), "{left:?}");
    assert_eq!(api.call("POST", &format!("{collection}/get"), &json!({})).await.status, 404);
}

#[tokio::test]
async fn a_collection_of_the_command_line_is_served() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let made = CreateOptions::new(2).metric(Metric::Cosine);
    Collection::create(store.clone(), &"made.here".parse().unwrap(), &made).await.unwrap();
    let api = Api::of(store.clone(), options()).await;
    let listed = api.ok("GET", COLLECTIONS, Value::Null).await;
    assert_eq!(listed[0]["name"], "made.here");
    assert_eq!(listed[0]["configuration_json"]["hnsw"]["space"], "cosine");
    assert_eq!(listed[0]["dimension"], 2);
    let collection = format!("{COLLECTIONS}/{}", listed[0]["id"].as_str().unwrap());
    api.ok("POST", &format!("{collection}/add"), json!({ "ids": ["a"], "embeddings": [[1, 2]] })).await;
    let reader = Collection::open(store.clone(), &"made.here".parse().unwrap()).await.unwrap().reader().await.unwrap();
    assert_eq!(reader.count().await.unwrap(), 1);
    // A drop by the command line takes it out of the list.
    Collection::drop_collection(&*store, &"made.here".parse().unwrap(), |_| ()).await.unwrap();
    assert_eq!(api.ok("GET", COLLECTIONS, Value::Null).await, json!([]));
}

#[tokio::test]
async fn a_reset_leaves_only_the_defaults() {
    let api = Api::new().await;
    api.ok("POST", "/api/v2/tenants", json!({ "name": "other" })).await;
    api.ok("POST", "/api/v2/tenants/other/databases", json!({ "name": "data" })).await;
    let collection = api.collection("gone").await;
    api.ok("POST", &format!("{collection}/add"), json!({ "ids": ["a"], "embeddings": [[1]] })).await;
    assert_eq!(api.ok("POST", "/api/v2/reset", Value::Null).await, json!(true));
    assert_eq!(api.ok("GET", COLLECTIONS, Value::Null).await, json!([]));
    assert_eq!(api.call("GET", "/api/v2/tenants/other", &Value::Null).await.status, 404);
    assert_eq!(api.call("POST", &format!("{collection}/get"), &json!({})).await.status, 404);
}

#[tokio::test]
async fn a_deleted_database_takes_its_collections_along() {
    let api = Api::new().await;
    let databases = "/api/v2/tenants/default_tenant/databases";
    api.ok("POST", databases, json!({ "name": "extra" })).await;
    assert_eq!(api.call("POST", databases, &json!({ "name": "extra" })).await.status, 409);
    let collections = format!("{databases}/extra/collections");
    let made = api.ok("POST", &collections, json!({ "name": "inside" })).await;
    api.ok("DELETE", &format!("{databases}/extra"), Value::Null).await;
    let get = format!("{collections}/{}/get", made["id"].as_str().unwrap());
    assert_eq!(api.call("POST", &get, &json!({})).await.status, 404);
    api.ok("POST", databases, json!({ "name": "extra" })).await;
    assert_eq!(api.ok("GET", &collections, Value::Null).await, json!([]));
}

#[tokio::test]
async fn names_that_keys_cannot_hold_are_served() {
    let api = Api::new().await;
    let name = "../%2e%2e/CATALOGUE/root ü";
    api.ok("POST", "/api/v2/tenants", json!({ "name": name })).await;
    let path = "/api/v2/tenants/..%2F%252e%252e%2FCATALOGUE%2Froot%20%C3%BC";
    assert_eq!(api.ok("GET", path, Value::Null).await["name"], name);
}

/// Story: a delete by filter in a collection ordered by revision deleted nothing and said 200, and
/// other writes told clients to give revisions, which these calls cannot carry.
#[tokio::test]
async fn writes_by_revision_are_refused_with_the_way_out() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let name = "made.here".parse().unwrap();
    Collection::create(store.clone(), &name, &CreateOptions::new(2).by_revision(Duration::from_secs(1))).await.unwrap();
    let api = Api::of(store, options()).await;
    let found = api.ok("GET", &format!("{COLLECTIONS}/made.here"), Value::Null).await;
    let at = format!("{COLLECTIONS}/{}", found["id"].as_str().unwrap());
    let record = json!({ "ids": ["a"], "embeddings": [[1, 2]] });
    let calls = [
        ("add", &record),
        ("upsert", &record),
        ("update", &record),
        ("delete", &json!({ "ids": ["a"] })),
        ("delete", &json!({ "where": { "k": 1 } })),
    ];
    for (call, body) in calls {
        let refused = api.call("POST", &format!("{at}/{call}"), body).await;
        assert_eq!(refused.status, 400, "{call}: {}", refused.body);
        let message = refused.body["message"].as_str().unwrap();
        assert!(message.contains("ordered by revision") && message.contains("deltafold append"), "{message}");
    }
}
