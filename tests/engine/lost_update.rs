//! Story: the schedule that broke the system before this one. Worker A downloaded the snapshot,
//! applied its updates, uploaded the result and slept. Its lock expired. Worker B did the same and
//! flipped the pointer. A woke and flipped it back, and the updates of B were lost in silence.
//!
//! Here A stops when all its outputs are in the store and only the head remains to be swapped. It
//! sleeps while B does all its work, in every role.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use deltafold::format::{Op, Patch, Value};
use deltafold::store::Store;
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Depth, Entry, ErrorKind, Policy, ScanOptions, SweepOptions,
    WriterOptions,
};
use deltafold_testing::on_stores;
use deltafold_testing::watched::Watched;
use futures::TryStreamExt;

on_stores!(
    every: [a_folds_and_b_does_all, a_merges_and_b_does_all, a_sweeps_and_b_does_all],
    local: [
        a_folds_and_b_folds,
        a_folds_and_b_merges,
        a_folds_and_b_sweeps,
        a_merges_and_b_folds,
        a_merges_and_b_merges,
        a_merges_and_b_sweeps,
        a_sweeps_and_b_folds,
        a_sweeps_and_b_merges,
        a_sweeps_and_b_sweeps,
    ],
);

/// The job of a worker.
#[derive(Clone, Copy)]
enum Role {
    Fold,
    Merge,
    Sweep,
}

const ALL: [Role; 3] = [Role::Fold, Role::Merge, Role::Sweep];

/// The expected content of the collection.
#[derive(Default)]
struct Expected {
    /// The number of keys of each record.
    keys: BTreeMap<String, usize>,
    /// Ops appended.
    ops: u64,
}

impl Role {
    /// Does it to the end. Where another worker made it needless, that is a reported conflict and
    /// no loss.
    async fn act(self, collection: &Collection) {
        let folds = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
        let done = match self {
            Self::Fold => collection.compactor(CompactorOptions::default().policy(folds)).run_once().await.map(drop),
            Self::Merge => collection.compactor(CompactorOptions::default()).merge_all().await.map(drop),
            Self::Sweep => {
                let options = SweepOptions::KEEP_NOTHING;
                collection.sweep(&options).await.map(drop)
            }
        };
        match done {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => done.unwrap(),
        }
    }
}

/// Appends one more op to each of a few ids, and records the expected content.
async fn append(collection: &Collection, expected: &Mutex<Expected>) {
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for id in ["a", "b", "c"] {
        let count = *expected.lock().unwrap().keys.get(id).unwrap_or(&0);
        let metadata = [(format!("key {count}"), Some(Value::Bool(true)))].into();
        writer.append(vec![Op::upsert(id, Patch { metadata, ..Patch::default() })]).await.unwrap();
        let mut expected = expected.lock().unwrap();
        expected.keys.insert(id.to_owned(), count + 1);
        expected.ops += 1;
    }
    writer.close().await.unwrap();
}

async fn delete(collection: &Collection, id: &str, expected: &Mutex<Expected>) {
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![Op::delete(id)]).await.unwrap();
    writer.close().await.unwrap();
    let mut expected = expected.lock().unwrap();
    expected.keys.remove(id);
    expected.ops += 1;
}

async fn check(collection: &Collection, expected: &Mutex<Expected>) {
    let entries: Vec<Entry> =
        collection.reader().await.unwrap().scan(ScanOptions::default()).try_collect().await.unwrap();
    let found: BTreeMap<String, usize> =
        entries.into_iter().map(|entry| (entry.id.to_string(), entry.record.metadata.len())).collect();
    assert_eq!(found, expected.lock().unwrap().keys, "every update of every worker");
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

async fn schedule<S: Store + Clone>(store: Watched<S>, a: Role, b: &'static [Role]) {
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    let expected: Arc<Mutex<Expected>> = Arc::default();
    // Two runs to merge, versions to sweep, and a log to fold.
    for _ in 0..2 {
        append(&collection, &expected).await;
        Role::Fold.act(&collection).await;
    }
    append(&collection, &expected).await;
    let (asleep, other) = (expected.clone(), collection.clone());
    store.before("replace", "/head", move || async move {
        // A sleeps. The log goes on, and B does all its work, twice. A record is deleted for good.
        append(&other, &asleep).await;
        delete(&other, "b", &asleep).await;
        for role in b {
            role.act(&other).await;
        }
        append(&other, &asleep).await;
        delete(&other, "c", &asleep).await;
        for role in b {
            role.act(&other).await;
        }
    });
    a.act(&collection).await;
    assert!(store.all_reached(), "A was about to publish");
    check(&collection, &expected).await;
    // No leftover does harm later.
    Role::Fold.act(&collection).await;
    Role::Merge.act(&collection).await;
    Role::Sweep.act(&collection).await;
    check(&collection, &expected).await;
    let status = collection.status().await.unwrap();
    assert_eq!(status.shards[0].ops, expected.lock().unwrap().ops, "each op folded once");
}

pub(crate) async fn a_folds_and_b_folds<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Fold, &[Role::Fold]).await;
}

async fn a_folds_and_b_merges<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Fold, &[Role::Merge]).await;
}

pub(crate) async fn a_folds_and_b_sweeps<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Fold, &[Role::Sweep]).await;
}

async fn a_merges_and_b_folds<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Merge, &[Role::Fold]).await;
}

async fn a_merges_and_b_merges<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Merge, &[Role::Merge]).await;
}

pub(crate) async fn a_merges_and_b_sweeps<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Merge, &[Role::Sweep]).await;
}

async fn a_sweeps_and_b_folds<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Sweep, &[Role::Fold]).await;
}

async fn a_sweeps_and_b_merges<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Sweep, &[Role::Merge]).await;
}

async fn a_sweeps_and_b_sweeps<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Sweep, &[Role::Sweep]).await;
}

pub(crate) async fn a_folds_and_b_does_all<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Fold, &ALL).await;
}

pub(crate) async fn a_merges_and_b_does_all<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Merge, &ALL).await;
}

pub(crate) async fn a_sweeps_and_b_does_all<S: Store + Clone>(store: Watched<S>) {
    schedule(store, Role::Sweep, &ALL).await;
}
