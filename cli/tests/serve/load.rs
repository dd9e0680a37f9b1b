//! The memory of a server under load, as the kernel counts it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::api::{COLLECTIONS, send};
use crate::program::{Program, command};

/// Clients at once.
const CLIENTS: usize = 6;
/// Batches of each.
const BATCHES: usize = 14;
/// Records of a batch.
const RECORDS: usize = 50;
/// Numbers of an embedding: 4 KiB.
const DIMENSION: usize = 1_024;
/// Bytes of a document. All documents are 66 MiB.
const DOCUMENT: usize = 16 << 10;
/// The settings, in MiB, and the most that `docs/memory.md` allows beside them.
const MEMORY: u64 = 64;
const REQUESTS: u64 = 16;
const BESIDE: u64 = 64;

/// A call that is repeated while the server is busy. Counts the refusals.
async fn call(server: SocketAddr, path: &str, body: Value, refused: &AtomicUsize) -> Value {
    loop {
        let answer = send(server, "POST", path, &body).await.unwrap();
        if answer.status < 300 {
            return answer.body;
        }
        assert!(matches!(answer.status, 429 | 503), "{path}: {} {}", answer.status, answer.body);
        refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes batches, and searches all records after each.
async fn client(number: usize, server: SocketAddr, at: &str, refused: &AtomicUsize) {
    let row = |n: usize| vec![n; DIMENSION];
    for batch in 0..BATCHES {
        let numbers: Vec<usize> = (0..RECORDS).map(|n| (batch * RECORDS + n) * CLIENTS + number).collect();
        let body = json!({
            "ids": numbers.iter().map(usize::to_string).collect::<Vec<_>>(),
            "embeddings": numbers.iter().copied().map(row).collect::<Vec<_>>(),
            "documents": numbers.iter().map(|n| format!("{n} {}", "x".repeat(DOCUMENT))).collect::<Vec<_>>(),
        });
        call(server, &format!("{at}/upsert"), body, refused).await;
        let wanted = numbers[batch % RECORDS];
        let body = json!({ "query_embeddings": [row(wanted)], "n_results": 20, "include": ["documents"] });
        let found = call(server, &format!("{at}/query"), body, refused).await;
        assert_eq!(found["ids"][0][0], wanted.to_string());
        assert!(found["documents"][0][0].as_str().unwrap().starts_with(&format!("{wanted} ")));
    }
}

/// Six clients bring more than the whole memory that the server may use, and search it meanwhile.
/// It folds after every eighth segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_under_load_stays_within_the_setting() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path().to_str().unwrap());
    command.args(["--memory", &format!("{MEMORY}MiB")]);
    let server = Program::start(command, &["--fold-segments", "8", "--request-memory", &format!("{REQUESTS}MiB")]);
    let refused = AtomicUsize::new(0);
    let begun = server.peak_mib();
    let made = call(server.address, COLLECTIONS, json!({ "name": "loaded" }), &refused).await;
    let at = format!("{COLLECTIONS}/{}", made["id"].as_str().unwrap());
    let clients = (0..CLIENTS).map(|number| client(number, server.address, &at, &refused));
    futures::future::join_all(clients).await;
    let count = send(server.address, "GET", &format!("{at}/count"), &Value::Null).await.unwrap();
    assert_eq!(count.body, CLIENTS * BATCHES * RECORDS);
    let metrics = send(server.address, "GET", "/metrics", &Value::Null).await.unwrap().text;
    let folds = metrics.lines().find(|line| line.starts_with("deltafold_folds_total{")).unwrap();
    let folds = folds.rsplit_once(' ').unwrap().1;
    let peak = server.peak_mib();
    println!("{peak} MiB, {begun} of them at the start; {folds} folds, {} refusals", refused.into_inner());
    assert_ne!(folds, "0");
    assert!(peak <= MEMORY + REQUESTS + BESIDE, "{peak} MiB resident, with --memory {MEMORY}MiB");
}
