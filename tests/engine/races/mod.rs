//! Races that systems like this one have had (R1 to R15), and those that simulation and model found
//! later. Each test tells the story and provokes the race: the store stops a call at the worst
//! moment, and another process acts.
//!
//! The races of readers (R6, R7) are in `reader/races.rs`. The power loss of a folder (R15) is in
//! `store.rs` and `tests/power_loss/`.

use std::sync::Arc;

use deltafold::format::{EditKind, Op, Patch, Record, Value};
use deltafold::store::Store;
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Depth, Entry, Policy, ScanOptions, SweepOptions, Writer, WriterOptions,
};
use deltafold_testing::watched::Watched;
use futures::TryStreamExt;

mod clock_and_disk;
#[cfg(feature = "simulation")]
mod guards;
mod lost_answers;
mod publishes;
mod sources;
mod swept_slots;

async fn create<S: Store + Clone>(store: &Watched<S>, shards: u16) -> Collection {
    let options = CreateOptions::new(2).shards(shards);
    Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap()
}

/// A collection of one shard, and a writer.
async fn made<S: Store + Clone>(store: &Watched<S>) -> (Collection, Writer) {
    let collection = create(store, 1).await;
    let writer = writer(&collection);
    (collection, writer)
}

fn writer(collection: &Collection) -> Writer {
    collection.writer(WriterOptions::default()).unwrap()
}

fn put(id: &str) -> Op {
    Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

/// A patch that sets a key, which shows that the patch took part.
fn patch(id: &str, key: &str) -> Op {
    Op::patch(id, Patch { metadata: [(key.to_owned(), Some(Value::Bool(true)))].into(), ..Patch::default() })
}

/// Returns the slot.
async fn append(writer: &Writer, ops: Vec<Op>) -> u64 {
    writer.append(ops).await.unwrap().segments()[0].1.get()
}

async fn append_put(writer: &Writer, id: &str) -> u64 {
    append(writer, vec![put(id)]).await
}

/// Folds without merging. Returns the number of folds published.
async fn fold(collection: &Collection) -> usize {
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap().published(EditKind::Fold)
}

/// Sweeps everything that the current version does not need. Returns the log start.
async fn sweep(collection: &Collection) -> u64 {
    let options = SweepOptions::KEEP_NOTHING;
    collection.sweep(&options).await.unwrap()[0].1.truncated.get()
}

/// Folds and sweeps the whole log. It appends one more op first, because a sweep keeps the last
/// segment.
async fn fold_and_sweep(collection: &Collection) -> u64 {
    append(&writer(collection), vec![Op::delete("absent")]).await;
    fold(collection).await;
    sweep(collection).await
}

async fn entries(collection: &Collection) -> Vec<Entry> {
    let reader = collection.reader().await.unwrap();
    reader.scan(ScanOptions::default()).try_collect().await.unwrap()
}

async fn ids(collection: &Collection) -> Vec<String> {
    entries(collection).await.into_iter().map(|entry| entry.id).collect()
}

async fn contains(collection: &Collection, id: &str) -> bool {
    collection.reader().await.unwrap().contains(id).await.unwrap()
}

async fn assert_sound(collection: &Collection) {
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// Folds everything, verifies it, and counts the ops ever folded. Each op counts once, so an op
/// appended twice shows.
async fn ops(collection: &Collection) -> u64 {
    fold(collection).await;
    assert_sound(collection).await;
    collection.status().await.unwrap().shards[0].ops
}
