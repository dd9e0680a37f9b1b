//! The writer: bounds, cancellation, bad input, errors. `group_commit.rs` has its batches, and
//! `writers.rs` several writers at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use deltafold::format::limits::MAX_SEGMENT_OPS;
use deltafold::format::{Op, Position, Record, ShardId};
use deltafold::store::{Key, Memory, Store};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Depth, ErrorKind, FollowOptions, IdempotencyKey, SweepOptions, Writer,
    WriterOptions,
};
use deltafold_testing::on_stores;
use deltafold_testing::random::Random;
use deltafold_testing::watched::{Fault, Watched};
use futures::TryStreamExt;
use futures::future::join_all;
use tokio::sync::Notify;

on_stores!(
    every: [
        an_append_costs_one_put_and_one_conditional_get,
        a_collection_that_was_dropped_takes_no_appends,
    ],
    local: [
        a_follower_goes_on_behind_its_position,
        too_much_waiting_is_refused_and_nothing_lost,
        flush_and_close_wait_for_accepted_ops,
        ops_accepted_by_a_dropped_writer_are_appended,
        a_dropped_append_leaves_the_writer_usable,
        a_segment_at_the_tail_is_passed_and_a_far_tail_looked_up,
        bad_input_names_op_and_field_and_appends_nothing,
        ops_go_to_the_shards_of_their_ids,
        an_append_that_cannot_be_decided_says_so,
    ],
);

pub(crate) async fn made<S: Store + Clone>(store: &Watched<S>, shards: u16) -> Collection {
    let options = CreateOptions::new(2).shards(shards);
    Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap()
}

pub(crate) async fn made_with_writer<S: Store + Clone>(store: &Watched<S>) -> (Collection, Writer) {
    let collection = made(store, 1).await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

pub(crate) fn put(id: impl ToString) -> Op {
    Op::put(id.to_string(), Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

fn shard(number: u16) -> ShardId {
    ShardId::new(number).unwrap()
}

/// All ops in the log of shard 0.
pub(crate) async fn log(collection: &Collection) -> Vec<(Position, Op)> {
    let options = FollowOptions::default().until_tail(true);
    collection.follow(shard(0), options).unwrap().try_collect().await.unwrap()
}

pub(crate) async fn ids(collection: &Collection) -> Vec<String> {
    log(collection).await.into_iter().map(|(_, op)| op.id).collect()
}

/// Stops the next creation of a segment until it is released.
pub(crate) fn stop<S: Store>(store: &Watched<S>) -> (Arc<Notify>, Arc<Notify>) {
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (reached.clone(), go_on.clone());
    store.before("create", "/log/", move || async move {
        tell.notify_one();
        wait.notified().await;
    });
    (reached, go_on)
}

async fn too_much_waiting_is_refused_and_nothing_lost<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 1).await;
    let writer = collection.writer(WriterOptions::default().max_waiting_bytes(500)).unwrap();
    let (reached, go_on) = stop(&store);
    let mut accepted = vec![tokio::spawn({
        let writer = writer.clone();
        async move { writer.append(vec![put(0)]).await }
    })];
    reached.notified().await;
    let mut busy = None;
    for number in 1..100 {
        let mut append = Box::pin({
            let writer = writer.clone();
            async move { writer.append(vec![put(number)]).await }
        });
        match futures::poll!(&mut append) {
            Poll::Ready(answer) => {
                busy = Some((number, answer.unwrap_err()));
                break;
            }
            Poll::Pending => accepted.push(tokio::spawn(append)),
        }
    }
    let (number, error) = busy.expect("100 ops are more than 500 bytes");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("the limit is 500"), "{error}");
    go_on.notify_one();
    for append in join_all(accepted).await {
        append.unwrap().unwrap();
    }
    assert_eq!(log(&collection).await.len(), number);
    writer.append(vec![put("again")]).await.unwrap();
    let large = Record { document: Some("d".repeat(10_000)), ..Record::default() };
    writer.append(vec![Op::put("large", large)]).await.expect("an op alone may be larger than the limit");
}

async fn flush_and_close_wait_for_accepted_ops<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made_with_writer(&store).await;
    writer.flush().await.unwrap();
    let mut forgotten: Vec<_> = (0..5)
        .map(|n| {
            Box::pin({
                let writer = writer.clone();
                async move { writer.append(vec![put(n)]).await }
            })
        })
        .collect();
    for append in &mut forgotten {
        drop(futures::poll!(append));
    }
    drop(forgotten);
    writer.flush().await.unwrap();
    assert_eq!(log(&collection).await.len(), 5);
    let clone = writer.clone();
    // Begun before the close.
    let last = tokio::spawn({
        let mut append = Box::pin({
            let clone = clone.clone();
            async move { clone.append(vec![put("last")]).await }
        });
        let polled = futures::poll!(&mut append);
        async move { if let Poll::Ready(ack) = polled { ack } else { append.await } }
    });
    writer.close().await.unwrap();
    last.await.unwrap().unwrap();
    assert_eq!(log(&collection).await.len(), 6);
    assert_eq!(clone.append(vec![put("late")]).await.unwrap_err().kind(), ErrorKind::Closed);
}

async fn ops_accepted_by_a_dropped_writer_are_appended<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made_with_writer(&store).await;
    let mut append = Box::pin(async move { writer.append(vec![put("a")]).await });
    drop(futures::poll!(&mut append));
    drop(append);
    while log(&collection).await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(ids(&collection).await, ["a"]);
}

/// Futures are dropped at any moment. An acknowledged op is in the log once, any other at most
/// once, and the writer goes on.
async fn a_dropped_append_leaves_the_writer_usable<S: Store + Clone>(store: Watched<S>) {
    let mut random = Random::from_environment();
    let (collection, writer) = made_with_writer(&store).await;
    let (mut acked, mut begun) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..400 {
        let id = format!("{number:03}");
        begun.insert(id.clone());
        let mut append = Box::pin(writer.append(vec![put(&id)]));
        for _ in 0..random.below(6) {
            if let Poll::Ready(ack) = futures::poll!(&mut append) {
                ack.unwrap();
                acked.insert(id.clone());
                break;
            }
            tokio::task::yield_now().await;
        }
        if !acked.contains(&id) && random.once_in(3) {
            append.await.unwrap();
            acked.insert(id);
        }
    }
    writer.append(vec![put("at last")]).await.unwrap();
    writer.close().await.unwrap();
    let ids = ids(&collection).await;
    let different: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(different.len(), ids.len(), "none twice");
    assert!(acked.is_subset(&different));
    assert!(different.iter().all(|id| begun.contains(id) || id == "at last"));
    assert!(!acked.is_empty() && acked.len() < 400);
}

async fn an_append_costs_one_put_and_one_conditional_get<S: Store + Clone>(store: Watched<S>) {
    let (_collection, writer) = made_with_writer(&store).await;
    store.calls();
    writer.append(vec![put("a")]).await.unwrap();
    let first = store.calls();
    assert_eq!(first, ["get head", "list log/", "create log/00000000000000000001", "get_unless head"]);
    for number in 2..5 {
        writer.append(vec![put("a"), put("b")]).await.unwrap();
        assert_eq!(store.calls(), [format!("create log/{number:020}"), "get_unless head".to_owned()]);
    }
    writer.append_from("s", 1, vec![put("a")]).await.unwrap();
    assert_eq!(store.calls().iter().filter(|call| call.starts_with("create")).count(), 1);
    writer.append_from("s", 2, vec![put("a")]).await.unwrap();
    assert_eq!(store.calls(), ["create log/00000000000000000006", "get_unless head"], "the log is read once");
    assert!(writer.append_from("s", 2, vec![put("a")]).await.unwrap().is_duplicate());
    assert_eq!(store.calls(), [""; 0]);
    assert!(writer.append(Vec::new()).await.unwrap().segments().is_empty());
    assert_eq!(store.calls(), [""; 0]);
}

async fn a_segment_at_the_tail_is_passed_and_a_far_tail_looked_up<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made_with_writer(&store).await;
    let other = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![put("a")]).await.unwrap();
    other.append(vec![put("b")]).await.unwrap();
    store.calls();
    writer.append(vec![put("c")]).await.unwrap();
    let calls = [
        "create log/00000000000000000002",
        "get_range log/00000000000000000002",
        "create log/00000000000000000003",
        "get_unless head",
    ];
    assert_eq!(store.calls(), calls);
    for number in 0..200 {
        other.append(vec![put(number)]).await.unwrap();
    }
    store.calls();
    assert_eq!(writer.append(vec![put("d")]).await.unwrap().segments()[0].1.get(), 204);
    // Three slots are lost. For each but the first, the writer checks the head while it reads the
    // taken slot. The lookup checks the head too, and also reads the header of the last segment.
    let mut calls = store.calls();
    // A glance at the slot that it gets, if the creation takes long enough.
    calls.retain(|call| call != "get_range log/00000000000000000204");
    assert_eq!(calls.len(), 13, "the end of a log that has gone far ahead is looked up: {calls:?}");
    assert_eq!(log(&collection).await.len(), 204);
}

async fn bad_input_names_op_and_field_and_appends_nothing<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made_with_writer(&store).await;
    let wrong = Op::put("id-7", Record { embedding: Some(vec![1.0]), ..Record::default() });
    let error = writer.append(vec![put("a"), wrong]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("id-7") && error.to_string().contains("embedding"), "{error}");
    let infinite = Op::put("b", Record { embedding: Some(vec![1.0, f32::NAN]), ..Record::default() });
    assert_eq!(writer.append(vec![infinite]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    for source in ["", "writer/x", &"s".repeat(257)] {
        assert_eq!(writer.append_from(source, 1, vec![put("a")]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let options = [
        WriterOptions::default().max_batch_ops(0),
        WriterOptions::default().max_batch_ops(1 << 21),
        WriterOptions::default().max_batch_bytes(1 << 30),
        WriterOptions::default().max_waiting_bytes(0),
    ];
    for options in options {
        assert_eq!(collection.writer(options).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(store.keys("/log/").await, [] as [Key; 0]);
    writer.append(vec![put("a")]).await.unwrap();
    assert_eq!(ids(&collection).await, ["a"]);
}

async fn ops_go_to_the_shards_of_their_ids<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 3).await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let ack = writer.append((0..50).map(put).collect()).await.unwrap();
    assert_eq!(ack.segments().iter().map(|(shard, _)| shard.get()).collect::<Vec<_>>(), [0, 1, 2]);
    for (number, _) in ack.segments() {
        let options = FollowOptions::default().until_tail(true);
        let ops: Vec<(Position, Op)> = collection.follow(*number, options).unwrap().try_collect().await.unwrap();
        assert!(ops.iter().all(|(_, op)| ShardId::of(&op.id, 3) == *number) && !ops.is_empty());
    }
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 50);
    // One shard fails: the error must not say that nothing was appended.
    store.fail("create", "/log/", Fault::Permanent);
    let error = writer.append((50..100).map(put).collect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    assert!(error.to_string().contains("several shards"), "{error}");
    // A batch from a source is tried again, and only the missing ops are appended.
    store.fail("create", "/log/", Fault::Permanent);
    writer.append_from("s", 1, (100..150).map(put).collect()).await.unwrap_err();
    let again = writer.append_from("s", 1, (100..150).map(put).collect()).await.unwrap();
    assert_eq!((again.segments().len(), again.is_duplicate()), (1, false));
    let reader = collection.reader().await.unwrap();
    for id in 100..150 {
        assert!(reader.contains(&id.to_string()).await.unwrap());
    }
}

async fn a_collection_that_was_dropped_takes_no_appends<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made_with_writer(&store).await;
    let zombie = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![put("a")]).await.unwrap();
    zombie.append(vec![put("a")]).await.unwrap();
    Collection::drop_collection(&store, &"c".parse().unwrap(), |_| ()).await.unwrap();
    let error = writer.append(vec![put("b")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // The zombie's segment blocks no writer. A new collection of the name counts its slot as empty.
    Collection::drop_collection(&store, &"c".parse().unwrap(), |_| ()).await.unwrap();
    let (collection, fresh) = made_with_writer(&store).await;
    let error = zombie.append(vec![put("c")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(store.keys("/log/").await.len(), 1);
    for id in ["x", "y", "z", "zz"] {
        fresh.append(vec![put(id)]).await.unwrap();
    }
    assert_eq!(ids(&collection).await, ["x", "y", "z", "zz"]);
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    let reader = collection.reader().await.unwrap();
    assert_eq!(reader.count().await.unwrap(), 4);
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

async fn an_append_that_cannot_be_decided_says_so<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made_with_writer(&store).await;
    writer.append(vec![put("a")]).await.unwrap();
    // The answer is lost, and the retry fails for good.
    store.fail("create", "/log/", Fault::LoseAnswer);
    store.fail("create", "/log/", Fault::Permanent);
    let error = writer.append(vec![put("b")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    // The segment landed, and the writer cannot acknowledge it because it cannot read the head.
    store.fail("get_unless", "/head", Fault::Permanent);
    let error = writer.append(vec![put("c")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    writer.append(vec![put("d")]).await.unwrap();
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d"]);
}

async fn a_follower_goes_on_behind_its_position<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made_with_writer(&store).await;
    for segment in 0..3 {
        writer.append((0..3).map(|op| put(format!("{segment}-{op}"))).collect()).await.unwrap();
    }
    let follow = async |options: FollowOptions| -> Result<Vec<String>, deltafold::Error> {
        let options = options.until_tail(true);
        let ops: Vec<(Position, Op)> = collection.follow(shard(0), options).unwrap().try_collect().await?;
        Ok(ops.into_iter().map(|(_, op)| op.id).collect())
    };
    let all = log(&collection).await;
    for (number, (position, _)) in all.iter().enumerate() {
        let rest: Vec<String> = all[number + 1..].iter().map(|(_, op)| op.id.clone()).collect();
        assert_eq!(follow(FollowOptions::default().after(*position)).await.unwrap(), rest);
    }
    let second = deltafold::format::Sequence::new(2).unwrap();
    assert_eq!(follow(FollowOptions::default().from_segment(second)).await.unwrap().len(), 6);
    // A follower waits for more unless it is told to end.
    let options = FollowOptions::default().after(all[8].0).interval(Duration::from_millis(1));
    let mut following = collection.follow(shard(0), options).unwrap();
    let late = async {
        writer.append(vec![put("late")]).await.unwrap();
    };
    let (next, ()) = futures::join!(following.try_next(), late);
    assert_eq!(next.unwrap().unwrap().1.id, "late");
    // A swept op is an error, not a silent gap.
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    let sweep = SweepOptions::KEEP_NOTHING;
    collection.sweep(&sweep).await.unwrap();
    let error = follow(FollowOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Superseded, "{error}");
    let tail = deltafold::format::Sequence::new(5).unwrap();
    assert_eq!(follow(FollowOptions::default().from_segment(tail)).await.unwrap(), [""; 0]);
    writer.append(vec![put("new")]).await.unwrap();
    assert_eq!(following.try_next().await.unwrap().unwrap().1.id, "new", "a follower that kept up goes on");
}

/// A segment holds 4,096 marks. A change leaves one for its source, one for itself and one for each
/// record.
#[tokio::test]
async fn a_change_of_too_many_records_is_refused_whole() {
    let store = Watched::over(Memory::new());
    let (collection, writer) = made_with_writer(&store).await;
    let append = async |source: &str, records: usize| {
        let key = IdempotencyKey { source: source.to_owned(), position: 1 };
        writer.append_change(&key, (0..records).map(|id| Op::delete(id.to_string())).collect()).await
    };
    let error = append("a", 4_094).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(store.keys("/log/").await.len(), 0);
    append("a", 4_093).await.unwrap();
    assert_eq!(log(&collection).await.len(), 4_093);
}

/// At most half of a segment's ops section, because one call may add as much again.
#[tokio::test]
async fn options_of_a_writer_have_their_bounds() {
    let collection = made(&Watched::over(Memory::new()), 1).await;
    let with = |max_batch_ops, max_batch_bytes, max_waiting_bytes| {
        let options = WriterOptions::default()
            .max_batch_ops(max_batch_ops)
            .max_batch_bytes(max_batch_bytes)
            .max_waiting_bytes(max_waiting_bytes);
        collection.writer(options).map(drop).map_err(|error| error.kind())
    };
    let most = 32 << 20;
    assert_eq!(with(1, 1, 1), Ok(()));
    assert_eq!(with(MAX_SEGMENT_OPS, most, usize::MAX), Ok(()));
    for (ops, bytes, waiting) in [(0, 1, 1), (MAX_SEGMENT_OPS + 1, 1, 1), (1, 0, 1), (1, most + 1, 1), (1, 1, 0)] {
        assert_eq!(with(ops, bytes, waiting), Err(ErrorKind::InvalidInput), "{ops} {bytes} {waiting}");
    }
}
