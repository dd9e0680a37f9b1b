//! Verification finds what is wrong, also where every checksum is right, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltafold::format::{Digest, Manifest, Op, Patch, Record, Value};
use deltafold::store::{Key, Memory, Store as _};
use deltafold::{Collection, CompactorOptions, CreateOptions, Depth, Policy, SweepOptions, WriterOptions};

use crate::support::watched::Watched;

fn put(id: &str) -> Op {
    Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

fn patch(id: &str, key: &str) -> Op {
    Op::patch(id, Patch { metadata: [(key.to_owned(), Some(Value::Bool(true)))].into(), ..Patch::default() })
}

/// A base, a run over it, something dropped, something in the log.
async fn made() -> (Watched<Memory>, Collection) {
    let store = Watched::<Memory>::default();
    let collection =
        Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let policy = Policy { fan_in: usize::MAX, absorb_one_in: 0, ..Policy::default() };
    let mut compactor = collection.compactor(CompactorOptions { policy });
    writer.append(vec![put("a"), put("b"), put("c")]).await.unwrap();
    compactor.run_once().await.unwrap();
    writer.append(vec![put("b"), patch("c", "x")]).await.unwrap();
    compactor.merge_all().await.unwrap();
    writer.append(vec![put("d"), patch("a", "y")]).await.unwrap();
    compactor.run_once().await.unwrap();
    writer.append(vec![patch("a", "z")]).await.unwrap();
    (store, collection)
}

async fn findings(collection: &Collection, depth: Depth) -> Vec<(String, String)> {
    let report = collection.verify(depth, |_| ()).await.unwrap();
    report.findings.into_iter().map(|finding| (finding.key, finding.problem)).collect()
}

/// The manifest that the head names: the one of the highest version.
async fn manifest_key(store: &Watched<Memory>) -> Key {
    store.keys("/manifest/").await.pop().unwrap()
}

/// Changes the current manifest, with right checksums.
async fn forge(store: &Watched<Memory>, change: impl FnOnce(&mut Manifest)) -> Key {
    let key = manifest_key(store).await;
    store
        .overwrite(&key, |bytes| {
            let mut manifest = Manifest::decode(Bytes::copy_from_slice(bytes)).unwrap();
            change(&mut manifest);
            *bytes = manifest.encode().unwrap().chunks.concat();
        })
        .await;
    key
}

#[tokio::test]
async fn a_sound_collection_has_no_findings() {
    let (store, collection) = made().await;
    for depth in [Depth::Quick, Depth::Deep] {
        assert_eq!(findings(&collection, depth).await, []);
    }
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert_eq!((report.ops, report.rows, report.unreferenced), (8, 3 + 2, 0));
    let sweep = SweepOptions { keep_versions: 0, min_age: Duration::ZERO, ..SweepOptions::default() };
    collection.sweep(&sweep).await.unwrap();
    assert_eq!(findings(&collection, Depth::Deep).await, [], "nor one that was swept");
    drop(store);
}

#[tokio::test]
async fn what_a_manifest_claims_wrongly_is_found() {
    type Forgery = (fn(&mut Manifest), &'static str, &'static str);
    let forgeries: [Forgery; 6] = [
        (|m| m.embeddings[0].live -= 1, ".emb", "rows refer to it, and the manifest says"),
        (|m| m.runs[0].parts[0].min_id = "A".to_owned(), ".meta", "its ids are not those that the manifest lists"),
        (|m| m.digest = m.digest.plus(Digest::from_bits(1)), "/manifest/", "the digest of the 7 ops"),
        (|m| m.ops += 1, "/manifest/", "hold 7 ops, and it says that 8 were folded"),
        (|m| m.runs[0].parts[0].bytes += 1, ".meta", "bytes long instead of"),
        (|m| m.runs[1].parts[0].crc32 ^= 1, ".meta", "it is not the object that the manifest lists"),
    ];
    for (change, key, problem) in forgeries {
        let (store, collection) = made().await;
        forge(&store, change).await;
        let found = findings(&collection, Depth::Deep).await;
        assert!(found.iter().any(|found| found.0.contains(key) && found.1.contains(problem)), "{problem}: {found:?}");
    }
}

#[tokio::test]
async fn a_head_that_tells_another_story_than_its_manifest_is_found() {
    let (store, collection) = made().await;
    forge(&store, |manifest| manifest.truncated = manifest.truncated.next()).await;
    let found = findings(&collection, Depth::Quick).await;
    assert!(found.iter().any(|found| found.0.ends_with("/head") && found.1.contains("different stories")), "{found:?}");
}

#[tokio::test]
async fn what_is_missing_is_found_by_name() {
    for (part, depth) in
        [(".meta", Depth::Quick), (".emb", Depth::Quick), ("/log/", Depth::Deep), ("/manifest/", Depth::Deep)]
    {
        let (store, collection) = made().await;
        let current = findings(&collection, Depth::Deep).await;
        assert_eq!(current, []);
        // Of the log the second segment, of manifests the one before the current.
        let keys = store.keys(part).await;
        let gone = match part {
            "/log/" => keys[1].clone(),
            "/manifest/" => keys[keys.len() - 2].clone(),
            _ => keys.last().unwrap().clone(),
        };
        store.inner.delete(std::slice::from_ref(&gone)).await.unwrap();
        let found = findings(&collection, depth).await;
        assert!(found.iter().any(|found| found.0 == gone.as_str() && found.1.contains("missing")), "{gone}: {found:?}");
    }
}

/// A sweep keeps the last segment folded, and all that follow: what is missing of them somebody else has deleted.
#[tokio::test]
async fn a_segment_that_no_sweep_takes_is_missed() {
    let (store, collection) = made().await;
    let sweep = SweepOptions { keep_versions: 0, min_age: Duration::ZERO, ..SweepOptions::default() };
    collection.sweep(&sweep).await.unwrap();
    let status = collection.status().await.unwrap().shards.remove(0);
    assert_eq!(status.truncated, status.folded);
    let kept = store.keys("/log/").await;
    for gone in [&kept[..1], &kept[1..]] {
        store.inner.delete(gone).await.unwrap();
        let found = findings(&collection, Depth::Deep).await;
        assert!(found.iter().any(|found| found.0 == kept[0].as_str() && found.1.contains("missing")), "{found:?}");
    }
}

#[tokio::test]
async fn every_object_with_a_flipped_bit_is_found_by_name() {
    let (store, collection) = made().await;
    for key in store.keys("").await {
        let name = key.as_str();
        if name.ends_with("/collection") || name.ends_with("/claim") {
            continue;
        }
        let whole = store.inner.get(&key).await.unwrap().unwrap().bytes;
        // The last byte of an object belongs to its last section.
        store.overwrite(&key, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
        let found = findings(&collection, Depth::Deep).await;
        assert!(found.iter().any(|found| found.0 == name), "{name}: {found:?}");
        store.overwrite(&key, |bytes| *bytes = whole.to_vec()).await;
    }
    assert_eq!(findings(&collection, Depth::Deep).await, []);
}

/// Verification runs beside writers, compactors and sweepers, and must not take their work for damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "starts a task of its own")]
async fn work_under_way_is_no_damage() {
    let (_, collection) = made().await;
    let (done, stop) = tokio::sync::watch::channel(false);
    let worker = tokio::spawn({
        let collection = collection.clone();
        async move {
            let writer = collection.writer(WriterOptions::default()).unwrap();
            let mut compactor = collection.compactor(CompactorOptions::default());
            let sweep = SweepOptions { keep_versions: 2, min_age: Duration::ZERO, ..SweepOptions::default() };
            let mut rounds = 0;
            while !*stop.borrow() || rounds < 20 {
                writer.append(vec![put("a"), patch("b", "k"), put(&format!("n{rounds}"))]).await.unwrap();
                compactor.run_once().await.unwrap();
                if rounds % 3 == 0 {
                    collection.sweep(&sweep).await.unwrap();
                }
                rounds += 1;
            }
        }
    });
    for _ in 0..30 {
        assert_eq!(findings(&collection, Depth::Deep).await, []);
    }
    done.send(true).unwrap();
    worker.await.unwrap();
    assert_eq!(findings(&collection, Depth::Deep).await, []);
}
