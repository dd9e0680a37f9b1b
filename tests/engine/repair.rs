//! Registers that are lost, damaged, foreign, or old copies: each is reported by its kind, and
//! rebuilt from the other objects.

mod losses;
mod old_copies;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltafold::format::{Head, Metric, Op, Patch, Record, Uid, Value, Version};
use deltafold::store::{Key, Memory, Outcome, Store};
use deltafold::{
    At, Collection, CompactorOptions, CreateOptions, Depth, Entry, ErrorKind, Policy, RepairOptions, RepairReport,
    ScanOptions, SweepOptions, WriterOptions,
};
use deltafold_testing::on_stores;
use deltafold_testing::watched::{Fault, Watched};
use futures::TryStreamExt;

on_stores!(
    every: [a_lost_head_is_damage_and_is_rebuilt, every_register_of_a_busy_collection_is_rebuilt],
    local: [
        a_handle_of_a_dropped_collection_says_dropped,
        a_drop_under_way_is_no_damage,
        create_beside_a_lost_register_advises_repair,
    ],
);

const SHARDS: u16 = 2;

async fn made<S: Store + Clone>(store: &Watched<S>) -> Collection {
    let options = CreateOptions::new(2).shards(SHARDS).metric(Metric::Cosine);
    Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap()
}

async fn open<S: Store + Clone>(store: &Watched<S>) -> deltafold::Result<Collection> {
    Collection::open(Arc::new(store.clone()), &"c".parse().unwrap()).await
}

async fn repair<S: Store + Clone>(store: &Watched<S>, options: RepairOptions) -> deltafold::Result<RepairReport> {
    Collection::repair(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await
}

fn apply() -> RepairOptions {
    RepairOptions::default().apply(true)
}

fn put(id: String, number: i64) -> Op {
    let metadata = [("n".to_owned(), Value::I64(number))].into();
    Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), metadata, ..Record::default() })
}

async fn append(collection: &Collection, number: i64) {
    let patch = Patch { metadata: [("p".to_owned(), Some(Value::I64(number)))].into(), ..Patch::default() };
    let mut ops: Vec<Op> = (0..6).map(|id| put(format!("r{}", (number + id) % 12), number)).collect();
    ops.extend((0..12).map(|id| Op::patch(format!("r{id}"), patch.clone())));
    ops.push(Op::delete(format!("r{}", number % 7)));
    collection.writer(WriterOptions::default()).unwrap().append(ops).await.unwrap();
}

/// Folds, merges two runs into one if there are two, and sweeps all but two versions.
async fn work(collection: &Collection) {
    let policy = Policy::default().fan_in(2).absorb_one_in(0);
    collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
    let options = SweepOptions::default().keep_versions(2).min_age(Duration::ZERO);
    collection.sweep(&options).await.unwrap();
}

/// Folds, merges, sweeps, a pin, and ops behind them.
async fn busy<S: Store + Clone>(store: &Watched<S>) -> Collection {
    let collection = made(store).await;
    for number in 0..6 {
        append(&collection, number).await;
        work(&collection).await;
        if number == 2 {
            collection.pin("kept", None).await.unwrap();
        }
    }
    append(&collection, 6).await;
    append(&collection, 7).await;
    collection
}

async fn content(collection: &Collection, at: At) -> Vec<Entry> {
    let reader = collection.reader_at(at).await.unwrap();
    reader.scan(ScanOptions::default()).try_collect().await.unwrap()
}

async fn assert_sound(collection: &Collection) {
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

async fn delete<S: Store>(store: &Watched<S>, key: &Key) {
    store.inner.delete(std::slice::from_ref(key)).await.unwrap();
}

/// Puts an object under a key, which may be taken or free.
async fn set<S: Store>(store: &Watched<S>, key: &Key, bytes: Bytes) {
    delete(store, key).await;
    assert!(matches!(store.inner.create(key, vec![bytes]).await.unwrap(), Outcome::Done(_)));
}

/// Story: the head of a shard was lost. Every command said "dropped", with the exit code of "not
/// found" and without the name of any object. A user who believed it could have dropped intact
/// data. Now the collection register shows that the collection exists. The error names the damaged
/// head, and `repair` rebuilds it.
async fn a_lost_head_is_damage_and_is_rebuilt<S: Store + Clone>(store: Watched<S>) {
    let collection = busy(&store).await;
    let before = content(&collection, At::Latest).await;
    let head = key("c/0001/head");
    delete(&store, &head).await;
    for error in [
        collection.reader().await.unwrap_err(),
        collection.status().await.unwrap_err(),
        collection.compactor(CompactorOptions::default()).run_once().await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("`c/0001/head` is missing"), "{error}");
        assert!(error.to_string().contains("`repair c`"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    let ops = ["r1", "r2", "r3", "r4"].map(Op::delete).to_vec();
    let error = collection.writer(WriterOptions::default()).unwrap().append(ops).await.unwrap_err();
    assert!(error.to_string().contains("`c/0001/head` is missing"), "{error}");
    assert!(error.to_string().contains("`repair c`"), "{error}");
    // In shard 0 the append may have landed.
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unknown), "{error}");
    let found = collection.verify(Depth::Quick, |_| ()).await.unwrap().findings;
    assert!(found.iter().any(|finding| finding.key == "c/0001/head"), "{found:?}");
    // Without leave to write, repair only reports its plan.
    let plan = repair(&store, RepairOptions::default()).await.unwrap();
    assert_eq!((plan.steps.len(), plan.intact, plan.is_intact()), (1, u64::from(SHARDS), false));
    assert_eq!(plan.steps[0].key, head.as_str());
    assert!(store.inner.get(&head).await.unwrap().is_none());
    let done = repair(&store, apply()).await.unwrap();
    assert!(done.is_intact(), "{done:?}");
    // The failed append came no further than the head: in shard 0 it may have landed.
    let after = content(&collection, At::Latest).await;
    let of_shard =
        |entries: &[Entry]| entries.iter().filter(|entry| entry.shard.get() == 1).cloned().collect::<Vec<_>>();
    assert_eq!(of_shard(&after), of_shard(&before));
    assert_sound(&collection).await;
    assert!(repair(&store, apply()).await.unwrap().steps.is_empty());
}

/// Each register lost, damaged, and replaced by another collection's; then all of them lost.
/// Afterwards all acknowledged ops, pins and versions are there, and work goes on.
async fn every_register_of_a_busy_collection_is_rebuilt<S: Store + Clone>(store: Watched<S>) {
    let collection = busy(&store).await;
    let (latest, pinned) =
        (content(&collection, At::Latest).await, content(&collection, At::Pin("kept".to_owned())).await);
    let versions: Vec<Version> = collection.status().await.unwrap().shards.iter().map(|shard| shard.version).collect();
    let config = collection.config().clone();
    let registers = ["c/collection", "c/0000/head", "c/0001/head"].map(key);
    let same = async |what: &str| {
        let collection = open(&store).await.unwrap();
        assert_eq!(collection.config(), &config, "{what}");
        let status = collection.status().await.unwrap();
        assert_eq!(status.shards.iter().map(|shard| shard.version).collect::<Vec<_>>(), versions, "{what}");
        assert!(content(&collection, At::Latest).await == latest, "{what}");
        assert!(content(&collection, At::Pin("kept".to_owned())).await == pinned, "{what}");
        assert_sound(&collection).await;
    };
    for register in &registers {
        let whole = store.inner.get(register).await.unwrap().unwrap().bytes;
        delete(&store, register).await;
        assert!(repair(&store, apply()).await.unwrap().is_intact());
        same(&format!("{register} lost")).await;
        assert_eq!(store.inner.get(register).await.unwrap().unwrap().bytes, whole, "{register}");
        let mut damaged = whole.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        set(&store, register, damaged.into()).await;
        let error = match open(&store).await {
            Err(error) => error,
            Ok(collection) => collection.reader().await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(register.as_str()) && error.to_string().contains("`repair c`"), "{error}");
        assert!(
            !repair(&store, apply()).await.unwrap().is_intact(),
            "repair replaces an existing register only with consent"
        );
        assert!(repair(&store, apply().replace(true)).await.unwrap().is_intact());
        same(&format!("{register} damaged")).await;
    }
    let foreign = Head::empty(Uid::new(99)).encode();
    set(&store, &registers[1], foreign).await;
    let error = open(&store).await.unwrap().reader().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("another collection"), "{error}");
    assert!(!repair(&store, apply()).await.unwrap().is_intact());
    assert!(repair(&store, apply().replace(true)).await.unwrap().is_intact());
    same("a foreign head").await;
    for register in &registers {
        delete(&store, register).await;
    }
    let error = collection.reader().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "an open handle of a collection without registers: {error}");
    assert!(repair(&store, apply()).await.unwrap().is_intact());
    same("all lost").await;
    // Handles that stayed open go on.
    append(&collection, 8).await;
    work(&collection).await;
    assert_sound(&collection).await;
}

async fn a_handle_of_a_dropped_collection_says_dropped<S: Store + Clone>(store: Watched<S>) {
    let collection = busy(&store).await;
    let name = "c".parse().unwrap();
    Collection::drop_collection(&store, &name, |_| ()).await.unwrap();
    assert_eq!(store.keys("").await, [], "the note goes too");
    for _ in 0..2 {
        let error = collection.reader().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        // The second time the collection is made anew.
        if open(&store).await.is_err() {
            made(&store).await;
        }
    }
}

/// Between the deletion of the registers and the rest, no command takes the drop for damage.
async fn a_drop_under_way_is_no_damage<S: Store + Clone>(store: Watched<S>) {
    let collection = busy(&store).await;
    let name = "c".parse().unwrap();
    store.fail("delete", "/0000/claim", Fault::Permanent);
    assert_eq!(Collection::drop_collection(&store, &name, |_| ()).await.unwrap_err().kind(), ErrorKind::Storage);
    assert!(!store.keys("/manifest/").await.is_empty());
    assert_eq!(collection.reader().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(open(&store).await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = repair(&store, apply()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("`drop c`"), "{error}");
    let error = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    Collection::drop_collection(&store, &name, |_| ()).await.unwrap();
    made(&store).await;
}

/// Story: the collection register was lost, and `create` advised to run `drop`, which would have
/// deleted all the intact data. Now `create` names the objects that it found, and advises `repair`.
async fn create_beside_a_lost_register_advises_repair<S: Store + Clone>(store: Watched<S>) {
    busy(&store).await;
    delete(&store, &key("c/collection")).await;
    let name = "c".parse().unwrap();
    for error in [
        Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap_err(),
        open(&store).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("c/0000/") && error.to_string().contains("`repair c"), "{error}");
    }
}

/// Two repairs at once, and a writer with an append under way. Each register is written once, and
/// all go on.
#[tokio::test]
async fn a_repair_beside_a_writer_and_another_repair() {
    let store = Watched::<Memory>::default();
    let collection = busy(&store).await;
    let head = key("c/0000/head");
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append((0..8).map(|id| put(format!("w{id}"), 0)).collect()).await.unwrap();
    let other = store.clone();
    store.before("create", "c/0000/head", move || async move {
        assert!(repair(&other, apply()).await.unwrap().is_intact());
    });
    delete(&store, &head).await;
    assert!(repair(&store, apply()).await.unwrap().is_intact(), "the other wrote the same");
    assert!(store.all_reached());
    writer.append((0..8).map(|id| put(format!("w{id}"), 1)).collect()).await.unwrap();
    work(&collection).await;
    assert_sound(&collection).await;
    // A different head that another process writes meanwhile is left alone.
    let foreign = Head::empty(Uid::new(7)).encode();
    let other = store.clone();
    store.before("create", "c/0000/head", move || async move {
        set(&other, &key("c/0000/head"), foreign).await;
    });
    delete(&store, &head).await;
    assert_eq!(repair(&store, apply()).await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// A newer program wrote the head, perhaps in a newer format. It is not damaged, and repair must
/// not overwrite it.
#[tokio::test]
async fn a_head_of_a_newer_format_is_left_alone() {
    let store = Watched::<Memory>::default();
    busy(&store).await;
    let head = key("c/0000/head");
    let newer = |bytes: &mut Vec<u8>| {
        // The format version, under the crc32 of an envelope with one section.
        bytes[10] = 2;
        let crc32 = crc32fast::hash(&bytes[..56]);
        bytes[56..60].copy_from_slice(&crc32.to_le_bytes());
    };
    store.overwrite(&head, newer).await;
    let before = store.inner.get(&head).await.unwrap().unwrap().bytes;
    for options in [apply(), apply().replace(true).accept_loss(true)] {
        let error = repair(&store, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NewerFormat, "{error}");
    }
    assert_eq!(store.inner.get(&head).await.unwrap().unwrap().bytes, before);
}
