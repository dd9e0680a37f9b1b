//! Bulk append and cold open, against the same bytes moved by the SDK.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use bytes::Bytes;
use deltafold::format::Op;
use deltafold::store::{Listed, Store};
use deltafold::{CompactorOptions, SweepOptions, WriterOptions};
use futures::{StreamExt, stream};

use super::{Far, raw_get, raw_put};
use crate::bulk::{calls, load};
use crate::measure::{mib, runtime};
use crate::{Figure, Goal, Setting};

/// How many raw calls are on their way at once.
const AT_ONCE: usize = 8;

pub(crate) fn bulk_and_open(setting: &Setting) -> Vec<Figure> {
    let records = setting.records.min(200_000);
    // As many calls of 3.4 MiB under way as a writer lets wait.
    let usual = || (WriterOptions::default(), 16);
    // Segments that go in parts, several at once, and callers enough to fill them.
    let large = || {
        let (ops, bytes) = (1 << 16, 64 << 20);
        let options = WriterOptions { max_batch_ops: ops, max_batch_bytes: bytes, ..WriterOptions::default() };
        (WriterOptions { max_waiting_bytes: 4 * bytes, ..options }, 64)
    };
    let mut figures = Vec::new();
    for (latency, how, append, open) in [
        (0, usual(), "S3, 0 ms: bulk append", "S3, 0 ms: cold open, every column"),
        (25, usual(), "S3, 25 ms: bulk append", "S3, 25 ms: cold open, every column"),
        (25, large(), "S3, 25 ms: bulk append, segments of up to 64 MiB", ""),
    ] {
        let mut both = both(latency, records, how, append, open);
        both.truncate(if open.is_empty() { 1 } else { 2 });
        figures.append(&mut both);
    }
    figures
}

async fn objects(store: &dyn Store, prefix: &str) -> Vec<Listed> {
    store.list_after(prefix, None, 100_000).await.expect("a list")
}

async fn fetch(client: &Client, objects: &[Listed]) -> Vec<(String, Bytes)> {
    let gets =
        objects.iter().map(|object| async { (object.key.to_string(), raw_get(client, object.key.as_str()).await) });
    stream::iter(gets).buffer_unordered(AT_ONCE).collect().await
}

fn both(
    latency: u64,
    records: usize,
    (options, at_once): (WriterOptions, usize),
    append_name: &'static str,
    open_name: &'static str,
) -> Vec<Figure> {
    let far = Far::start(Duration::from_millis(latency));
    // Making the records is the caller's work, and done before.
    let calls: Vec<Vec<Op>> = calls(records, 3).collect();
    runtime().block_on(async {
        let collection = far.create().await;
        let client = far.client();
        let start = Instant::now();
        let writer = collection.writer(options).expect("a writer");
        load(&writer, calls.into_iter(), at_once).await;
        writer.close().await.expect("a close");
        let time = start.elapsed();
        let store = collection.store().clone();
        let segments = objects(&*store, "bench/0000/log/").await;
        let fetched = fetch(&client, &segments).await;
        let bytes: u64 = fetched.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let start = Instant::now();
        let puts = fetched.into_iter().map(|(key, bytes)| {
            let client = &client;
            async move { raw_put(client, &format!("raw/{key}"), bytes).await }
        });
        stream::iter(puts).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        let raw = start.elapsed();
        let append = Figure {
            name: append_name,
            measured: format!("{:.0} MiB/s", mib(bytes) / time.as_secs_f64()),
            against: format!("{:.0} MiB/s, {AT_ONCE} PUTs of the segments at once", mib(bytes) / raw.as_secs_f64()),
            value: raw.as_secs_f64() / time.as_secs_f64(),
            goal: Goal::AtLeast(0.75),
        };

        collection.compactor(CompactorOptions::default()).merge_all().await.expect("a merge");
        let all = SweepOptions { keep_versions: 0, min_age: Duration::ZERO, ..SweepOptions::default() };
        collection.sweep(&all).await.expect("a sweep");
        let columns: Vec<Listed> = objects(&*store, "bench/0000/part/")
            .await
            .into_iter()
            .filter(|object| object.key.as_str().ends_with(".meta"))
            .collect();
        let (mut opens, mut raws, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..5 {
            let start = Instant::now();
            let reader = collection.reader().await.expect("a reader");
            reader.warm().await.expect("every column");
            opens.push(start.elapsed());
            let start = Instant::now();
            bytes = fetch(&client, &columns).await.iter().map(|(_, bytes)| bytes.len() as u64).sum();
            raws.push(start.elapsed());
        }
        let (open, raw) = (crate::measure::median(opens), crate::measure::median(raws));
        let open = Figure {
            name: open_name,
            measured: format!("{:.0} ms for {:.1} MiB of columns", open.as_secs_f64() * 1e3, mib(bytes)),
            against: format!(
                "{:.0} ms, {} GETs of the parts at once",
                raw.as_secs_f64() * 1e3,
                AT_ONCE.min(columns.len())
            ),
            value: raw.as_secs_f64() / open.as_secs_f64(),
            goal: Goal::AtLeast(0.75),
        };
        vec![append, open]
    })
}
