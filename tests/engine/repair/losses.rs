//! Manifests and segments that are gone: repair names the loss, and goes on when told to.

use deltafold::format::{Claim, CollectionConfig, Head, Manifest, Metric, Ordering, Timestamp};
use deltafold::store::{Memory, Store as _};
use deltafold::{At, ErrorKind, RepairOptions};
use deltafold_testing::watched::Watched;

use super::{SHARDS, append, apply, assert_sound, busy, content, delete, key, made, open, repair, set, work};

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
