//! The server as operators see it: metrics, readiness, errors, the page's headers.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use deltafold::format::{HeadPlace, Timestamp};
use deltafold::store::{
    Key, Listed, Memory, Object, Outcome, Requests, Store, StoreError, StoreErrorKind, Tag, Unless,
};
use serde_json::{Value, json};

use crate::api::{Api, COLLECTIONS, options};
use crate::own::own;

/// A store that no request reaches.
#[derive(Debug)]
struct Gone;

impl Gone {
    fn error(what: &'static str) -> StoreError {
        StoreError::new(StoreErrorKind::Permanent, what, "secret-bucket", "no route to host")
    }
}

#[async_trait]
impl Store for Gone {
    fn location(&self) -> String {
        "gone:".to_owned()
    }

    async fn get(&self, _: &Key) -> Result<Option<Object>, StoreError> {
        Err(Self::error("get"))
    }

    async fn get_range(&self, _: &Key, _: u64, _: u64) -> Result<Option<Bytes>, StoreError> {
        Err(Self::error("get"))
    }

    async fn get_unless(&self, _: &Key, _: &Tag) -> Result<Unless, StoreError> {
        Err(Self::error("get"))
    }

    async fn create(&self, _: &Key, _: Vec<Bytes>) -> Result<Outcome, StoreError> {
        Err(Self::error("create"))
    }

    async fn replace(&self, _: &Key, _: &Tag, _: Vec<Bytes>) -> Result<Outcome, StoreError> {
        Err(Self::error("replace"))
    }

    async fn list_after(&self, _: &str, _: Option<&Key>, _: usize) -> Result<Vec<Listed>, StoreError> {
        Err(Self::error("list"))
    }

    async fn delete(&self, _: &[Key]) -> Result<(), StoreError> {
        Err(Self::error("delete"))
    }

    async fn settle(&self, _: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Err(Self::error("ask the clock of"))
    }

    fn requests(&self) -> Requests {
        Requests::default()
    }

    fn heads(&self) -> HeadPlace {
        HeadPlace::Store
    }

    fn is_to_be_probed(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn readiness_tells_of_a_store_out_of_reach() {
    let api = Api::of(Arc::new(Gone), options()).await;
    assert_eq!(api.call("GET", "/healthz", &Value::Null).await.status, 200);
    let answer = api.call("GET", "/readyz", &Value::Null).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body["message"].as_str().unwrap().contains("the store cannot be reached"), "{}", answer.text);
    assert!(!answer.text.contains("secret-bucket"), "{}", answer.text);
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn metrics_count_calls_lag_and_requests() {
    let api = Api::of(Arc::new(Memory::new()), options().compact(false)).await;
    let at = api.collection("counted").await;
    api.ok("POST", &format!("{at}/add"), json!({ "ids": ["a"], "embeddings": [[1]] })).await;
    api.ids(&at, json!({})).await;
    let answer = api.call("GET", "/metrics", &Value::Null).await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let value = |beginning: &str| {
        let line = answer.text.lines().find(|line| line.starts_with(beginning));
        let line = line.unwrap_or_else(|| panic!("no `{beginning}` in {}", answer.text));
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    assert_eq!(
        value(
            "deltafold_http_requests_total{method=\"POST\",route=\"/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/add\",status=\"201\"}"
        ),
        1.0
    );
    assert!(value("deltafold_http_request_seconds_count") >= 1.0);
    assert_eq!(value("deltafold_log_lag_segments{collection=\"http."), 1.0);
    assert_eq!(value("deltafold_version{collection=\"http."), 0.0);
    assert!(value("deltafold_store_requests_total{kind=\"create\"}") >= 1.0);
    assert!(value("deltafold_store_bytes_total{direction=\"out\"}") > 0.0);
    assert!(value("deltafold_store_dollars_total") > 0.0);
    assert_eq!(value("deltafold_queries_waiting"), 0.0);
    assert!(value("deltafold_connections") >= 1.0);
    assert!(answer.text.ends_with("# EOF\n"));
    api.ok("POST", &format!("{}/compact", own(&at)), json!({})).await;
    let answer = api.call("GET", "/metrics", &Value::Null).await;
    assert!(answer.text.lines().any(|line| line.starts_with("deltafold_folds_total{") && line.ends_with(" 1")));
}

#[tokio::test]
async fn a_refused_call_is_among_the_errors_with_its_id() {
    let api = Api::new().await;
    let refused = api.call("GET", &format!("{COLLECTIONS}/none"), &Value::Null).await;
    assert_eq!(refused.status, 404);
    let errors = api.ok("GET", "/api/deltafold/errors", Value::Null).await;
    assert_eq!(errors[0]["status"], 404);
    assert_eq!(errors[0]["request"], refused.headers["x-request-id"].to_str().unwrap());
    assert_eq!(errors[0]["tenant"], "default_tenant");
    assert!(errors[0]["message"].as_str().unwrap().contains("does not exist"), "{errors}");
    let server = api.ok("GET", "/api/deltafold/server", Value::Null).await;
    assert_eq!((&server["refused"], &server["failed"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn the_page_allows_no_script_but_its_own_files() {
    let api = Api::new().await;
    for path in ["/", "/page/main.js", "/page/style.css", "/page/icon.svg"] {
        let answer = api.call("GET", path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    assert_eq!(api.call("GET", "/page/..%2F..%2Fmod.rs", &Value::Null).await.status, 404);
}
