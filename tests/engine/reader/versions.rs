//! Readers of fixed versions and of pins, and the report of a refresh.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Record, Version};
use deltafold::store::Store as _;
use deltafold::{
    At, Collection, CompactorOptions, CreateOptions, ErrorKind, Policy, Reader, ScanOptions, SweepOptions, Writer,
    WriterOptions,
};
use deltafold_testing::watched::Watched;
use futures::TryStreamExt;

async fn collection(store: &Watched, shards: u16) -> (Collection, Writer) {
    let options = CreateOptions::new(2).shards(shards);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

fn put(id: impl ToString) -> Op {
    Op::put(id.to_string(), Record::default())
}

/// Folds without merging.
async fn compact(collection: &Collection) {
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
}

async fn ids(reader: &Reader) -> Vec<String> {
    let entries: Vec<_> = reader.scan(ScanOptions::default()).try_collect().await.unwrap();
    assert_eq!(reader.count().await.unwrap(), entries.len() as u64);
    entries.into_iter().map(|entry| entry.id).collect()
}

fn versions(numbers: impl IntoIterator<Item = u64>) -> At {
    At::Versions(numbers.into_iter().map(Version::new).collect())
}

#[tokio::test]
async fn a_version_holds_its_folds() {
    let store = Watched::default();
    let (collection, writer) = collection(&store, 1).await;
    for id in ["a", "b", "c"] {
        writer.append(vec![put(id)]).await.unwrap();
        compact(&collection).await;
    }
    writer.append(vec![put("d")]).await.unwrap();
    let expected = [vec![], vec!["a"], vec!["a", "b"], vec!["a", "b", "c"]];
    for (number, expected) in (0..).zip(expected) {
        let mut reader = collection.reader_at(versions([number])).await.unwrap();
        assert_eq!(ids(&reader).await, expected);
        assert!(!reader.refresh().await.unwrap().changed(), "a fixed version stays");
        assert_eq!(reader.versions(), [Version::new(number)]);
    }
    let latest = collection.reader().await.unwrap();
    assert_eq!(ids(&latest).await, ["a", "b", "c", "d"]);
    assert_eq!(latest.versions(), [Version::new(3)]);
}

#[tokio::test]
async fn a_version_that_is_not_there_is_not_found() {
    let store = Watched::default();
    let (collection, writer) = collection(&store, 1).await;
    for id in ["a", "b", "c"] {
        writer.append(vec![put(id)]).await.unwrap();
        compact(&collection).await;
    }
    let kind = async |at: At| collection.reader_at(at).await.unwrap_err().kind();
    assert_eq!(kind(versions([4])).await, ErrorKind::NotFound, "still to come");
    assert_eq!(kind(At::Pin("none".to_owned())).await, ErrorKind::NotFound);
    assert_eq!(kind(versions([])).await, ErrorKind::InvalidInput);
    assert_eq!(kind(versions([1, 1])).await, ErrorKind::InvalidInput);
    let manifest = store.keys("/manifest/00000000000000000001").await;
    store.inner.advance(Duration::from_secs(3_600));
    let options = SweepOptions::default().keep_versions(1).min_age(Duration::ZERO);
    collection.sweep(&options).await.unwrap();
    assert!(store.keys(manifest[0].as_str()).await.is_empty());
    let error = collection.reader_at(versions([1])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "swept");
    assert!(error.to_string().contains("version 1"), "{error}");
}

#[tokio::test]
async fn a_lost_manifest_of_a_version_that_is_kept_is_damage() {
    let store = Watched::default();
    let (collection, writer) = collection(&store, 1).await;
    for id in ["a", "b"] {
        writer.append(vec![put(id)]).await.unwrap();
        compact(&collection).await;
    }
    let manifest = store.keys("/manifest/00000000000000000001").await;
    store.inner.delete(&manifest).await.unwrap();
    let error = collection.reader_at(versions([1])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(manifest[0].as_str()), "{error}");
}

#[tokio::test]
async fn a_pin_is_read_in_every_shard() {
    let store = Watched::default();
    let (collection, writer) = collection(&store, 3).await;
    writer.append((0..20).map(put).collect()).await.unwrap();
    compact(&collection).await;
    collection.pin("before", None).await.unwrap();
    writer.append((20..40).map(put).collect()).await.unwrap();
    let latest = collection.reader().await.unwrap();
    let pinned = collection.reader_at(At::Pin("before".to_owned())).await.unwrap();
    assert_eq!((pinned.count().await.unwrap(), latest.count().await.unwrap()), (20, 40));
    let same = collection.reader_at(At::Versions(pinned.versions())).await.unwrap();
    assert_eq!(ids(&same).await, ids(&pinned).await);
}

#[tokio::test]
async fn a_refresh_reports_changes_at_its_known_cost() {
    let store = Watched::default();
    let (collection, writer) = collection(&store, 1).await;
    let mut reader = collection.reader().await.unwrap();
    store.calls();
    assert!(!reader.refresh().await.unwrap().changed());
    assert_eq!(store.calls(), ["get log/00000000000000000001", "get_unless head"]);

    writer.append(vec![put("a"), put("b")]).await.unwrap();
    writer.append(vec![put("c")]).await.unwrap();
    let old = reader.clone();
    store.calls();
    let refreshed = reader.refresh().await.unwrap();
    let gets = ["1", "2", "3"].map(|n| format!("get log/0000000000000000000{n}"));
    assert_eq!(store.calls(), [&gets[..], &["get_unless head".to_owned()]].concat());
    let [change] = &refreshed.shards[..] else { panic!("one shard") };
    assert!(refreshed.changed());
    assert_eq!((change.new_segments, change.new_ops, refreshed.new_ops()), (2, 3, 3));
    assert_eq!((change.from_version, change.to_version), (Version::ZERO, Version::ZERO));
    assert_eq!(ids(&reader).await, ["a", "b", "c"]);
    assert_eq!(ids(&old).await, [""; 0], "a clone keeps its own snapshot");

    compact(&collection).await;
    let refreshed = reader.refresh().await.unwrap();
    assert!(refreshed.changed());
    let change = &refreshed.shards[0];
    assert_eq!((change.new_segments, change.new_ops), (0, 0), "the same ops in another shape");
    assert_eq!((change.from_version, change.to_version), (Version::ZERO, Version::new(1)));
    assert_eq!(ids(&reader).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_reader_where_it_was() {
    let store = Watched::default();
    let (collection, writer) = collection(&store, 3).await;
    writer.append((0..20).map(put).collect()).await.unwrap();
    let mut reader = collection.reader().await.unwrap();
    writer.append((20..40).map(put).collect()).await.unwrap();
    let second = store.keys("0002/log/00000000000000000002").await;
    store.overwrite(&second[0], |bytes| bytes.truncate(100)).await;
    let (before, held) = (reader.positions(), ids(&reader).await);
    let error = reader.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(second[0].as_str()), "{error}");
    assert_eq!((reader.positions(), ids(&reader).await), (before, held));
}

/// A writer of a dropped collection left a segment behind. Its slot counts as empty.
#[tokio::test]
async fn a_dropped_collection_s_segment_is_passed_over() {
    let (old, new) = (Watched::default(), Watched::default());
    let (_, stray) = collection(&old, 1).await;
    stray.append(vec![put("stray")]).await.unwrap();
    stray.append(vec![put("stray")]).await.unwrap();
    let (collection, writer) = collection(&new, 1).await;
    writer.append(vec![put("a")]).await.unwrap();
    let mut reader = collection.reader().await.unwrap();
    let key = old.keys("/log/00000000000000000002").await.remove(0);
    let object = old.inner.get(&key).await.unwrap().unwrap();
    new.inner.create(&key, vec![object.bytes]).await.unwrap();
    writer.append(vec![put("b")]).await.unwrap();
    assert_eq!(reader.refresh().await.unwrap().new_ops(), 1);
    assert_eq!(reader.positions()[0].tail.get(), 3);
    assert_eq!(ids(&reader).await, ["a", "b"]);
}
