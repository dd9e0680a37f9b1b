//! A log that no compactor folds: writers see its length, hear `Busy` beyond a limit, or fold it.

use std::sync::Arc;

use deltafold::format::{Op, Record};
use deltafold::store::Store;
use deltafold::{BacklogLimit, Collection, CompactorOptions, CreateOptions, ErrorKind, Lag, Writer, WriterOptions};
use deltafold_testing::on_stores;
use deltafold_testing::watched::Watched;

on_stores!(
    local: [
        an_append_beyond_the_limit_is_busy_until_a_fold,
        a_writer_from_a_source_knows_ops_and_bytes_of_others,
        a_repetition_is_acknowledged_beyond_the_limit,
        a_process_that_keeps_up_has_a_bounded_log,
    ],
);

async fn made<S: Store + Clone>(store: &Watched<S>) -> Collection {
    Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap()
}

fn put(id: impl ToString) -> Op {
    Op::put(id.to_string(), Record { document: Some("d".repeat(100)), ..Record::default() })
}

fn writer(collection: &Collection, max_backlog: BacklogLimit) -> Writer {
    collection.writer(WriterOptions::default().max_backlog(max_backlog)).unwrap()
}

fn lag(writer: &Writer) -> Lag {
    let lags = writer.lags();
    assert_eq!(lags.len(), 1);
    lags[0]
}

/// Story: a collection without a compactor had a log without end. Each reader and each fold took
/// longer and needed more memory, and no writer heard of it.
async fn an_append_beyond_the_limit_is_busy_until_a_fold<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store).await;
    let writer = writer(&collection, BacklogLimit::NONE.segments(3));
    for n in 0..4 {
        writer.append(vec![put(n)]).await.unwrap();
    }
    assert_eq!((lag(&writer).segments, lag(&writer).ops), (4, 4));
    assert!(lag(&writer).bytes >= 400, "{:?}", lag(&writer));
    store.calls();
    let refused = writer.append(vec![put("late")]).await.unwrap_err();
    assert_eq!(store.calls(), ["get_unless head"], "a refusal costs one conditional GET");
    assert_eq!(refused.kind(), ErrorKind::Busy);
    let told = refused.to_string();
    assert!(
        ["shard 0", "4 segments are not folded", "limit is 3.", "`compact`"].iter().all(|words| told.contains(words)),
        "{told}"
    );
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    store.calls();
    writer.append(vec![put("late")]).await.unwrap();
    let calls = ["get_unless head", "create log/00000000000000000005", "get_unless head"];
    assert_eq!(store.calls(), calls, "one conditional GET more, to learn of the fold");
    assert_eq!((lag(&writer).segments, lag(&writer).ops), (1, 1));
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 5);
}

/// Story: a file of 54 KB held 1.5 GiB of documents. By stored bytes it counted as nothing.
async fn a_writer_from_a_source_knows_ops_and_bytes_of_others<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store).await;
    let other = writer(&collection, BacklogLimit::NONE);
    let large = Record { document: Some("d".repeat(1 << 20)), ..Record::default() };
    other.append(vec![Op::put("large", large), put("small")]).await.unwrap();
    let limit = BacklogLimit::NONE.bytes(1 << 20);
    let refused = writer(&collection, limit).append_from("s", 1, vec![put("a")]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
    assert!(refused.to_string().contains("decoded bytes are not folded, and the limit is 1048576"), "{refused}");
    let limit = BacklogLimit::NONE.ops(2);
    let writer = writer(&collection, limit);
    writer.append_from("s", 1, vec![put("a")]).await.unwrap();
    assert_eq!((lag(&writer).segments, lag(&writer).ops), (2, 3));
    assert_eq!(writer.append_from("s", 2, vec![put("b")]).await.unwrap_err().kind(), ErrorKind::Busy);
}

/// Story: a message whose ack was lost came again, to a full log. It writes nothing, so it must not
/// wait for a fold.
async fn a_repetition_is_acknowledged_beyond_the_limit<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store).await;
    let limit = BacklogLimit::NONE.segments(0);
    writer(&collection, limit).append_from("s", 1, vec![put("a")]).await.unwrap();
    let second = writer(&collection, limit);
    assert!(second.append_from("s", 1, vec![put("a")]).await.unwrap().is_duplicate());
    assert_eq!(second.append_from("s", 2, vec![put("b")]).await.unwrap_err().kind(), ErrorKind::Busy);
}

/// Story: no process ran `compact`, and the log grew with every append.
async fn a_process_that_keeps_up_has_a_bounded_log<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store).await;
    let limit = BacklogLimit::NONE.segments(8);
    let (writer, mut keep_up) = (writer(&collection, BacklogLimit::NONE), collection.keep_up(limit));
    let mut folds = 0;
    for n in 0..60 {
        writer.append(vec![put(n)]).await.unwrap();
        assert!(lag(&writer).segments <= 9, "{:?}", lag(&writer));
        if keep_up.is_due(&writer.lags()) {
            folds += 1;
            let report = keep_up.fold(&writer.lags()).await.unwrap();
            assert!(!report.events.is_empty());
            assert!(!keep_up.is_due(&writer.lags()), "the writer saw the log before the fold");
        }
    }
    // Nine segments each time.
    assert_eq!(folds, 6);
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 60);
}
