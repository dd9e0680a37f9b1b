//! A writer that fails after a lost or refused write. It answers "acknowledged", "nothing landed"
//! or "unknown", and each answer must be true.

use std::sync::Arc;

use deltafold::format::{EditKind, Op, ShardId};
use deltafold::store::Store;
use deltafold::{
    Collection, CompactorOptions, CreateOptions, ErrorKind, FollowOptions, IdempotencyKey, SweepOptions, Writer,
    WriterOptions,
};
use deltafold_testing::on_stores;
use deltafold_testing::watched::{Fault, Watched};
use futures::TryStreamExt;

on_stores!(
    every: [a_failure_after_a_lost_answer_is_unknown, a_drop_before_the_ack_is_not_found],
    local: [
        a_failure_behind_another_s_slot_is_plain,
        a_failure_behind_an_own_echo_is_an_ack,
        an_echo_that_cannot_be_decided_is_unknown,
        an_echo_in_a_dropped_collection_is_not_found,
        a_lost_answer_behind_an_own_echo_is_an_ack,
        a_passed_shard_does_not_hide_a_failed_one,
        an_echo_is_acknowledged_where_it_was_folded,
        an_ack_after_two_attempts_names_the_folded_slot,
    ],
);

async fn collection<S: Store + Clone>(store: &Watched<S>) -> (Collection, Writer) {
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

async fn append(writer: &Writer, id: &str) -> u64 {
    writer.append(vec![Op::delete(id)]).await.unwrap().segments()[0].1.get()
}

async fn ids(collection: &Collection) -> Vec<String> {
    let options = FollowOptions::default().until_tail(true);
    let shard = ShardId::new(0).unwrap();
    let ops: Vec<_> = collection.follow(shard, options).unwrap().try_collect().await.unwrap();
    ops.into_iter().map(|(_, op)| op.id).collect()
}

/// The writer `b` creates slot 2. The slot is folded and swept, and a writer that slept creates it
/// anew. Only then does `b` hear that its slot is taken, and it finds the sleeper's segment there.
/// `then` runs last.
async fn echo<S: Store + Clone, F: Future<Output = ()> + Send>(
    store: &Watched<S>,
    then: impl FnOnce(Watched<S>) -> F + Send + 'static,
) -> (Collection, Writer) {
    let (collection, sleeper) = collection(store).await;
    append(&sleeper, "a").await;
    let b = collection.writer(WriterOptions::default()).unwrap();
    let (other, inner) = (collection.clone(), store.clone());
    store.echo_after("/log/00000000000000000002", move || async move {
        append(&other.writer(WriterOptions::default()).unwrap(), "next").await;
        let report = other.compactor(CompactorOptions::default()).run_once().await.unwrap();
        assert_eq!(report.published(EditKind::Fold), 1);
        let options = SweepOptions::KEEP_NOTHING;
        assert_eq!(other.sweep(&options).await.unwrap()[0].1.truncated.get(), 3);
        assert_eq!(append(&sleeper, "late").await, 4);
        assert_eq!(inner.keys("/log/00000000000000000002").await.len(), 1, "the sleeper's");
        then(inner).await;
    });
    (collection, b)
}

async fn try_append<S: Store>(store: &Watched<S>, writer: &Writer) -> Result<u64, ErrorKind> {
    let appended = writer.append(vec![Op::delete("b")]).await;
    assert!(store.all_reached());
    appended.map(|ack| ack.segments()[0].1.get()).map_err(|error| error.kind())
}

/// Another writer took the slot in front, and it still counts. So nothing of the batch is in the
/// log.
async fn a_failure_behind_another_s_slot_is_plain<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    let other = collection.writer(WriterOptions::default()).unwrap();
    append(&writer, "a").await;
    append(&other, "x").await;
    store.fail("create", "/log/00000000000000000003", Fault::Permanent);
    assert_eq!(try_append(&store, &writer).await, Err(ErrorKind::Storage));
    assert_eq!(ids(&collection).await, ["a", "x"]);
}

/// Story: a refusal was a self-conflict, and the slot had since been swept and created anew. The
/// writer went on to the next slot, failed there, and would have said that nothing landed. A caller
/// then appends again, and the ops count twice.
async fn a_failure_behind_an_own_echo_is_an_ack<S: Store + Clone>(store: Watched<S>) {
    let fail = |store: Watched<S>| async move { store.fail("create", "/log/00000000000000000003", Fault::Permanent) };
    let (collection, writer) = echo(&store, fail).await;
    assert_eq!(try_append(&store, &writer).await, Ok(2));
    let folded = collection.status().await.unwrap().shards[0].ops;
    assert_eq!(folded, 3, "a, b and next");
}

/// The same, and the head cannot be read either: the answer is "unknown".
async fn an_echo_that_cannot_be_decided_is_unknown<S: Store + Clone>(store: Watched<S>) {
    let fail = |store: Watched<S>| async move {
        store.fail("create", "/log/00000000000000000003", Fault::Permanent);
        store.fail("get_unless", "/head", Fault::Permanent);
    };
    let (_, writer) = echo(&store, fail).await;
    assert_eq!(try_append(&store, &writer).await, Err(ErrorKind::Unknown));
}

/// The same, and the collection is dropped: no attempt counts any more.
async fn an_echo_in_a_dropped_collection_is_not_found<S: Store + Clone>(store: Watched<S>) {
    let drop = |store: Watched<S>| async move {
        store.fail("create", "/log/00000000000000000003", Fault::Permanent);
        let inner = store.clone();
        store.before("get_unless", "/head", move || async move {
            Collection::drop_collection(&inner, &"c".parse().unwrap(), |_| ()).await.unwrap();
        });
    };
    let (_, writer) = echo(&store, drop).await;
    assert_eq!(try_append(&store, &writer).await, Err(ErrorKind::NotFound));
}

/// The first attempt may have landed, and no answer to the second can rule that out.
async fn a_failure_after_a_lost_answer_is_unknown<S: Store + Clone>(store: Watched<S>) {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        let (collection, writer) = collection(&store).await;
        store.fail("create", "/log/00000000000000000001", fault);
        store.fail("create", "/log/00000000000000000001", Fault::Permanent);
        assert_eq!(try_append(&store, &writer).await, Err(ErrorKind::Unknown), "{fault:?}");
        assert_eq!(ids(&collection).await.len(), usize::from(fault == Fault::LoseAnswer));
        Collection::drop_collection(&store, &"c".parse().unwrap(), |_| ()).await.unwrap();
    }
}

/// A batch in doubt about one slot may still prove to be in the slot before.
async fn a_lost_answer_behind_an_own_echo_is_an_ack<S: Store + Clone>(store: Watched<S>) {
    let fail = |store: Watched<S>| async move {
        store.fail("create", "/log/00000000000000000003", Fault::LoseRequest);
        store.fail("create", "/log/00000000000000000003", Fault::Permanent);
    };
    let (collection, writer) = echo(&store, fail).await;
    assert_eq!(try_append(&store, &writer).await, Ok(2));
    assert_eq!(collection.status().await.unwrap().shards[0].ops, 3, "a, b and next");
}

/// The segment landed, and the collection is dropped before the check of the head. No reader will
/// ever read it.
async fn a_drop_before_the_ack_is_not_found<S: Store + Clone>(store: Watched<S>) {
    let (_, writer) = collection(&store).await;
    append(&writer, "a").await;
    let inner = store.clone();
    store.before("get_unless", "/head", move || async move {
        Collection::drop_collection(&inner, &"c".parse().unwrap(), |_| ()).await.unwrap();
    });
    assert_eq!(try_append(&store, &writer).await, Err(ErrorKind::NotFound));
}

/// Story: a change over two shards failed in one, and a later change passed it in the other. The
/// error asked an operator to examine the change, though appending it again is all that the first
/// shard needs.
async fn a_passed_shard_does_not_hide_a_failed_one<S: Store + Clone>(store: Watched<S>) {
    let options = CreateOptions::new(2).shards(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let id_in = |shard: u16| (0..).map(|n: u32| n.to_string()).find(|id| ShardId::of(id, 2).get() == shard).unwrap();
    let (first, second) = (id_in(0), id_in(1));
    let key = |position| IdempotencyKey { source: "stream".to_owned(), position };
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append_change(&key(9), vec![Op::delete(&second)]).await.unwrap();
    store.fail("create", "/0000/log/", Fault::Permanent);
    let both = || vec![Op::delete(&first), Op::delete(&second)];
    let error = writer.append_change(&key(5), both()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    let error = writer.append_change(&key(5), both()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

/// The writer `b` creates slot 2 and hears that it is taken. Meanwhile slots 2 and 3 are folded and
/// swept, and a writer that slept creates slot 2 anew. So `b` creates slot 3, which no reader reads
/// any more. The ack names the slot that was folded.
async fn an_echo_is_acknowledged_where_it_was_folded<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = collection(&store).await;
    append(&sleeper, "a").await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let other = collection.clone();
    store.echo_after("/log/00000000000000000002", move || async move {
        let busy = other.writer(WriterOptions::default()).unwrap();
        assert_eq!([append(&busy, "x").await, append(&busy, "y").await], [3, 4]);
        other.compactor(CompactorOptions::default()).run_once().await.unwrap();
        let options = SweepOptions::KEEP_NOTHING;
        assert_eq!(other.sweep(&options).await.unwrap()[0].1.truncated.get(), 4);
        assert_eq!(append(&sleeper, "late").await, 5);
    });
    store.calls();
    assert_eq!(try_append(&store, &writer).await, Ok(2));
    assert!(store.calls().contains(&"create log/00000000000000000003".to_owned()));
    assert_eq!(collection.status().await.unwrap().shards[0].ops, 4, "a, b, x and y");
}

/// Story: another writer had slot 2, so the writer created slot 3, and the answer was lost. The
/// next attempt failed for good. Then both slots were folded and swept, and the ack named slot 2,
/// which holds the other writer's ops. Now the manifest's mark decides between the two slots.
async fn an_ack_after_two_attempts_names_the_folded_slot<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    let other = collection.writer(WriterOptions::default()).unwrap();
    append(&writer, "a").await;
    append(&other, "x").await;
    store.fail("create", "/log/00000000000000000003", Fault::LoseAnswer);
    store.fail("create", "/log/00000000000000000003", Fault::Permanent);
    let sweeping = collection.clone();
    store.before("get_unless", "/head", move || async move {
        assert_eq!(append(&sweeping.writer(WriterOptions::default()).unwrap(), "last").await, 4);
        sweeping.compactor(CompactorOptions::default()).run_once().await.unwrap();
        let options = SweepOptions::KEEP_NOTHING;
        assert_eq!(sweeping.sweep(&options).await.unwrap()[0].1.truncated.get(), 4);
    });
    assert_eq!(try_append(&store, &writer).await, Ok(3));
    assert_eq!(collection.status().await.unwrap().shards[0].ops, 4, "a, x, b and last");
}
