//! Thirty-two writers in four processes, four compactors and a sweeper on one shard, in a bucket
//! that loses answers, fails and conflicts. Every acknowledged op is there, once and in order, and
//! every byte verifies.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Patch, Record, Value};
use deltafold::store::{S3, Store};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Depth, Entry, Policy, ScanOptions, SweepOptions, Writer, WriterOptions,
};
use deltafold_testing::ministack;
use deltafold_testing::random::Random;
use deltafold_testing::s3::{BUCKET, Rates, Server, bucket_at, options};
use futures::TryStreamExt;

const PROCESSES: usize = 4;
const WRITERS_A_PROCESS: usize = 8;
/// The ids that each writer changes, over and over.
const IDS: usize = 50;
/// The most ops of one append.
const OPS_AN_APPEND: u64 = 80;

/// The orders for a child process, in its environment: endpoint, bucket, number of the process, ops
/// of each of its writers.
const TASK: &str = "DELTAFOLD_TEST_TASK";

fn child(endpoint: &str, bucket: &str, process: usize, ops: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "bucket::all_at_once::work_of_child_processes", "--nocapture"]).stdout(Stdio::null());
    command.env(TASK, format!("{endpoint} {bucket} {process} {ops}")).spawn().unwrap()
}

/// Not a test of its own: the tests run it in child processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_of_child_processes() {
    let Ok(task) = std::env::var(TASK) else { return };
    let words: Vec<&str> = task.split(' ').collect();
    let [endpoint, bucket, process, ops] = words.as_slice() else { panic!("{task}") };
    let (process, ops): (usize, usize) = (process.parse().unwrap(), ops.parse().unwrap());
    let collection = opened(endpoint, bucket).await;
    let (done, mut watching) = tokio::sync::watch::channel(false);
    let compacting = {
        let collection = collection.clone();
        tokio::spawn(async move {
            let policy = Policy::default().fold_segments(16);
            let stop = async move { drop(watching.wait_for(|done| *done).await) };
            let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
            compactor.watch(Duration::from_millis(20), stop, |_| ()).await.unwrap();
        })
    };
    let writers = (0..WRITERS_A_PROCESS).map(|number| {
        let writer = collection.writer(WriterOptions::default()).unwrap();
        tokio::spawn(write(writer, process * WRITERS_A_PROCESS + number, ops))
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    done.send(true).unwrap();
    compacting.await.unwrap();
}

/// Appends ops 0 to `ops` of one writer, each of which counts up one of its ids.
async fn write(writer: Writer, number: usize, ops: usize) {
    let mut random = Random::new(number as u64);
    let mut next = 0;
    while next < ops {
        let end = ops.min(next + 1 + random.below(OPS_AN_APPEND) as usize);
        writer.append((next..end).map(|count| op(number, count)).collect()).await.unwrap();
        next = end;
    }
}

fn op(writer: usize, count: usize) -> Op {
    let id = format!("{writer}/{}", count % IDS);
    let metadata = BTreeMap::from([("n".to_owned(), Value::I64(count as i64))]);
    if count.is_multiple_of(7) {
        return Op::put(id, Record { embedding: Some(vec![writer as f32, count as f32]), metadata, document: None });
    }
    let metadata = metadata.into_iter().map(|(key, value)| (key, Some(value))).collect();
    Op::upsert(id, Patch { metadata, ..Patch::default() })
}

async fn opened(endpoint: &str, bucket: &str) -> Collection {
    let store = S3::open(bucket, "", &options(endpoint)).await.unwrap();
    Collection::open(Arc::new(store), &"c".parse().unwrap()).await.unwrap()
}

async fn all_actors_at_once(server: &Server, store: S3, rates: Rates, total: usize) {
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let seed = Random::from_environment().next();
    server.fail_at_random(seed, rates);
    let ops = total.div_ceil(PROCESSES * WRITERS_A_PROCESS);
    let mut children: Vec<Child> =
        (0..PROCESSES).map(|process| child(&server.endpoint(), store.bucket(), process, ops)).collect();
    let sweep = SweepOptions::default().keep_versions(3).min_age(Duration::ZERO);
    let mut running = true;
    let (mut sweeps, mut swept) = (0, 0);
    while running {
        // A sweep that lost its race is not counted.
        if let Ok(reports) = collection.sweep(&sweep).await {
            sweeps += 1;
            swept += reports.iter().map(|(_, report)| report.segments + report.parts).sum::<u64>();
        }
        running = children.iter_mut().any(|child| child.try_wait().unwrap().is_none());
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    server.heal();
    let mut by_verb: BTreeMap<String, usize> = BTreeMap::new();
    for call in server.calls() {
        *by_verb.entry(call.split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    eprintln!("{by_verb:?}");
    assert!(sweeps > 0 && swept > 0, "{sweeps} sweeps of {swept} objects");
    check(&collection, ops).await;
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    check(&collection, ops).await;
    let status = collection.status().await.unwrap();
    let appended = (ops * PROCESSES * WRITERS_A_PROCESS) as u64;
    assert_eq!(status.shards[0].ops, appended, "every op once: those folded are counted");
    let requests = store.requests().total();
    assert!(requests.failed > 0 && requests.retries > 0, "the bucket did fail: {requests:?}");
    eprintln!(
        "{appended} ops in {} segments, {} versions",
        status.shards[0].tail.get(),
        status.shards[0].version.get()
    );
}

/// Every id has the count of the last op on it: none is missing, and none came late.
async fn check(collection: &Collection, ops: usize) {
    let entries: Vec<Entry> =
        collection.reader().await.unwrap().scan(ScanOptions::default()).try_collect().await.unwrap();
    assert_eq!(entries.len(), PROCESSES * WRITERS_A_PROCESS * IDS);
    for entry in entries {
        let (_, id) = entry.id.split_once('/').unwrap();
        let last = (0..ops).rev().find(|count| count % IDS == id.parse::<usize>().unwrap()).unwrap();
        assert_eq!(entry.record.metadata["n"], Value::I64(last as i64), "{}", entry.id);
        let put = (0..=last).rev().find(|count| count % IDS == last % IDS && count % 7 == 0);
        assert_eq!(entry.record.embedding.map(|embedding| embedding[1] as usize), put, "{}", entry.id);
    }
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_bucket_that_fails_one_call_in_twenty() {
    let _machine = super::MACHINE.read().await;
    let server = Server::start();
    let store = S3::open(BUCKET, "", &options(&server.endpoint())).await.unwrap();
    let rates = Rates { lost_answers: 20, server_errors: 20, conflicts: 10 };
    all_actors_at_once(&server, store, rates, 50_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_ministack_behind_a_network_that_fails_1_in_100() {
    let _machine = super::MACHINE.read().await;
    // This test makes 50,000 requests, and no other test should wait for them.
    let ministack = ministack::Emulator::start();
    let server = Server::in_front_of(ministack.endpoint());
    let store = bucket_at(&server.endpoint(), "all-at-once").await;
    let rates = Rates { lost_answers: 4, server_errors: 4, conflicts: 2 };
    all_actors_at_once(&server, store, rates, 50_000).await;
}
