//! The server behind a function URL: the real program, with the runtime API in front and a store in
//! S3 behind.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deltafold::Collection;
use deltafold_testing::lambda::{Answer, Function, request, signed};
use deltafold_testing::s3::{self, ACCESS_KEY, Fault, SECRET_KEY, Server};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bootstrap");
/// A timeout longer than any step here takes.
const LONG: Duration = Duration::from_secs(60);
const COLLECTIONS: &str = "/api/v2/tenants/default_tenant/databases/default_database/collections";

/// Starts an instance of the function. A variable of `more` comes instead of one from here.
async fn instance(server: &Server, more: &[(&str, &str)]) -> Function {
    let store = format!("s3://{}/data?endpoint={}", s3::BUCKET, server.endpoint());
    let mut variables = vec![
        ("DELTAFOLD_FUNCTION", "serve"),
        ("DELTAFOLD_STORE", &store),
        ("DELTAFOLD_AUTH", "none"),
        ("DELTAFOLD_CACHE", "0"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024"),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ];
    variables.extend_from_slice(more);
    Function::start(PROGRAM, &variables).await
}

/// Status and body of the answer to an event.
async fn sent(function: &Function, event: &Value) -> (u64, Value) {
    let (answer, _) = function.invoke(event, LONG).await;
    read(&answer.done())
}

fn read(answer: &Value) -> (u64, Value) {
    let status = answer["statusCode"].as_u64().unwrap_or_else(|| panic!("{answer}"));
    let body = answer["body"].as_str().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

async fn call(function: &Function, method: &str, path: &str, body: Value) -> (u64, Value) {
    sent(function, &request(method, path, &body)).await
}

/// The body of an answer with a status below 300.
async fn ok(function: &Function, method: &str, path: &str, body: Value) -> Value {
    let (status, answer) = call(function, method, path, body).await;
    assert!(status < 300, "{method} {path}: {status} {answer}");
    answer
}

/// Makes a collection, and returns its path.
async fn collection(function: &Function, name: &str) -> String {
    let made = ok(function, "POST", COLLECTIONS, json!({ "name": name })).await;
    format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap())
}

async fn add(function: &Function, at: &str, ids: &[&str]) -> u64 {
    let embeddings: Vec<[usize; 2]> = (0..ids.len()).map(|n| [n, 1]).collect();
    call(function, "POST", &format!("{at}/add"), json!({ "ids": ids, "embeddings": embeddings })).await.0
}

async fn ids(function: &Function, at: &str) -> Vec<String> {
    let found = ok(function, "POST", &format!("{at}/get"), json!({ "include": [] })).await;
    serde_json::from_value(found["ids"].clone()).unwrap()
}

#[tokio::test]
async fn a_client_works_with_a_collection() {
    let server = Server::start();
    let function = instance(&server, &[]).await;
    assert_eq!(server.calls().len(), 0, "the start reads nothing");
    let heartbeat = ok(&function, "GET", "/api/v2/heartbeat", Value::Null).await;
    assert!(heartbeat["nanosecond heartbeat"].as_u64() > Some(0));
    let limits = ok(&function, "GET", "/api/v2/pre-flight-checks", Value::Null).await;
    assert_eq!(limits["max_batch_size"], 500, "larger batches may not fit into a request");

    let at = collection(&function, "articles").await;
    let vector = |numbers: [f32; 2]| STANDARD.encode(numbers.map(f32::to_le_bytes).concat());
    let batch = json!({
        "ids": ["a", "b", "c"],
        "embeddings": [vector([1.0, 0.0]), vector([0.0, 1.0]), vector([0.9, 0.1])],
        "documents": ["ä", "b", "c"],
        "metadatas": [{ "n": 1 }, { "n": 2 }, { "n": 3 }],
    });
    // The service encodes bodies whose type it does not take for text.
    let mut event = request("POST", &format!("{at}/add"), &Value::Null);
    event["body"] = STANDARD.encode(batch.to_string()).into();
    event["isBase64Encoded"] = true.into();
    assert_eq!(sent(&function, &event).await.0, 201);

    let query = json!({ "query_embeddings": [[1, 0]], "n_results": 2, "where": { "n": { "$gte": 1 } } });
    let found = ok(&function, "POST", &format!("{at}/query"), query).await;
    assert_eq!((&found["ids"], &found["documents"]), (&json!([["a", "c"]]), &json!([["ä", "c"]])));
    let deleted = ok(&function, "POST", &format!("{at}/delete"), json!({ "where": { "n": 1 } })).await;
    assert_eq!(deleted["deleted"], 1);
    assert_eq!(ids(&function, &at).await, ["b", "c"]);
    let listed = ok(&function, "GET", &format!("{COLLECTIONS}?limit=1"), Value::Null).await;
    assert_eq!(listed[0]["name"], "articles");
    assert_eq!(call(&function, "GET", &format!("{COLLECTIONS}/none"), Value::Null).await.0, 404);
    assert_eq!(call(&function, "GET", "/api/v1/heartbeat", Value::Null).await.0, 410);

    // An event of another kind is not a request, and the next request is answered.
    let (answer, _) = function.invoke(&json!({ "Records": [] }), LONG).await;
    let Answer::Failed(kind, reason) = answer else { panic!("{answer:?}") };
    assert!(kind == "Deltafold.Event" && reason.contains("its URL"), "{kind}: {reason}");
    let mut odd = request("GET", "/", &Value::Null);
    odd["rawPath"] = "/a b".into();
    assert_eq!(sent(&function, &odd).await.0, 400);
    assert_eq!(ids(&function, &at).await, ["b", "c"]);
}

#[tokio::test]
async fn strangers_get_nothing() {
    let server = Server::start();
    let version = request("GET", "/api/v2/version", &Value::Null);
    let with = |name: &str, value: &str| {
        let mut event = version.clone();
        event["headers"][name] = value.into();
        event
    };

    // Without settings, the service must have checked a signature.
    let function = instance(&server, &[("DELTAFOLD_AUTH", "")]).await;
    let (status, said) = sent(&function, &version).await;
    assert!(status == 403 && said["message"].as_str().unwrap().contains("AWS_IAM"), "{status} {said}");
    assert_eq!(sent(&function, &signed(version.clone())).await.0, 200);

    let tokens = ("DELTAFOLD_TOKENS", "writer\nreader read-only");
    let function = instance(&server, &[("DELTAFOLD_AUTH", ""), tokens]).await;
    assert_eq!(sent(&function, &version).await.0, 401);
    assert_eq!(sent(&function, &signed(version.clone())).await.0, 401);
    assert_eq!(sent(&function, &with("authorization", "Bearer writer")).await.0, 200);
    assert_eq!(sent(&function, &with("x-chroma-token", "reader")).await.0, 200);
    let mut create = request("POST", COLLECTIONS, &json!({ "name": "articles" }));
    create["headers"]["x-chroma-token"] = "reader".into();
    assert_eq!(sent(&function, &create).await.0, 403);
    let line = |line: &Value| line.to_string().contains("writer");
    assert!(!function.lines().iter().any(line), "no token is logged");

    // With both, each is checked.
    let function = instance(&server, &[("DELTAFOLD_AUTH", "iam"), tokens]).await;
    assert_eq!(sent(&function, &with("x-chroma-token", "writer")).await.0, 403);
    assert_eq!(sent(&function, &signed(with("x-chroma-token", "writer"))).await.0, 200);
    let mut function = instance(&server, &[("DELTAFOLD_AUTH", "tokens")]).await;
    let said = function.refused().await;
    assert!(said["errorMessage"].as_str().unwrap().contains("DELTAFOLD_TOKENS is not set"), "{said}");
    assert_eq!(function.exit().code(), Some(1));
}

/// Two instances work on one bucket, and one is killed in the middle of a write. Each answered
/// write is in the next read of the other, and the write in doubt is there whole or not at all.
#[tokio::test]
async fn instances_share_a_bucket_and_may_be_killed() {
    let server = Server::start();
    let (one, other) = (instance(&server, &[]).await, instance(&server, &[]).await);
    let at = collection(&one, "shared").await;
    for n in 0..6 {
        let (writes, reads) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        assert_eq!(add(writes, &at, &[&format!("{n}")]).await, 201);
        assert_eq!(ids(reads, &at).await.len(), n + 1);
    }
    server.fail("create", "/log/", Fault::Slow(Duration::from_secs(30)));
    let batch = json!({ "ids": ["x", "y"], "embeddings": [[1, 2], [3, 4]] });
    let event = request("POST", &format!("{at}/add"), &batch);
    let (answer, _) = one.invoke(&event, Duration::from_secs(1)).await;
    // The function has told the client, or the service has: either way the write is in doubt.
    assert!(answer == Answer::TimedOut || read(&answer.clone().done()).0 == 504, "{answer:?}");
    assert!(server.all_reached());
    drop(one);
    let after = ids(&other, &at).await.len();
    assert!(after == 6 || after == 8, "{after}");
    let again = instance(&server, &[]).await;
    assert_eq!(add(&again, &at, &["x", "y"]).await, 201);
    assert_eq!(ids(&again, &at).await.len(), 8);
    assert_eq!(ids(&other, &at).await, ids(&again, &at).await);
}

#[tokio::test]
async fn a_late_answer_is_504_and_the_next_is_right() {
    let server = Server::start();
    let function = instance(&server, &[]).await;
    let at = collection(&function, "late").await;
    assert_eq!(add(&function, &at, &["a"]).await, 201);
    server.fail("get", "/head", Fault::Slow(Duration::from_secs(20)));
    let event = request("POST", &format!("{at}/get"), &json!({}));
    let (answer, _) = function.invoke(&event, Duration::from_secs(3)).await;
    let (status, said) = read(&answer.done());
    assert!(status == 504 && said["message"].as_str().unwrap().contains("too long"), "{status} {said}");
    assert_eq!(ids(&function, &at).await, ["a"]);
}

#[tokio::test]
async fn the_limits_of_the_service_are_told() {
    let server = Server::start();
    let function = instance(&server, &[]).await;
    let at = collection(&function, "large").await;
    let large = "x".repeat(7 << 20);
    let (status, said) = call(&function, "POST", &format!("{at}/add"), json!({ "ids": [large] })).await;
    assert!(status == 413 && said["message"].as_str().unwrap().contains("6291456"), "{status} {said}");
    let document = "\"".repeat(1 << 20);
    for id in ["a", "b", "c", "d"] {
        let add = json!({ "ids": [id], "embeddings": [[1, 2]], "documents": [document] });
        ok(&function, "POST", &format!("{at}/add"), add).await;
    }
    // Each quote takes two characters of the answer, and four of the event around it. The answer
    // with two records is within the limit, and only its event is not.
    let get = format!("{at}/get");
    for query in [json!({}), json!({ "limit": 2 })] {
        let (status, said) = call(&function, "POST", &get, query).await;
        assert!(status == 400 && said["message"].as_str().unwrap().contains("`limit`"), "{status} {said}");
    }
    let found = ok(&function, "POST", &get, json!({ "limit": 1 })).await;
    assert_eq!(found["documents"][0].as_str().unwrap().len(), 1 << 20);
    assert_eq!(ids(&function, &at).await.len(), 4, "without documents all fit");
}

/// The server asks for a fold where a log is long. The schedule of the function that folds finds
/// the collections of clients by itself.
#[tokio::test]
async fn the_other_function_folds_long_logs() {
    let server = Server::start();
    let more = [("DELTAFOLD_COMPACT_FUNCTION", "fold"), ("DELTAFOLD_FOLD_SEGMENTS", "4")];
    let function = instance(&server, &more).await;
    let at = collection(&function, "long").await;
    for n in 0..5 {
        assert_eq!(add(&function, &at, &[&format!("{n}")]).await, 201);
    }
    let asked = function.started();
    let [(name, event)] = &asked[..] else { panic!("{asked:?}") };
    let place = event["collections"][0].as_str().unwrap();
    assert!(name == "fold" && place.starts_with("http.") && place.ends_with(".long"), "{event}");

    let compact = [("DELTAFOLD_FUNCTION", "compact"), ("DELTAFOLD_COLLECTION", "*")];
    let compact = instance(&server, &compact).await;
    let schedule = json!({ "detail-type": "Scheduled Event", "source": "aws.scheduler" });
    let (answer, _) = compact.invoke(&schedule, LONG).await;
    assert_eq!(answer.done()["collections"][0]["folds"], 1);
    let (answer, _) = compact.invoke(&json!({ "collections": [] }), LONG).await;
    assert_eq!(answer.done()["collections"], json!([]), "none is none, not all");
    let store = std::sync::Arc::new(server.store_under("data").await);
    let folded = Collection::open(store, &place.parse().unwrap()).await.unwrap();
    assert!(folded.status().await.unwrap().shards.iter().all(|shard| shard.folded == shard.tail));
    assert_eq!(ids(&function, &at).await.len(), 5);
    // A dropped collection is not a failure of the schedule.
    ok(&function, "DELETE", &format!("{COLLECTIONS}/long"), Value::Null).await;
    let (answer, _) = compact.invoke(&schedule, LONG).await;
    assert_eq!(answer.done()["collections"], json!([]));
}

/// Parts lie in the temporary storage of the instance, which outlives its process.
#[tokio::test]
async fn a_second_process_reads_parts_from_its_storage() {
    let server = Server::start();
    let temporary = tempfile::tempdir().unwrap();
    let more = [("TMPDIR", temporary.path().to_str().unwrap()), ("DELTAFOLD_CACHE", "64MiB")];
    let function = instance(&server, &more).await;
    let at = collection(&function, "warm").await;
    assert_eq!(add(&function, &at, &["a", "b", "c"]).await, 201);
    let compact = [("DELTAFOLD_FUNCTION", "compact"), ("DELTAFOLD_COLLECTION", "*")];
    let (answer, _) = instance(&server, &compact).await.invoke(&json!({}), LONG).await;
    assert_eq!(answer.done()["collections"][0]["folds"], 1);
    let query = json!({ "query_embeddings": [[2, 1]], "n_results": 1 });
    let path = format!("{at}/query");
    let parts = || server.calls().iter().filter(|call| call.contains("/part/")).count();
    parts();
    assert_eq!(ok(&function, "POST", &path, query.clone()).await["ids"], json!([["c"]]));
    assert!(parts() > 0, "the first query reads parts");
    drop(function);
    let function = instance(&server, &more).await;
    assert_eq!(ok(&function, "POST", &path, query.clone()).await["ids"], json!([["c"]]));
    assert_eq!(parts(), 0, "a new process finds them");
    assert_eq!(ok(&function, "POST", &path, query).await["ids"], json!([["c"]]));
    let calls = server.calls();
    assert_eq!(calls.len(), 2, "a warm query makes two conditional requests: {calls:?}");
}

/// The template on an emulator, which calls the real program for each request of the URL.
#[cfg(target_os = "linux")]
mod deployed {
    use std::path::Path;
    use std::process::Command;

    use bytes::Bytes;
    use deltafold_testing::{ministack, venv};
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpStream;

    use super::*;

    async fn http(method: &str, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
        let address = ministack::endpoint().strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(path).header("host", address);
        request = request.header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("x-chroma-token", token);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = client.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn the_template_serves_clients() {
        let within = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let python = venv::installed("deploy", include_str!("checks/requirements.txt")).join("bin/python");
        let parameters =
            json!({ "Source": "stream", "Collection": "c", "Serve": "tokens", "ServeTokens": "t;u read-only" });
        let said = venv::run(
            Command::new(python)
                .arg("-B")
                .arg(within("cli/tests/deploy/checks/deploy_stack.py"))
                .arg(ministack::endpoint())
                .arg(within("docs/deploy/template.yaml"))
                .args(["served", PROGRAM, "", &parameters.to_string()]),
        );
        let outputs: Value = serde_json::from_str(&said).unwrap();
        let url = outputs["Url"].as_str().unwrap();
        let id = url.strip_prefix("https://").and_then(|url| url.split('.').next()).unwrap();
        let at = |path: &str| format!("/_aws/lambda-url/{id}{path}");

        assert_eq!(http("GET", &at("/api/v2/version"), None, &Value::Null).await.0, 401);
        let name = json!({ "name": "articles" });
        assert_eq!(http("POST", &at(COLLECTIONS), Some("u"), &name).await.0, 403, "it may only read");
        let (status, made) = http("POST", &at(COLLECTIONS), Some("t"), &name).await;
        assert_eq!(status, 200, "{made}");
        let collection = at(&format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap()));
        let batch = json!({ "ids": ["a", "b"], "embeddings": [[1, 0], [0, 1]], "documents": ["x", "y"] });
        let (status, said) = http("POST", &format!("{collection}/add"), Some("t"), &batch).await;
        assert_eq!(status, 201, "{said}");
        let query = json!({ "query_embeddings": [[0, 1]], "n_results": 1 });
        let (_, found) = http("POST", &format!("{collection}/query"), Some("u"), &query).await;
        assert_eq!((&found["ids"], &found["documents"]), (&json!([["b"]]), &json!([["y"]])));
        let ids = json!({ "ids": ["a"] });
        assert_eq!(http("POST", &format!("{collection}/delete"), Some("t"), &ids).await.0, 200);
        assert_eq!(http("GET", &format!("{collection}/count"), Some("u"), &Value::Null).await, (200, json!(1)));
    }
}

#[tokio::test]
async fn each_request_prints_its_metrics() {
    let server = Server::start();
    let function = instance(&server, &[]).await;
    let at = collection(&function, "records").await;
    let record = json!({ "ids": ["a"], "embeddings": [[1, 2]] });
    let (answer, id) = function.invoke(&request("POST", &format!("{at}/add"), &record), LONG).await;
    assert_eq!(read(&answer.done()).0, 201);
    let metrics = function.metrics(&id).await;
    assert_eq!(metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Function"]]));
    assert_eq!((&metrics["Function"], &metrics["Failed"]), (&json!("serve"), &json!(0)));
    assert!(metrics["BytesOut"].as_u64().unwrap() > 0, "{metrics}");
}
