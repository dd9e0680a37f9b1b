//! Real records and real updates end in one known state, however they are cut into segments,
//! folded, merged and swept, even concurrently.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use deltafold::format::{CollectionName, EditKind, Op};
use deltafold::store::{Dir, Memory, Store};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Depth, Entry, ErrorKind, Policy, ScanOptions, SweepOptions, Writer,
    WriterOptions,
};
use deltafold_testing::canonical;
use deltafold_testing::data::DataSet;
use futures::TryStreamExt;

/// A data set in memory.
struct Real {
    base: Vec<Op>,
    updates: Vec<Op>,
    records: u64,
    sha256: String,
}

/// The cut in the repository, and the whole data set where it is present.
static REAL: LazyLock<Vec<Real>> = LazyLock::new(|| {
    let sets = [Some(DataSet::demo()), DataSet::whole()].into_iter().flatten();
    let read = |set: DataSet| Real {
        base: set.base().collect(),
        updates: set.updates().collect(),
        records: set.expected_records(),
        sha256: set.expected_sha256().to_owned(),
    };
    sets.map(read).collect()
});

/// The frequency of compaction while the updates come in.
#[derive(Clone, Copy)]
enum Folds {
    Never,
    /// After this many segments.
    Every(usize),
}

async fn collection(store: Arc<dyn Store>, shards: u16) -> Collection {
    let name: CollectionName = "packages".parse().unwrap();
    Collection::create(store, &name, &CreateOptions::new(384).shards(shards)).await.unwrap()
}

async fn append_all(writer: &Writer, ops: &[Op], ops_a_segment: usize) {
    for chunk in ops.chunks(ops_a_segment) {
        writer.append(chunk.to_vec()).await.unwrap();
    }
}

/// A new reader must see the known state by scan, by count and by get, and the collection must be
/// sound.
async fn check(collection: &Collection, data: &Real) {
    let reader = collection.reader().await.unwrap();
    let entries: Vec<Entry> = reader.scan(ScanOptions::default()).try_collect().await.unwrap();
    assert_eq!(entries.len() as u64, data.records);
    assert_eq!(canonical::sha256(entries.iter().map(|entry| (entry.id.as_str(), &entry.record))), data.sha256);
    assert_eq!(reader.count().await.unwrap(), data.records);
    for entry in entries.iter().step_by(997) {
        assert_eq!(reader.get(&entry.id).await.unwrap().as_ref(), Some(entry));
    }
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// Every data set, each in a store of its own.
async fn run(store: impl Fn() -> Arc<dyn Store>, shards: u16, updates_a_segment: usize, folds: Folds, merge_all: bool) {
    for data in REAL.iter() {
        run_one(store(), data, shards, updates_a_segment, folds, merge_all).await;
    }
}

/// Appends base and updates with compaction in between, in one process.
async fn run_one(
    store: Arc<dyn Store>,
    data: &Real,
    shards: u16,
    updates_a_segment: usize,
    folds: Folds,
    merge_all: bool,
) {
    let collection = collection(store, shards).await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let mut compactor = collection.compactor(CompactorOptions::default());
    append_all(&writer, &data.base, 2_000).await;
    if let Folds::Every(_) = folds {
        compactor.run_once().await.unwrap();
    }
    match folds {
        Folds::Never => append_all(&writer, &data.updates, updates_a_segment).await,
        Folds::Every(segments) => {
            for chunk in data.updates.chunks(updates_a_segment * segments) {
                append_all(&writer, chunk, updates_a_segment).await;
                let report = compactor.run_once().await.unwrap();
                assert!(report.published(EditKind::Fold) >= 1);
            }
        }
    }
    if merge_all {
        compactor.merge_all().await.unwrap();
        let status = collection.status().await.unwrap();
        assert!(status.shards.iter().all(|shard| shard.runs.len() == 1 && shard.folded == shard.tail));
    }
    writer.close().await.unwrap();
    check(&collection, data).await;
}

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_one_by_one_never_folded() {
    run(memory, 1, 1, Folds::Never, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_one_by_one_folded_after_every_64() {
    run(memory, 1, 1, Folds::Every(64), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_in_tens_folded_after_every_segment() {
    run(memory, 1, 10, Folds::Every(1), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_one_by_one_folded_after_every_segment() {
    run(memory, 1, 1, Folds::Every(1), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_updates_in_one_segment_merged_at_the_end() {
    run(memory, 1, 100_000, Folds::Every(1), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_folded_then_merged_all_at_once_over_three_shards() {
    run(memory, 3, 7, Folds::Never, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_local_folder() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    let open = || -> Arc<dyn Store> {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(Dir::open(folder.path().join(number.to_string())).unwrap())
    };
    run(open, 1, 5, Folds::Every(64), false).await;
}

/// Four writers with ids of their own, three compactors and a sweeper. Each has its own handle on
/// the store.
async fn all_actors_at_once(open: impl Fn() -> Arc<dyn Store>, data: &'static Real) {
    let name = collection(open(), 2).await.name().clone();
    let (done, watching) = tokio::sync::watch::channel(false);
    let mut workers = Vec::new();
    for _ in 0..3 {
        let (store, name, mut watching) = (open(), name.clone(), watching.clone());
        workers.push(tokio::spawn(async move {
            let collection = Collection::open(store, &name).await.unwrap();
            let policy = Policy::default().fold_segments(8);
            let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
            let stop = async move { drop(watching.wait_for(|done| *done).await) };
            compactor.watch(Duration::from_millis(1), stop, |_| ()).await.unwrap();
        }));
    }
    let (store, sweeper_name) = (open(), name.clone());
    workers.push(tokio::spawn(async move {
        let collection = Collection::open(store, &sweeper_name).await.unwrap();
        let options = SweepOptions::default().keep_versions(3).min_age(Duration::ZERO);
        while !*watching.borrow() {
            match collection.sweep(&options).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => panic!("{error}"),
            }
            tokio::task::yield_now().await;
        }
    }));
    let mut writers = Vec::new();
    for number in 0..4_usize {
        let (store, name) = (open(), name.clone());
        writers.push(tokio::spawn(async move {
            let collection = Collection::open(store, &name).await.unwrap();
            let writer = collection.writer(WriterOptions::default()).unwrap();
            let mine = |op: &&Op| op.id.bytes().map(usize::from).sum::<usize>() % 4 == number;
            let base: Vec<Op> = data.base.iter().filter(mine).cloned().collect();
            let updates: Vec<Op> = data.updates.iter().filter(mine).cloned().collect();
            append_all(&writer, &base, 250).await;
            append_all(&writer, &updates, 3).await;
            writer.close().await.unwrap();
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    done.send(true).unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    let collection = Collection::open(open(), &name).await.unwrap();
    check(&collection, data).await;
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    check(&collection, data).await;
}

#[cfg(all(feature = "s3", feature = "dynamodb"))]
mod in_s3 {
    use super::*;
    use deltafold_testing::cloud::{
        heads_in_table, in_ministack, in_ministack_and_dynamodb, in_s3, in_s3_and_dynamodb,
    };

    /// The cut, in both ways; the whole data set where it is present.
    async fn run<S: Store, K, F: Future<Output = (S, K)>>(
        open: impl Fn() -> F,
        data: impl Iterator<Item = &'static Real>,
    ) {
        for data in data {
            let (store, _keep) = open().await;
            run_one(Arc::new(store), data, 1, 5, Folds::Every(64), true).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn in_a_bucket() {
        run(in_s3, REAL.iter()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn in_a_bucket_with_heads_in_a_table() {
        run(in_s3_and_dynamodb, REAL.iter()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn in_a_bucket_of_ministack() {
        run(in_ministack, REAL.iter()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn in_a_bucket_of_ministack_with_heads_in_a_table() {
        run(in_ministack_and_dynamodb, REAL.iter()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn eight_processes_at_once_in_a_bucket_lose_nothing() {
        let (store, _keep) = in_s3().await;
        all_actors_at_once(|| Arc::new(store.clone()), &REAL[0]).await;
        let store = heads_in_table(Arc::new(_keep.store_under("with-heads-in-a-table").await)).await;
        all_actors_at_once(|| Arc::new(store.clone()), &REAL[0]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_at_once_in_memory_lose_nothing() {
    for data in REAL.iter() {
        let store = Memory::new();
        all_actors_at_once(|| Arc::new(store.clone()), data).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_at_once_in_a_folder_lose_nothing() {
    for data in REAL.iter() {
        let folder = tempfile::tempdir().unwrap();
        all_actors_at_once(|| Arc::new(Dir::open(folder.path()).unwrap()), data).await;
    }
}
