//! Races that systems like this one have had. Each test tells the story and provokes the race: the
//! store stops a call at the worst moment, and another process acts. The races of readers (R6, R7)
//! are in `reader/races.rs`, power loss (R15) is in `store.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deltafold::format::{EditKind, Op, Patch, Position, Record, Timestamp, Value};
use deltafold::store::{Memory, Store};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Depth, Entry, Env, ErrorKind, FollowOptions, Policy, ScanOptions,
    SweepOptions, System, Writer, WriterOptions,
};
use futures::TryStreamExt;

use crate::support::watched::{Fault, Watched};

on_every_store!(
    r1_a_stale_writer_appends_anew_behind_the_swept_slot,
    r1_a_slot_swept_while_it_is_being_created_is_not_acknowledged,
    r2_a_stale_compactor_does_not_publish_over_a_newer_head,
    r3_an_append_whose_answer_is_lost_lands_once,
    r3_a_publish_whose_answer_is_lost_lands_once,
    r3_an_append_whose_slot_was_swept_and_created_anew_lands_once,
    r4_try_again_is_not_taken,
    r5_a_sweep_past_a_merge_under_way_fences_it_off,
    r5_a_merge_that_is_young_enough_survives_a_sweep,
    r8_a_segment_that_vanishes_from_under_a_fold_is_no_success,
    r8_a_part_that_vanishes_from_under_a_merge_is_no_success,
    r9_the_same_deletions_twice_delete_nothing_else,
    r10_of_two_folds_of_one_shard_one_publishes,
    r12_a_batch_that_was_folded_and_swept_before_its_answer_is_not_appended_again,
    r12_a_source_that_crashed_before_the_ack_is_applied_once,
    r11_a_stale_segment_does_not_pass_for_the_log,
    r11_a_stale_segment_does_not_hide_what_the_slot_held,
    r11_whoever_follows_takes_no_stale_segment_for_the_log,
    r12_a_position_that_fails_is_not_overtaken,
    r14_folding_and_merging_keep_times_and_provenance,
    r15_a_zero_filled_or_cut_segment_is_an_error,
);

async fn collection<S: Store + Clone>(store: &Watched<S>) -> (Collection, Writer) {
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

fn put(id: &str) -> Op {
    Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

/// A patch that sets a key, which shows that the patch took part.
fn patch(id: &str, key: &str) -> Op {
    Op::patch(id, Patch { metadata: [(key.to_owned(), Some(Value::Bool(true)))].into(), ..Patch::default() })
}

async fn append(writer: &Writer, ops: Vec<Op>) -> u64 {
    writer.append(ops).await.unwrap().segments()[0].1.get()
}

/// Folds without merging.
async fn fold(collection: &Collection) -> usize {
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap().published(EditKind::Fold)
}

async fn sweep(collection: &Collection) -> u64 {
    let options = SweepOptions::KEEP_NOTHING;
    collection.sweep(&options).await.unwrap()[0].1.truncated.get()
}

/// Folds and sweeps the whole log. It appends one more op first, because a sweep keeps the last
/// segment.
async fn fold_and_sweep(collection: &Collection) -> u64 {
    append(&collection.writer(WriterOptions::default()).unwrap(), vec![Op::delete("nobody")]).await;
    fold(collection).await;
    sweep(collection).await
}

async fn entries(collection: &Collection) -> Vec<Entry> {
    let reader = collection.reader().await.unwrap();
    reader.scan(ScanOptions::default()).try_collect().await.unwrap()
}

async fn ids(collection: &Collection) -> Vec<String> {
    entries(collection).await.into_iter().map(|entry| entry.id).collect()
}

/// Folds everything and counts the ops folded. Each op counts once, so an op appended twice shows.
async fn ops(collection: &Collection) -> u64 {
    fold(collection).await;
    collection.status().await.unwrap().shards[0].ops
}

async fn assert_sound(collection: &Collection) {
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// Story: a writer slept. Meanwhile the log was folded and swept, so the slot at the writer's tail
/// was free again. It created that slot and reported success, and no reader ever read the segment.
/// Now a writer reads the head after it has created a slot, and does not acknowledge a slot below
/// `truncated`.
async fn r1_a_stale_writer_appends_anew_behind_the_swept_slot<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = collection(&store).await;
    assert_eq!(append(&sleeper, vec![put("a")]).await, 1);
    let other = collection.writer(WriterOptions::default()).unwrap();
    for number in 2..=4 {
        assert_eq!(append(&other, vec![put(&format!("b{number}"))]).await, number);
    }
    assert_eq!(fold_and_sweep(&collection).await, 5);
    store.calls();
    assert_eq!(append(&sleeper, vec![put("late")]).await, 6);
    let calls = store.calls();
    assert_eq!(calls[0], "create log/00000000000000000002", "it did fall for the free slot");
    assert_eq!(ids(&collection).await, ["a", "b2", "b3", "b4", "late"]);
    sweep(&collection).await;
    assert_eq!(ops(&collection).await, 6);
    assert_sound(&collection).await;
}

/// The same with a sweep between the writer's choice of a slot and its creation. Then with a sweep
/// between the creation and the check of the head.
async fn r1_a_slot_swept_while_it_is_being_created_is_not_acknowledged<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    append(&writer, vec![put("a")]).await;
    let (other, busy) = (collection.clone(), collection.writer(WriterOptions::default()).unwrap());
    store.before("create", "/log/00000000000000000002", move || async move {
        append(&busy, vec![put("b")]).await;
        append(&busy, vec![put("c")]).await;
        fold_and_sweep(&other).await;
    });
    assert_eq!(append(&writer, vec![put("d")]).await, 5);
    assert!(store.all_reached());
    // This slot was good when it was created. Folded and swept at once, it is acknowledged and not
    // appended again.
    let other = collection.clone();
    store.before("get_unless", "/head", move || async move {
        fold_and_sweep(&other).await;
    });
    assert_eq!(append(&writer, vec![put("e")]).await, 6);
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d", "e"]);
    assert_eq!(ops(&collection).await, 7);
    assert_sound(&collection).await;
}

/// Story: a compactor paused between its last read and its publish, and others published meanwhile.
/// Its snapshot, made from an old one, replaced theirs, and their folded ops were lost. Now the
/// head is swapped only over the state that was read, and the *edit* is applied again to the
/// winner.
async fn r2_a_stale_compactor_does_not_publish_over_a_newer_head<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
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
    assert_sound(&collection).await;
}

/// Story: a write landed and its reply was lost. The retry was refused, the writer blamed another
/// writer, and wrote the same ops again in the next slot. Now a segment bears its writer's batch,
/// and a refused writer looks up the batch in the slot.
async fn r3_an_append_whose_answer_is_lost_lands_once<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    for (number, fault) in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Delay].into_iter().enumerate() {
        store.fail("create", "/log/", fault);
        assert_eq!(append(&writer, vec![put(&format!("{fault:?}"))]).await, number as u64 + 1);
        assert!(store.all_reached());
    }
    assert_eq!(store.land_delayed().await, 0, "the retry had taken the slot");
    // Two lost requests in a row, and then another writer has the slot after all.
    let other = collection.writer(WriterOptions::default()).unwrap();
    store.fail("create", "/log/", Fault::LoseRequest);
    store.before("create", "/log/00000000000000000004", move || async move {
        assert_eq!(append(&other, vec![put("other")]).await, 4);
    });
    assert_eq!(append(&writer, vec![put("last")]).await, 5);
    assert_eq!(ids(&collection).await, ["Delay", "LoseAnswer", "LoseRequest", "last", "other"]);
    assert_eq!(ops(&collection).await, 5);
    assert_sound(&collection).await;
}

/// The same for a publish: the head was swapped, and the compactor did not hear of it. It must not
/// fold again, nor report a failure.
async fn r3_a_publish_whose_answer_is_lost_lands_once<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    for (number, fault) in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Delay].into_iter().enumerate() {
        append(&writer, vec![put(&format!("{fault:?}"))]).await;
        store.fail("replace", "/head", fault);
        store.fail("create", "/manifest/", fault);
        assert_eq!(fold(&collection).await, 1);
        assert!(store.all_reached());
        assert_eq!(collection.status().await.unwrap().shards[0].version.get(), number as u64 + 1);
    }
    store.land_delayed().await;
    assert_eq!(
        collection.status().await.unwrap().shards[0].version.get(),
        3,
        "what comes late finds the head moved on"
    );
    // The answer is lost, and others publish before it is looked up. The history decides.
    append(&writer, vec![put("x")]).await;
    store.fail("replace", "/head", Fault::LoseAnswer);
    let other = collection.clone();
    // The first check comes before the publish; the next one looks up the publish's outcome.
    store.before("get_unless", "/head", || async {});
    store.before("get_unless", "/head", move || async move {
        append(&writer, vec![put("y")]).await;
        fold(&other).await;
    });
    assert_eq!(fold(&collection).await, 1);
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, ["Delay", "LoseAnswer", "LoseRequest", "x", "y"]);
    assert_eq!(ops(&collection).await, 5);
    assert_sound(&collection).await;
}

/// Story: the answer to an append was lost; the append had landed, and was folded and swept. A
/// stale writer, which had slept all the time, created the same slot anew. The first writer's retry
/// was refused, found another batch in the slot, and wrote its own a second time behind it. (The
/// model of the protocol found it.) Now a writer in doubt checks that the slot it reads still
/// counts. If not, the manifest decides the fate of the batch.
async fn r3_an_append_whose_slot_was_swept_and_created_anew_lands_once<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = collection(&store).await;
    append(&sleeper, vec![put("a")]).await;
    let doubter = collection.writer(WriterOptions::default()).unwrap();
    store.fail("create", "/log/00000000000000000002", Fault::LoseAnswer);
    let other = collection.clone();
    store.before("create", "/log/00000000000000000002", move || async move {
        fold_and_sweep(&other).await;
        assert_eq!(append(&sleeper, vec![put("late")]).await, 4);
    });
    assert_eq!(append(&doubter, vec![put("b")]).await, 2);
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, ["a", "b", "late"]);
    assert_eq!(ops(&collection).await, 4);
    assert_sound(&collection).await;
}

/// Story: a store answered "conflict, nothing landed, try again" (S3: 409). The writer took it for
/// "the name is taken" (412) and went on to the next slot. That left a hole in the log, at which
/// every reader stopped. Now they are two outcomes. A writer retries an undecided slot and never
/// passes it.
async fn r4_try_again_is_not_taken<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    let other = collection.writer(WriterOptions::default()).unwrap();
    assert_eq!(append(&writer, vec![put("a")]).await, 1);
    for _ in 0..3 {
        store.fail("create", "/log/00000000000000000002", Fault::Transient);
    }
    assert_eq!(append(&writer, vec![put("b")]).await, 2);
    assert!(store.all_reached());
    assert_eq!(append(&other, vec![put("c")]).await, 3);
    assert_eq!(append(&writer, vec![put("d")]).await, 4, "a place that is taken is passed over");
    let keys = store.keys("/log/").await;
    assert_eq!(keys.len(), 4);
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d"]);
    // A permanent failure fails the call, and the next call goes into the same slot.
    store.fail("create", "/log/", Fault::Permanent);
    let error = writer.append(vec![put("e")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert_eq!(append(&writer, vec![put("f")]).await, 5);
}

/// Three runs, and a merge of all of them that is about to publish; `meanwhile` runs before it
/// does.
async fn overtaken_merge<S: Store + Clone, F: Future<Output = ()> + Send>(
    store: &Watched<S>,
    meanwhile: impl FnOnce(Collection, Writer) -> F + Send + 'static,
) -> (Collection, deltafold::CompactReport) {
    let (collection, writer) = collection(store).await;
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
    let (collection, writer) = collection(&store).await;
    append(&writer, vec![put("a")]).await;
    append(&writer, vec![put("b")]).await;
    append(&writer, vec![patch("a", "x")]).await;
    let other = collection.clone();
    store.before("get", "/log/00000000000000000002", move || async move {
        fold(&other).await;
        sweep(&other).await;
        append(&writer, vec![patch("a", "y")]).await;
    });
    assert_eq!(fold(&collection).await, 1, "of what is left");
    assert!(store.all_reached());
    let all = entries(&collection).await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].record.metadata.keys().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(ops(&collection).await, 4);
    assert_sound(&collection).await;
}

/// The same for a part that a merge was about to read.
async fn r8_a_part_that_vanishes_from_under_a_merge_is_no_success<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
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
    let (collection, writer) = collection(&store).await;
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
    let (collection, writer) = collection(&store).await;
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
    assert_sound(&collection).await;
}

/// Story: a writer's answer was lost, and its segment was folded and swept before the retry. Its
/// slot was free, so it wrote there. It saw that the slot lay below the log start, and appended
/// again the ops that the snapshot already held. Now every writer is a producer: the manifest's
/// marks name its folded batches.
async fn r12_a_batch_that_was_folded_and_swept_before_its_answer_is_not_appended_again<S: Store + Clone>(
    store: Watched<S>,
) {
    let (collection, writer) = collection(&store).await;
    append(&writer, vec![put("a")]).await;
    let (other, busy) = (collection.clone(), collection.writer(WriterOptions::default()).unwrap());
    store.fail("create", "/log/00000000000000000002", Fault::LoseAnswer);
    store.before("create", "/log/00000000000000000002", move || async move {
        append(&busy, vec![Op::delete("a")]).await;
        fold(&other).await;
        sweep(&other).await;
    });
    assert_eq!(append(&writer, vec![put("a")]).await, 2);
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, [""; 0], "the delete came after it, and nothing brought it back");
    assert_eq!(ops(&collection).await, 3);
    assert_eq!(append(&writer, vec![put("b")]).await, 4);
    sweep(&collection).await;
    assert_sound(&collection).await;
}

/// Story: a worker took a message from a queue, appended it, and died before it could settle it.
/// The queue gave the message to another worker. Now each op of a producer bears its position. The
/// log knows the positions it holds, and after the fold the manifest does.
async fn r12_a_source_that_crashed_before_the_ack_is_applied_once<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    let first = writer.append_from("queue", 7, vec![put("a")]).await.unwrap();
    assert!(!first.is_duplicate());
    drop(writer);
    // A successor, and a zombie that the queue had given up on.
    let successor = collection.writer(WriterOptions::default()).unwrap();
    let zombie = collection.writer(WriterOptions::default()).unwrap();
    assert!(successor.append_from("queue", 7, vec![put("a")]).await.unwrap().is_duplicate());
    assert!(!zombie.append_from("queue", 8, vec![Op::delete("a")]).await.unwrap().is_duplicate());
    assert!(
        successor.append_from("queue", 8, vec![Op::delete("a")]).await.unwrap().is_duplicate(),
        "it met the zombie's"
    );
    assert!(!successor.append_from("other", 1, vec![put("b")]).await.unwrap().is_duplicate());
    // After fold and sweep no segment holds the marks any more; the manifest does.
    fold_and_sweep(&collection).await;
    assert_eq!(store.keys("/log/").await.len(), 1, "the last segment stays");
    let late = collection.writer(WriterOptions::default()).unwrap();
    for position in [6, 7, 8] {
        assert!(late.append_from("queue", position, vec![put("a")]).await.unwrap().is_duplicate());
    }
    assert!(!late.append_from("queue", 9, vec![put("c")]).await.unwrap().is_duplicate());
    assert_eq!(ids(&collection).await, ["b", "c"]);
    assert_eq!(ops(&collection).await, 5);
    assert_sound(&collection).await;
}

async fn append_from(writer: &Writer, position: u128, ops: Vec<Op>) -> deltafold::Result<Option<u64>> {
    let ack = writer.append_from("s", position, ops).await?;
    Ok(ack.segments().first().map(|(_, slot)| slot.get()))
}

/// Story: a queue delivered a message to two consumers. Both slept while the log was folded and
/// swept. One woke, created a swept slot, and died before it noticed. That slot refused the other,
/// which found the message in it and acknowledged it as known. No reader ever read it. (The model
/// of the protocol found it.) Now the content of a slot counts only after a later head does not
/// truncate it.
async fn r11_a_stale_segment_does_not_pass_for_the_log<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = collection(&store).await;
    assert_eq!(append_from(&sleeper, 1, vec![put("a")]).await.unwrap(), Some(1));
    let consumer = collection.writer(WriterOptions::default()).unwrap();
    let (other, failing) = (collection.clone(), store.clone());
    store.before("create", "/log/00000000000000000002", move || async move {
        append(&other.writer(WriterOptions::default()).unwrap(), vec![put("b")]).await;
        fold_and_sweep(&other).await;
        failing.fail("get_unless", "/head", Fault::Permanent);
        let died = append_from(&sleeper, 2, vec![put("c")]).await.unwrap_err();
        assert_eq!(died.kind(), ErrorKind::Unknown, "{died}");
    });
    assert_eq!(append_from(&consumer, 2, vec![put("c")]).await.unwrap(), Some(4), "what nobody reads is not known");
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, ["a", "b", "c"]);
    assert_eq!(ops(&collection).await, 4);
    assert_sound(&collection).await;
}

/// The opposite story: another consumer appended a message, it was folded and swept, and a stale
/// writer created its slot anew. A consumer refused by that slot saw only the stale segment, never
/// learned of the message, and appended it again. (The model of the protocol found it.) Now a
/// writer learns the marks of the log before it appends behind slots that may have held another
/// segment.
async fn r11_a_stale_segment_does_not_hide_what_the_slot_held<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = collection(&store).await;
    append(&sleeper, vec![put("a")]).await;
    let consumer = collection.writer(WriterOptions::default()).unwrap();
    let other = collection.clone();
    store.before("create", "/log/00000000000000000002", move || async move {
        let first = other.writer(WriterOptions::default()).unwrap();
        assert_eq!(append_from(&first, 1, vec![put("b")]).await.unwrap(), Some(2));
        fold_and_sweep(&other).await;
        assert_eq!(append(&sleeper, vec![put("c")]).await, 4);
    });
    assert_eq!(append_from(&consumer, 1, vec![put("b")]).await.unwrap(), None, "it is in the log");
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, ["a", "b", "c"]);
    assert_eq!(ops(&collection).await, 4);
    assert_sound(&collection).await;
}

/// Story: a follower slept in front of a slot that was written, folded and swept. A stale writer
/// created the slot anew. The follower took its ops for the log's, and saw them again in the slot
/// where they landed at last. (The model of the protocol found it.) Now a follower checks the head
/// before it hands on ops. If it came too late, it says so.
async fn r11_whoever_follows_takes_no_stale_segment_for_the_log<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = collection(&store).await;
    append(&sleeper, vec![put("a")]).await;
    let shard = deltafold::format::ShardId::new(0).unwrap();
    let mut follow = collection.follow(shard, FollowOptions::default()).unwrap();
    assert_eq!(follow.try_next().await.unwrap().unwrap().1.id, "a");
    let other = collection.clone();
    store.before("get", "/log/00000000000000000002", move || async move {
        append(&other.writer(WriterOptions::default()).unwrap(), vec![put("b")]).await;
        fold_and_sweep(&other).await;
        assert_eq!(append(&sleeper, vec![put("late")]).await, 4);
    });
    let error = follow.try_next().await.unwrap_err();
    assert!(store.all_reached());
    assert_eq!(error.kind(), ErrorKind::Superseded, "{error}");
}

/// Story: a position failed, and the one behind it did not. The retry of the first was taken for a
/// repetition. Now all positions behind a failed one fail too, until the failed one comes again.
async fn r12_a_position_that_fails_is_not_overtaken<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    writer.append_from("queue", 1, vec![put("a")]).await.unwrap();
    store.fail("create", "/log/", Fault::Permanent);
    assert_eq!(writer.append_from("queue", 2, vec![put("b")]).await.unwrap_err().kind(), ErrorKind::Storage);
    let error = writer.append_from("queue", 3, vec![put("c")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("position 2 of source `queue`"), "{error}");
    assert!(!writer.append_from("another", 3, vec![put("x")]).await.unwrap().is_duplicate());
    assert!(!writer.append_from("queue", 2, vec![put("b")]).await.unwrap().is_duplicate());
    assert!(!writer.append_from("queue", 3, vec![put("c")]).await.unwrap().is_duplicate());
    assert_eq!(ids(&collection).await, ["a", "b", "c", "x"]);
}

/// Story: compaction rewrote records as if it had inserted them. The questions "when was this
/// inserted" and "which period does this run hold" had no answer any more. Now a record keeps the
/// positions of its insertion and its last change, and a run keeps the time range of its segments.
async fn r14_folding_and_merging_keep_times_and_provenance<S: Store + Clone>(store: Watched<S>) {
    let clock = Arc::new(Steps { now: AtomicI64::new(1_000), step: 10 });
    let options = CreateOptions::new(2);
    let name = "c".parse().unwrap();
    let collection = Collection::create_in(Arc::new(store), &name, &options, clock).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    append(&writer, vec![put("a"), put("b"), put("c")]).await;
    append(&writer, vec![patch("a", "x"), Op::delete("b")]).await;
    fold(&collection).await;
    append(&writer, vec![put("b"), put("c"), Op::add("a", Record::default())]).await;
    let from_log = entries(&collection).await;
    let place = |entry: &Entry| (entry.id.clone(), entry.inserted.to_string(), entry.changed.to_string());
    let at = |sequence: u64, index: usize| {
        Position::new(deltafold::format::Sequence::new(sequence).unwrap(), index).unwrap().to_string()
    };
    let expected = [("a", at(1, 0), at(2, 0)), ("b", at(3, 0), at(3, 0)), ("c", at(1, 2), at(3, 1))]
        .map(|(id, inserted, changed)| (id.to_owned(), inserted, changed));
    assert_eq!(from_log.iter().map(place).collect::<Vec<_>>(), expected);
    fold(&collection).await;
    assert_eq!(entries(&collection).await, from_log);
    let times = |status: deltafold::CollectionStatus| -> Vec<(i64, i64)> {
        let runs = status.shards.into_iter().flat_map(|shard| shard.runs);
        runs.map(|run| (run.times.first.as_millis(), run.times.last.as_millis())).collect()
    };
    let apart = times(collection.status().await.unwrap());
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    assert_eq!(entries(&collection).await, from_log);
    assert_eq!(times(collection.status().await.unwrap()), [(apart[0].0, apart[1].1)]);
    assert!(apart[0].0 >= 1_000 && apart[0].0 < apart[0].1 && apart[0].1 < apart[1].0, "{apart:?}");
}

/// Story: after a power failure a file had its full length and held only zeros, or was cut short.
/// It was read as a log without ops. Now length and checksum come first, and the error names the
/// object.
async fn r15_a_zero_filled_or_cut_segment_is_an_error<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = collection(&store).await;
    append(&writer, vec![put("a")]).await;
    append(&writer, vec![put("b")]).await;
    let key = store.keys("/log/").await.remove(1);
    let whole = store.inner.get(&key).await.unwrap().unwrap().bytes;
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.fill(0),
        |bytes| bytes.truncate(bytes.len() / 2),
        Vec::clear,
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle..].fill(0);
        },
    ];
    for damage in damages {
        store.overwrite(&key, damage).await;
        let error = collection.reader().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(key.as_str()), "{error}");
        let error = collection.compactor(CompactorOptions::default()).run_once().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let follow =
            collection.follow(deltafold::format::ShardId::new(0).unwrap(), FollowOptions::default().until_tail(true));
        let followed: Result<Vec<_>, _> = follow.unwrap().try_collect().await;
        assert_eq!(followed.unwrap_err().kind(), ErrorKind::Corrupt);
        let fresh = collection.writer(WriterOptions::default()).unwrap();
        let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        assert_eq!(report.findings[0].key, key.as_str());
        drop(fresh);
        store.overwrite(&key, |bytes| *bytes = whole.to_vec()).await;
    }
    assert_eq!(ids(&collection).await, ["a", "b"]);
}

/// A clock that steps at every reading, forwards or backwards.
#[derive(Debug)]
struct Steps {
    now: AtomicI64,
    step: i64,
}

impl Env for Steps {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.fetch_add(self.step, Ordering::Relaxed))
    }

    fn random(&self) -> u64 {
        System.random()
    }
}

/// Story: a lease, a "newest wins" or an age was decided by a machine's clock. The clock was set
/// back, and new data was taken for old. Now no rule reads a clock. Ages and expiries go by the
/// store's own dates, and can only keep an object longer than necessary.
#[tokio::test]
async fn r13_a_clock_that_steps_back_changes_nothing() {
    let mut states = Vec::new();
    for step in [3_600_000, 0, -3_600_000] {
        let store = Memory::new();
        let clock = Arc::new(Steps { now: AtomicI64::new(4_000_000_000_000), step });
        let name = "c".parse().unwrap();
        let collection =
            Collection::create_in(Arc::new(store.clone()), &name, &CreateOptions::new(2), clock).await.unwrap();
        let writer = collection.writer(WriterOptions::default()).unwrap();
        for round in 0..12 {
            append(
                &writer,
                vec![put("a"), put(&format!("b{round}")), Op::delete("a"), patch("b0", &round.to_string())],
            )
            .await;
            collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
            if round == 3 {
                collection.pin("short", Some(Duration::from_secs(5))).await.unwrap();
                collection.pin("long", Some(Duration::from_secs(5_000))).await.unwrap();
            }
            sweep(&collection).await;
        }
        let pins = |status: deltafold::CollectionStatus| -> Vec<String> {
            status.shards[0].pins.iter().map(|pin| pin.name.clone()).collect()
        };
        assert_eq!(pins(collection.status().await.unwrap()), ["long", "short"], "the store's clock has not moved");
        store.advance(Duration::from_secs(6));
        sweep(&collection).await;
        assert_eq!(pins(collection.status().await.unwrap()), ["long"]);
        assert_sound(&collection).await;
        let shard = collection.status().await.unwrap().shards.remove(0);
        states.push((entries(&collection).await, shard.version, shard.ops, shard.truncated, shard.sweep_floor));
    }
    assert_eq!(states[0], states[1]);
    assert_eq!(states[0], states[2]);
}
