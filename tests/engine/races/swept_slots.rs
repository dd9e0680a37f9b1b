//! Races over a slot that was folded and swept, and that a writer which slept creates anew. Such a
//! stale segment is not part of the log.

use deltafold::format::{Op, ShardId};
use deltafold::store::Store;
use deltafold::{Ack, Collection, ErrorKind, FollowOptions, Result, Writer, WriterOptions};
use deltafold_testing::on_stores;
use deltafold_testing::watched::{Fault, Watched};
use futures::TryStreamExt;

use super::{
    append, append_put, assert_sound, contains, create, fold, fold_and_sweep, ids, made, ops, put, sweep, writer,
};

on_stores!(
    every: [
        r1_a_stale_writer_appends_anew_behind_the_swept_slot,
        r3_a_batch_lands_once_though_its_slot_was_created_anew,
        a_self_conflict_behind_a_stale_segment_is_recognised,
    ],
    local: [
        r1_a_slot_swept_during_its_creation_is_not_acknowledged,
        r11_a_stale_segment_does_not_pass_for_the_log,
        r11_a_stale_segment_does_not_hide_its_slot,
        r11_a_follower_passes_on_no_stale_segment,
        r12_a_batch_swept_before_its_answer_is_not_appended_again,
        a_slot_swept_while_marks_are_read_hides_no_position,
        a_waiting_writer_recognises_its_self_conflict,
        no_append_after_unseen_sweep,
        a_swept_self_conflict_stays_in_doubt_without_its_manifest,
        an_ack_names_its_segment_though_an_earlier_batch_moved,
        an_ack_does_not_guess_between_two_slots,
    ],
);

/// Story: a writer slept. Meanwhile the log was folded and swept, so the slot at the writer's tail
/// was free again. It created that slot and reported success, and no reader ever read the segment.
/// Now a writer reads the head after it has created a slot, and does not acknowledge a slot below
/// `truncated`.
async fn r1_a_stale_writer_appends_anew_behind_the_swept_slot<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = made(&store).await;
    assert_eq!(append(&sleeper, vec![put("a")]).await, 1);
    let other = writer(&collection);
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
}

/// The same with a sweep between the writer's choice of a slot and its creation. Then with a sweep
/// between the creation and the check of the head.
async fn r1_a_slot_swept_during_its_creation_is_not_acknowledged<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&writer, vec![put("a")]).await;
    let (other, busy) = (collection.clone(), super::writer(&collection));
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
}

/// Story: the answer to an append was lost; the append had landed, and was folded and swept. A
/// stale writer, which had slept all the time, created the same slot anew. The first writer's retry
/// was refused, found another batch in the slot, and wrote its own a second time behind it. (The
/// model of the protocol found it.) Now a writer in doubt checks that the slot it reads still
/// counts. If not, the manifest decides the fate of the batch.
pub(super) async fn r3_a_batch_lands_once_though_its_slot_was_created_anew<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = made(&store).await;
    append(&sleeper, vec![put("a")]).await;
    let doubter = writer(&collection);
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
}

/// Story: a writer's answer was lost, and its segment was folded and swept before the retry. Its
/// slot was free, so it wrote there. It saw that the slot lay below the log start, and appended
/// again the ops that the snapshot already held. Now every writer is a producer: the manifest's
/// marks name its folded batches.
async fn r12_a_batch_swept_before_its_answer_is_not_appended_again<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&writer, vec![put("a")]).await;
    let (other, busy) = (collection.clone(), super::writer(&collection));
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

/// Returns the slot, unless the position is known.
async fn append_from(writer: &Writer, position: u128, ops: Vec<Op>) -> Result<Option<u64>> {
    let ack = writer.append_from("s", position, ops).await?;
    Ok(ack.segments().first().map(|(_, slot)| slot.get()))
}

/// Story: a queue delivered a message to two consumers. Both slept while the log was folded and
/// swept. One woke, created a swept slot, and died before it noticed. That slot refused the other,
/// which found the message in it and acknowledged it as known. No reader ever read it. (The model
/// of the protocol found it.) Now the content of a slot counts only after a later head does not
/// truncate it.
pub(super) async fn r11_a_stale_segment_does_not_pass_for_the_log<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = made(&store).await;
    assert_eq!(append_from(&sleeper, 1, vec![put("a")]).await.unwrap(), Some(1));
    let consumer = writer(&collection);
    let (other, failing) = (collection.clone(), store.clone());
    store.before("create", "/log/00000000000000000002", move || async move {
        append(&writer(&other), vec![put("b")]).await;
        fold_and_sweep(&other).await;
        failing.fail("get_unless", "/head", Fault::Permanent);
        let died = append_from(&sleeper, 2, vec![put("c")]).await.unwrap_err();
        assert_eq!(died.kind(), ErrorKind::Unknown, "{died}");
    });
    assert_eq!(append_from(&consumer, 2, vec![put("c")]).await.unwrap(), Some(4), "an unread segment proves nothing");
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, ["a", "b", "c"]);
    assert_eq!(ops(&collection).await, 4);
    // The same where the first one lives. The other appends the message, and the first finds it.
    let (first, second) = (writer(&collection), writer(&collection));
    assert_eq!(append_from(&first, 3, vec![put("d")]).await.unwrap(), Some(5));
    assert_eq!(append_from(&second, 3, vec![put("d")]).await.unwrap(), None);
    append_put(&writer(&collection), "e").await;
    assert_eq!(fold_and_sweep(&collection).await, 7);
    let other = collection.clone();
    store.before("get_unless", "/head", move || async move {
        assert_eq!(append_from(&second, 4, vec![put("f")]).await.unwrap(), Some(8));
        assert!(contains(&other, "f").await, "it is acknowledged, though the first one is not");
    });
    assert_eq!(append_from(&first, 4, vec![put("f")]).await.unwrap(), None);
    assert!(store.all_reached());
    assert_eq!(ops(&collection).await, 8);
}

/// The opposite story: another consumer appended a message, it was folded and swept, and a stale
/// writer created its slot anew. A consumer refused by that slot saw only the stale segment, never
/// learned of the message, and appended it again. (The model of the protocol found it.) Now a
/// writer learns the marks of the log before it appends behind slots that may have held another
/// segment.
async fn r11_a_stale_segment_does_not_hide_its_slot<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = made(&store).await;
    append(&sleeper, vec![put("a")]).await;
    let consumer = writer(&collection);
    let other = collection.clone();
    store.before("create", "/log/00000000000000000002", move || async move {
        let first = writer(&other);
        assert_eq!(append_from(&first, 1, vec![put("b")]).await.unwrap(), Some(2));
        fold_and_sweep(&other).await;
        assert_eq!(append(&sleeper, vec![put("c")]).await, 4);
    });
    assert_eq!(append_from(&consumer, 1, vec![put("b")]).await.unwrap(), None, "it is in the log");
    assert!(store.all_reached());
    assert_eq!(ids(&collection).await, ["a", "b", "c"]);
    assert_eq!(ops(&collection).await, 4);
}

/// Story: a follower slept in front of a slot that was written, folded and swept. A stale writer
/// created the slot anew. The follower took its ops for the log's, and saw them again in the slot
/// where they landed at last. (The model of the protocol found it.) Now a follower checks the head
/// before it hands on ops. If it came too late, it says so.
async fn r11_a_follower_passes_on_no_stale_segment<S: Store + Clone>(store: Watched<S>) {
    let (collection, sleeper) = made(&store).await;
    append(&sleeper, vec![put("a")]).await;
    let shard = ShardId::new(0).unwrap();
    let mut follow = collection.follow(shard, FollowOptions::default()).unwrap();
    assert_eq!(follow.try_next().await.unwrap().unwrap().1.id, "a");
    let other = collection.clone();
    store.before("get", "/log/00000000000000000002", move || async move {
        append(&writer(&other), vec![put("b")]).await;
        fold_and_sweep(&other).await;
        assert_eq!(append(&sleeper, vec![put("late")]).await, 4);
    });
    let error = follow.try_next().await.unwrap_err();
    assert!(store.all_reached());
    assert_eq!(error.kind(), ErrorKind::Superseded, "{error}");
}

/// Story: a writer read the marks of its source from the log. A slot was folded and swept before it
/// was read, and a writer that slept created it anew. The first writer read that segment, saw in
/// the head that nothing behind it was missing, and appended again the ops that the slot had held.
/// Now nothing that was read counts if a later head sweeps any of it.
pub(super) async fn a_slot_swept_while_marks_are_read_hides_no_position<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    let (source, sleeper) = (writer(&collection), writer(&collection));
    assert_eq!(append_put(&sleeper, "a").await, 1);
    source.append_from("queue", 7, vec![put("7")]).await.unwrap();
    let other = collection.clone();
    // The first read of slot 2 finds the end of the log; the second one is for its marks.
    store.before("get_range", "/log/00000000000000000002", || async {});
    store.before("get_range", "/log/00000000000000000002", move || async move {
        assert_eq!(fold_and_sweep(&other).await, 3);
        assert_eq!(append_put(&sleeper, "b").await, 4, "and it has left something in slot 2");
    });
    assert!(writer(&collection).append_from("queue", 7, vec![put("7")]).await.unwrap().is_duplicate());
    assert!(store.all_reached());
    assert_eq!(ops(&collection).await, 4);
}

/// Story: a layer below a writer tried twice, so the writer heard "refused" of its own success.
/// Before it read the slot, its segment was folded and swept, and a writer that slept created the
/// slot anew. The first writer found the sleeper's batch there, moved on, and appended its own a
/// second time. Now a refused writer that finds another batch in the slot checks the head before it
/// tries the next slot.
pub(super) async fn a_self_conflict_behind_a_stale_segment_is_recognised<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    let (doubter, sleeper) = (writer(&collection), writer(&collection));
    assert_eq!(append_put(&doubter, "a").await, 1);
    assert_eq!(append_put(&sleeper, "b").await, 2);
    echo_in_a_slot_that_is_swept(&store, &collection, 3, sleeper);
    assert_eq!(append_put(&doubter, "c").await, 3);
    assert!(store.all_reached());
    assert_eq!(ops(&collection).await, 5);
}

/// The same where the writer lost and lets another go first. It checks the head while it reads the
/// slots behind.
pub(super) async fn a_waiting_writer_recognises_its_self_conflict<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    let (doubter, sleeper) = (writer(&collection), writer(&collection));
    assert_eq!(append_put(&doubter, "a").await, 1);
    assert_eq!(append_put(&writer(&collection), "b").await, 2);
    assert_eq!(append_put(&doubter, "c").await, 3);
    assert_eq!(append_put(&sleeper, "d").await, 4);
    echo_in_a_slot_that_is_swept(&store, &collection, 5, sleeper);
    assert_eq!(append_put(&doubter, "e").await, 5);
    assert!(store.all_reached());
    assert_eq!(ops(&collection).await, 7);
}

/// The next creation of the slot succeeds. Then the slot is folded and swept, and the sleeper
/// leaves its batch there before it appends it behind. The creator hears that another writer has
/// the slot.
fn echo_in_a_slot_that_is_swept<S: Store + Clone>(
    store: &Watched<S>,
    collection: &Collection,
    slot: u64,
    sleeper: Writer,
) {
    let other = collection.clone();
    store.echo_after(format!("/log/{slot:020}"), move || async move {
        assert_eq!(fold_and_sweep(&other).await, slot + 1);
        assert_eq!(append_put(&sleeper, "left in a swept slot").await, slot + 2);
    });
}

/// The same race without the last segment: a refused writer tries the next slot before it checks
/// the head. A sweep keeps the last segment folded. So if the refused slot was swept, the next one
/// is taken, or swept too.
pub(super) async fn no_append_after_unseen_sweep<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    let (doubter, sleeper) = (writer(&collection), writer(&collection));
    assert_eq!(append_put(&doubter, "a").await, 1);
    assert_eq!(append_put(&sleeper, "b").await, 2);
    let (other, failing) = (collection.clone(), store.clone());
    store.echo_after("/log/00000000000000000003", move || async move {
        fold(&other).await;
        sweep(&other).await;
        // The sleeper dies before it can hear that its slot was swept.
        failing.fail("get_unless", "/head", Fault::Permanent);
        sleeper.append(vec![put("c")]).await.unwrap_err();
    });
    assert_eq!(append_put(&doubter, "d").await, 3);
    assert!(store.all_reached());
    assert_eq!(ops(&collection).await, 4);
}

/// Story: an append landed and was answered as refused. When the writer read its slot, the slot was
/// folded and swept. The manifest, which names the owner of the slot, could not be read. The writer
/// called the append a failure, and it was in the collection. Now the answer is "unknown" until the
/// manifest is read.
async fn a_swept_self_conflict_stays_in_doubt_without_its_manifest<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    let writer = writer(&collection);
    append_put(&writer, "a").await;
    store.fail("create", "/log/00000000000000000002", Fault::Echo);
    let (other, faults) = (collection.clone(), store.clone());
    store.before("get_range", "/log/00000000000000000002", move || async move {
        assert_eq!(fold_and_sweep(&other).await, 3);
        faults.fail("get", "/manifest/", Fault::Permanent);
    });
    let error = writer.append(vec![put("b")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    assert!(store.all_reached());
    assert!(contains(&collection, "b").await);
    assert_eq!(ops(&collection).await, 3);
}

/// Story: of two batches of a writer the first landed in a swept slot, and was placed anew behind
/// the second. Both were folded and swept before the second was checked. The manifest's mark of the
/// writer named the last batch and the last slot, so the ack of the second named the first one's
/// slot. Now the ack names the slot where the second was written.
async fn an_ack_names_its_segment_though_an_earlier_batch_moved<S: Store + Clone>(store: Watched<S>) {
    // The second batch loses three slots, and so has checked the head for each.
    let (collection, second) = overtaken_by_the_batch_before(store, 2).await;
    assert_eq!(second.unwrap().segments()[0].1.get(), 6);
    assert_eq!(ops(&collection).await, 8);
}

/// The batch was refused one slot and landed in the next, before a head ruled out a self-conflict
/// in the first. So it is in one of the two. The mark names a later slot and cannot decide.
async fn an_ack_does_not_guess_between_two_slots<S: Store + Clone>(store: Watched<S>) {
    let (collection, second) = overtaken_by_the_batch_before(store, 0).await;
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(ops(&collection).await, 6);
}

/// Of two batches of a writer the first lands in a swept slot, with two segments and `more` others
/// in front of the log's end. It is placed anew behind the second. Both are folded and swept before
/// the second is checked. Returns the outcome of the second.
async fn overtaken_by_the_batch_before<S: Store + Clone>(store: Watched<S>, more: u64) -> (Collection, Result<Ack>) {
    let collection = create(&store, 1).await;
    let one_by_one = collection.writer(WriterOptions::default().max_batch_ops(1)).unwrap();
    append_put(&one_by_one, "a").await;
    let other = collection.clone();
    store.before("create", "/log/00000000000000000002", move || async move {
        append_put(&writer(&other), "other").await;
        assert_eq!(fold_and_sweep(&other).await, 3);
        for _ in 0..more {
            append_put(&writer(&other), "more").await;
        }
    });
    let (other, later) = (collection.clone(), store.clone());
    store.before("create", format!("/log/{:020}", 5 + more), move || async move {
        later.before("get_unless", "/head", move || async move {
            assert_eq!(fold_and_sweep(&other).await, 6 + more);
        });
    });
    let (first, second) = futures::join!(one_by_one.append(vec![put("first")]), one_by_one.append(vec![put("second")]));
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Unknown);
    assert!(store.all_reached());
    assert!(contains(&collection, "first").await && contains(&collection, "second").await);
    (collection, second)
}
