//! Tokens, limits, and the addresses that a server may listen on.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use deltafold::serve::{Access, Server, Tokens};
use deltafold::store::Memory;
use http_body_util::Full;
use serde_json::json;

use crate::api::{Answer, Api, COLLECTIONS, options};

async fn with_token(api: &Api, method: &str, path: &str, token: &str) -> Answer {
    let request = http::Request::builder().method(method).uri(path).header("authorization", token);
    api.request(request.body(Full::new(Bytes::from_static(b"{\"name\": \"made\"}"))).unwrap()).await
}

#[tokio::test]
async fn a_token_opens_no_more_than_its_scope() {
    let tokens = "# for tests\nall\nreader read-only\nacme tenant=acme\nuser:pass database=other\n";
    let options = options().access(Access::Tokens(Tokens::parse(tokens).unwrap()));
    let api = Api::of(Arc::new(Memory::new()), options).await;
    let status = async |method: &str, path: &str, token: &str| with_token(&api, method, path, token).await.status;
    assert_eq!(status("GET", "/healthz", "").await, 200);
    assert_eq!(status("GET", COLLECTIONS, "").await, 401);
    assert_eq!(status("GET", COLLECTIONS, "Bearer wrong").await, 401);
    assert_eq!(status("GET", COLLECTIONS, "Bearer all").await, 200);
    assert_eq!(status("GET", COLLECTIONS, "Bearer reader").await, 200);
    assert_eq!(status("POST", COLLECTIONS, "Bearer reader").await, 403);
    assert_eq!(status("GET", COLLECTIONS, "Bearer acme").await, 403);
    assert_eq!(status("POST", "/api/v2/reset", "Bearer acme").await, 403);
    assert_eq!(status("GET", "/api/v2/auth/identity", "Bearer acme").await, 200);
    // Basic dXNlcjpwYXNz is user:pass.
    assert_eq!(status("GET", COLLECTIONS, "Basic dXNlcjpwYXNz").await, 403);
    assert_eq!(status("POST", COLLECTIONS, "Bearer all").await, 200);
}

#[tokio::test]
async fn a_public_address_needs_a_decision_on_access() {
    let options = options().address(SocketAddr::from(([0, 0, 0, 0], 0)));
    let refused = Server::bind(Arc::new(Memory::new()), options.clone()).await;
    assert!(refused.unwrap_err().to_string().contains("reachable from other machines"));
    Server::bind(Arc::new(Memory::new()), options.access(Access::Open)).await.unwrap();
}

#[tokio::test]
async fn a_reset_needs_permission() {
    let api = Api::of(Arc::new(Memory::new()), options().allow_reset(false)).await;
    assert_eq!(api.call("POST", "/api/v2/reset", &json!(null)).await.status, 403);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_by_its_size() {
    let api = Api::of(Arc::new(Memory::new()), options().max_body(1_000)).await;
    let answer = api.call("POST", COLLECTIONS, &json!({ "name": "x".repeat(2_000) })).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.body["error"], "BatchSizeExceededError");
    assert!(answer.body["message"].as_str().unwrap().contains("1000 bytes"), "{}", answer.body);
}

#[tokio::test]
async fn an_answer_repeats_the_id_of_its_request() {
    let api = Api::new().await;
    let request = http::Request::builder().uri("/api/v2/heartbeat").header("x-request-id", "mine");
    let answer = api.request(request.body(Full::default()).unwrap()).await;
    assert_eq!(answer.headers["x-request-id"], "mine");
    assert!(answer.body["nanosecond heartbeat"].is_u64());
}

#[test]
fn a_line_without_meaning_is_refused_without_its_token() {
    let error = Tokens::parse("good\nsecret rights=all\n").unwrap_err().to_string();
    assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
    assert!(Tokens::parse("\n").is_err());
    assert!(!format!("{:?}", Tokens::parse("secret").unwrap()).contains("secret"));
}

/// Story: a page of a stranger resolved its own name to 127.0.0.1 and read all records.
#[tokio::test]
async fn a_loopback_server_refuses_names_of_strangers() {
    let api = Api::of(Arc::new(Memory::new()), options().allowed_hosts(vec!["db.internal".to_owned()])).await;
    let asked = async |host: &str, origin: Option<&str>, path: &str| {
        let mut request = http::Request::builder().uri(path).header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        api.request(request.body(Full::default()).unwrap()).await
    };
    assert_eq!(asked("localhost:8000", Some("http://localhost:8000"), COLLECTIONS).await.status, 200);
    assert_eq!(asked("db.internal", None, COLLECTIONS).await.status, 200);
    for path in [COLLECTIONS, "/", "/api/v2/heartbeat", "/nowhere"] {
        let refused = asked("evil.example:8000", None, path).await;
        assert_eq!(refused.status, 421, "{path}: {}", refused.body);
        assert!(refused.body["message"].as_str().unwrap().contains("--allowed-host"), "{}", refused.body);
    }
    assert_eq!(asked("localhost", Some("https://evil.example"), COLLECTIONS).await.status, 403);
}
