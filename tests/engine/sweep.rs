//! Sweep: its clock, the log it leaves behind, and the uploads and pins it gives up.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Record, Sequence, ShardId, Version};
use deltafold::store::{Memory, Store as _};
use deltafold::{
    At, Collection, CompactorOptions, CreateOptions, Depth, ErrorKind, FollowOptions, SweepOptions, WriterOptions,
};
use deltafold_testing::watched::Watched;
use futures::TryStreamExt;

const MINUTE: Duration = Duration::from_mins(1);

fn put(id: &str) -> Op {
    Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

async fn made() -> (Watched<Memory>, Collection) {
    let store = Watched::<Memory>::default();
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    (store, collection)
}

/// Appends one record and folds it.
async fn fold(collection: &Collection, id: &str) -> Version {
    collection.writer(WriterOptions::default()).unwrap().append(vec![put(id)]).await.unwrap();
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    collection.status().await.unwrap().shards[0].version
}

/// Keeps no version for its number, and every version for half an hour.
fn half_an_hour() -> SweepOptions {
    SweepOptions::default().keep_versions(0).min_age(30 * MINUTE)
}

/// Keeps no version, neither for its number nor for its age.
fn at_once() -> SweepOptions {
    half_an_hour().min_age(Duration::ZERO)
}

/// A version was current for an hour and was superseded a minute ago. A sweep that counts from its
/// publication takes it from readers that opened it two minutes ago.
#[tokio::test]
async fn a_version_ages_from_when_it_was_superseded() {
    let (store, collection) = made().await;
    let first = fold(&collection, "a").await;
    store.inner.advance(60 * MINUTE);
    fold(&collection, "b").await;
    let readable = async || collection.reader_at(At::Versions(vec![first])).await;

    store.inner.advance(MINUTE);
    collection.sweep(&half_an_hour()).await.unwrap();
    assert_eq!(readable().await.unwrap().count().await.unwrap(), 1);
    store.inner.advance(28 * MINUTE);
    collection.sweep(&half_an_hour()).await.unwrap();
    assert_eq!(readable().await.unwrap().count().await.unwrap(), 1);
    store.inner.advance(2 * MINUTE);
    let report = collection.sweep(&half_an_hour()).await.unwrap().remove(0).1;
    assert!(report.sweep_floor > first && report.manifests > 0, "{report:?}");
    assert_eq!(readable().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 2);
}

/// A fold lost the race for a version to a pin, and its manifest stayed. It had folded more than
/// the winner. A sweep that goes by that manifest deletes segments that readers of the floor
/// version still follow.
#[tokio::test]
async fn the_log_behind_the_floor_version_stays() {
    let (store, collection) = made().await;
    let first = fold(&collection, "a").await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![put("b")]).await.unwrap();
    writer.append(vec![put("c")]).await.unwrap();
    store.before("replace", "/head", {
        let collection = collection.clone();
        move || async move {
            collection.pin("p", None).await.unwrap();
        }
    });
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    let floor = first.next();
    let rivals = store.keys(&format!("/manifest/{floor}-")).await;
    assert_eq!((rivals.len(), store.all_reached()), (2, true), "two manifests bear the version: {rivals:?}");

    let current = collection.status().await.unwrap().shards[0].version;
    let options = at_once().keep_versions(current.get() - floor.get());
    let report = collection.sweep(&options).await.unwrap().remove(0).1;
    assert_eq!((report.sweep_floor, report.truncated.get(), report.segments), (floor, 2, 1));
    let reader = collection.reader_at(At::Versions(vec![floor])).await.unwrap();
    assert_eq!(reader.count().await.unwrap(), 1);
    let second = Sequence::new(2).unwrap();
    let behind = FollowOptions::default().until_tail(true).from_segment(second);
    let ops: Vec<_> = collection.follow(ShardId::new(0).unwrap(), behind).unwrap().try_collect().await.unwrap();
    let ids: Vec<&str> = ops.iter().map(|(_, op)| op.id.as_str()).collect();
    assert_eq!(ids, ["b", "c"]);
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// A sweep gives up unfinished uploads. If it ignores the age in its options, it gives up an upload
/// that another compactor is still sending.
#[tokio::test]
async fn uploads_are_given_up_by_the_age_asked_for() {
    let (store, collection) = made().await;
    fold(&collection, "a").await;
    for (upload_age, dry_run) in [(60 * MINUTE, false), (Duration::ZERO, false), (30 * MINUTE, true)] {
        collection.sweep(&half_an_hour().upload_age(upload_age).dry_run(dry_run)).await.unwrap();
        let now = store.inner.now().await.unwrap().as_millis();
        let age = i64::try_from(upload_age.as_millis()).unwrap();
        let asked = store.aborts().into_iter().map(|(prefix, before, dry)| (prefix, now - before.as_millis(), dry));
        assert_eq!(asked.collect::<Vec<_>>(), [("c/0000/".to_owned(), age, dry_run)]);
    }
}

/// A pin with a time to live keeps its version for that time by the store's clock, and no longer.
#[tokio::test]
async fn a_pin_expires_by_the_clock_of_the_store() {
    let (store, collection) = made().await;
    let short = fold(&collection, "a").await;
    collection.pin("short", Some(60 * MINUTE)).await.unwrap();
    fold(&collection, "b").await;
    collection.pin("for good", None).await.unwrap();
    fold(&collection, "c").await;
    let sweep = async || collection.sweep(&at_once()).await.unwrap().remove(0).1.expired_pins;
    let pinned = async |name: &str| collection.reader_at(At::Pin(name.to_owned())).await;
    let manifests = async || store.keys(&format!("/manifest/{short}-")).await.len();

    store.inner.advance(59 * MINUTE);
    assert_eq!(sweep().await, [""; 0]);
    assert_eq!((pinned("short").await.unwrap().count().await.unwrap(), manifests().await), (1, 1));
    store.inner.advance(MINUTE);
    assert_eq!(sweep().await, ["short"]);
    assert_eq!(pinned("short").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(manifests().await, 0, "what the pin kept is gone with it");
    assert_eq!(pinned("for good").await.unwrap().count().await.unwrap(), 2);
    store.inner.advance(1_000_000 * MINUTE);
    assert_eq!(sweep().await, [""; 0]);
    assert_eq!(pinned("for good").await.unwrap().count().await.unwrap(), 2);
}

/// The manifest of a pinned version was lost. A sweep that goes on without it deletes the parts
/// that it listed.
#[tokio::test]
async fn a_sweep_stops_at_a_pin_without_its_manifest() {
    let (store, collection) = made().await;
    let pinned = fold(&collection, "a").await;
    collection.pin("p", None).await.unwrap();
    fold(&collection, "a").await;
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    let lost = store.keys(&format!("/manifest/{pinned}-")).await;
    store.inner.delete(&lost).await.unwrap();
    let parts = store.keys("/part/").await;
    let error = collection.sweep(&at_once()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(lost[0].as_str()), "{error}");
    assert_eq!(store.keys("/part/").await, parts, "nothing is deleted");
}

/// Another process unpinned a version and swept it while this sweep was about to read its manifest.
#[tokio::test]
async fn a_sweep_goes_on_where_a_pin_went_meanwhile() {
    let (store, collection) = made().await;
    let pinned = fold(&collection, "a").await;
    collection.pin("p", None).await.unwrap();
    collection.pin("kept", None).await.unwrap();
    fold(&collection, "b").await;
    let manifest = store.keys(&format!("/manifest/{pinned}-")).await.remove(0);
    store.before("get", &manifest, {
        let (collection, manifest, inner) = (collection.clone(), manifest.clone(), store.inner.clone());
        move || async move {
            collection.unpin("p").await.unwrap();
            collection.unpin("kept").await.unwrap();
            inner.delete(&[manifest]).await.unwrap();
        }
    });
    let report = collection.sweep(&at_once()).await.unwrap().remove(0).1;
    assert!(report.manifests > 0 && store.all_reached(), "{report:?}");
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 2);
}

/// A sweep that keeps more than an earlier one cannot bring anything back, and reports the floors
/// that stand.
#[tokio::test]
async fn floors_never_fall() {
    let (_, collection) = made().await;
    for id in ["a", "b", "c"] {
        fold(&collection, id).await;
    }
    let options = |keep_versions| SweepOptions::default().keep_versions(keep_versions).min_age(Duration::ZERO);
    let high = collection.sweep(&options(0)).await.unwrap().remove(0).1;
    let again = collection.sweep(&options(100)).await.unwrap().remove(0).1;
    assert_eq!((again.sweep_floor, again.truncated), (high.sweep_floor, high.truncated));
    assert_eq!((again.manifests, again.segments, again.parts), (0, 0, 0));
}
