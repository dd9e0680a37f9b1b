//! A deep verification checks every byte. The tests flip one bit in each four bytes of each object,
//! one at a time.

use std::sync::Arc;

use bytes::Bytes;
use deltafold::format::{
    Claim, CollectionConfig, EmbeddingBuilder, EmbeddingSection, EmbeddingsFront, Manifest, Metric, Op, Record,
    Rotation, ShardId, Uid, Version,
};
use deltafold::store::{Key, Memory, Store as _};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Depth, ErrorKind, Exactness, Finding, FollowOptions, Query,
    WriterOptions,
};
use deltafold_testing::random::Random;
use deltafold_testing::watched::Watched;

use futures::TryStreamExt as _;

fn put(id: &str) -> Op {
    let record = Record {
        embedding: Some(vec![1.0, 2.0]),
        document: Some("text".to_owned()),
        metadata: [("k".to_owned(), deltafold::format::Value::I64(7))].into(),
    };
    Op::put(id, record)
}

/// Two runs, two readable versions, a pin, a claim, and a log with one segment not yet folded.
async fn made() -> (Watched<Memory>, Collection) {
    let store = Watched::<Memory>::default();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![put("a"), put("b"), put("c")]).await.unwrap();
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    collection.pin("p", None).await.unwrap();
    writer.append(vec![put("b")]).await.unwrap();
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    writer.append(vec![put("d")]).await.unwrap();
    (store, collection)
}

async fn findings(collection: &Collection) -> Vec<Finding> {
    collection.verify(Depth::Deep, |_| ()).await.unwrap().findings
}

fn names(findings: &[Finding], key: &Key) -> bool {
    findings.iter().any(|finding| finding.key == key.as_str())
}

/// Story: a finding gave the remedy twice in one line. A flip in a gap between sections, which no
/// checksum covers, was blamed on a broken writer.
fn assert_damage(finding: &Finding) {
    let Finding { key, problem, .. } = finding;
    assert_eq!(problem.matches("copy").count() + problem.matches("no harm").count(), 1, "{key}: {problem}");
    assert!(!problem.contains("writer was broken"), "{key}: {problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_any_byte_is_found_by_name() {
    let mut random = Random::from_environment();
    let (store, collection) = made().await;
    assert_eq!(findings(&collection).await, []);
    let keys = store.keys("").await;
    assert!(keys.iter().any(|key| key.as_str().ends_with("/claim")), "{keys:?}");
    let mut flips = 0;
    for key in keys {
        let whole = store.inner.get(&key).await.unwrap().unwrap().bytes;
        for word in 0..whole.len() / 4 {
            let (at, bit) = (word * 4 + usize::try_from(random.below(4)).unwrap(), random.below(8));
            store.overwrite(&key, |bytes| bytes[at] ^= 1 << bit).await;
            let found = findings(&collection).await;
            assert!(names(&found, &key), "`{key}` byte {at} of {} bit {bit}: {found:?}", whole.len());
            found.iter().for_each(assert_damage);
            store.overwrite(&key, |bytes| *bytes = whole.to_vec()).await;
            flips += 1;
        }
        // Cut short, one byte longer, and all zeros.
        let changes: [fn(&mut Vec<u8>); 3] = [|b| b.truncate(b.len() - 1), |b| b.push(0), |b| b.fill(0)];
        for change in changes {
            store.overwrite(&key, change).await;
            let found = findings(&collection).await;
            assert!(names(&found, &key), "`{key}`");
            found.iter().for_each(assert_damage);
            store.overwrite(&key, |bytes| *bytes = whole.to_vec()).await;
        }
    }
    assert_eq!(findings(&collection).await, []);
    println!("{flips} bits flipped");
}

#[tokio::test]
async fn a_claim_of_another_collection_is_noted() {
    let (store, collection) = made().await;
    let key = store.keys("/claim").await.remove(0);
    let claim = Claim { collection: Uid::new(1), claimant: Uid::new(2), version: Version::ZERO, beat: 1 };
    store.overwrite(&key, |bytes| *bytes = claim.encode().to_vec()).await;
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert!(names(&report.notes, &key), "{:?}", report.notes);
    let head = store.inner.get(&store.keys("/head").await[0]).await.unwrap().unwrap().bytes;
    store.overwrite(&key, |bytes| *bytes = head.to_vec()).await;
    assert!(names(&findings(&collection).await, &key), "another register in its place");
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    assert_eq!(findings(&collection).await, [], "a compaction writes it anew");
}

/// Cuts the largest embedding object of a manifest to rows 0 and 1, under right checksums. Returns
/// its key.
async fn shorten_an_object(store: &Watched<Memory>, collection: &Collection, key: &Key) -> Key {
    let bytes = store.inner.get(key).await.unwrap().unwrap().bytes;
    let mut manifest = Manifest::decode(bytes).unwrap();
    let entry = manifest.embeddings.iter_mut().max_by_key(|entry| entry.rows).unwrap();
    let objects = store.keys(".emb").await;
    let object_key = objects.into_iter().find(|key| key.as_str().contains(&entry.name.to_string())).unwrap();
    let mut shorter = EmbeddingBuilder::new(Rotation::new(2, collection.config().rotation));
    shorter.push(&[1.0, 2.0]);
    shorter.push(&[1.0, 2.0]);
    let object: Bytes = shorter.finish().unwrap().object.to_bytes();
    let opened = deltafold::format::Embeddings::open(object.clone()).unwrap();
    (entry.rows, entry.live, entry.bytes, entry.crc32) = (2, 2, object.len() as u64, opened.crc32());
    store.overwrite(&object_key, |bytes| *bytes = object.to_vec()).await;
    store.overwrite(key, |bytes| *bytes = manifest.encode().unwrap().chunks.concat()).await;
    object_key
}

/// Story: a search compared the rows that existed, and answered without the missing record.
#[tokio::test]
async fn a_reference_beyond_its_object_fails_a_search() {
    let (store, collection) = made().await;
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    let manifest = store.keys("/manifest/").await.pop().unwrap();
    let object = shorten_an_object(&store, &collection, &manifest).await;
    for exactness in [Exactness::Exact, Exactness::Approximate { candidates: 3 }] {
        let reader = collection.reader().await.unwrap();
        let error = reader.search(&[Query::new(vec![1.0, 2.0], 1).exactness(exactness)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{exactness:?}: {error}");
        assert!(error.to_string().contains(object.as_str()), "{exactness:?}: {error}");
    }
}

/// Each bit of the codes decides which records an answer holds. A search that reads a damaged block
/// must fail and name the object. Any other search answers as before.
#[tokio::test]
async fn a_flipped_bit_of_codes_fails_the_search() {
    let (store, collection) = made().await;
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    // A collection of one run, without a log.
    let manifest = store.keys("/manifest/").await.pop().unwrap();
    let manifest = Manifest::decode(store.inner.get(&manifest).await.unwrap().unwrap().bytes).unwrap();
    let entry = manifest.embeddings.first().unwrap();
    let objects = store.keys(".emb").await;
    let key = objects.into_iter().find(|key| key.as_str().contains(&entry.name.to_string())).unwrap();
    let whole = store.inner.get(&key).await.unwrap().unwrap().bytes;
    let front = EmbeddingsFront::open(whole.clone()).unwrap();
    let query = Query::new(vec![1.0, 2.0], 1);
    let approximate = Exactness::Approximate { candidates: 3 };
    let expected = collection.reader().await.unwrap().search(std::slice::from_ref(&query)).await.unwrap();
    for section in EmbeddingSection::ALL {
        let (exact_reads, approximate_reads) = match section {
            EmbeddingSection::Norms | EmbeddingSection::Rows => (true, true),
            EmbeddingSection::Estimators | EmbeddingSection::Signs => (false, true),
            EmbeddingSection::Scales | EmbeddingSection::Residuals | EmbeddingSection::Bytes => (true, false),
        };
        for at in front.range(section, 0..1) {
            store.overwrite(&key, |bytes| bytes[usize::try_from(at).unwrap()] ^= 1).await;
            for (exactness, reads) in [(Exactness::Exact, exact_reads), (approximate, approximate_reads)] {
                let reader = collection.reader().await.unwrap();
                match reader.search(&[query.clone().exactness(exactness)]).await {
                    Ok(answers) => {
                        assert!(!reads, "{section:?}, byte {at}, {exactness:?}");
                        assert_eq!(answers[0].hits, expected[0].hits);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "{section:?}, {exactness:?}: {error}");
                        assert!(error.to_string().contains(key.as_str()), "{section:?}, {exactness:?}: {error}");
                    }
                }
            }
            store.overwrite(&key, |bytes| *bytes = whole.to_vec()).await;
        }
    }
}

/// Story: every checksum was right, but rows of the parts referred to missing rows of the embedding
/// object. Verification called the collection sound, and a scan failed.
#[tokio::test]
async fn a_reference_beyond_the_rows_of_its_object_is_found() {
    for pinned in [false, true] {
        let (store, collection) = made().await;
        if pinned {
            collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
        }
        let manifests = store.keys("/manifest/").await;
        let key = if pinned { manifests.first() } else { manifests.last() }.unwrap();
        shorten_an_object(&store, &collection, key).await;
        let found = findings(&collection).await;
        let told = |finding: &Finding| finding.key.ends_with(".meta") && finding.problem.contains("it refers to row 2");
        assert!(found.iter().any(told), "pinned {pinned}: {found:?}");
    }
}

/// The checksum and the uid are right, and yet the content is wrong.
#[tokio::test]
async fn a_register_that_says_something_else_is_found() {
    let (store, collection) = made().await;
    let key = store.keys("c/collection").await.remove(0);
    let other = CollectionConfig { metric: Metric::Cosine, ..collection.config().clone() };
    store.overwrite(&key, |bytes| *bytes = other.encode().to_vec()).await;
    let found = findings(&collection).await;
    assert!(names(&found, &key) && found[0].problem.contains("differs from the register"), "{found:?}");
}

/// A follower reads several segments at once. It passes on the ops in front of a damaged one before
/// it reports the error.
#[tokio::test]
async fn ops_in_front_of_damage_come_before_its_error() {
    let store = Watched::<Memory>::default();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for id in ["a", "b", "c", "d"] {
        writer.append(vec![put(id)]).await.unwrap();
    }
    store.overwrite(&store.keys("/log/").await[2], |bytes| bytes[100] ^= 1).await;
    let options = FollowOptions::default().until_tail(true);
    let mut follow = collection.follow(ShardId::default(), options).unwrap();
    let mut ids = Vec::new();
    let error = loop {
        match follow.try_next().await {
            Ok(op) => ids.push(op.expect("the damage comes before the end").1.id),
            Err(error) => break error,
        }
    };
    assert_eq!((ids, error.kind()), (vec!["a".to_owned(), "b".to_owned()], ErrorKind::Corrupt));
}

#[tokio::test]
async fn history_and_status_tell_of_a_missing_manifest() {
    let (store, collection) = made().await;
    let history = collection.history().await.unwrap();
    assert_eq!((history.versions.len(), history.damage.len()), (4, 0));
    assert_eq!(collection.status().await.unwrap().shards[0].damage, []);
    for key in store.keys("/manifest/").await.into_iter().take(2) {
        let bytes = store.inner.get(&key).await.unwrap().unwrap().bytes;
        store.inner.delete(std::slice::from_ref(&key)).await.unwrap();
        let history = collection.history().await.unwrap();
        assert_eq!(history.versions.len(), 3);
        assert!(names(&history.damage, &key), "{:?}", history.damage);
        let status = collection.status().await.unwrap();
        assert!(names(&status.shards[0].damage, &key), "{:?}", status.shards[0].damage);
        store.inner.create(&key, vec![bytes]).await.unwrap();
    }
    let manifest = store.keys("/manifest/").await.remove(0);
    store.overwrite(&manifest, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    let history = collection.history().await.unwrap();
    assert!(names(&history.damage, &manifest), "a damaged one, too: {:?}", history.damage);
}

#[tokio::test]
async fn status_tells_of_a_hole_in_the_log() {
    let (store, collection) = made().await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![put("e")]).await.unwrap();
    let key = store.keys("/log/").await.remove(2);
    store.inner.delete(std::slice::from_ref(&key)).await.unwrap();
    let status = collection.status().await.unwrap();
    assert!(names(&status.shards[0].damage, &key), "{:?}", status.shards[0].damage);
    assert_eq!(status.shards[0].tail, status.shards[0].folded);
}
