//! Closed-loop writers on one shard. To the store each one looks like its own machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deltafold::store::Store;
use deltafold::{Collection, WriterOptions};

use super::{Far, raw_put};
use crate::data::{Random, patch_200};
use crate::measure::{millis, runtime};
use crate::{Figure, Goal, Setting};

/// The seconds that they go on.
const SECONDS: u64 = 20;

/// Shares and waits of 4 and of 16 writers.
pub(crate) fn contention(_: &Setting) -> Vec<Figure> {
    let mut figures = contend(
        4,
        "S3, 25 ms: 4 writers, the slowest's part of its fair share",
        ["S3, 25 ms: 4 writers, p99 of an append", "S3, 25 ms: 4 writers, worst append"],
    );
    figures.extend(contend(
        16,
        "S3, 25 ms: 16 writers, the slowest's part of its fair share",
        ["S3, 25 ms: 16 writers, p99 of an append", "S3, 25 ms: 16 writers, worst append"],
    ));
    figures
}

fn contend(writers: usize, share: &'static str, [p99_name, worst_name]: [&'static str; 2]) -> Vec<Figure> {
    let far = Far::start(Duration::from_millis(25));
    let (waits, raw) = runtime().block_on(async {
        far.create().await;
        let client = far.client();
        let mut raws = Vec::new();
        for number in 0..300 {
            let start = Instant::now();
            raw_put(&client, &format!("raw/{number}"), vec![0x5a; 300].into()).await;
            raws.push(start.elapsed());
        }
        raws.sort_unstable();
        let mut tasks = Vec::new();
        let until = Instant::now() + Duration::from_secs(SECONDS);
        for number in 0..writers {
            let store: Arc<dyn Store> = Arc::new(far.store().await);
            tasks.push(tokio::spawn(async move {
                let collection = Collection::open(store, &"bench".parse().expect("a name")).await.expect("it is there");
                let writer = collection.writer(WriterOptions::default()).expect("a writer");
                let (mut random, mut waits) = (Random(1 + number as u64), Vec::new());
                while Instant::now() < until {
                    let op = patch_200(number, &mut random);
                    let start = Instant::now();
                    writer.append(vec![op]).await.expect("an ack");
                    waits.push(start.elapsed());
                }
                waits
            }));
        }
        let mut waits: Vec<Vec<Duration>> = Vec::new();
        for task in tasks {
            waits.push(task.await.expect("no panic"));
        }
        (waits, raws[raws.len() * 99 / 100])
    });
    let appends: Vec<usize> = waits.iter().map(Vec::len).collect();
    let mut all: Vec<Duration> = waits.into_iter().flatten().collect();
    all.sort_unstable();
    let (p50, p99, worst) = (all[all.len() / 2], all[all.len() * 99 / 100], all[all.len() - 1]);
    let slowest = *appends.iter().min().expect("there are writers") as f64 * writers as f64 / all.len() as f64;
    let bound = (2 + 2 * writers) as f64;
    let against = format!("{:.1} ms, p99 of a raw PUT", millis(raw));
    vec![
        Figure {
            name: share,
            measured: format!("appends {appends:?} in {SECONDS} s, p50 {:.0} ms", millis(p50)),
            against: format!("{} each", all.len() / writers),
            value: slowest,
            goal: Goal::AtLeast(0.5),
        },
        Figure {
            name: p99_name,
            measured: format!("{:.0} ms", millis(p99)),
            against: against.clone(),
            value: p99.as_secs_f64() / raw.as_secs_f64(),
            goal: Goal::AtMost(bound),
        },
        Figure {
            name: worst_name,
            measured: format!("{:.0} ms", millis(worst)),
            against,
            value: worst.as_secs_f64() / raw.as_secs_f64(),
            goal: Goal::AtMost(bound),
        },
    ]
}
