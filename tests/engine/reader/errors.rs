//! A lost or damaged object gives an error that names it, never an answer.

use std::sync::Arc;

use deltafold::format::{Op, Record};
use deltafold::store::{Key, Store as _};
use deltafold::{Collection, CompactorOptions, CreateOptions, Error, ErrorKind, Policy, ScanOptions, WriterOptions};
use deltafold_testing::watched::Watched;
use futures::TryStreamExt;

/// A collection with a base and a segment behind it.
async fn prepared() -> (Watched, Collection) {
    let store = Watched::default();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let put = |id: &str| Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() });
    writer.append(vec![put("a"), put("b")]).await.unwrap();
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    writer.append(vec![put("c")]).await.unwrap();
    (store, collection)
}

/// The first error: of opening, or of reading everything.
async fn failure(collection: &Collection) -> Error {
    let read = async {
        let reader = collection.reader().await?;
        reader.scan(ScanOptions::default()).try_collect::<Vec<_>>().await
    };
    read.await.expect_err("something is wrong with the store")
}

async fn the_only(store: &Watched, part: &str) -> Key {
    let keys = store.keys(part).await;
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_lost_object_is_missing_and_not_superseded() {
    for part in [".meta", ".emb", "/manifest/"] {
        let (store, collection) = prepared().await;
        let key = the_only(&store, part).await;
        store.inner.delete(std::slice::from_ref(&key)).await.unwrap();
        let error = failure(&collection).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(key.as_str()) && error.to_string().contains("missing"), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    for part in [".meta", ".emb", "/manifest/", "/log/00000000000000000002", "/head"] {
        let (store, collection) = prepared().await;
        let key = the_only(&store, part).await;
        store
            .overwrite(&key, |bytes| {
                let at = bytes.len() / 2;
                bytes.truncate(at);
            })
            .await;
        let error = failure(&collection).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(key.as_str()), "{error}");
    }
}

#[tokio::test]
async fn a_flipped_bit_in_an_embedding_fails_its_reads() {
    let (store, collection) = prepared().await;
    let key = the_only(&store, ".emb").await;
    let row: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    store
        .overwrite(&key, |bytes| {
            let at = bytes.windows(row.len()).position(|window| window == row).unwrap();
            bytes[at] ^= 1;
        })
        .await;
    let reader = collection.reader().await.unwrap();
    let error = reader.get("b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(key.as_str()), "{error}");
    assert!(reader.contains("b").await.unwrap());
    let without = ScanOptions::default().embeddings(false);
    assert_eq!(reader.scan(without).try_collect::<Vec<_>>().await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_object_in_another_s_place_is_refused() {
    let (store, collection) = prepared().await;
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
    let parts = store.keys(".meta").await;
    let [first, second] = &parts[..] else { panic!("two parts, not {parts:?}") };
    let other = store.inner.get(second).await.unwrap().unwrap().bytes;
    store.overwrite(first, |bytes| *bytes = other.to_vec()).await;
    let error = failure(&collection).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(first.as_str()), "{error}");
}

/// A version that no sweep has given up stays readable. If it is not, that is damage, though the
/// current version no longer needs the object.
#[tokio::test]
async fn a_missing_object_of_a_kept_version_is_damage() {
    let (store, collection) = prepared().await;
    let old = collection.reader().await.unwrap();
    let key = the_only(&store, ".meta").await;
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    store.inner.delete(std::slice::from_ref(&key)).await.unwrap();
    let error = old.get("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(key.as_str()), "{error}");
    assert!(collection.reader().await.unwrap().get("a").await.unwrap().is_some());
}
