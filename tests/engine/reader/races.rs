//! Readers while the shard is folded and swept under them, at the worst moments (R6, R7).

use std::sync::Arc;

use deltafold::format::{Metadata, Op, Patch, Record, Value};
use deltafold::store::Store;
use deltafold::{
    Collection, CompactorOptions, CreateOptions, ErrorKind, Policy, Reader, ScanOptions, SweepOptions, Writer,
    WriterOptions,
};
use deltafold_testing::on_stores;
use deltafold_testing::watched::Watched;
use futures::TryStreamExt;

async fn collection<S: Store + Clone>(store: &Watched<S>) -> (Collection, Writer) {
    let collection =
        Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

fn put(id: &str) -> Op {
    Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

/// A patch that sets its own key, which shows that the patch took part.
fn patch(id: &str, key: &str) -> Op {
    let metadata = [(key.to_owned(), Some(Value::Bool(true)))].into();
    Op::patch(id, Patch { metadata, ..Patch::default() })
}

/// Folds without merging.
async fn compact(collection: &Collection) {
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
}

/// Removes everything that the current version does not need.
async fn sweep(collection: &Collection) {
    let options = SweepOptions::KEEP_NOTHING;
    collection.sweep(&options).await.unwrap();
}

async fn keys(reader: &Reader, id: &str) -> Vec<String> {
    let metadata: Metadata = reader.get(id).await.unwrap().unwrap().record.metadata;
    metadata.into_keys().collect()
}

on_stores!(
    every: [
        an_open_between_fold_and_sweep_sees_every_op,
        a_swept_snapshot_is_superseded_and_a_pin_keeps_it,
    ],
    local: [
        an_open_sees_ops_folded_after_its_list,
        an_open_takes_no_stale_segment_for_the_log,
        a_refresh_while_the_new_segment_is_folded_and_swept_sees_it,
        a_fold_between_a_refresh_s_reads_counts_no_op_twice,
        a_refresh_after_a_fold_reads_no_segment_again,
    ],
);

/// The two ways to open a reader: by the names of the log and a head read after them, or by a head
/// read before.
async fn opened<S: Store + Clone>(store: &Watched<S>, head_first: bool) -> Reader {
    let name = "c".parse().unwrap();
    let collection = match head_first {
        true => Collection::builder(Arc::new(store.clone()), &name).open_to_read().await.unwrap(),
        false => Collection::open(Arc::new(store.clone()), &name).await.unwrap(),
    };
    collection.reader().await.unwrap()
}

/// Story: a reader read the head, then listed the log. In between, the log's segments were folded
/// and swept, so the list was empty, and the reader answered from the old snapshot. It missed
/// acknowledged ops. Now an empty slot counts as the end only if a later head truncates nothing
/// above it.
async fn an_open_between_fold_and_sweep_sees_every_op<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    writer.append(vec![put("a")]).await.unwrap();
    compact(&collection).await;
    for head_first in [false, true] {
        writer.append(vec![patch("a", "x")]).await.unwrap();
        writer.append(vec![patch("a", "y")]).await.unwrap();
        let other = collection.clone();
        store.before("list", "/0000/", move || async move {
            compact(&other).await;
            sweep(&other).await;
        });
        let reader = opened(&store, head_first).await;
        assert!(store.all_reached());
        assert_eq!(keys(&reader, "a").await, ["x", "y"]);
        assert_eq!(reader.positions()[0].tail.get(), if head_first { 5 } else { 3 });
    }
}

/// The reader lists the names of the log before it reads the head. The manifest that the head names
/// holds every op folded and swept in between.
async fn an_open_sees_ops_folded_after_its_list<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    writer.append(vec![put("a")]).await.unwrap();
    compact(&collection).await;
    writer.append(vec![patch("a", "x")]).await.unwrap();
    writer.append(vec![patch("a", "y")]).await.unwrap();
    let other = collection.clone();
    store.before("get", "/head", move || async move {
        compact(&other).await;
        sweep(&other).await;
        writer.append(vec![patch("a", "late")]).await.unwrap();
    });
    let mut reader = opened(&store, false).await;
    assert!(store.all_reached());
    assert_eq!(keys(&reader, "a").await, ["x", "y"], "no more was acknowledged when it began to open");
    assert_eq!(reader.positions()[0].tail.get(), 3);
    assert_eq!(reader.refresh().await.unwrap().new_ops(), 1);
    assert_eq!(keys(&reader, "a").await, ["late", "x", "y"]);
}

/// Story: a reader listed slot 2 and read it late. Meanwhile the slot was folded and swept, and a
/// writer that slept created it anew. Its segment is not part of the log, and the op that the slot
/// had held was missing. Now a slot that was read counts only if a later head does not truncate it.
async fn an_open_takes_no_stale_segment_for_the_log<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = collection(&store).await;
    sleeper.append(vec![put("a")]).await.unwrap();
    for (head_first, slot) in [(false, 2), (true, 5)] {
        let awake = collection.writer(WriterOptions::default()).unwrap();
        let key = format!("seen{slot}");
        assert_eq!(awake.append(vec![patch("a", &key)]).await.unwrap().segments()[0].1.get(), slot);
        let (other, sleeper) = (collection.clone(), sleeper.clone());
        store.before("get", format!("/log/{slot:020}"), move || async move {
            awake.append(vec![patch("a", "later")]).await.unwrap();
            compact(&other).await;
            sweep(&other).await;
            sleeper.append(vec![patch("a", "last")]).await.unwrap();
        });
        let reader = opened(&store, head_first).await;
        assert!(store.all_reached());
        assert!(keys(&reader, "a").await.contains(&key), "head first: {head_first}");
        assert_eq!(reader.positions()[0].tail.get(), slot + 2);
    }
}

/// The same between a refresh's reads: the op was acknowledged before the refresh began, but its
/// slot is empty when the refresh reads it.
async fn a_refresh_while_the_new_segment_is_folded_and_swept_sees_it<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    writer.append(vec![put("a")]).await.unwrap();
    let mut reader = collection.reader().await.unwrap();
    writer.append(vec![patch("a", "x")]).await.unwrap();
    let other = collection.clone();
    store.before("get", "/log/00000000000000000002", move || async move {
        other.writer(WriterOptions::default()).unwrap().append(vec![patch("a", "z")]).await.unwrap();
        compact(&other).await;
        sweep(&other).await;
    });
    // More ops come after the swept ones; the reader finds them by looking again.
    let late = writer.clone();
    store.before("get_unless", "/head", move || async move {
        late.append(vec![patch("a", "y")]).await.unwrap();
    });
    let refreshed = reader.refresh().await.unwrap();
    assert_eq!(keys(&reader, "a").await, ["x", "y", "z"]);
    assert_eq!((refreshed.new_ops(), refreshed.shards[0].new_segments), (3, 3));
}

/// Story: a reader combined base v with a segment that base v + 1 already held. That is harmless
/// for a put, but an op that depends on order made a record out of nothing. Now the overlay holds
/// exactly the segments behind the manifest's `folded`, and every op counts once.
async fn a_fold_between_a_refresh_s_reads_counts_no_op_twice<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    writer.append(vec![put("a")]).await.unwrap();
    compact(&collection).await;
    let mut reader = collection.reader().await.unwrap();
    for key in ["p", "q", "r"] {
        writer.append(vec![patch("a", key), Op::delete("b"), put("b")]).await.unwrap();
    }
    let (other, late) = (collection.clone(), writer.clone());
    store.before("get_unless", "/head", move || async move {
        compact(&other).await;
        late.append(vec![patch("a", "s")]).await.unwrap();
    });
    let refreshed = reader.refresh().await.unwrap();
    assert!(store.all_reached());
    assert_eq!(refreshed.new_ops(), 9, "ops appended after the log was read come with the next refresh");
    assert_eq!(keys(&reader, "a").await, ["p", "q", "r"]);
    let position = reader.positions()[0];
    assert_eq!((position.folded.get(), position.tail.get()), (4, 4));
    assert_eq!(reader.refresh().await.unwrap().new_ops(), 1);
    assert_eq!(keys(&reader, "a").await, ["p", "q", "r", "s"]);
}

/// A fold takes the older part of the log that a reader holds. The rest stays, and none of it is
/// read again.
async fn a_refresh_after_a_fold_reads_no_segment_again<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    writer.append(vec![put("a"), put("b")]).await.unwrap();
    writer.append(vec![patch("a", "x")]).await.unwrap();
    // Segments 3 and 4 arrive and are seen while segments 1 and 2 are folded.
    let mut reader = collection.reader().await.unwrap();
    let (send, receive) = futures::channel::oneshot::channel();
    store.before("create", "/part/", move || async move {
        writer.append(vec![patch("a", "y")]).await.unwrap();
        writer.append(vec![Op::delete("b"), patch("a", "z")]).await.unwrap();
        assert_eq!(reader.refresh().await.unwrap().new_ops(), 3);
        assert!(send.send(reader).is_ok());
    });
    compact(&collection).await;
    let mut reader = receive.await.unwrap();
    store.calls();
    let refreshed = reader.refresh().await.unwrap();
    let calls = store.calls();
    assert_eq!(calls[..2], ["get log/00000000000000000005", "get_unless head"]);
    assert!(calls.len() == 3 && calls[2].starts_with("get manifest/"), "{calls:?}");
    assert!(refreshed.changed() && refreshed.new_ops() == 0);
    let position = reader.positions()[0];
    assert_eq!((position.folded.get(), position.tail.get()), (2, 4));
    assert_eq!(keys(&reader, "a").await, ["x", "y", "z"]);
    assert!(!reader.contains("b").await.unwrap());
    assert_eq!(reader.count().await.unwrap(), 1);
}

/// Story: a sweep deleted parts that an open reader still needed. The reader failed as if they were
/// lost, or (worse) took the records for absent. Now it reports that its version was superseded. A
/// refresh brings it back, and a pin keeps its objects.
async fn a_swept_snapshot_is_superseded_and_a_pin_keeps_it<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    writer.append(vec![put("a")]).await.unwrap();
    compact(&collection).await;
    collection.pin("kept", None).await.unwrap();
    let pinned = collection.reader_at(deltafold::At::Pin("kept".to_owned())).await.unwrap();
    writer.append(vec![put("b")]).await.unwrap();
    compact(&collection).await;
    let cold = collection.reader().await.unwrap();
    let warm = cold.clone();
    let mut late = collection.reader().await.unwrap();
    late.warm(&deltafold::Warm::default().columns()).await.unwrap();
    late.get("a").await.unwrap().unwrap();
    writer.append(vec![put("a"), put("c")]).await.unwrap();
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    sweep(&collection).await;

    assert!(cold.get("a").await.unwrap().is_some(), "the pin keeps the part it lies in");
    let error = cold.get("b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Superseded, "{error}");
    assert!(error.to_string().contains("shard 0") && error.to_string().contains("Refresh"), "{error}");
    let scanned: Result<Vec<_>, _> = warm.scan(ScanOptions::default()).try_collect().await;
    assert_eq!(scanned.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(warm.count().await.unwrap_err().kind(), ErrorKind::Superseded);
    // Records read before the sweep need no object any more.
    assert_eq!(late.count().await.unwrap(), 2);
    assert!(late.get("a").await.unwrap().is_some());
    late.refresh().await.unwrap();
    assert_eq!(late.count().await.unwrap(), 3);
    assert!(late.get("c").await.unwrap().is_some());

    assert_eq!(pinned.count().await.unwrap(), 1);
    assert!(pinned.get("a").await.unwrap().is_some());
    collection.unpin("kept").await.unwrap();
    sweep(&collection).await;
    let pinned = collection.reader_at(deltafold::At::Pin("kept".to_owned())).await.unwrap_err();
    assert_eq!(pinned.kind(), ErrorKind::NotFound);
}
