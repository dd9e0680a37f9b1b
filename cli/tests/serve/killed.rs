//! Two servers of one bucket behind a client that takes turns, one of them killed again and again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use deltafold_testing::s3::Server;
use serde_json::{Value, json};

use crate::api::{Answer, COLLECTIONS, send};
use crate::program::{Program, in_bucket};

/// Clients that write and read all the time.
const CLIENTS: usize = 8;
/// Ids of each client.
const IDS: usize = 5;
/// Folds after every eighth segment, and sweeps that keep nothing old.
const OPTIONS: [&str; 4] = ["--fold-segments", "8", "--min-age", "0s"];

/// The state that all clients share.
struct Shared {
    servers: Mutex<[SocketAddr; 2]>,
    turn: AtomicUsize,
    /// Ids whose first write was answered.
    answered: AtomicU64,
    writes: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    /// A call of the next server; `None` without an answer of it.
    async fn call(&self, path: &str, body: &Value) -> Option<Answer> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let server = self.servers.lock().unwrap()[turn % 2];
        let method = if body.is_null() { "GET" } else { "POST" };
        let answer = send(server, method, path, body).await.ok()?;
        assert!(answer.status < 400 || answer.status >= 500 || answer.status == 429, "{path}: {}", answer.body);
        Some(answer).filter(|answer| answer.status < 300)
    }
}

/// Writes rising numbers to its own ids. Returns the last number of each that was answered.
async fn client(number: usize, at: String, shared: &Shared) -> BTreeMap<String, u64> {
    let (upsert, get, count) = (format!("{at}/upsert"), format!("{at}/get"), format!("{at}/count"));
    let mut answered: BTreeMap<String, u64> = BTreeMap::new();
    // The least number that the next read may find.
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut counted = 0;
    for n in 1.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{number}-{}", n as usize % IDS);
        let body = json!({ "ids": [id], "embeddings": [[n, 1]], "metadatas": [{ "n": n, "client": number }] });
        if shared.call(&upsert, &body).await.is_some() {
            shared.writes.fetch_add(1, Ordering::Relaxed);
            seen.insert(id.clone(), n);
            if answered.insert(id, n).is_none() {
                shared.answered.fetch_add(1, Ordering::SeqCst);
            }
        }
        if let Some(found) = shared.call(&get, &json!({ "where": { "client": number } })).await {
            let mut now = BTreeMap::new();
            for (id, metadata) in
                found.body["ids"].as_array().unwrap().iter().zip(found.body["metadatas"].as_array().unwrap())
            {
                now.insert(id.as_str().unwrap().to_owned(), metadata["n"].as_u64().unwrap());
            }
            for (id, least) in &seen {
                assert!(now.get(id) >= Some(least), "client {number} read {id} at {:?} after {least}", now.get(id));
            }
            seen = now;
        }
        let before = shared.answered.load(Ordering::SeqCst).max(counted);
        if let Some(answer) = shared.call(&count, &Value::Null).await {
            counted = answer.body.as_u64().unwrap();
            assert!(counted >= before, "client {number} counted {counted} records after {before}");
        }
    }
    answered
}

/// Any server may die at any moment: another one answers, with everything that was answered before.
/// `DELTAFOLD_KILLS=12` kills for a minute, every 5 seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answered_writes_survive_servers_that_are_killed() {
    let wanted = std::env::var("DELTAFOLD_KILLS").ok().map(|kills| kills.parse().expect("a number of kills"));
    let (kills, pause) = wanted.map_or((4, Duration::from_secs(1)), |kills: usize| (kills, Duration::from_secs(5)));
    let bucket = Server::start();
    let start = || Program::start(in_bucket(&bucket), &OPTIONS);
    let mut servers = [start(), start()];
    let addresses = [servers[0].address, servers[1].address];
    let made = send(addresses[0], "POST", COLLECTIONS, &json!({ "name": "shared" })).await.unwrap();
    let at = format!("{COLLECTIONS}/{}", made.body["id"].as_str().unwrap());
    let shared = Shared {
        servers: Mutex::new(addresses),
        turn: AtomicUsize::new(0),
        answered: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let clients = futures::future::join_all((0..CLIENTS).map(|number| client(number, at.clone(), &shared)));
    let killing = async {
        for kill in 0..kills {
            tokio::time::sleep(pause).await;
            let at = kill % 2;
            servers[at].kill();
            let started = start();
            shared.servers.lock().unwrap()[at] = started.address;
            servers[at] = started;
        }
        tokio::time::sleep(pause).await;
        shared.stop.store(true, Ordering::Relaxed);
    };
    let (answered, ()) = futures::future::join(clients, killing).await;
    println!("{kills} kills, {} answered writes", shared.writes.load(Ordering::Relaxed));
    drop(servers);
    let server = start();
    let found = send(server.address, "POST", &format!("{at}/get"), &json!({})).await.unwrap().body;
    let numbers = found["ids"].as_array().unwrap().iter().zip(found["metadatas"].as_array().unwrap());
    let numbers: BTreeMap<&str, u64> =
        numbers.map(|(id, metadata)| (id.as_str().unwrap(), metadata["n"].as_u64().unwrap())).collect();
    for (id, least) in answered.iter().flatten() {
        assert!(numbers.get(id.as_str()) >= Some(least), "{id} is at {:?} after {least}", numbers.get(id.as_str()));
    }
    assert!(answered.iter().all(|answered| !answered.is_empty()), "each client was answered");
}
