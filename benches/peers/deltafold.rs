//! Deltafold as one of the peers of `benches/peers`: it obeys requests, one line of JSON each, and
//! times itself.
//!
//! `benches/peers/run` starts it. Each request names what to `do`; each answer is one line of JSON.
//!
//! | do | further fields | answer |
//! |---|---|---|
//! | `serve` | | the endpoint of an S3 server of the tests in this process |
//! | `latency` | `milliseconds` | nothing: what each request to that server takes from now on |
//! | `reads` | | GETs that the server had since the last `reads`, and the bytes of their answers |
//! | `cold` | `endpoint`, `cache`, `queries`, `dimension`, `k`, `candidates`, `rounds` | seconds, GETs and bytes from opening to an answer |
//! | `warm` | `endpoint`, `rows`, `queries`, `dimension`, `k`, `candidates`, `rounds` | seconds of queries of an open reader, with `rows` in memory or not |
//! | `cold-get` | `endpoint`, `ids` | seconds from nothing to a record with embedding and document |
//! | `backlog` | `endpoint`, `dimension`, `documents`, `first`, `segments` | nothing: appends segments of so many ops, and folds none |
//! | `build` | `folder` or `endpoint`, `vectors`, `dimension`, `metric`, `documents` | seconds of append and compaction, bytes on disk |
//! | `open` | `folder`, `dimension` | as `memory`, after a first search |
//! | `memory` | | bytes of memory, private and of mapped files |
//! | `search` | `queries`, `dimension`, `k`, `candidates`, `batch`, `percent` | seconds of each call, ids, rows read, mean seconds a query of each stage |
//! | `refresh` | `queries`, `dimension`, `k` | seconds of a refresh after ten ops, with a query behind it |
//! | `touch` | `bytes`, `rounds` | seconds of reading so many bytes of memory on all cores |
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltafold::format::{CollectionName, Metric, Op, Record, Value};
use deltafold::store::{Cached, Dir, S3, Store};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Exactness, Filter, Include, Query, Reader, SweepOptions, Warm,
    WriterOptions,
};
use deltafold_testing::s3::Server;
use futures::StreamExt;
use serde_json::{Value as Json, json};

/// Records of one append.
const RECORDS: usize = 2_000;
/// Appends in flight at once.
const APPENDS: usize = 8;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (mut reader, mut server) = (None, None);
    for line in std::io::stdin().lock().lines() {
        let request: Json = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let answer = runtime.block_on(obey(&request, &mut reader, &mut server));
        println!("{answer}");
        std::io::stdout().flush().expect("a reader of the output");
    }
}

async fn obey(request: &Json, reader: &mut Option<Reader>, server: &mut Option<Server>) -> Json {
    let serving =
        |server: &Option<Server>| server.as_ref().map(|server| server.backend.clone()).expect("`serve` comes before");
    let open = |reader: &mut Option<Reader>| reader.clone().expect("`open` comes before");
    match text(request, "do") {
        "build" => build(request).await,
        "open" => {
            let opened = collection(request).await.reader().await.expect("a reader");
            *reader = Some(opened.clone());
            opened.warm(&Warm::default().columns().signs().bytes()).await.expect("columns and codes");
            // Not of zeros: by cosine every row is equally near to those, so a search would read
            // all rows in f32.
            let mut first = vec![0.0; number(request, "dimension")];
            first[0] = 1.0;
            opened.search(&[Query::new(first, 1)]).await.expect("an answer");
            memory()
        }
        "search" => search(request, &open(reader)).await,
        "refresh" => refresh(request, open(reader)).await,
        "touch" => touch(request),
        "serve" => {
            let started = server.insert(Server::start());
            json!({"endpoint": started.endpoint()})
        }
        "latency" => {
            let server = server.as_ref().expect("`serve` comes before");
            server.latency(Duration::from_millis(number(request, "milliseconds") as u64));
            json!({})
        }
        "reads" => {
            let (gets, bytes) = serving(server).take_reads();
            json!({"gets": gets, "bytes": bytes})
        }
        "cold" => cold(request).await,
        "warm" => warm(request).await,
        "cold-get" => cold_get(request).await,
        "backlog" => backlog(request).await,
        "memory" => memory(),
        other => panic!("no request `{other}`"),
    }
}

fn text<'a>(request: &'a Json, field: &str) -> &'a str {
    request[field].as_str().unwrap_or_else(|| panic!("`{field}` is missing"))
}

fn number(request: &Json, field: &str) -> usize {
    request[field].as_u64().unwrap_or_else(|| panic!("`{field}` is missing")) as usize
}

async fn store(request: &Json) -> Arc<dyn Store> {
    if let Some(endpoint) = request["endpoint"].as_str() {
        let options = deltafold_testing::s3::options(endpoint);
        let store: Arc<dyn Store> =
            Arc::new(S3::open(deltafold_testing::s3::BUCKET, "", &options).await.expect("a store"));
        return match request["cache"].as_str() {
            Some(folder) => Arc::new(Cached::open(store, folder, u64::MAX).expect("a folder for the cache")),
            None => store,
        };
    }
    Arc::new(Dir::open(Path::new(text(request, "folder"))).expect("the folder opens"))
}

fn name() -> CollectionName {
    "peers".parse().expect("a name")
}

async fn collection(request: &Json) -> Collection {
    Collection::open(store(request).await, &name()).await.expect("the collection opens")
}

/// Rows of f32 in a file without a header.
fn rows(path: &str, dimension: usize) -> impl Iterator<Item = Vec<f32>> + use<> {
    let mut file = std::io::BufReader::new(std::fs::File::open(path).expect("the vectors"));
    let mut bytes = vec![0; dimension * size_of::<f32>()];
    std::iter::from_fn(move || {
        file.read_exact(&mut bytes).ok()?;
        Some(bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect())
    })
}

/// The id is the number of the row. `percent` is spread evenly, so that a filter on it matches that
/// share of all.
fn put(number: usize, embedding: Vec<f32>, document: usize) -> Op {
    let percent = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let metadata = BTreeMap::from([("percent".to_owned(), Value::I64((percent % 100) as i64))]);
    let mut text = String::new();
    while text.len() < document {
        // Few words are frequent and many are rare.
        let word = percent.wrapping_mul(text.len() as u64 + 7) % 9_973;
        text.push_str(&format!("{:x} ", word * word % 9_973));
    }
    let document = (document > 0).then_some(text);
    Op::put(number.to_string(), Record { embedding: Some(embedding), metadata, document })
}

async fn build(request: &Json) -> Json {
    let metric = match text(request, "metric") {
        "cosine" => Metric::Cosine,
        "inner-product" => Metric::InnerProduct,
        _ => Metric::L2,
    };
    let dimension = number(request, "dimension");
    let options = CreateOptions::new(u32::try_from(dimension).expect("a dimension")).metric(metric);
    let collection = Collection::create(store(request).await, &name(), &options).await.expect("a fresh folder");
    let documents = request["documents"].as_u64().unwrap_or(0) as usize;
    let start = Instant::now();
    let writer = collection.writer(WriterOptions::default()).expect("a writer");
    let mut numbered = rows(text(request, "vectors"), dimension).enumerate();
    let calls = std::iter::from_fn(|| {
        let ops: Vec<Op> = numbered.by_ref().take(RECORDS).map(|(number, row)| put(number, row, documents)).collect();
        (!ops.is_empty()).then_some(ops)
    });
    let appends = futures::stream::iter(calls.map(|ops| writer.append(ops)));
    appends.buffered(APPENDS).for_each(|ack| async { drop(ack.expect("an ack")) }).await;
    writer.close().await.expect("a close");
    let appended = start.elapsed().as_secs_f64();
    let start = Instant::now();
    collection.compactor(CompactorOptions::default()).merge_all().await.expect("a merge");
    let compacted = start.elapsed().as_secs_f64();
    let all = SweepOptions::KEEP_NOTHING;
    collection.sweep(&all).await.expect("a sweep");
    let folder = request["folder"].as_str().map(Path::new);
    let disk: u64 = folder.map_or(0, |folder| files(folder).iter().map(|(_, bytes)| bytes).sum());
    json!({"append": appended, "compact": compacted, "disk_bytes": disk})
}

async fn search(request: &Json, reader: &Reader) -> Json {
    let queries = queries(request);
    let batch = request["batch"].as_u64().unwrap_or(1) as usize;
    let (mut seconds, mut ids, mut read) = (Vec::new(), Vec::new(), 0);
    let mut stages = BTreeMap::<&str, f64>::new();
    for queries in queries.chunks(batch) {
        let start = Instant::now();
        let answers = reader.search(queries).await.expect("an answer");
        seconds.push(start.elapsed().as_secs_f64());
        for (stage, time) in answers.first().into_iter().flat_map(|answer| answer.work.stages.iter()) {
            *stages.entry(stage).or_default() += time.as_secs_f64() / queries.len() as f64;
        }
        for answer in answers {
            read += answer.work.read;
            ids.push(answer.hits.into_iter().map(|hit| hit.entry.id).collect::<Vec<_>>());
        }
    }
    let calls = seconds.len().max(1) as f64;
    stages.values_mut().for_each(|seconds| *seconds /= calls);
    let rows_read = read as f64 / queries.len().max(1) as f64;
    json!({"seconds": seconds, "ids": ids, "rows_read": rows_read, "stages": stages})
}

fn queries(request: &Json) -> Vec<Query> {
    let rows = rows(text(request, "queries"), number(request, "dimension"));
    let filter = request["percent"]
        .as_u64()
        .map(|percent| Filter::less("percent", i64::try_from(percent).expect("a percentage")));
    let exactness = match request["candidates"].as_u64() {
        Some(candidates) => Exactness::Approximate { candidates: candidates as usize },
        None => Exactness::Exact,
    };
    let query = |row| {
        let query = Query::new(row, number(request, "k")).exactness(exactness).include(Include::NOTHING);
        match &filter {
            Some(filter) => query.filter(filter.clone()),
            None => query,
        }
    };
    rows.map(query).collect()
}

/// Queries by readers that hold nothing in memory, each timed from opening the collection to the
/// answer with documents.
async fn cold(request: &Json) -> Json {
    let (mut seconds, mut gets, mut bytes, mut ids) = (Vec::new(), 0, 0, Vec::new());
    let queries = queries(request);
    let rounds = number(request, "rounds").min(queries.len());
    for query in &queries[..rounds] {
        let query = query.clone().include(Include::default());
        // A new store, which also makes new connections.
        let store = store(request).await;
        let start = Instant::now();
        let collection =
            Collection::builder(store.clone(), &name()).open_to_read().await.expect("the collection opens");
        let reader = collection.reader_to_search(query.exactness).await.expect("a reader");
        let answers = reader.search(&[query]).await.expect("an answer");
        seconds.push(start.elapsed().as_secs_f64());
        let total = store.requests().total();
        gets += total.calls;
        bytes += total.bytes_in;
        ids.push(answers[0].hits.iter().map(|hit| hit.entry.id.clone()).collect::<Vec<_>>());
    }
    json!({"seconds": seconds, "gets": gets as f64 / rounds as f64, "bytes": bytes as f64 / rounds as f64, "ids": ids})
}

/// Queries by one reader that holds columns and codes in memory, and `rows` in f32 if asked, each
/// with the documents of its hits.
async fn warm(request: &Json) -> Json {
    let store = store(request).await;
    let reader = Collection::open(store.clone(), &name()).await.expect("it opens").reader().await.expect("a reader");
    let level = Warm::default().columns().signs().bytes().max_bytes(4 << 30);
    let level = if request["rows"] == true { level.rows() } else { level };
    let warmth = reader.warm(&level).await.expect("columns and codes");
    assert!(warmth.is_complete(), "all levels fit into the limit");
    let queries: Vec<Query> = queries(request).into_iter().map(|query| query.include(Include::default())).collect();
    let rounds = number(request, "rounds").min(queries.len());
    // The helper threads start, and connections are made.
    reader.search(&queries[rounds - 1..rounds]).await.expect("an answer");
    let before = store.requests().total();
    let (mut seconds, mut ids) = (Vec::new(), Vec::new());
    for query in &queries[..rounds] {
        let start = Instant::now();
        let answers = reader.search(std::slice::from_ref(query)).await.expect("an answer");
        seconds.push(start.elapsed().as_secs_f64());
        ids.push(answers[0].hits.iter().map(|hit| hit.entry.id.clone()).collect::<Vec<_>>());
    }
    let after = store.requests().total();
    let each = |total: u64| total as f64 / rounds as f64;
    let (gets, bytes) = (each(after.calls - before.calls), each(after.bytes_in - before.bytes_in));
    json!({"seconds": seconds, "gets": gets, "bytes": bytes, "ids": ids})
}

/// Reads of one record each, by a newly opened collection.
async fn cold_get(request: &Json) -> Json {
    let mut seconds = Vec::new();
    for id in request["ids"].as_array().expect("`ids` is missing") {
        let id = id.as_u64().expect("a number").to_string();
        // A new store, which also makes new connections.
        let store = store(request).await;
        let start = Instant::now();
        let found = Collection::builder(store, &name()).open_and_get(&id).await.expect("an answer");
        seconds.push(start.elapsed().as_secs_f64());
        let record = found.expect("a record").record;
        assert!(record.embedding.is_some() && record.document.is_some());
    }
    json!({"seconds": seconds})
}

/// Segments that no compactor folds.
async fn backlog(request: &Json) -> Json {
    let writer = collection(request).await.writer(WriterOptions::default()).expect("a writer");
    let (dimension, documents) = (number(request, "dimension"), number(request, "documents"));
    let mut first = number(request, "first");
    for ops in request["segments"].as_array().expect("`segments` is missing") {
        let ops = ops.as_u64().expect("a number") as usize;
        // Numbers that do not repeat, so that no store compresses them.
        let row = |id: usize| (0..dimension).map(|at| ((id * 7_919 + at * 104_729) % 9_973) as f32 / 9_973.0).collect();
        writer.append((first..first + ops).map(|id| put(id, row(id), documents)).collect()).await.expect("an ack");
        first += ops;
    }
    writer.close().await.expect("a close");
    json!({})
}

/// Ten ops, then a refresh and a query; then the same query alone.
async fn refresh(request: &Json, mut reader: Reader) -> Json {
    let queries = queries(request);
    let dimension = number(request, "dimension");
    let writer = collection(request).await.writer(WriterOptions::default()).expect("a writer");
    let (mut alone, mut after) = (Vec::new(), Vec::new());
    for (round, query) in queries.iter().enumerate() {
        let ops = (0..10).map(|number| put(round * 10 + number, vec![0.01; dimension], 0));
        writer.append(ops.collect()).await.expect("an ack");
        let start = Instant::now();
        reader.refresh().await.expect("a refresh");
        reader.search(std::slice::from_ref(query)).await.expect("an answer");
        after.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        reader.search(std::slice::from_ref(query)).await.expect("an answer");
        alone.push(start.elapsed().as_secs_f64());
    }
    writer.close().await.expect("a close");
    json!({"query": alone, "refresh_and_query": after})
}

/// The seconds that all cores together need to read this many bytes from memory.
fn touch(request: &Json) -> Json {
    let words = vec![1_u64; number(request, "bytes") / size_of::<u64>()];
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let once = || {
        let start = Instant::now();
        let sum: u64 = std::thread::scope(|scope| {
            let parts = words.chunks(words.len().div_ceil(cores).max(1));
            let parts: Vec<_> = parts.map(|part| scope.spawn(|| part.iter().copied().sum::<u64>())).collect();
            parts.into_iter().map(|part| part.join().expect("a sum")).sum()
        });
        assert_eq!(sum, words.len() as u64);
        start.elapsed().as_secs_f64()
    };
    let seconds: Vec<f64> = (0..number(request, "rounds")).map(|_| once()).collect();
    json!({"seconds": seconds})
}

/// Every file below a folder, with its size.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if let Ok(meta) = entry.metadata() {
            all.push((path.to_string_lossy().into_owned(), meta.len()));
        }
    }
    all
}

/// Bytes of this process alone, and bytes of mapped files that are resident.
fn memory() -> Json {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
    };
    json!({"private": bytes("RssAnon:"), "mapped": bytes("RssFile:")})
}
