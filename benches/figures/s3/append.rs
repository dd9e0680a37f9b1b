//! Single appends and many callers.

use std::time::{Duration, Instant};

use deltafold::WriterOptions;

use super::{Far, raw_get, raw_get_unless, raw_put};
use crate::data::{Random, append_at_once, patches_of_callers, put};
use crate::measure::{median, millis, runtime};
use crate::{Figure, Goal, Setting};

/// One op a segment, one caller, against the same two requests made by the SDK. The two take turns.
pub(crate) fn one_caller(_: &Setting) -> Vec<Figure> {
    let names = ["S3, 0 ms: one-op append, one caller", "S3, 25 ms: one-op append, one caller"];
    let settings = [(0, 2_000), (25, 150)];
    settings.into_iter().zip(names).map(|((latency, appends), name)| append(name, latency, appends)).collect()
}

fn append(name: &'static str, latency: u64, count: usize) -> Figure {
    let far = Far::start(Duration::from_millis(latency));
    let caller = async move {
        let collection = far.create().await;
        let (writer, client) = (collection.writer(WriterOptions::default()).expect("a writer"), far.client());
        let listed = collection.store().list_after("bench/", None, 10).await.expect("a list");
        let head = listed.iter().map(|object| object.key.to_string()).find(|key| key.ends_with("/head"));
        let head = head.expect("a collection has a head");
        let (mut appends, mut raws) = (Vec::new(), Vec::new());
        let mut random = Random(1);
        let tag = client
            .get_object()
            .bucket(super::server::BUCKET)
            .key(&head)
            .send()
            .await
            .expect("a head")
            .e_tag
            .expect("a tag");
        for number in 0..count {
            let op = put(number, &mut random);
            let start = Instant::now();
            let ack = writer.append(vec![op]).await.expect("an ack");
            appends.push(start.elapsed());
            let (shard, segment) = ack.segments()[0];
            let bytes = raw_get(&client, &format!("bench/{shard}/log/{segment}")).await;
            let start = Instant::now();
            raw_put(&client, &format!("raw/{number}"), bytes).await;
            raw_get_unless(&client, &head, &tag).await;
            raws.push(start.elapsed());
        }
        (appends, raws)
    };
    let (appends, raws) = runtime().block_on(async { tokio::spawn(caller).await.expect("no panic") });
    let (append, raw) = (median(appends), median(raws));
    Figure {
        name,
        measured: format!("{:.3} ms", millis(append)),
        against: format!("{:.3} ms for its PUT and GET by the SDK", millis(raw)),
        value: append.as_secs_f64() / raw.as_secs_f64(),
        goal: Goal::AtMost(1.15),
    }
}

/// 64 callers at 25 ms a request, each with this many ops in flight.
pub(crate) fn many_callers(_: &Setting) -> Vec<Figure> {
    let names = [
        ("S3, 25 ms: 64 callers, one op each", 1, 60),
        ("S3, 25 ms: 64 callers, 16 ops under way each", 16, 60),
        ("S3, 25 ms: 64 callers, 64 ops under way each", 64, 40),
    ];
    names.into_iter().map(|(name, depth, rounds)| callers(name, depth, rounds)).collect()
}

fn callers(name: &'static str, depth: usize, rounds: usize) -> Figure {
    let far = Far::start(Duration::from_millis(25));
    let ops = patches_of_callers(64 * depth, rounds, 1);
    let (rate, raw) = runtime().block_on(async move {
        let collection = far.create().await;
        let writer = collection.writer(WriterOptions::default()).expect("a writer");
        let start = Instant::now();
        append_at_once(&writer, ops).await;
        let rate = (64 * depth * rounds) as f64 / start.elapsed().as_secs_f64();
        let client = far.client();
        let mut raws = Vec::new();
        for number in 0..40 {
            let start = Instant::now();
            raw_put(&client, &format!("raw/{number}"), vec![0x5a; 240 * 64 * depth].into()).await;
            raws.push(start.elapsed() + Duration::from_millis(25));
        }
        (rate, median(raws))
    });
    let bound = (64 * depth) as f64 / raw.as_secs_f64();
    Figure {
        name,
        measured: format!("{rate:.0} ops/s"),
        against: format!("{bound:.0} ops/s: all ops in one raw PUT, and a GET of 25 ms"),
        value: rate,
        goal: Goal::AtLeast(20_000.0),
    }
}
