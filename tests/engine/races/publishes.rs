//! Races of compactors and sweeps: each works from a snapshot that another process replaces.

use std::time::Duration;

use deltafold::format::EditKind;
use deltafold::store::Store;
use deltafold::{Collection, CompactorOptions, ErrorKind, Policy, SweepOptions, Writer};
use deltafold_testing::on_stores;
use deltafold_testing::watched::{Fault, Watched};

use super::{append, append_put, assert_sound, create, entries, fold, ids, made, ops, patch, put, sweep, writer};

on_stores!(
    every: [
        r2_a_stale_compactor_does_not_publish_over_a_newer_head,
        r9_the_same_deletions_twice_delete_nothing_else,
    ],
    local: [
        r5_a_sweep_past_a_merge_under_way_fences_it_off,
        r5_a_merge_that_is_young_enough_survives_a_sweep,
        r8_a_segment_that_vanishes_from_under_a_fold_is_no_success,
        r8_a_part_that_vanishes_from_under_a_merge_is_no_success,
        r10_of_two_folds_of_one_shard_one_publishes,
        a_pin_removed_under_a_sweep_is_no_damage,
    ],
);

/// Story: a compactor paused between its last read and its publish, and others published meanwhile.
/// Its snapshot, made from an old one, replaced theirs, and their folded ops were lost. Now the
/// head is swapped only over the state that was read, and the *edit* is applied again to the
/// winner.
async fn r2_a_stale_compactor_does_not_publish_over_a_newer_head<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&writer, vec![put("a")]).await;
    fold(&collection).await;
    append(&writer, vec![put("b")]).await;
    fold(&collection).await;
    // A fold overtakes a merge of the two runs, between the creation of the merge's manifest and
    // the swap of the head.
    let other = collection.clone();
    store.before("replace", "/head", move || async move {
        append(&writer, vec![put("c"), patch("a", "x")]).await;
        assert_eq!(fold(&other).await, 1);
    });
    let report = collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    assert!(store.all_reached());
    assert!(report.published(EditKind::Merge) >= 1, "{report:?}");
    let history = collection.history().await.unwrap().versions;
    let versions: Vec<u64> = history.iter().map(|entry| entry.version.get()).collect();
    assert!(versions.windows(2).all(|pair| pair[0].abs_diff(pair[1]) == 1), "{versions:?}");
    assert_eq!(ids(&collection).await, ["a", "b", "c"]);
    assert_eq!(ops(&collection).await, 4);
}

/// Three runs, and a merge of all of them that is about to publish; `meanwhile` runs before it
/// does.
async fn overtaken_merge<S: Store + Clone, F: Future<Output = ()> + Send>(
    store: &Watched<S>,
    meanwhile: impl FnOnce(Collection, Writer) -> F + Send + 'static,
) -> (Collection, deltafold::CompactReport) {
    let (collection, writer) = made(store).await;
    for id in ["a", "b", "c"] {
        append(&writer, vec![put(id), patch("a", id)]).await;
        fold(&collection).await;
    }
    let other = collection.clone();
    store.before("create", "/manifest/", move || async move { meanwhile(other, writer).await });
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    let report = collection.compactor(CompactorOptions::default().policy(policy)).merge_all().await.unwrap();
    assert!(store.all_reached());
    (collection, report)
}

/// Story: a compactor had written its outputs and was about to publish them. A sweep saw objects
/// that no snapshot referred to, and deleted them. The publish went through, and the snapshot
/// referred to missing objects. Now the name of an object gives the version from which its edit
/// started (`born`). A sweep deletes unreferenced objects only below `sweep_floor`, and no edit may
/// add an object born below it.
async fn r5_a_sweep_past_a_merge_under_way_fences_it_off<S: Store + Clone>(store: Watched<S>) {
    let unpublished = store.clone();
    let (collection, report) = overtaken_merge(&store, move |collection, writer| async move {
        let before = unpublished.keys("/part/").await;
        append(&writer, vec![put("d")]).await;
        fold(&collection).await;
        sweep(&collection).await;
        let after = unpublished.keys("/part/").await;
        assert!(before.iter().any(|key| !after.contains(key)), "the sweep took the merge's outputs");
    })
    .await;
    assert_eq!(report.conflicts(), 1, "{report:?}");
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d"]);
    assert_sound(&collection).await;
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d"]);
    assert_sound(&collection).await;
}

/// A sweep whose floor has not passed the merge's start leaves the merge's outputs alone, and the
/// merge goes through.
async fn r5_a_merge_that_is_young_enough_survives_a_sweep<S: Store + Clone>(store: Watched<S>) {
    let (collection, report) = overtaken_merge(&store, |collection, writer| async move {
        append(&writer, vec![put("d")]).await;
        fold(&collection).await;
        let options = SweepOptions::default().keep_versions(2).min_age(Duration::ZERO);
        collection.sweep(&options).await.unwrap();
    })
    .await;
    assert_eq!((report.conflicts(), report.published(EditKind::Merge)), (0, 1), "{report:?}");
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d"]);
    assert_sound(&collection).await;
}

/// Story: another compactor folded the segments that a fold was about to read, and a sweep deleted
/// them. The fold read "nothing" and reported success. Now a fold looks up a missing segment: the
/// head shows the sweep, and the fold goes on from there.
async fn r8_a_segment_that_vanishes_from_under_a_fold_is_no_success<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&writer, vec![put("a")]).await;
    append(&writer, vec![put("b")]).await;
    append(&writer, vec![patch("a", "x")]).await;
    let other = collection.clone();
    store.before("get", "/log/00000000000000000002", move || async move {
        fold(&other).await;
        sweep(&other).await;
        append(&writer, vec![patch("a", "y")]).await;
    });
    assert_eq!(fold(&collection).await, 1, "one fold of the remaining segments");
    assert!(store.all_reached());
    let all = entries(&collection).await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].record.metadata.keys().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(ops(&collection).await, 4);
}

/// The same for a part that a merge was about to read.
async fn r8_a_part_that_vanishes_from_under_a_merge_is_no_success<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    for id in ["a", "b", "c"] {
        append(&writer, vec![put(id), patch("a", id)]).await;
        fold(&collection).await;
    }
    let other = collection.clone();
    store.before("get", ".meta", move || async move {
        other.compactor(CompactorOptions::default()).merge_all().await.unwrap();
        sweep(&other).await;
    });
    let report = collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    assert!(store.all_reached());
    assert_eq!((report.conflicts(), report.published(EditKind::Merge)), (1, 0), "{report:?}");
    assert_eq!(ids(&collection).await, ["a", "b", "c"]);
    assert_sound(&collection).await;
}

/// Story: two sweepers worked through the same list. The second one deleted late, and hit a name
/// that was in use again. Now names never come back: they bear a nonce, and a slot below
/// `truncated` is never read. A second delete of a name changes nothing.
async fn r9_the_same_deletions_twice_delete_nothing_else<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    for id in ["a", "b", "c"] {
        append(&writer, vec![put(id)]).await;
        fold(&collection).await;
    }
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    let (other, again) = (collection.clone(), writer.clone());
    store.before("delete", "", move || async move {
        sweep(&other).await;
        append(&again, vec![put("d"), patch("a", "x")]).await;
        fold(&other).await;
        other.compactor(CompactorOptions::default()).merge_all().await.unwrap();
        append(&again, vec![put("e")]).await;
    });
    sweep(&collection).await;
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d", "e"]);
    assert_sound(&collection).await;
    // A failure in the middle leaves the rest for the next sweep.
    for id in ["f", "g"] {
        append(&writer, vec![put(id)]).await;
        fold(&collection).await;
    }
    store.fail("delete", "", Fault::Permanent);
    let options = SweepOptions::KEEP_NOTHING;
    assert_eq!(collection.sweep(&options).await.unwrap_err().kind(), ErrorKind::Storage);
    assert_sound(&collection).await;
    sweep(&collection).await;
    assert_eq!(store.keys("/log/").await.len(), 1, "the last segment stays");
    assert_eq!(store.keys("/manifest/").await.len(), 2, "the current one, and the one at the floor");
    assert_sound(&collection).await;
}

/// Story: two compactors folded the same segments. Both published, and every op counted twice; or
/// one discarded the other's run. Now a fold names the segments that it takes, and is a conflict
/// where they are folded already.
async fn r10_of_two_folds_of_one_shard_one_publishes<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&writer, vec![put("a"), patch("a", "x")]).await;
    let other = collection.clone();
    store.before("create", "/part/", move || async move { assert_eq!(fold(&other).await, 1) });
    assert_eq!(fold(&collection).await, 0);
    assert!(store.all_reached());
    let status = collection.status().await.unwrap();
    assert_eq!((status.shards[0].version.get(), status.shards[0].ops), (1, 2));
    // Another fold that took less overtakes this one; the rest remains to fold.
    append(&writer, vec![patch("a", "y")]).await;
    let other = collection.clone();
    store.before("create", "/manifest/", move || async move {
        assert_eq!(fold(&other).await, 1);
        append(&writer, vec![patch("a", "z")]).await;
    });
    assert_eq!(fold(&collection).await, 0);
    assert_eq!(fold(&collection).await, 1);
    let all = entries(&collection).await;
    assert_eq!(all[0].record.metadata.len(), 3);
    assert_eq!(ops(&collection).await, 4);
}

/// Story: a sweep found a pin and was about to read the objects that it kept. Another process
/// removed the pin and swept its version, and the first sweep reported a damaged collection. Now it
/// checks that the pin is still there.
async fn a_pin_removed_under_a_sweep_is_no_damage<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    let writer = writer(&collection);
    append_put(&writer, "a").await;
    fold(&collection).await;
    collection.pin("p", None).await.unwrap();
    append_put(&writer, "b").await;
    fold(&collection).await;
    let other = collection.clone();
    store.before("get", "/manifest/00000000000000000001-", move || async move {
        other.unpin("p").await.unwrap();
        sweep(&other).await;
    });
    sweep(&collection).await;
    assert!(store.all_reached());
    assert_eq!(ops(&collection).await, 2);
}
