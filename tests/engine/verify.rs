//! Verification finds all damage, also under right checksums, and reports nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltafold::format::{Digest, Manifest, Op, Patch, Record, Value};
use deltafold::store::{Key, Memory, Store as _};
use deltafold::{Collection, CompactorOptions, CreateOptions, Depth, ErrorKind, Policy, SweepOptions, WriterOptions};
use deltafold_testing::watched::{Fault, Watched};

fn put(id: &str) -> Op {
    Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

fn patch(id: &str, key: &str) -> Op {
    Op::patch(id, Patch { metadata: [(key.to_owned(), Some(Value::Bool(true)))].into(), ..Patch::default() })
}

/// A base, a run over it, a dropped object, and an op in the log.
async fn made() -> (Watched<Memory>, Collection) {
    let store = Watched::<Memory>::default();
    let collection =
        Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
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

async fn current(store: &Watched<Memory>) -> Manifest {
    let key = manifest_key(store).await;
    Manifest::decode(store.inner.get(&key).await.unwrap().unwrap().bytes).unwrap()
}

/// Changes the current manifest, with right checksums.
async fn forge(store: &Watched<Memory>, change: impl FnOnce(&mut Manifest)) {
    let key = manifest_key(store).await;
    store
        .overwrite(&key, |bytes| {
            let mut manifest = Manifest::decode(Bytes::copy_from_slice(bytes)).unwrap();
            change(&mut manifest);
            *bytes = manifest.encode().unwrap().chunks.concat();
        })
        .await;
}

#[tokio::test]
async fn a_sound_collection_has_no_findings() {
    let (store, collection) = made().await;
    for depth in [Depth::Quick, Depth::Deep] {
        assert_eq!(findings(&collection, depth).await, []);
    }
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert_eq!((report.ops, report.rows, report.unreferenced), (8, 3 + 2, 0));
    // Registers of heads and manifests count as objects without bytes.
    let listed = store.inner.list_after("", None, 1_000).await.unwrap();
    let counted = |key: &Key| ["/part/", "/log/", "/claim"].iter().any(|name| key.as_str().contains(name));
    let bytes = listed.iter().filter(|listed| counted(&listed.key)).map(|listed| listed.bytes).sum::<u64>();
    assert_eq!(report.bytes, bytes);
    let sweep = SweepOptions::KEEP_NOTHING;
    collection.sweep(&sweep).await.unwrap();
    assert_eq!(findings(&collection, Depth::Deep).await, [], "nor one that was swept");
    drop(store);
}

/// A damage, and the object that verification must name.
enum Damage {
    /// A current manifest with a false statement, under right checksums.
    Forged(fn(&mut Manifest), fn(&Manifest) -> Key),
    /// An object that is gone.
    Removed(fn(&Manifest) -> Key),
}
use Damage::{Forged, Removed};

fn key(path: impl std::fmt::Display) -> Key {
    Key::new(format!("c/0000/{path}")).unwrap()
}

fn meta(manifest: &Manifest, run: usize) -> Key {
    key(format_args!("part/{}.meta", manifest.runs[run].parts[0].name))
}

fn emb(manifest: &Manifest, object: usize) -> Key {
    key(format_args!("part/{}.emb", manifest.embeddings[object].name))
}

fn itself(manifest: &Manifest) -> Key {
    key(format_args!("manifest/{}", manifest.name()))
}

/// Verification can report each of these. The base is run 0, the run over it, of a put and a patch,
/// is run 1.
const FINDINGS: &[(Depth, &str, Damage)] = &[
    (Depth::Quick, "though the current version needs it", Removed(|m| meta(m, 0))),
    (Depth::Quick, "though the current version needs it", Removed(|m| meta(m, 1))),
    (Depth::Quick, "though the current version needs it", Removed(|m| emb(m, 0))),
    (Depth::Quick, "bytes long instead of", Forged(|m| m.runs[0].parts[0].bytes += 1, |m| meta(m, 0))),
    (Depth::Quick, "bytes long instead of", Forged(|m| m.embeddings[0].bytes -= 1, |m| emb(m, 0))),
    (Depth::Quick, "its manifest disagree", Forged(|m| m.truncated = m.truncated.next(), |_| key("head"))),
    (Depth::Deep, "its ids are not those", Forged(|m| m.runs[0].parts[0].min_id = "A".into(), |m| meta(m, 0))),
    (Depth::Deep, "its ids are not those", Forged(|m| m.runs[0].parts[0].max_id = "z".into(), |m| meta(m, 0))),
    (Depth::Deep, "holds a row that is not a whole record", Forged(|m| m.runs[1].resolved = true, |m| meta(m, 1))),
    (
        Depth::Deep,
        "refers to other embedding objects",
        Forged(|m| m.runs[0].parts[0].embeddings.truncate(1), |m| meta(m, 0)),
    ),
    (
        Depth::Deep,
        "refers to other embedding objects",
        Forged(|m| m.runs[1].parts[0].embeddings.insert(0, m.embeddings[0].name), |m| meta(m, 1)),
    ),
    (
        Depth::Deep,
        "a change from a segment behind the end of its run",
        Forged(
            |m| {
                m.runs[1].first = m.runs[0].last;
                m.runs[0].last = m.runs[0].last.prev();
            },
            |m| meta(m, 0),
        ),
    ),
    (Depth::Deep, "rows refer to it, and the manifest counts", Forged(|m| m.embeddings[0].live -= 1, |m| emb(m, 0))),
    (Depth::Deep, "rows refer to it, and the manifest counts", Forged(|m| m.embeddings[0].live += 1, |m| emb(m, 0))),
    (
        Depth::Deep,
        "the manifest does not list it",
        Forged(
            |m| {
                m.embeddings.remove(0);
            },
            |m| key(format_args!("part/{}.emb", m.runs[0].parts[0].embeddings[0])),
        ),
    ),
    (Depth::Deep, "not the object that the manifest lists", Forged(|m| m.runs[1].parts[0].crc32 ^= 1, |m| meta(m, 1))),
    (Depth::Deep, "not the object that the manifest lists", Forged(|m| m.embeddings[0].crc32 ^= 1, |m| emb(m, 0))),
    (Depth::Deep, "the digest of the 7 ops", Forged(|m| m.digest = m.digest.plus(Digest::from_bits(1)), itself)),
    (Depth::Deep, "hold 7 ops, and it says that 8 were folded", Forged(|m| m.ops += 1, itself)),
    (Depth::Deep, "missing", Removed(|_| key("log/00000000000000000001"))),
    (Depth::Deep, "missing", Removed(|_| key("log/00000000000000000002"))),
    (Depth::Deep, "missing", Removed(|_| key("log/00000000000000000003"))),
    (
        Depth::Deep,
        "and its version should be readable",
        Removed(|m| {
            let before = m.ancestors.last().unwrap();
            key(format_args!("manifest/{}-{}", before.version, before.nonce))
        }),
    ),
];

#[tokio::test]
async fn each_damage_is_found_by_name() {
    for (number, (depth, problem, damage)) in FINDINGS.iter().enumerate() {
        let (store, collection) = made().await;
        let named = match damage {
            Forged(change, named) => {
                forge(&store, change).await;
                named(&current(&store).await)
            }
            Removed(named) => {
                let named = named(&current(&store).await);
                assert!(store.inner.get(&named).await.unwrap().is_some(), "{number}: {named}");
                store.inner.delete(std::slice::from_ref(&named)).await.unwrap();
                named
            }
        };
        let report = collection.verify(*depth, |_| ()).await.unwrap();
        assert!(!report.is_sound(), "{number}: {problem} of {named}");
        let found = findings(&collection, *depth).await;
        let is_told = found.iter().any(|found| found.0 == named.as_str() && found.1.contains(problem));
        assert!(is_told, "{number}: {problem} of {named}: {found:?}");
        for (key, problem) in &found {
            assert_eq!(problem.matches("from a copy").count(), 1, "{key}: {problem}");
        }
    }
}

/// The current version needs none of these objects, but readers of an older version and of a pin
/// do. Verification that checks the current version alone calls the collection sound.
#[tokio::test]
async fn damage_of_older_versions_is_found() {
    let (store, collection) = made().await;
    let pinned = collection.pin("p", None).await.unwrap()[0].1;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(["a", "b", "c", "d"].map(put).to_vec()).await.unwrap();
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    let sweep = SweepOptions::default().keep_versions(1).min_age(Duration::ZERO);
    for swept in [false, true] {
        if swept {
            // From now on only the pin needs them.
            collection.sweep(&sweep).await.unwrap();
            assert!(collection.status().await.unwrap().shards[0].sweep_floor > pinned);
        }
        assert_eq!(findings(&collection, Depth::Deep).await, []);
        let (now, mut kinds) = (current(&store).await, [0, 0]);
        for part in store.keys("/part/").await {
            let needed = (0..now.runs.len()).map(|run| meta(&now, run));
            let needed = needed.chain((0..now.embeddings.len()).map(|object| emb(&now, object)));
            if needed.into_iter().any(|needed| needed == part) {
                continue;
            }
            kinds[usize::from(part.as_str().ends_with(".emb"))] += 1;
            let whole = store.inner.get(&part).await.unwrap().unwrap().bytes;
            store.overwrite(&part, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
            let found = findings(&collection, Depth::Deep).await;
            assert!(found.iter().any(|found| found.0 == part.as_str()), "damaged {part}: {found:?}");
            store.inner.delete(std::slice::from_ref(&part)).await.unwrap();
            let found = findings(&collection, Depth::Deep).await;
            let is_told = |found: &(String, String)| found.0 == part.as_str() && found.1.contains("needs it");
            assert!(found.iter().any(is_told), "missing {part}: {found:?}");
            store.inner.create(&part, vec![whole]).await.unwrap();
        }
        assert!(kinds[0] > 0 && kinds[1] > 0, "parts and embedding objects: {kinds:?}");
    }
}

/// A sweep keeps the last segment folded and all that follow. If one of them is missing, it was
/// deleted by other means.
#[tokio::test]
async fn a_segment_that_no_sweep_takes_is_missed() {
    let (store, collection) = made().await;
    let sweep = SweepOptions::KEEP_NOTHING;
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

/// Verification runs beside writers, compactors and sweepers, and must not take their work for
/// damage.
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
            let sweep = SweepOptions::default().keep_versions(2).min_age(Duration::ZERO);
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

/// An unreadable store is an error of its own. Called damage, it would make operators restore from
/// their copies; called sound, it would hide damage.
#[tokio::test]
async fn a_failing_store_is_neither_damage_nor_sound() {
    let (store, collection) = made().await;
    for verb in ["get", "list"] {
        let keys = store.keys("").await;
        let keys = keys.iter().map(Key::as_str).filter(|key| !key.ends_with("/collection") && !key.ends_with("/claim"));
        let keys: Vec<&str> = if verb == "get" { keys.collect() } else { vec!["/log/", "/part/"] };
        for key in keys {
            store.fail(verb, key, Fault::Permanent);
            let verified = collection.verify(Depth::Deep, |_| ()).await;
            assert!(store.all_reached(), "{verb} {key} was asked");
            assert_eq!(verified.unwrap_err().kind(), ErrorKind::Storage, "{verb} {key}");
        }
    }
    // The check that follows a finding fails.
    let gone = itself(&current(&store).await);
    store.inner.delete(std::slice::from_ref(&gone)).await.unwrap();
    store.before("get", "/head", || async {});
    store.fail("get", "/head", Fault::Permanent);
    let verified = collection.verify(Depth::Deep, |_| ()).await;
    assert_eq!(verified.unwrap_err().kind(), ErrorKind::Storage);
}

/// Ops of an unreadable segment are not compared with the manifest's count: that damage already has
/// a finding. A damaged segment behind the folded ones hides no other finding.
#[tokio::test]
async fn a_damaged_segment_causes_and_hides_no_other_finding() {
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    let (store, collection) = made().await;
    let log = store.keys("/log/").await;
    let folded = current(&store).await.folded.get();
    let (last_folded, behind) = (&log[usize::try_from(folded).unwrap() - 1], log.last().unwrap());
    assert_ne!(last_folded, behind);
    store.overwrite(behind, cut).await;
    forge(&store, |manifest| manifest.ops += 1).await;
    let found: Vec<String> = findings(&collection, Depth::Deep).await.into_iter().map(|(key, _)| key).collect();
    assert!(
        found.contains(&behind.to_string()) && found.contains(&itself(&current(&store).await).to_string()),
        "{found:?}"
    );
    let (store, collection) = made().await;
    store.overwrite(last_folded, cut).await;
    let found: Vec<String> = findings(&collection, Depth::Deep).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, [last_folded.to_string()]);
}
