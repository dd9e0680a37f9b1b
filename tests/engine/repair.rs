//! Registers that are lost, damaged, foreign, or old copies: each is reported by its kind, and
//! rebuilt from the other objects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltafold::format::{
    Claim, CollectionConfig, Head, Manifest, Metric, Op, Ordering, Patch, Record, Timestamp, Uid, Value, Version,
};
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

/// Story: a head was restored from a backup. It named an old version, whose log was swept. Now a
/// manifest of a later version, made over another one, shows it to `verify`, `status` and `sweep`.
#[tokio::test]
async fn an_old_head_put_back_is_recognised_and_replaced() {
    let store = Watched::<Memory>::default();
    let collection = busy(&store).await;
    let head = key("c/0000/head");
    let old = store.inner.get(&head).await.unwrap().unwrap().bytes;
    let before = {
        append(&collection, 8).await;
        work(&collection).await;
        append(&collection, 9).await;
        work(&collection).await;
        content(&collection, At::Latest).await
    };
    let new = store.inner.get(&head).await.unwrap().unwrap().bytes;
    let version = |bytes: &Bytes| Head::decode(bytes.clone()).unwrap().version.get();
    assert!(version(&new) >= version(&old) + 2);
    set(&store, &head, old).await;
    let options = SweepOptions::default();
    for error in [collection.status().await.unwrap_err(), collection.sweep(&options).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    let found = collection.verify(Depth::Quick, |_| ()).await.unwrap().findings;
    assert!(found.iter().any(|finding| finding.key == head.as_str()), "{found:?}");
    assert!(!repair(&store, apply()).await.unwrap().is_intact(), "it is intact in itself: replaced only with consent");
    let report = repair(&store, apply().replace(true)).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(store.inner.get(&head).await.unwrap().unwrap().bytes, new);
    assert!(content(&collection, At::Latest).await == before);
    assert_sound(&collection).await;
}

/// A head that is old by one version shows through the claim of a compactor that saw the later one.
#[tokio::test]
async fn a_claim_shows_a_head_that_is_one_version_old() {
    let store = Watched::<Memory>::default();
    let collection = busy(&store).await;
    let head = key("c/0000/head");
    let old = Head::decode(store.inner.get(&head).await.unwrap().unwrap().bytes).unwrap();
    assert_sound(&collection).await;
    let claim = Claim { collection: old.collection, claimant: Uid::new(1), version: old.version.next(), beat: 1 };
    set(&store, &key("c/0000/claim"), claim.encode()).await;
    let found = collection.verify(Depth::Quick, |_| ()).await.unwrap().findings;
    assert!(found.iter().any(|finding| finding.key == head.as_str()), "{found:?}");
}

/// A process published over an old copy of a head. Neither history is complete, and repair chooses
/// none.
#[tokio::test]
async fn two_histories_are_not_repaired() {
    let store = Watched::<Memory>::default();
    let collection = busy(&store).await;
    let head = key("c/0000/head");
    let old = store.inner.get(&head).await.unwrap().unwrap().bytes;
    for number in 8..11 {
        append(&collection, number).await;
        let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
        collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
    }
    set(&store, &head, old).await;
    collection.pin("other", None).await.unwrap();
    let report = repair(&store, apply().replace(true)).await.unwrap();
    let step = report.steps.iter().find(|step| step.key == head.as_str()).unwrap();
    assert!(step.remedy.is_none() && !step.done, "{step:?}");
    assert!(step.notes[0].contains("two histories"), "{step:?}");
}

/// The head and the newest manifests are lost. Only an older version is left, and the content of
/// the newer ones alone is gone. The claim of a compactor names a later version, so repair reports
/// the loss, and goes on only when told to.
#[tokio::test]
async fn losses_are_named_and_accepted_only_when_told() {
    let store = Watched::<Memory>::default();
    let collection = busy(&store).await;
    work(&collection).await;
    let before = content(&collection, At::Latest).await;
    let claim = store.inner.get(&key("c/0000/claim")).await.unwrap().unwrap();
    let claimed = Claim::decode(claim.bytes).unwrap().version.get();
    for manifest in store.keys("c/0000/manifest/").await {
        let name = manifest.as_str().rsplit('/').next().unwrap();
        let version: u64 = name.split('-').next().unwrap().parse().unwrap();
        if version >= claimed {
            delete(&store, &manifest).await;
        }
    }
    delete(&store, &key("c/0000/head")).await;
    let plan = repair(&store, apply()).await.unwrap();
    assert!(!plan.is_intact());
    assert!(plan.steps[0].losses.iter().any(|loss| loss.contains("was published")), "{plan:?}");
    let report = repair(&store, apply().accept_loss(true)).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    // The log behind the older version was not swept, so no op is lost.
    assert!(content(&collection, At::Latest).await == before, "{report:?}");
    append(&collection, 9).await;
    work(&collection).await;
    assert_sound(&collection).await;
}

/// The head, all manifests and the beginning of the log are gone. The folded ops are lost, and the
/// log behind them goes on.
#[tokio::test]
async fn a_log_without_its_beginning_goes_on_when_told() {
    let store = Watched::<Memory>::default();
    let collection = busy(&store).await;
    for manifest in store.keys("c/0000/manifest/").await {
        delete(&store, &manifest).await;
    }
    delete(&store, &key("c/0000/head")).await;
    let log = store.keys("c/0000/log/").await;
    assert!(!log[0].as_str().ends_with("/00000000000000000001"), "it was swept");
    let plan = repair(&store, apply()).await.unwrap();
    assert!(plan.steps[0].losses.iter().any(|loss| loss.contains("ops of segments 1 to")), "{plan:?}");
    assert!(store.inner.get(&key("c/0000/head")).await.unwrap().is_none());
    assert!(repair(&store, apply().accept_loss(true)).await.unwrap().is_intact());
    content(&collection, At::Latest).await;
    append(&collection, 9).await;
    work(&collection).await;
    assert_sound(&collection).await;
}

/// Nothing was folded yet, so no manifest holds a copy of the register. Repair asks for the unknown
/// values.
#[tokio::test]
async fn a_register_without_a_copy_is_rebuilt_from_options() {
    let store = Watched::<Memory>::default();
    let collection = made(&store).await;
    append(&collection, 1).await;
    let before = content(&collection, At::Latest).await;
    let uid = collection.config().uid;
    for register in ["c/collection", "c/0001/head"] {
        delete(&store, &key(register)).await;
    }
    let error = repair(&store, apply()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let told = apply().metric(Some(Metric::Cosine)).shards(Some(SHARDS)).ordering(Some(Ordering::Log));
    let wrong = told.clone().dimension(Some(3));
    assert_eq!(repair(&store, wrong).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let report = repair(&store, told).await.unwrap();
    assert!(report.is_intact());
    let remedy =
        report.steps.iter().find(|step| step.key == "c/collection").and_then(|step| step.remedy.clone()).unwrap();
    assert!(remedy.contains(&format!("collection {uid}, dimension 2, {SHARDS} shards")), "{remedy}");
    let collection = open(&store).await.unwrap();
    let CollectionConfig { dimension, metric, shards, .. } = *collection.config();
    assert_eq!((collection.config().uid, dimension, metric, shards), (uid, 2, Metric::Cosine, SHARDS));
    assert!(collection.config().created > Timestamp::from_millis(1_700_000_000_000), "it is made now");
    assert!(content(&collection, At::Latest).await == before);
    assert_sound(&collection).await;
}

/// Two manifests of one version: nothing shows which one was published. The pins of both stay.
#[tokio::test]
async fn of_two_manifests_of_one_version_no_pin_is_lost() {
    let store = Watched::<Memory>::default();
    let collection = busy(&store).await;
    let before = content(&collection, At::Latest).await;
    // A pin loses the race for its version against a fold, and its process dies. Both manifests
    // remain.
    let pinned = store.clone();
    let head = key("c/0000/head");
    collection.pin("late", None).await.unwrap();
    let with_pin = store.keys("c/0000/manifest/").await.pop().unwrap();
    let bytes = store.inner.get(&with_pin).await.unwrap().unwrap().bytes;
    let mut twin = Manifest::decode(bytes).unwrap();
    twin.pins.retain(|pin| pin.name != "late");
    twin.nonce = deltafold::format::Nonce::new(u64::MAX);
    let twin_key = key(&format!("c/0000/manifest/{}", twin.name()));
    set(&pinned, &twin_key, twin.encode().unwrap().to_bytes()).await;
    delete(&store, &head).await;
    let report = repair(&store, apply()).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert!(report.steps[0].notes[0].contains("`late`"), "{report:?}");
    let status = collection.status().await.unwrap();
    assert!(status.shards[0].pins.iter().any(|pin| pin.name == "late"));
    assert!(content(&collection, At::Latest).await == before);
    append(&collection, 9).await;
    work(&collection).await;
    assert_sound(&collection).await;
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

/// A head is only as good as the manifest that it names. If that is lost, an older version takes
/// its place, when told to.
#[tokio::test]
async fn a_head_without_its_manifest_is_not_intact() {
    let store = Watched::<Memory>::default();
    busy(&store).await;
    let head = Head::decode(store.inner.get(&key("c/0000/head")).await.unwrap().unwrap().bytes).unwrap();
    let manifest = store.keys("c/0000/manifest/").await.pop().unwrap();
    assert!(manifest.as_str().contains(&format!("/{}-", head.version)), "{manifest}");
    delete(&store, &manifest).await;
    let plan = repair(&store, RepairOptions::default()).await.unwrap();
    assert!(!plan.is_intact(), "{plan:?}");
    assert!(plan.steps.iter().any(|step| format!("{step:?}").contains("c/0000/head")), "{plan:?}");
}
