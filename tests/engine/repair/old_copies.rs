//! Heads that name an old version: other objects show the later one.

use bytes::Bytes;
use deltafold::format::{Claim, Head, Uid};
use deltafold::store::{Memory, Store as _};
use deltafold::{At, CompactorOptions, Depth, ErrorKind, Policy, SweepOptions};
use deltafold_testing::watched::Watched;

use super::{append, apply, assert_sound, busy, content, key, repair, set, work};

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
