//! Copies: equal at the end, each op once, whatever breaks off on the way.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Patch, Record, ShardId, Value};
use deltafold::store::Memory;
use deltafold::{
    At, Collection, CollectionBuilder, Compactor, CompactorOptions, Copier, CopyOptions, CopyReport, CreateOptions,
    Entry, ErrorKind, FollowOptions, Order, Policy, Result, ScanOptions, SweepOptions, WriterOptions,
};
use deltafold_testing::random::Random;
use futures::TryStreamExt;
use tokio::sync::watch;

async fn made(options: &CreateOptions) -> Collection {
    let builder: CollectionBuilder = Collection::builder(Arc::new(Memory::new()), &"c".parse().unwrap());
    builder.create(options).await.unwrap()
}

fn compactor(collection: &Collection, fold_segments: u64) -> Compactor {
    collection.compactor(CompactorOptions::default().policy(Policy::default().fold_segments(fold_segments)))
}

/// Records of every form, and ops of every kind on them.
fn op(random: &mut Random, ids: u64) -> Op {
    let id = format!("r{}", random.below(ids));
    let number = random.next();
    let mut record = Record::default();
    if !random.once_in(5) {
        record.embedding = Some(vec![number as f32, -0.0]);
    }
    if random.once_in(2) {
        record.document = Some("é".repeat(random.index(4)));
    }
    let value = match random.below(5) {
        0 => Value::I64(number as i64),
        1 => Value::F64(number as f64),
        2 => Value::Bool(number.is_multiple_of(2)),
        3 => Value::Strings(vec![number.to_string()]),
        _ => Value::F64s(Vec::new()),
    };
    record.metadata.insert(format!("k{}", random.below(3)), value.clone());
    match random.below(6) {
        0 => Op::delete(id),
        1 => Op::add(id, record),
        2 => Op::patch(id, Patch { metadata: [("k0".to_owned(), Some(value))].into(), ..Patch::default() }),
        3 => Op::upsert(id, Patch { metadata: [("k1".to_owned(), None)].into(), ..Patch::default() }),
        _ => Op::put(id, record),
    }
}

async fn append(collection: &Collection, random: &mut Random, ops: usize) {
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for _ in 0..ops.div_ceil(20) {
        writer.append((0..20).map(|_| op(random, 200)).collect()).await.unwrap();
    }
}

async fn records(collection: &Collection, order: Order) -> Vec<(String, Record)> {
    let reader = collection.reader().await.unwrap();
    let entries: Vec<Entry> = reader.scan(ScanOptions::default().order(order)).try_collect().await.unwrap();
    entries.into_iter().map(|entry| (entry.id, entry.record)).collect()
}

#[track_caller]
fn verified(report: &CopyReport, records: usize) {
    assert_eq!(report.verified.map(|(counted, _)| counted), Some(records as u64), "{report:?}");
}

async fn copy(from: &Collection, to: &Collection, options: CopyOptions) -> Result<CopyReport> {
    Copier::new(from, to, options)?.run(std::future::pending(), |_| ()).await
}

async fn assert_equal(from: &Collection, to: &Collection, report: &CopyReport) {
    let (ours, theirs) = (records(from, Order::Id).await, records(to, Order::Id).await);
    assert_eq!(ours, theirs);
    verified(report, ours.len());
}

#[tokio::test]
async fn a_copy_has_the_records_in_their_order_of_insertion() {
    let mut random = Random::from_environment();
    let from = made(&CreateOptions::new(2)).await;
    append(&from, &mut random, 600).await;
    compactor(&from, 1).run_once().await.unwrap();
    append(&from, &mut random, 100).await;
    let to = made(&Copier::target(&from)).await;
    let report = copy(&from, &to, CopyOptions::default()).await.unwrap();
    assert_equal(&from, &to, &report).await;
    assert_eq!(records(&from, Order::Insertion).await, records(&to, Order::Insertion).await);
    assert_eq!((report.transfers, report.ops), (1, 0));
}

#[tokio::test]
async fn a_later_copy_applies_the_log_alone_and_each_op_once() {
    let mut random = Random::from_environment();
    let from = made(&CreateOptions::new(2).shards(3)).await;
    append(&from, &mut random, 400).await;
    let to = made(&CreateOptions::new(2).shards(4)).await;
    copy(&from, &to, CopyOptions::default()).await.unwrap();
    for _ in 0..3 {
        append(&from, &mut random, 200).await;
        let report = copy(&from, &to, CopyOptions::default()).await.unwrap();
        assert_equal(&from, &to, &report).await;
        assert_eq!((report.transfers, report.written, report.ops, report.repeated), (0, 0, 200, 0));
    }
    let again = copy(&from, &to, CopyOptions::default()).await.unwrap();
    assert_eq!((again.transfers, again.ops), (0, 0), "nothing is new");
}

/// Story: a standby was off for so long that the origin's log was swept. It must not go on behind
/// the gap, because the ops in it would be lost. It compares both sides, and writes what differs.
#[tokio::test]
async fn a_copy_behind_a_swept_log_writes_the_difference() {
    let mut random = Random::from_environment();
    let from = made(&CreateOptions::new(2).shards(2)).await;
    append(&from, &mut random, 400).await;
    let to = made(&Copier::target(&from)).await;
    copy(&from, &to, CopyOptions::default()).await.unwrap();
    let writer = from.writer(WriterOptions::default()).unwrap();
    writer.append(vec![Op::delete("r1"), Op::put("new", Record::default())]).await.unwrap();
    for _ in 0..2 {
        append(&from, &mut random, 40).await;
        compactor(&from, 1).run_once().await.unwrap();
        from.sweep(&SweepOptions::KEEP_NOTHING).await.unwrap();
    }
    let report = copy(&from, &to, CopyOptions::default()).await.unwrap();
    assert_equal(&from, &to, &report).await;
    assert_eq!(report.transfers, 1);
    assert!(report.written > 0 && report.written < 100, "only what differs: {report:?}");
}

#[tokio::test]
async fn a_target_with_own_records_is_refused_unless_overwritten() {
    let mut random = Random::from_environment();
    let from = made(&CreateOptions::new(2)).await;
    append(&from, &mut random, 100).await;
    let to = made(&CreateOptions::new(2)).await;
    let own = to.writer(WriterOptions::default()).unwrap();
    own.append(vec![Op::put("own", Record::default())]).await.unwrap();
    let refused = copy(&from, &to, CopyOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("nothing says that they are a copy"), "{refused}");
    assert_eq!(records(&to, Order::Id).await.len(), 1, "it is untouched");
    let report = copy(&from, &to, CopyOptions::default().overwrite(true)).await.unwrap();
    assert_equal(&from, &to, &report).await;
    assert_eq!(report.deleted, 1);
    // A change of another writer is found at the end, and overwriting mends it.
    own.append(vec![Op::put("own", Record::default())]).await.unwrap();
    let found = copy(&from, &to, CopyOptions::default()).await.unwrap_err();
    assert_eq!(found.kind(), ErrorKind::Conflict);
    assert!(found.to_string().contains("1 records differ"), "{found}");
    let report = copy(&from, &to, CopyOptions::default().overwrite(true)).await.unwrap();
    assert_equal(&from, &to, &report).await;
}

#[tokio::test]
async fn collections_that_do_not_fit_are_refused() {
    let from = made(&CreateOptions::new(2)).await;
    let other = made(&CreateOptions::new(3)).await;
    let by_revision = made(&CreateOptions::new(2).by_revision(Duration::from_secs(9))).await;
    let follow = CopyOptions::default().follow(true);
    for (to, options, says) in [
        (&other, CopyOptions::default(), "differ in dimension or metric"),
        (&from, CopyOptions::default(), "cannot be copied into itself"),
        (&by_revision, follow.clone(), "ordered by the log can follow"),
        (&other.clone(), CopyOptions::default(), "differ in dimension"),
    ] {
        let error = Copier::new(&from, to, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
    let to = made(&CreateOptions::new(2)).await;
    let at = follow.at(At::Pin("p".to_owned()));
    assert!(Copier::new(&from, &to, at).unwrap_err().to_string().contains("name no version"));
}

#[tokio::test]
async fn a_version_is_copied_without_the_ops_behind_it() {
    let mut random = Random::from_environment();
    let from = made(&CreateOptions::new(2).shards(2)).await;
    append(&from, &mut random, 200).await;
    compactor(&from, 1).run_once().await.unwrap();
    from.pin("p", None).await.unwrap();
    let pinned = records(&from, Order::Id).await;
    append(&from, &mut random, 200).await;
    let to = made(&CreateOptions::new(2)).await;
    let report = copy(&from, &to, CopyOptions::default().at(At::Pin("p".to_owned()))).await.unwrap();
    verified(&report, pinned.len());
    assert_eq!(records(&to, Order::Id).await, pinned);
    // The next copy goes on from there by the log.
    let report = copy(&from, &to, CopyOptions::default()).await.unwrap();
    assert_equal(&from, &to, &report).await;
    assert_eq!((report.transfers, report.ops), (0, 200));
}

#[tokio::test]
async fn a_copy_changes_the_ordering() {
    let mut random = Random::from_environment();
    let by_log = made(&CreateOptions::new(2)).await;
    append(&by_log, &mut random, 300).await;
    let options = CreateOptions::new(2).shards(2).by_revision(Duration::from_secs(1_000));
    let by_revision = made(&options).await;
    for _ in 0..2 {
        let report = copy(&by_log, &by_revision, CopyOptions::default()).await.unwrap();
        assert_equal(&by_log, &by_revision, &report).await;
        append(&by_log, &mut random, 100).await;
    }
    let back = made(&CreateOptions::new(2)).await;
    let report = copy(&by_revision, &back, CopyOptions::default()).await.unwrap();
    assert_equal(&by_revision, &back, &report).await;
}

/// Story: four writers append while a copy with another number of shards follows. Neither compactor
/// nor sweep waits for it. Each op arrives once, and in the order of its record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_of_four_writers_ends_equal() {
    let mut random = Random::from_environment();
    let from = made(&CreateOptions::new(2).shards(2)).await;
    append(&from, &mut random, 200).await;
    let to = made(&CreateOptions::new(2).shards(4)).await;
    let (stop, mut stopped) = watch::channel(false);
    let follow = CopyOptions::default().follow(true).interval(Duration::from_millis(5));
    let copier = Copier::new(&from, &to, follow).unwrap();
    let copying = tokio::spawn(async move {
        let stop = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
        copier.run(stop, |_| ()).await.unwrap()
    });
    let writing = (0..4).map(|seed| {
        let (from, mut random) = (from.clone(), Random::new(random.next() ^ seed));
        tokio::spawn(async move {
            for _ in 0..10 {
                append(&from, &mut random, 60).await;
            }
        })
    });
    let writing: Vec<_> = writing.collect();
    let mut folding = compactor(&to, 2);
    for writer in writing {
        folding.run_once().await.unwrap();
        writer.await.unwrap();
    }
    stop.send_replace(true);
    let report = copying.await.unwrap();
    assert_equal(&from, &to, &report).await;
    // Every op of the origin's log behind the transfer is in the target once.
    let applied = report.ops - report.repeated;
    let mut in_target = 0;
    for shard in ShardId::all(4) {
        let log = to.follow(shard, FollowOptions::default().until_tail(true)).unwrap();
        let ops: Vec<_> = log.try_collect().await.unwrap();
        in_target += ops.iter().filter(|(_, op)| !op.id.starts_with('\0')).count() as u64;
    }
    assert_eq!(in_target, applied + report.written, "{report:?}");
}

/// Story: a copy stood still in the midst of its transfer, and was thought dead. A second one
/// transferred a later state and followed the log. When the first went on, it would have put old
/// records over new ones. The fence of the second generation makes the target ignore them.
#[tokio::test]
async fn a_copy_that_was_overtaken_changes_nothing_and_says_so() {
    let from = made(&CreateOptions::new(2).shards(2)).await;
    // Larger than the first chunks, so that the transfer tells its progress before its end.
    let writer = from.writer(WriterOptions::default()).unwrap();
    for batch in 0..8 {
        let put = |n: u64| {
            Op::put(format!("n{batch}-{n}"), Record { embedding: Some(vec![n as f32, 1.0]), ..Record::default() })
        };
        writer.append((0..10_000).map(put).collect()).await.unwrap();
    }
    let to = made(&CreateOptions::new(2).shards(2)).await;
    let first = Copier::new(&from, &to, CopyOptions::default()).unwrap();
    let (second, old) = (Copier::new(&from, &to, CopyOptions::default()).unwrap(), from.clone());
    let (paused, mut pausing) = watch::channel(0);
    let (go, mut going) = watch::channel(false);
    let running = tokio::spawn(async move {
        first
            .run(std::future::pending(), move |_| {
                paused.send_modify(|seen| *seen += 1);
                if *paused.borrow() == 1 {
                    // Blocks this run alone: the runtime of the second is another thread.
                    while !*going.borrow_and_update() {
                        std::thread::yield_now();
                    }
                }
            })
            .await
    });
    let second = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            pausing.wait_for(|seen| *seen == 1).await.unwrap();
            old.writer(WriterOptions::default()).unwrap().append(vec![Op::delete("n7-9999")]).await.unwrap();
            let report = second.run(std::future::pending(), |_| ()).await;
            go.send_replace(true);
            report
        })
    });
    let overtaken = running.await.unwrap().unwrap_err();
    assert_eq!(overtaken.kind(), ErrorKind::Conflict, "{overtaken}");
    assert!(overtaken.to_string().contains("has begun"), "{overtaken}");
    let report = second.join().unwrap().unwrap();
    assert_equal(&from, &to, &report).await;
}

/// Story: a copy breaks off anywhere, and is started again until it is done. It goes on where it
/// stopped, and ends equal, whether the state, the notes or the log was on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_dropped_at_any_moment_goes_on() {
    let mut random = Random::from_environment();
    let from = made(&CreateOptions::new(2).shards(3)).await;
    let to = made(&CreateOptions::new(2).shards(2)).await;
    append(&from, &mut random, 400).await;
    let mut broken = 0;
    for round in 0..120 {
        let polls = random.below(150);
        let copier = Copier::new(&from, &to, CopyOptions::default()).unwrap();
        let mut run = Box::pin(copier.run(std::future::pending(), |_| ()));
        let mut done = None;
        for _ in 0..polls {
            if let std::task::Poll::Ready(report) = futures::poll!(&mut run) {
                done = Some(report.unwrap());
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(run);
        match done {
            Some(report) => assert_equal(&from, &to, &report).await,
            None => broken += 1,
        }
        append(&from, &mut random, 20).await;
        if round % 10 == 0 {
            compactor(&to, 1).run_once().await.unwrap();
            compactor(&from, 1).run_once().await.unwrap();
        }
        if round % 40 == 0 {
            from.sweep(&SweepOptions::KEEP_NOTHING).await.unwrap();
        }
    }
    assert!(broken > 20, "only {broken} of 120 runs broke off");
    let report = copy(&from, &to, CopyOptions::default()).await.unwrap();
    assert_equal(&from, &to, &report).await;
}
