//! Single appends, many callers, refresh.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deltafold::format::CollectionName;
use deltafold::store::{Dir, Store};
use deltafold::{Collection, CreateOptions, WriterOptions};

use crate::data::{DIMENSION, Random, append_at_once, patches_of_callers, put};
use crate::measure::{files, median, millis, raw_create, runtime, timed};
use crate::{Figure, Goal, Setting};

pub(crate) async fn create(folder: &std::path::Path, name: &str) -> Collection {
    let name: CollectionName = name.parse().expect("a name");
    let store: Arc<dyn Store> = Arc::new(Dir::open(folder).expect("the folder opens"));
    Collection::create(store, &name, &CreateOptions::new(DIMENSION)).await.expect("a fresh folder")
}

/// One op a segment, one caller, in a task as in any server, against the raw write of the same
/// bytes. The two take turns.
pub(crate) fn one_caller(setting: &Setting) -> Vec<Figure> {
    let folder = setting.fresh();
    let raw_folder = setting.fresh();
    let (store, raws_in) = (folder, raw_folder);
    let caller = async move {
        let (mut appends, mut raws) = (Vec::new(), Vec::new());
        let collection = create(&store, "bench").await;
        let writer = collection.writer(WriterOptions::default()).expect("a writer");
        let mut random = Random(1);
        for number in 0..600 {
            let op = put(number, &mut random);
            let start = Instant::now();
            let ack = writer.append(vec![op]).await.expect("an ack");
            appends.push(start.elapsed());
            let (shard, segment) = ack.segments()[0];
            let bytes =
                std::fs::read(store.join(format!("bench/{shard}/log/{segment}"))).expect("the segment is there");
            raws.push(timed(|| raw_create(&raws_in, &number.to_string(), &bytes)).1);
        }
        (appends, raws)
    };
    let (appends, raws) = runtime().block_on(async { tokio::spawn(caller).await.expect("no panic") });
    let (append, raw) = (median(appends), median(raws));
    vec![Figure {
        name: "one-op durable append, one caller",
        measured: format!("{:.3} ms", millis(append)),
        against: format!("{:.3} ms temp+fsync+link+fsync", millis(raw)),
        value: append.as_secs_f64() / raw.as_secs_f64(),
        goal: Goal::AtMost(1.25),
    }]
}

/// 64 callers, each waiting for its ack before its next op; and 64 callers with 16 ops in flight
/// each.
pub(crate) fn many_callers(setting: &Setting) -> Vec<Figure> {
    let raw_folder = setting.fresh();
    let mut figures = Vec::new();
    for (name, depth) in [("64 callers, one op each", 1), ("64 callers, 16 ops under way each", 16)] {
        let folder = setting.fresh();
        let (mut rates, mut raws, mut segment_bytes, mut segments) = (Vec::new(), Vec::new(), 0, 0);
        runtime().block_on(async {
            let collection = create(&folder, "bench").await;
            let writer = collection.writer(WriterOptions::default()).expect("a writer");
            for round in 0..5_u64 {
                let rounds = 200 / depth;
                let ops = patches_of_callers(64 * depth, rounds, 1 + round * 1_000);
                let before = files(&folder).len();
                let start = Instant::now();
                append_at_once(&writer, ops).await;
                rates.push((64 * depth * rounds) as f64 / start.elapsed().as_secs_f64());
                segments += files(&folder).len() - before;
                segment_bytes = files(&folder).iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
                let bytes = vec![0x5a; segment_bytes as usize];
                for number in 0..100 {
                    let name = format!("{depth}-{round}-{number}");
                    raws.push(timed(|| raw_create(&raw_folder, &name, &bytes)).1);
                }
            }
        });
        rates.sort_by(f64::total_cmp);
        let (rate, raw) = (rates[rates.len() / 2], median(raws));
        let bound = (64 * depth) as f64 / raw.as_secs_f64();
        figures.push(Figure {
            name,
            measured: format!(
                "{rate:.0} ops/s, {:.0} ops a segment",
                (5 * 64 * depth * (200 / depth)) as f64 / segments as f64
            ),
            against: format!(
                "{bound:.0} ops/s: all ops in one raw write of {segment_bytes} bytes, {:.3} ms",
                millis(raw)
            ),
            value: rate,
            goal: Goal::AtLeast(100_000.0),
        });
    }
    figures
}

/// A refresh that finds one 10-op segment, against the store's own three reads.
pub(crate) fn refresh(setting: &Setting) -> Vec<Figure> {
    let folder = setting.fresh();
    let (mut refreshes, mut reads) = (Vec::new(), Vec::new());
    runtime().block_on(async {
        let collection = create(&folder, "bench").await;
        let store = collection.store().clone();
        let writer = collection.writer(WriterOptions::default()).expect("a writer");
        let mut random = Random(7);
        for _ in 0..20 {
            let ops = (0..2_000)
                .map(|_| {
                    let n = random.below(100_000);
                    put(n, &mut random)
                })
                .collect();
            writer.append(ops).await.expect("an ack");
        }
        let mut reader = collection.reader().await.expect("a reader");
        for _ in 0..300 {
            let ops = (0..10)
                .map(|_| {
                    let n = random.below(100_000);
                    put(n, &mut random)
                })
                .collect();
            writer.append(ops).await.expect("an ack");
            let start = Instant::now();
            reader.refresh().await.expect("a refresh");
            refreshes.push(start.elapsed());
            let listed = store.list_after("bench/0000/log/", None, 1_000).await.expect("a list");
            let last = &listed.last().expect("a segment").key;
            let head = listed[0].key.as_str().replace(&listed[0].key.as_str()["bench/0000/".len()..], "head");
            let head = deltafold::store::Key::new(head).expect("a key");
            let tag = store.get(&head).await.expect("a read").expect("a head").tag;
            let missing = deltafold::store::Key::new("bench/0000/log/99999").expect("a key");
            let start = Instant::now();
            store.get_unless(&head, &tag).await.expect("a read");
            store.get(last).await.expect("a read");
            store.get(&missing).await.expect("a read");
            reads.push(start.elapsed());
        }
    });
    let (refresh, read) = (median(refreshes), median(reads));
    vec![Figure {
        name: "refresh after one 10-op segment",
        measured: format!("{:.3} ms", millis(refresh)),
        against: format!("{:.3} ms for the store's three reads", millis(read)),
        value: millis(refresh.saturating_sub(read).max(Duration::ZERO)),
        goal: Goal::AtMost(1.0),
    }]
}
