//! Records: written, read, searched, deleted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::api::{Api, COLLECTIONS};

#[tokio::test]
async fn add_leaves_a_record_that_is_there_alone() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    let add = format!("{at}/add");
    api.ok("POST", &add, json!({ "ids": ["a", "a"], "embeddings": [[1], [2]], "documents": ["one", "two"] })).await;
    api.ok("POST", &add, json!({ "ids": ["a"], "embeddings": [[3]] })).await;
    let found = api.ok("POST", &format!("{at}/get"), json!({ "include": ["documents", "embeddings"] })).await;
    assert_eq!(found["documents"], json!(["one"]));
    assert_eq!(found["embeddings"], json!([[1.0]]));
    assert_eq!(found["metadatas"], Value::Null);
}

#[tokio::test]
async fn upsert_merges_metadata_and_keeps_the_document() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    let first = json!({
        "ids": ["a"], "embeddings": [[1, 2]], "documents": ["text"], "uris": ["file:a"],
        "metadatas": [{ "n": 1, "x": 1.0, "s": "t", "b": true, "l": ["p", "q"] }],
    });
    api.ok("POST", &format!("{at}/upsert"), first).await;
    let second = json!({ "ids": ["a"], "embeddings": [[3, 4]], "metadatas": [{ "n": null, "s": "u" }] });
    api.ok("POST", &format!("{at}/upsert"), second).await;
    let all = json!({ "include": ["metadatas", "documents", "uris", "embeddings"] });
    let found = api.ok("POST", &format!("{at}/get"), all).await;
    assert_eq!(found["metadatas"], json!([{ "x": 1.0, "s": "u", "b": true, "l": ["p", "q"] }]));
    assert_eq!(found["documents"], json!(["text"]));
    assert_eq!(found["uris"], json!(["file:a"]));
    assert_eq!(found["embeddings"], json!([[3.0, 4.0]]));
}

#[tokio::test]
async fn an_update_of_an_unknown_id_changes_nothing() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    api.ok("POST", &format!("{at}/add"), json!({ "ids": ["a"], "embeddings": [[1]] })).await;
    let update = json!({ "ids": ["a", "b"], "embeddings": [null, [2]], "documents": ["new", "none"] });
    api.ok("POST", &format!("{at}/update"), update).await;
    let found = api.ok("POST", &format!("{at}/get"), json!({ "include": ["documents", "embeddings"] })).await;
    assert_eq!((&found["ids"], &found["documents"]), (&json!(["a"]), &json!(["new"])));
    assert_eq!(found["embeddings"], json!([[1.0]]));
}

#[tokio::test]
async fn get_returns_records_in_the_order_of_insertion() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    api.ok("POST", &format!("{at}/add"), json!({ "ids": ["c", "a", "b"], "embeddings": [[1], [2], [3]] })).await;
    api.ok("POST", &format!("{at}/upsert"), json!({ "ids": ["a"], "embeddings": [[4]] })).await;
    assert_eq!(api.ids(&at, json!({})).await, ["c", "a", "b"]);
    assert_eq!(api.ids(&at, json!({ "ids": ["b", "none", "c", "b"] })).await, ["c", "b"]);
    assert_eq!(api.ids(&at, json!({ "limit": 1, "offset": 1 })).await, ["a"]);
    assert_eq!(api.ids(&at, json!({ "limit": 0 })).await, [""; 0]);
    api.ok("POST", &format!("{at}/delete"), json!({ "ids": ["c"] })).await;
    api.ok("POST", &format!("{at}/add"), json!({ "ids": ["c"], "embeddings": [[1]] })).await;
    assert_eq!(api.ids(&at, json!({})).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_query_finds_the_nearest_that_match() {
    let api = Api::new().await;
    let body = json!({ "name": "records", "configuration": { "hnsw": { "space": "cosine" } } });
    let made = api.ok("POST", COLLECTIONS, body).await;
    let at = format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap());
    let vector = |numbers: [f32; 2]| STANDARD.encode(numbers.map(f32::to_le_bytes).concat());
    let add = json!({
        "ids": ["a", "b", "zero"],
        "embeddings": [vector([1.0, 0.0]), vector([0.0, 1.0]), vector([0.0, 0.0])],
        "metadatas": [{ "k": 1 }, { "k": 2 }, null],
    });
    api.ok("POST", &format!("{at}/add"), add).await;
    let query = json!({ "query_embeddings": [[1, 0], [0, 1]], "n_results": 5, "include": ["distances"] });
    let found = api.ok("POST", &format!("{at}/query"), query).await;
    assert_eq!(found["ids"], json!([["a", "b", "zero"], ["b", "a", "zero"]]));
    assert_eq!(found["distances"], json!([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]));
    let filtered = json!({ "query_embeddings": [[1, 0]], "where": { "k": { "$ne": 1 } }, "include": [] });
    assert_eq!(api.ok("POST", &format!("{at}/query"), filtered).await["ids"], json!([["b", "zero"]]));
    let among = json!({ "query_embeddings": [[1, 0]], "ids": ["zero", "b"], "n_results": 1 });
    assert_eq!(api.ok("POST", &format!("{at}/query"), among).await["ids"], json!([["b"]]));
    let unknown = json!({ "query_embeddings": [[1, 0]], "ids": ["b", "none"] });
    let refused = api.call("POST", &format!("{at}/query"), &unknown).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body["message"].as_str().unwrap().contains("Error finding id"), "{}", refused.body);
}

#[tokio::test]
async fn a_delete_by_filter_counts_its_deletes() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    let metadatas = json!([{ "k": 1 }, { "k": 2 }, { "k": 1 }, { "k": 1 }]);
    let add = json!({ "ids": ["a", "b", "c", "d"], "embeddings": [[1], [2], [3], [4]], "metadatas": metadatas });
    api.ok("POST", &format!("{at}/add"), add).await;
    let delete = format!("{at}/delete");
    let limited = api.ok("POST", &delete, json!({ "where": { "k": 1 }, "limit": 1 })).await;
    assert_eq!(limited, json!({ "deleted": 1 }));
    let among = api.ok("POST", &delete, json!({ "ids": ["b", "c"], "where": { "k": 1 } })).await;
    assert_eq!(among, json!({ "deleted": 1 }));
    assert_eq!(api.ids(&at, json!({})).await, ["b", "d"]);
    assert_eq!(api.ok("POST", &delete, json!({ "ids": ["unknown"] })).await, json!({ "deleted": 1 }));
    assert_eq!(api.ok("POST", &delete, json!({})).await, json!({ "deleted": 0 }));
    assert_eq!(api.call("POST", &delete, &json!({ "limit": 1 })).await.status, 400);
}

#[tokio::test]
async fn the_first_write_fixes_the_dimension() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    api.ok("POST", &format!("{at}/add"), json!({ "ids": ["a"], "embeddings": [[1, 2]] })).await;
    let wrong = api.call("POST", &format!("{at}/add"), &json!({ "ids": ["b"], "embeddings": [[1]] })).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.body["error"], "InvalidArgumentError");
    assert_eq!(wrong.body["message"], "Collection expecting embedding with dimension of 2, got 1");
    let query = json!({ "query_embeddings": [[1, 2, 3]] });
    assert_eq!(api.call("POST", &format!("{at}/query"), &query).await.status, 400);
}

#[tokio::test]
async fn a_bad_request_is_refused_with_its_reason() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    let refused = [
        ("add", json!({ "ids": ["a"], "embeddings": [["x"]] }), 422),
        ("add", json!({ "ids": ["a"], "embeddings": ["AAA"] }), 422),
        ("add", json!({ "ids": ["a"], "embeddings": ["AADAfw=="] }), 400),
        ("add", json!({ "ids": ["a"], "embeddings": [[]] }), 400),
        ("add", json!({ "ids": ["a", "b"], "embeddings": [[1]] }), 400),
        ("add", json!({ "ids": ["a"] }), 422),
        ("add", json!({ "ids": ["a"], "embeddings": [[1]], "metadatas": [{ "#uri": "x" }] }), 422),
        ("add", json!({ "ids": ["a"], "embeddings": [[1]], "metadatas": [{ "k": null }] }), 422),
        ("add", json!({ "ids": ["a"], "embeddings": [[1]], "metadatas": [{ "k": [1, "x"] }] }), 422),
        ("add", json!({ "ids": ["a"], "embeddings": [[1]], "metadatas": [{ "k": { "x": 1 } }] }), 422),
        ("add", json!({ "ids": [""], "embeddings": [[1]] }), 400),
        ("get", json!({ "where": {} }), 400),
        ("get", json!({ "where": { "$bad": 1 } }), 400),
        ("get", json!({ "include": ["nothing"] }), 422),
    ];
    for (call, body, status) in refused {
        let answer = api.call("POST", &format!("{at}/{call}"), &body).await;
        assert_eq!(answer.status, status, "{call} {body}: {}", answer.body);
        assert_eq!(answer.body["error"], "InvalidArgumentError", "{call} {body}");
        assert!(!answer.body["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(api.call("POST", &format!("{COLLECTIONS}/no-uuid/get"), &json!({})).await.status, 400);
    assert_eq!(api.call("GET", "/api/v1/heartbeat", &Value::Null).await.status, 410);
}

/// Story: the parser of JSON rounded integers beyond 64 bits, and the server kept the rounded ones.
#[tokio::test]
async fn an_integer_beyond_64_bits_is_refused_as_it_is() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    let largest = json!({ "ids": ["a"], "embeddings": [[1]], "metadatas": [{ "k": i64::MAX }] });
    api.ok("POST", &format!("{at}/add"), largest).await;
    for number in ["18446744073709551617", "-9223372036854775809", "9223372036854775808", "[1, 99999999999999999999]"] {
        let body = format!(r#"{{"ids": ["b"], "embeddings": [[1]], "metadatas": [{{"k": {number}}}]}}"#);
        let request = http::Request::post(format!("{at}/add")).header("host", "localhost");
        let answer = api.request(request.body(Full::new(Bytes::from(body))).unwrap()).await;
        assert_eq!(answer.status, 422, "{number}: {}", answer.text);
        assert!(answer.text.contains("64 bits"), "{}", answer.text);
    }
    let found = api.ok("POST", &format!("{at}/get"), json!({})).await;
    assert_eq!((&found["ids"], &found["metadatas"]), (&json!(["a"]), &json!([{ "k": i64::MAX }])));
}

#[tokio::test]
async fn a_sparse_vector_comes_back_as_it_was() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    let sparse = json!({ "#type": "sparse_vector", "indices": [1, 7], "values": [0.5, 2.0] });
    let add = json!({ "ids": ["a"], "embeddings": [[1]], "metadatas": [{ "v": sparse.clone() }] });
    api.ok("POST", &format!("{at}/add"), add).await;
    let found = api.ok("POST", &format!("{at}/get"), json!({})).await;
    assert_eq!(found["metadatas"], json!([{ "v": sparse }]));
}
