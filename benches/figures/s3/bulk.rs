//! Bulk append and cold open, against the same bytes moved by the SDK.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use bytes::Bytes;
use deltafold::format::{Op, PartMeta};
use deltafold::store::{Listed, Store};
use deltafold::{Collection, CompactorOptions, SweepOptions, WriterOptions};
use futures::{StreamExt, stream};

use super::{Far, raw_get, raw_put};
use crate::bulk::{calls, load};
use crate::data::{Random, put_document};
use crate::measure::{cpu_time, median, mib, millis, runtime};
use crate::{Figure, Goal, Setting};

/// The number of raw calls in flight.
const AT_ONCE: usize = 8;
/// Bytes a second of a network of 1 Gbit/s.
const GIGABIT: u64 = 125_000_000;

pub(crate) fn bulk_and_open(setting: &Setting) -> Vec<Figure> {
    let records = setting.records.min(400_000);
    // As many calls of 3.4 MiB in flight as a writer lets wait.
    let usual = || (WriterOptions::default(), 32);
    // Twice as large a segment, and twice as much in flight.
    let large = || {
        let WriterOptions { max_batch_ops, max_batch_bytes, max_waiting_bytes, .. } = WriterOptions::default();
        let [max_batch_ops, max_batch_bytes, max_waiting_bytes] =
            [max_batch_ops, max_batch_bytes, max_waiting_bytes].map(|most| 2 * most);
        (
            WriterOptions::default()
                .max_batch_ops(max_batch_ops)
                .max_batch_bytes(max_batch_bytes)
                .max_waiting_bytes(max_waiting_bytes),
            64,
        )
    };
    let plain = || calls(records, 3).collect();
    let texts = || {
        let mut random = Random(5);
        let texts = 0..records / 8;
        let ops: Vec<Op> = texts.map(|n| put_document(n, &mut random)).collect();
        ops.chunks(1_000).map(<[Op]>::to_vec).collect()
    };
    let mut figures = Vec::new();
    let late = || Far::start(Duration::from_millis(25));
    let behind_a_line = Far::start_behind_a_line(Duration::from_millis(25), GIGABIT);
    for (far, append_name, open_name) in [
        (Far::start(Duration::ZERO), "S3, 0 ms: bulk append", "S3, 0 ms: cold open, every column"),
        (late(), "S3, 25 ms: bulk append", "S3, 25 ms: cold open, every column"),
        (behind_a_line, "S3, 25 ms, 1 Gbit/s: bulk append", "S3, 25 ms, 1 Gbit/s: cold open, every column"),
    ] {
        runtime().block_on(async {
            let collection = far.create().await;
            figures.push(append(&far, &collection, usual(), plain(), append_name).await);
            figures.push(open(&far, &collection, open_name).await);
        });
    }
    let far = late();
    runtime().block_on(async {
        let collection = far.create().await;
        figures.push(append(&far, &collection, large(), plain(), "S3, 25 ms: bulk append, segments of 32 MiB").await);
    });
    let far = late();
    runtime().block_on(async {
        let collection = far.create().await;
        append(&far, &collection, usual(), texts(), "").await;
        figures.push(open(&far, &collection, "S3, 25 ms: cold open, every column, with documents").await);
    });
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

/// The CPU time that the client and the server spent.
fn since(before: [Duration; 2], now: [Duration; 2]) -> [Duration; 2] {
    let ([own, server], [own_now, server_now]) = (before, now);
    [own_now - own, server_now - server]
}

/// Appends calls to an empty collection.
async fn append(
    far: &Far,
    collection: &Collection,
    (options, at_once): (WriterOptions, usize),
    // The caller makes the records, so the figure excludes that work.
    calls: Vec<Vec<Op>>,
    name: &'static str,
) -> Figure {
    let client = far.client();
    let spent = || [cpu_time(), far.cpu_time()];
    let (start, cpu) = (Instant::now(), spent());
    let writer = collection.writer(options).expect("a writer");
    load(&writer, calls.into_iter(), at_once).await;
    writer.close().await.expect("a close");
    let (time, cpu) = (start.elapsed(), since(cpu, spent()));
    let segments = objects(&**collection.store(), "bench/0000/log/").await;
    let fetched = fetch(&client, &segments).await;
    let bytes: u64 = fetched.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let (start, raw_cpu) = (Instant::now(), spent());
    let puts = fetched.into_iter().map(|(key, bytes)| {
        let client = &client;
        async move { raw_put(client, &format!("raw/{key}"), bytes).await }
    });
    stream::iter(puts).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let (raw, raw_cpu) = (start.elapsed(), since(raw_cpu, spent()));
    let words = |time: Duration, cpu: [Duration; 2]| {
        let [own, server] = cpu.map(|cpu| millis(cpu) / mib(bytes));
        format!("{:.0} MiB/s, {own:.1} + {server:.1} ms of CPU a MiB", mib(bytes) / time.as_secs_f64())
    };
    Figure {
        name,
        measured: words(time, cpu),
        against: format!("{}, {AT_ONCE} PUTs of the {} segments at once", words(raw, raw_cpu), segments.len()),
        value: raw.as_secs_f64() / time.as_secs_f64(),
        goal: Goal::AtLeast(0.75),
    }
}

/// Merges everything, and opens it with all columns.
async fn open(far: &Far, collection: &Collection, name: &'static str) -> Figure {
    let client = far.client();
    collection.compactor(CompactorOptions::default()).merge_all().await.expect("a merge");
    let all = SweepOptions::KEEP_NOTHING;
    collection.sweep(&all).await.expect("a sweep");
    let listed = objects(&**collection.store(), "bench/0000/part/").await;
    let columns: Vec<Listed> = listed.into_iter().filter(|object| object.key.as_str().ends_with(".meta")).collect();
    let (mut opens, mut raws, mut decodes, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..5 {
        let start = Instant::now();
        drop(collection.warm_reader().await.expect("a reader with every column"));
        opens.push(start.elapsed());
        let start = Instant::now();
        let fetched = fetch(&client, &columns).await;
        raws.push(start.elapsed());
        bytes = fetched.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let start = Instant::now();
        let decodes_of = fetched
            .into_iter()
            .map(|(_, bytes)| tokio::task::spawn_blocking(|| drop(PartMeta::decode(bytes).expect("a part"))));
        for decode in decodes_of.collect::<Vec<_>>() {
            decode.await.expect("no panic");
        }
        decodes.push(start.elapsed());
    }
    let [open, raw, decode] = [opens, raws, decodes].map(median);
    Figure {
        name,
        measured: format!(
            "{:.0} ms for {:.1} MiB of columns ({:.0} ms of them to decode and check the same bytes on both cores)",
            millis(open),
            mib(bytes),
            millis(decode)
        ),
        against: format!("{:.0} ms, {} GETs of the parts at once", millis(raw), AT_ONCE.min(columns.len())),
        value: raw.as_secs_f64() / open.as_secs_f64(),
        goal: Goal::AtLeast(0.75),
    }
}
