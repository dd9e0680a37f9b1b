//! Limits that keep one client from the memory and the connections of the others.

use std::sync::Arc;
use std::time::Duration;

use deltafold::store::Memory;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::{Api, COLLECTIONS, options, send};
use crate::own::own;
use crate::program::{Program, command};

/// A server with one connection, which it takes from a client that is silent for a moment.
async fn with_one_connection() -> Api {
    let options = options().max_connections(1).read_timeout(Duration::from_millis(300));
    Api::of(Arc::new(Memory::new()), options).await
}

/// The only connection is free again.
async fn is_answered(api: &Api) {
    api.ok("GET", "/api/v2/heartbeat", Value::Null).await;
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_cut() {
    let api = with_one_connection().await;
    let _silent = TcpStream::connect(api.address()).await.unwrap();
    is_answered(&api).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut() {
    let api = with_one_connection().await;
    let mut slow = TcpStream::connect(api.address()).await.unwrap();
    let head = format!("POST {COLLECTIONS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{");
    slow.write_all(head.as_bytes()).await.unwrap();
    is_answered(&api).await;
    assert_eq!(api.ok("GET", COLLECTIONS, Value::Null).await, json!([]));
}

/// A client asked for an answer larger than the buffers of the kernel and read none of it. The
/// server held the answer and the connection for ever.
#[tokio::test]
async fn a_client_that_reads_no_answer_is_cut() {
    let api = with_one_connection().await;
    let at = api.collection("large").await;
    let document = "x".repeat(8 << 20);
    for id in ["a", "b", "c"] {
        api.ok("POST", &format!("{at}/add"), json!({ "ids": [id], "embeddings": [[1]], "documents": [document] }))
            .await;
    }
    let mut deaf = TcpStream::connect(api.address()).await.unwrap();
    let request = format!("POST {at}/get HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{{}}");
    deaf.write_all(request.as_bytes()).await.unwrap();
    is_answered(&api).await;
}

#[tokio::test]
async fn a_call_of_too_many_records_names_the_limit() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    let ids: Vec<String> = (0..100_001).map(|n| n.to_string()).collect();
    for call in ["get", "delete"] {
        let answer = api.call("POST", &format!("{at}/{call}"), &json!({ "ids": ids })).await;
        assert_eq!(answer.status, 422, "{call}: {}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains("at most 100000 records"), "{}", answer.body);
    }
}

#[tokio::test]
async fn queries_of_too_many_hits_name_the_limit() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    let ids: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    api.ok("POST", &format!("{at}/add"), json!({ "ids": ids, "embeddings": vec![[1]; 300] })).await;
    let query = |n: usize| json!({ "query_embeddings": vec![[1]; n], "n_results": 1_000_000, "include": [] });
    let answer = api.call("POST", &format!("{at}/query"), &query(900)).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.body["message"].as_str().unwrap().contains("a call 262144"), "{}", answer.body);
    // A collection has no more hits than records.
    let found = api.ok("POST", &format!("{at}/query"), query(2)).await;
    assert_eq!(found["ids"][1].as_array().unwrap().len(), 300);
}

/// Story: a query for many hits held all their documents in memory, and the JSON of them beside.
#[tokio::test]
async fn a_query_for_large_documents_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Program::start(command(folder.path().to_str().unwrap()), &[]);
    let call = async |server: &Program, path: String, body: Value| {
        let answer = send(server.address, "POST", &path, &body).await.unwrap();
        assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.body);
        answer
    };
    let mut server = start();
    let made = call(&server, COLLECTIONS.to_owned(), json!({ "name": "large" })).await;
    let at = format!("{COLLECTIONS}/{}", made.body["id"].as_str().unwrap());
    let ids: Vec<String> = (0..24).map(|n| n.to_string()).collect();
    for id in &ids {
        let document = format!("{id} {}", "x".repeat(4 << 20));
        call(&server, format!("{at}/add"), json!({ "ids": [id], "embeddings": [[1]], "documents": [document] })).await;
    }
    call(&server, format!("{}/compact", own(&at)), json!({})).await;
    // The writes are no part of the peak of the next one.
    server.kill();
    let server = start();
    let query = |n: usize, ids: Option<&[String]>| json!({ "query_embeddings": [[0]], "n_results": n, "ids": ids });
    call(&server, format!("{at}/query"), query(1, None)).await;
    let before = server.peak_mib();
    for ids in [None, Some(&ids[..])] {
        let found = call(&server, format!("{at}/query"), query(24, ids)).await;
        assert_eq!(found.body["documents"][0].as_array().unwrap().len(), 24);
    }
    let more = server.peak_mib() - before;
    assert!(more < 100, "{more} MiB beyond {before} for 96 MiB of documents");
}

/// Story: the rows that queries read stayed resident, until they were more memory than all else of
/// the server. It copies them from their file, which it keeps open.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn rows_of_a_folder_are_copied_from_their_file() {
    const RECORDS: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let server = Program::start(command(folder.path().to_str().unwrap()), &[]);
    let call = async |path: &str, body: Value| {
        let answer = send(server.address, "POST", path, &body).await.unwrap();
        assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.body);
        answer.body
    };
    let made = call(COLLECTIONS, json!({ "name": "rows" })).await;
    let at = format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap());
    let row = |n: usize| vec![n; 1_024];
    let rows: Vec<_> = (0..RECORDS).map(row).collect();
    let ids: Vec<_> = (0..RECORDS).map(|n| n.to_string()).collect();
    call(&format!("{at}/add"), json!({ "ids": ids, "embeddings": rows })).await;
    call(&format!("{}/compact", own(&at)), json!({})).await;
    let found = call(&format!("{at}/query"), json!({ "query_embeddings": [row(7)], "n_results": 3 })).await;
    assert_eq!(found["ids"][0][0], "7");
    let root = folder.path().canonicalize().unwrap();
    let open: Vec<_> = server.files().into_iter().filter(|file| file.starts_with(&root)).collect();
    assert!(open.iter().any(|file| file.to_str().unwrap().contains("/part/")), "{open:?}");
}

#[tokio::test]
async fn a_value_of_free_form_is_bounded_while_it_is_read() {
    let api = Api::new().await;
    let at = api.collection("records").await;
    let many = json!(vec![0; 140_000]);
    let record = json!({ "ids": ["a"], "embeddings": [[1]], "metadatas": [{ "k": many }] });
    let refused = [
        (format!("{at}/get"), json!({ "where": { "n": { "$in": many } } })),
        (format!("{at}/get"), json!({ "where_document": many })),
        (format!("{at}/add"), record),
        (COLLECTIONS.to_owned(), json!({ "name": "made", "schema": many })),
        (COLLECTIONS.to_owned(), json!({ "name": "made", "metadata": { "k": many } })),
    ];
    for (path, body) in refused {
        let answer = api.call("POST", &path, &body).await;
        assert_eq!(answer.status, 422, "{path}: {}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains("more than 131072 values"), "{}", answer.body);
    }
}

/// A client announces a body that fills the memory for bodies, and sends none of it. Until the
/// server gives it up, no other body finds room.
#[tokio::test]
async fn a_body_finds_room_once_the_one_before_is_given_up() {
    let options = options().request_memory(1 << 20).read_timeout(Duration::from_secs(1));
    let api = Api::of(Arc::new(Memory::new()), options).await;
    let at = api.collection("records").await;
    let mut slow = TcpStream::connect(api.address()).await.unwrap();
    let head = format!("POST {at}/add HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n{{");
    slow.write_all(head.as_bytes()).await.unwrap();
    // The server has read the head before it answers another connection.
    is_answered(&api).await;
    let body = json!({ "ids": ["a"], "embeddings": [[1]], "documents": ["x".repeat(200 << 10)] });
    let path = format!("{at}/add");
    let mut second = std::pin::pin!(api.call("POST", &path, &body));
    let mut first = [0; 12];
    tokio::select! {
        biased;
        read = slow.read_exact(&mut first) => assert!(read.is_ok() && first == *b"HTTP/1.1 408"),
        answer = &mut second => panic!("it found room meanwhile: {}", answer.body),
    }
    assert_eq!(second.await.status, 201);
}

/// Bodies that arrive at once take turns where the memory for them is short.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_memory_for_them_wait() {
    let api = Api::of(Arc::new(Memory::new()), options().request_memory(1 << 20)).await;
    let at = api.collection("records").await;
    let body = |n: usize| json!({ "ids": [n.to_string()], "embeddings": [[1]], "documents": ["x".repeat(200 << 10)] });
    let path = format!("{at}/add");
    let statuses = futures::future::join_all((0..12).map(|n| {
        let (api, path, body) = (&api, &path, body(n));
        async move { api.call("POST", path, &body).await.status }
    }));
    assert_eq!(statuses.await, [201; 12]);
}
