//! Races of producers: a message is delivered twice, late, or in the wrong order.

use std::time::Duration;

use deltafold::format::Op;
use deltafold::store::Store;
use deltafold::{ErrorKind, IdempotencyKey, WriterOptions};
use deltafold_testing::on_stores;
use deltafold_testing::watched::{Fault, Watched};

use super::{append_put, create, fold_and_sweep, ids, made, ops, put, writer};

on_stores!(
    every: [r12_a_source_that_crashed_before_the_ack_is_applied_once],
    local: [
        r12_a_position_that_fails_is_not_overtaken,
        a_change_is_not_known_by_a_twin_that_was_refused,
        a_change_is_not_passed_by_an_append_that_never_lands,
    ],
);

/// Story: a worker took a message from a queue, appended it, and died before it could settle it.
/// The queue gave the message to another worker. Now each op of a producer bears its position. The
/// log knows the positions it holds, and after the fold the manifest does.
async fn r12_a_source_that_crashed_before_the_ack_is_applied_once<S: Store + Clone>(store: Watched<S>) {
    let (collection, crashed) = made(&store).await;
    let first = crashed.append_from("queue", 7, vec![put("a")]).await.unwrap();
    assert!(!first.is_duplicate());
    drop(crashed);
    // A successor, and a zombie that the queue had given up on.
    let successor = writer(&collection);
    let zombie = writer(&collection);
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
    let late = writer(&collection);
    for position in [6, 7, 8] {
        assert!(late.append_from("queue", position, vec![put("a")]).await.unwrap().is_duplicate());
    }
    assert!(!late.append_from("queue", 9, vec![put("c")]).await.unwrap().is_duplicate());
    assert_eq!(ids(&collection).await, ["b", "c"]);
    assert_eq!(ops(&collection).await, 5);
}

/// Story: a position failed, and the one behind it did not. The retry of the first was taken for a
/// repetition. Now all positions behind a failed one fail too, until the failed one comes again.
async fn r12_a_position_that_fails_is_not_overtaken<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
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

/// Story: a change came twice, from a queue without order, and one batch gathered both copies. The
/// second counted as known, because of the first. The batch lost its slot to a later change of the
/// same record. The first copy was then refused, as it would have undone that change, and the
/// second was acknowledged as known. Neither was in the log. Now a change that only its own batch
/// knows is judged again whenever the batch is.
async fn a_change_is_not_known_by_a_twin_that_was_refused<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    let (late, other) = (writer(&collection), writer(&collection));
    let at = |position| IdempotencyKey { source: "s".to_owned(), position };
    store.before("create", "/log/00000000000000000001", move || async move {
        other.append_change(&at(7), vec![put("a")]).await.unwrap();
    });
    let (first, second) = (at(5), at(5));
    let twice =
        futures::future::join(late.append_change(&first, vec![put("a")]), late.append_change(&second, vec![put("a")]));
    let (first, second) = twice.await;
    assert!(store.all_reached());
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Conflict, "it is not in the log");
    assert_eq!(ops(&collection).await, 1);

    // If only its batch knows the change and the batch lands, the change takes effect with it; also
    // after a lost slot.
    let other = writer(&collection);
    store.before("create", "/log/00000000000000000002", move || async move {
        append_put(&other, "b").await;
    });
    let (first, second) = (at(9), at(9));
    let twice =
        futures::future::join(late.append_change(&first, vec![put("a")]), late.append_change(&second, vec![put("a")]));
    let (first, second) = twice.await;
    assert!(store.all_reached());
    assert_eq!((first.unwrap().is_duplicate(), second.unwrap().is_duplicate()), (false, true));
    assert_eq!(ops(&collection).await, 3);
}

/// Story: one batch gathered two changes of a record, the later one first. The earlier was refused
/// at once and for good as passed. Then the batch failed, so nothing had passed it. (Found by
/// reading.) Now a change that only its own batch passes is refused once the batch has landed, and
/// fails with the batch otherwise.
async fn a_change_is_not_passed_by_an_append_that_never_lands<S: Store + Clone>(store: Watched<S>) {
    let collection = create(&store, 1).await;
    // Two that come at once are one batch.
    let options = WriterOptions::default().max_batch_ops(2).linger(Duration::from_secs(60));
    let by_twos = collection.writer(options).unwrap();
    let change = async |position| {
        let key = IdempotencyKey { source: "s".to_owned(), position };
        by_twos.append_change(&key, vec![put("a")]).await
    };
    store.fail("create", "/log/", Fault::Permanent);
    let (later, earlier) = futures::join!(change(7), change(5));
    assert_eq!((later.unwrap_err().kind(), earlier.unwrap_err().kind()), (ErrorKind::Storage, ErrorKind::Storage));
    assert!(store.all_reached());
    assert_eq!(ops(&collection).await, 0);

    let (later, earlier) = futures::join!(change(7), change(5));
    assert!(later.is_ok());
    assert_eq!(earlier.unwrap_err().kind(), ErrorKind::Conflict, "it would undo the later one");
    assert_eq!(ops(&collection).await, 1);
}
