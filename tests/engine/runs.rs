//! Runs: ops with a position each in the sequence of a source, each of which takes effect once.

use std::sync::Arc;

use deltafold::format::{Op, Record, ShardId};
use deltafold::store::Store;
use deltafold::{Collection, CompactorOptions, CreateOptions, ErrorKind, FollowOptions, Writer, WriterOptions};
use deltafold_testing::on_stores;
use deltafold_testing::random::Random;
use deltafold_testing::watched::{Fault, Watched};
use futures::TryStreamExt;
use futures::future::{join, join_all};

on_stores!(
    every: [overlapping_runs_of_many_workers_take_effect_once],
    local: [
        a_run_appends_the_positions_above_the_high_water_mark,
        runs_that_wait_together_cover_each_other,
        a_run_behind_a_failed_position_is_refused,
    ],
);

async fn made<S: Store + Clone>(store: &Watched<S>, shards: u16) -> Collection {
    let options = CreateOptions::new(2).shards(shards);
    Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap()
}

fn writer(collection: &Collection) -> Writer {
    collection.writer(WriterOptions::default()).unwrap()
}

/// A put for each position, whose id is the position.
fn run(positions: impl IntoIterator<Item = u128>) -> Vec<(u128, Op)> {
    positions.into_iter().map(|at| (at, Op::put(format!("{at:04}"), Record::default()))).collect()
}

/// The ids of the log, shard by shard, in its order.
async fn log(collection: &Collection, shards: u16) -> Vec<String> {
    let mut ids = Vec::new();
    for shard in 0..shards {
        let options = FollowOptions::default().until_tail(true);
        let shard = ShardId::new(shard).unwrap();
        let ops: Vec<_> = collection.follow(shard, options).unwrap().try_collect().await.unwrap();
        ids.extend(ops.into_iter().map(|(_, op)| op.id));
    }
    ids
}

async fn a_run_appends_the_positions_above_the_high_water_mark<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 1).await;
    let first = writer(&collection);
    let ack = first.append_run("s", run([2, 4, 6])).await.unwrap();
    assert_eq!((ack.segments().len(), ack.duplicates(), ack.is_duplicate()), (1, 0, false));
    // Another writer knows the mark from the log alone.
    let other = writer(&collection);
    let ack = other.append_run("s", run([4, 6, 7, 9])).await.unwrap();
    assert_eq!((ack.segments().len(), ack.duplicates(), ack.is_duplicate()), (1, 2, false));
    let ack = first.append_run("s", run([1, 5, 9])).await.unwrap();
    assert_eq!((ack.segments().len(), ack.duplicates(), ack.is_duplicate()), (0, 3, true));
    assert!(first.append_from("s", 9, vec![Op::delete("x")]).await.unwrap().is_duplicate());
    assert_eq!(log(&collection, 1).await, ["0002", "0004", "0006", "0007", "0009"]);
    assert_eq!(first.append_run("s", Vec::new()).await.unwrap().duplicates(), 0);
    for wrong in [run([10, 10]), run([12, 11])] {
        assert_eq!(first.append_run("s", wrong).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

async fn runs_that_wait_together_cover_each_other<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 1).await;
    let writer = writer(&collection);
    let calls = join(writer.append_run("s", run(1..=3)), writer.append_run("s", run(2..=5)));
    let (first, second) = calls.await;
    assert_eq!((first.unwrap().duplicates(), second.unwrap().duplicates()), (0, 2));
    assert_eq!(log(&collection, 1).await, ["0001", "0002", "0003", "0004", "0005"]);
}

/// Story: a line whose append failed must not be overtaken by the lines behind it, or a program
/// that resumes at the failed line finds it below the high-water mark.
async fn a_run_behind_a_failed_position_is_refused<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 1).await;
    let writer = writer(&collection);
    writer.append_run("s", run([1])).await.unwrap();
    store.fail("create", "/log/", Fault::Permanent);
    writer.append_run("s", run([1, 2, 3])).await.unwrap_err();
    for behind in [run([3, 4]), run([4])] {
        assert_eq!(writer.append_run("s", behind).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert_eq!(writer.append_run("s", run([2, 3, 4])).await.unwrap().duplicates(), 0);
    assert_eq!(log(&collection, 1).await, ["0001", "0002", "0003", "0004"]);
}

/// Several workers deliver the same lines in runs that begin and end anywhere. Requests fail and
/// answers are lost. Each worker resumes behind its last acknowledged line, or somewhat before it.
async fn overlapping_runs_of_many_workers_take_effect_once<S: Store + Clone>(store: Watched<S>) {
    const LINES: u128 = 150;
    let seed = Random::from_environment().next();
    for shards in [1, 3] {
        let name = format!("c{shards}").parse().unwrap();
        let options = CreateOptions::new(2).shards(shards);
        let collection = Collection::create(Arc::new(store.clone()), &name, &options).await.unwrap();
        store.fail_at_random(seed, 12);
        let workers = (0..3_u64).map(|worker| {
            let collection = collection.clone();
            tokio::spawn(async move {
                let mut random = Random::new(seed ^ worker);
                let mut writer = writer(&collection);
                let mut acknowledged = 0;
                while acknowledged < LINES {
                    let from = (acknowledged + 1).saturating_sub(random.below(20).into()).max(1);
                    let to = (from + u128::from(random.below(40))).min(LINES);
                    match writer.append_run("lines", run(from..=to)).await {
                        Ok(_) => acknowledged = acknowledged.max(to),
                        // The next writer knows what the log holds, and no failed position.
                        Err(_) => writer = self::writer(&collection),
                    }
                    if random.once_in(8) {
                        // It may fail as any command.
                        let _ = collection.compactor(CompactorOptions::default()).run_once().await;
                    }
                }
            })
        });
        for worker in join_all(workers).await {
            worker.unwrap();
        }
        store.fail_at_random(seed, 0);
        let mut ids = log(&collection, shards).await;
        if shards == 1 {
            assert!(ids.is_sorted(), "{ids:?}");
        }
        ids.sort();
        let expected: Vec<String> = run(1..=LINES).into_iter().map(|(_, op)| op.id).collect();
        assert_eq!(ids, expected, "{shards} shards");
    }
}
