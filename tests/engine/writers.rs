//! Several writers at once: exactly once, in order, and nothing lost.

use std::time::Duration;

use deltafold::format::{Op, Record, Value};
use deltafold::store::Store;
use deltafold::{CompactorOptions, Depth, ErrorKind, Policy, SweepOptions, WriterOptions};
use deltafold_testing::on_stores;
use deltafold_testing::random::Random;
use deltafold_testing::watched::Watched;
use futures::future::join_all;

use crate::writer::{log, made, put};

on_stores!(
    every: [
        many_writers_leave_no_gap_and_keep_each_caller_s_order,
        sources_are_exactly_once_in_many_hands,
    ],
    local: [
        all_actors_at_once_over_a_failing_store_lose_nothing,
    ],
);

async fn many_writers_leave_no_gap_and_keep_each_caller_s_order<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 1).await;
    let writers = (0..8).map(|number| {
        let writer = collection.writer(WriterOptions::default()).unwrap();
        tokio::spawn(async move {
            for round in 0..50 {
                writer
                    .append(vec![put(format!("{number}-{round:02}-a")), put(format!("{number}-{round:02}-b"))])
                    .await
                    .unwrap();
            }
        })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    let keys = store.keys("/log/").await;
    for (number, key) in keys.iter().enumerate() {
        assert!(key.as_str().ends_with(&format!("{:020}", number + 1)), "{key}");
    }
    let ops = log(&collection).await;
    assert_eq!(ops.len(), 800);
    for number in 0..8 {
        let own: Vec<&String> =
            ops.iter().map(|(_, op)| &op.id).filter(|id| id.starts_with(&format!("{number}-"))).collect();
        assert!(own.is_sorted() && own.len() == 100);
    }
}

/// Several workers get the same messages, in any interleaving, some twice. Each message takes
/// effect once, in order.
async fn sources_are_exactly_once_in_many_hands<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 1).await;
    let append = |id: String| Op::put(id, Record::default());
    let workers = (0..4).map(|worker: u64| {
        let collection = collection.clone();
        tokio::spawn(async move {
            let writer = collection.writer(WriterOptions::default()).unwrap();
            let mut new = 0;
            for position in 0..60_u128 {
                for source in 0..3 {
                    let ops = vec![append(format!("{source}-{position:03}"))];
                    let ack = writer.append_from(&format!("source-{source}"), position, ops).await.unwrap();
                    new += usize::from(!ack.is_duplicate());
                }
                if position % 16 == worker as u128 {
                    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
                }
            }
            new
        })
    });
    let new: usize = join_all(workers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(new, 180);
    let ops = log(&collection).await;
    assert_eq!(ops.len(), 180);
    for source in 0..3 {
        let prefix = format!("{source}-");
        let of_source: Vec<&String> = ops.iter().map(|(_, op)| &op.id).filter(|id| id.starts_with(&prefix)).collect();
        assert!(of_source.is_sorted() && of_source.len() == 60, "{of_source:?}");
    }
}

/// Writers, a compactor and a sweeper over a store where one call in twelve fails in one of several
/// ways. An acknowledged op is in the log once, an unknown one at most once, and nothing else is.
async fn all_actors_at_once_over_a_failing_store_lose_nothing<S: Store + Clone>(store: Watched<S>) {
    let mut random = Random::from_environment();
    let collection = made(&store, 1).await;
    store.fail_at_random(random.next(), 12);
    let writers = (0..4).map(|number| {
        let writer = collection.writer(WriterOptions::default()).unwrap();
        tokio::spawn(async move {
            let (mut acked, mut unknown) = (Vec::new(), Vec::new());
            for round in 0..40_i64 {
                let metadata = [("round".to_owned(), Value::I64(round))].into();
                let op = Op::put(format!("{number}-{round}"), Record { metadata, ..Record::default() });
                match writer.append(vec![op.clone()]).await {
                    Ok(_) => acked.push(op.id),
                    Err(error) if error.kind() == ErrorKind::Unknown => unknown.push(op.id),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                }
            }
            (acked, unknown)
        })
    });
    let (done, stop) = tokio::sync::watch::channel(false);
    let workers = (0..2).map(|number| {
        let (collection, mut stop) = (collection.clone(), stop.clone());
        tokio::spawn(async move {
            let policy = Policy::default().fold_segments(3).fan_in(3);
            let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
            let sweep = SweepOptions::default().keep_versions(1).min_age(Duration::ZERO);
            while !*stop.borrow_and_update() {
                let result = if number == 0 {
                    compactor.tick().await.map(drop)
                } else {
                    collection.sweep(&sweep).await.map(drop)
                };
                if let Err(error) = result {
                    let expected = [ErrorKind::Unavailable, ErrorKind::Unknown, ErrorKind::Conflict];
                    assert!(expected.contains(&error.kind()), "{error}");
                }
                tokio::task::yield_now().await;
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let outcomes: Vec<(Vec<String>, Vec<String>)> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
    store.land_delayed().await;
    done.send_replace(true);
    join_all(workers).await.into_iter().for_each(Result::unwrap);
    store.fail_at_random(0, 0);
    store.land_delayed().await;

    let (acked, unknown): (Vec<Vec<String>>, Vec<Vec<String>>) = outcomes.into_iter().unzip();
    let (acked, unknown) = (acked.concat(), unknown.concat());
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    let reader = collection.reader().await.unwrap();
    for id in &acked {
        assert!(reader.contains(id).await.unwrap(), "{id} was acknowledged");
    }
    let mut landed = acked.len() as u64;
    for id in &unknown {
        landed += u64::from(reader.contains(id).await.unwrap());
    }
    assert_eq!(reader.count().await.unwrap(), landed);
    assert_eq!(collection.status().await.unwrap().shards[0].ops, landed, "none counts twice");
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert!(acked.len() > 100, "{} acknowledged, {} unknown", acked.len(), unknown.len());
}
