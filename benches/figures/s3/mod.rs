//! The store on S3, against the raw calls of the SDK to the same server in the same run. The server
//! has its own process, as it would have its own machine.

mod append;
mod bulk;
mod contention;
mod fold;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use base64::Engine;
use bytes::Bytes;
use deltafold::store::{S3, Store};
use deltafold::{Collection, CreateOptions};
use deltafold_testing::s3 as server;

use crate::data::DIMENSION;
use crate::measure::cpu_time_of;

pub(crate) use append::{many_callers, one_caller};
pub(crate) use bulk::bulk_and_open;
pub(crate) use contention::contention;
pub(crate) use fold::fold;

/// A server in a process of its own.
pub(crate) struct Far {
    process: Child,
    endpoint: String,
}

impl Far {
    /// A server where every request takes this long.
    pub(crate) fn start(latency: Duration) -> Self {
        Self::start_with(&[latency.as_millis().to_string()])
    }

    /// A server where all bodies also come at this rate, in both directions.
    pub(crate) fn start_behind_a_line(latency: Duration, bytes_per_second: u64) -> Self {
        Self::start_with(&[latency.as_millis().to_string(), bytes_per_second.to_string()])
    }

    fn start_with(arguments: &[String]) -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(program);
        command.env("DELTAFOLD_BENCH_CHILD", "server").args(arguments);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut endpoint = String::new();
        let output = process.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut endpoint).expect("the server says where it is");
        Self { process, endpoint: endpoint.trim().to_owned() }
    }

    pub(crate) async fn store(&self) -> S3 {
        S3::open(server::BUCKET, "", &server::options(&self.endpoint)).await.expect("a store")
    }

    /// CPU time of the server.
    pub(crate) fn cpu_time(&self) -> Duration {
        cpu_time_of(&self.process.id().to_string())
    }

    pub(crate) fn client(&self) -> Client {
        server::client(&self.endpoint)
    }

    pub(crate) async fn create(&self) -> Collection {
        let store: Arc<dyn Store> = Arc::new(self.store().await);
        let name = "bench".parse().expect("a name");
        Collection::create(store, &name, &CreateOptions::new(DIMENSION)).await.expect("an empty bucket")
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves until its parent process ends.
pub(crate) fn serve(arguments: &[String]) {
    let latency = arguments.first().and_then(|text| text.parse().ok()).expect("a latency in milliseconds");
    let running = server::Server::start();
    running.latency(Duration::from_millis(latency));
    if let Some(rate) = arguments.get(1) {
        running.bandwidth(rate.parse().expect("a number of bytes a second"));
    }
    println!("{}", running.endpoint());
    std::io::stdout().flush().expect("a reader of the output");
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// The raw call that creates an object, with the checksum that the service compares.
pub(crate) async fn raw_put(client: &Client, key: &str, bytes: Bytes) {
    let checksum = base64::prelude::BASE64_STANDARD.encode(crc32fast::hash(&bytes).to_be_bytes());
    let request = client.put_object().bucket(server::BUCKET).key(key).if_none_match("*");
    request.checksum_crc32(checksum).body(bytes.into()).send().await.expect("a fresh name");
}

/// The raw call that reads a whole object.
pub(crate) async fn raw_get(client: &Client, key: &str) -> Bytes {
    let object = client.get_object().bucket(server::BUCKET).key(key).send().await.expect("it is there");
    object.body.collect().await.expect("its bytes").into_bytes()
}

/// The raw call that reads an unchanged object.
pub(crate) async fn raw_get_unless(client: &Client, key: &str, tag: &str) {
    let request = client.get_object().bucket(server::BUCKET).key(key).if_none_match(tag);
    let unchanged = request.send().await.expect_err("no other writer is at it");
    assert_eq!(unchanged.raw_response().map(|response| response.status().as_u16()), Some(304));
}
