//! Pins: an edit removes the pin that it saw, and never a new pin of the same name.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Record, Timestamp};
use deltafold::store::Store;
use deltafold::{
    At, Collection, CompactorOptions, CreateOptions, Depth, ErrorKind, Policy, SweepOptions, WriterOptions,
};
use deltafold_testing::on_stores;
use deltafold_testing::watched::Watched;

on_stores!(
    every: [a_pin_made_anew_survives_the_sweep_of_the_old_one],
    local: [
        a_pin_made_anew_survives_the_unpin_of_the_old_one,
        an_unpin_goes_on_where_another_was_faster,
    ],
);

async fn made<S: Store + Clone>(store: &Watched<S>, shards: u16) -> Collection {
    let options = CreateOptions::new(2).shards(shards);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    publish(&collection, "a").await;
    collection
}

/// Appends a record and folds it. That adds one version to each shard that it touches.
async fn publish(collection: &Collection, id: &str) {
    let put = |id: String| Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() });
    let ops = (0..8).map(|number| put(format!("{id}{number}"))).collect();
    collection.writer(WriterOptions::default()).unwrap().append(ops).await.unwrap();
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
}

async fn sweep(collection: &Collection) -> Vec<String> {
    let options = SweepOptions::KEEP_NOTHING;
    collection.sweep(&options).await.unwrap().remove(0).1.expired_pins
}

/// The names of the first shard's pins.
async fn pins(collection: &Collection) -> Vec<String> {
    let status = collection.status().await.unwrap();
    status.shards[0].pins.iter().map(|pin| pin.name.clone()).collect()
}

async fn assert_readable(collection: &Collection, records: u64) {
    let reader = collection.reader_at(At::Pin("p".to_owned())).await.unwrap();
    assert_eq!(reader.count().await.unwrap(), records);
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// Waits until the store's clock shows a later time. The clock ticks by milliseconds in a folder,
/// by seconds in S3, and by writes in memory.
async fn until_after<S: Store + Clone>(store: &Watched<S>, time: Timestamp) {
    while store.now().await.unwrap() <= time {
        tokio::task::yield_now().await;
    }
}

/// Story: pin `p` had expired, and a sweep was about to publish its removal. Before that, a user
/// removed `p` and pinned `p` anew for good. The sweep dropped pins by name, so the new,
/// acknowledged pin was lost. Now a sweep drops the pins that it saw, by their ids.
pub(crate) async fn a_pin_made_anew_survives_the_sweep_of_the_old_one<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 1).await;
    collection.pin("p", Some(Duration::from_millis(1))).await.unwrap();
    let pinned = store.now().await.unwrap();
    publish(&collection, "b").await;
    until_after(&store, pinned).await;
    let other = collection.clone();
    store.before("create", "/manifest/", move || async move {
        other.unpin("p").await.unwrap();
        other.pin("p", None).await.unwrap();
    });
    assert_eq!(sweep(&collection).await, ["p"], "the one that had expired");
    assert!(store.all_reached());
    assert_eq!(pins(&collection).await, ["p"]);
    // The new pin keeps its objects through all later publishes and sweeps.
    publish(&collection, "c").await;
    assert_eq!(sweep(&collection).await, [""; 0]);
    assert_readable(&collection, 16).await;
}

/// The same for an unpin that is overtaken: its pin is gone, and another pin has the name.
pub(crate) async fn a_pin_made_anew_survives_the_unpin_of_the_old_one<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 1).await;
    collection.pin("p", None).await.unwrap();
    let other = collection.clone();
    store.before("create", "/manifest/", move || async move {
        other.unpin("p").await.unwrap();
        other.pin("p", None).await.unwrap();
    });
    let error = collection.unpin("p").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(store.all_reached());
    publish(&collection, "b").await;
    sweep(&collection).await;
    assert_readable(&collection, 8).await;
}

/// An unpin that loses the race in one shard still removes the pin from the others.
async fn an_unpin_goes_on_where_another_was_faster<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 2).await;
    collection.pin("p", None).await.unwrap();
    let other = collection.clone();
    store.before("create", "/0000/manifest/", move || async move {
        other.unpin("p").await.unwrap();
        other.pin("q", None).await.unwrap();
    });
    assert_eq!(collection.unpin("p").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(store.all_reached());
    let status = collection.status().await.unwrap();
    for shard in &status.shards {
        assert_eq!(shard.pins.len(), 1);
        assert_eq!(shard.pins[0].name, "q");
    }
}
