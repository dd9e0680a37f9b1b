//! Races over a write whose answer is lost, refused by its own success, or refused for now.

use deltafold::ErrorKind;
use deltafold::format::ShardId;
use deltafold::store::Store;
use deltafold_testing::on_stores;
use deltafold_testing::watched::{Fault, Watched};

use super::{append, append_put, contains, create, fold, ids, made, ops, put, writer};

on_stores!(
    every: [
        r3_an_append_whose_answer_is_lost_lands_once,
        r3_a_publish_whose_answer_is_lost_lands_once,
        r4_try_again_is_not_taken,
        a_publish_is_found_behind_a_lost_one_and_another_s,
        a_possible_self_conflict_is_not_called_a_failure,
    ],
    local: [a_failed_shard_does_not_hide_one_in_doubt],
);

/// Story: a write landed and its reply was lost. The retry was refused, the writer blamed another
/// writer, and wrote the same ops again in the next slot. Now a segment bears its writer's batch,
/// and a refused writer looks up the batch in the slot.
async fn r3_an_append_whose_answer_is_lost_lands_once<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    for (number, fault) in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Delay].into_iter().enumerate() {
        store.fail("create", "/log/", fault);
        assert_eq!(append(&writer, vec![put(&format!("{fault:?}"))]).await, number as u64 + 1);
        assert!(store.all_reached());
    }
    assert_eq!(store.land_delayed().await, 0, "the retry had taken the slot");
    // Two lost requests in a row, and then another writer has the slot after all.
    let other = super::writer(&collection);
    store.fail("create", "/log/", Fault::LoseRequest);
    store.before("create", "/log/00000000000000000004", move || async move {
        assert_eq!(append(&other, vec![put("other")]).await, 4);
    });
    assert_eq!(append(&writer, vec![put("last")]).await, 5);
    assert_eq!(ids(&collection).await, ["Delay", "LoseAnswer", "LoseRequest", "last", "other"]);
    assert_eq!(ops(&collection).await, 5);
}

/// The same for a publish: the head was swapped, and the compactor did not hear of it. It must not
/// fold again, nor report a failure.
async fn r3_a_publish_whose_answer_is_lost_lands_once<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    for (number, fault) in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Delay].into_iter().enumerate() {
        append(&writer, vec![put(&format!("{fault:?}"))]).await;
        store.fail("replace", "/head", fault);
        store.fail("create", "/manifest/", fault);
        assert_eq!(fold(&collection).await, 1);
        assert!(store.all_reached());
        assert_eq!(collection.status().await.unwrap().shards[0].version.get(), number as u64 + 1);
    }
    store.land_delayed().await;
    assert_eq!(
        collection.status().await.unwrap().shards[0].version.get(),
        3,
        "what comes late finds the head moved on"
    );
    // The answer is lost, and others publish before it is looked up. The history decides.
    append(&writer, vec![put("x")]).await;
    store.fail("replace", "/head", Fault::LoseAnswer);
    let other = collection.clone();
    // The first check comes before the publish; the next one looks up the publish's outcome.
    store.before("get_unless", "/head", || async {});
    store.before("get_unless", "/head", move || async move {
        append(&writer, vec![put("y")]).await;
        fold(&other).await;
    });
    assert_eq!(fold(&collection).await, 1);
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, ["Delay", "LoseAnswer", "LoseRequest", "x", "y"]);
    assert_eq!(ops(&collection).await, 5);
}

/// Story: a store answered "conflict, nothing landed, try again" (S3: 409). The writer took it for
/// "the name is taken" (412) and went on to the next slot. That left a hole in the log, at which
/// every reader stopped. Now they are two outcomes. A writer retries an undecided slot and never
/// passes it.
async fn r4_try_again_is_not_taken<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    let other = super::writer(&collection);
    assert_eq!(append(&writer, vec![put("a")]).await, 1);
    for _ in 0..3 {
        store.fail("create", "/log/00000000000000000002", Fault::Transient);
    }
    assert_eq!(append(&writer, vec![put("b")]).await, 2);
    assert!(store.all_reached());
    assert_eq!(append(&other, vec![put("c")]).await, 3);
    assert_eq!(append(&writer, vec![put("d")]).await, 4, "a place that is taken is passed over");
    let keys = store.keys("/log/").await;
    assert_eq!(keys.len(), 4);
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d"]);
    // A permanent failure fails the call, and the next call goes into the same slot.
    store.fail("create", "/log/", Fault::Permanent);
    let error = writer.append(vec![put("e")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert_eq!(append(&writer, vec![put("f")]).await, 5);
}

/// Story: the first attempt to publish a pin never arrived. The second landed, its answer was lost,
/// and another process published. The publisher searched the history for the first attempt, and
/// only the empty rest of it for the second. The caller heard that a pin of that name existed
/// already; it was the caller's own. Now the whole history is searched for each attempt.
pub(super) async fn a_publish_is_found_behind_a_lost_one_and_another_s<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    append_put(&writer(&collection), "a").await;
    fold(&collection).await;
    store.fail("replace", "/head", Fault::LoseRequest);
    store.fail("replace", "/head", Fault::LoseAnswer);
    // Before the first attempt, after it, and after the second.
    store.before("get_unless", "/head", || async {});
    store.before("get_unless", "/head", || async {});
    let other = collection.clone();
    store.before("get_unless", "/head", move || async move {
        other.pin("other", None).await.unwrap();
    });
    let pinned = collection.pin("ours", None).await.unwrap();
    assert_eq!(pinned[0].1.get(), 1);
    assert!(store.all_reached());
    assert_eq!(collection.status().await.unwrap().shards[0].pins.len(), 2);
}

/// Story: an append landed, and a layer below tried it again and was refused. Then the slot could
/// not be read. The caller heard that nothing had been appended. Now the outcome is "unknown" until
/// the owner of the slot is known.
async fn a_possible_self_conflict_is_not_called_a_failure<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    store.fail("create", "/log/00000000000000000001", Fault::Echo);
    store.fail("get_range", "/log/00000000000000000001", Fault::Permanent);
    let error = writer(&collection).append(vec![put("a")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    assert!(store.all_reached());
    assert!(contains(&collection, "a").await);
}

/// Story: an append over two shards landed in one of them, where the check of the head then failed.
/// The other shard refused it, and the caller heard only that answer: nothing was appended. Now a
/// shard where nothing landed does not hide the unknown outcome of another.
async fn a_failed_shard_does_not_hide_one_in_doubt<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 2).await;
    let in_shard = |shard: u16| {
        let mut ids = (0..).map(|number| format!("{number}"));
        ids.find(|id| ShardId::of(id, 2).get() == shard).unwrap()
    };
    store.fail("get_unless", "/0000/head", Fault::Permanent);
    store.fail("create", "/0001/log/", Fault::Permanent);
    let both = vec![put(&in_shard(0)), put(&in_shard(1))];
    let error = writer(&collection).append(both).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    assert!(store.all_reached());
    assert!(contains(&collection, &in_shard(0)).await);
    assert!(!contains(&collection, &in_shard(1)).await);
}
