//! Writers read only the headers of other writers' segments.

use std::sync::Arc;

use deltafold::format::{Op, Record};
use deltafold::store::Store;
use deltafold::{Collection, CreateOptions, ErrorKind, WriterOptions};
use deltafold_testing::on_stores;
use deltafold_testing::watched::Watched;

on_stores!(
    every: [a_writer_reads_others_segments_by_their_first_bytes],
    local: [
        a_header_of_many_marks_is_read_whole,
        a_segment_with_damaged_ops_stops_readers_and_not_writers,
        a_segment_with_a_damaged_header_stops_writers,
    ],
);

async fn made<S: Store + Clone>(store: &Watched<S>) -> Collection {
    let options = CreateOptions::new(2);
    Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap()
}

/// A record of 100 KB that does not compress.
fn large(id: &str) -> Op {
    let mut state = 7u64;
    let text = (0..100_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + u8::try_from(state >> 58).unwrap())
    });
    Op::put(id, Record { document: Some(text.collect()), ..Record::default() })
}

/// Story: a writer that needed the marks in the log read and decoded every segment, ops and all.
/// Now it reads the first bytes of each, still with one request a segment.
async fn a_writer_reads_others_segments_by_their_first_bytes<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store).await;
    let other = collection.writer(WriterOptions::default()).unwrap();
    for position in 1..=3 {
        other.append_from("queue", position, vec![large("a")]).await.unwrap();
    }
    let before = store.requests();
    store.calls();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    assert!(writer.append_from("queue", 3, vec![large("b")]).await.unwrap().is_duplicate());
    let calls = store.calls();
    let log: Vec<_> = calls.iter().filter(|call| call.contains(" log/") && !call.starts_with("list")).collect();
    assert_eq!(log.len(), 3 + 1, "each for its marks, the last one for its collection: {calls:?}");
    assert!(log.iter().all(|call| call.starts_with("get_range log/")), "{calls:?}");
    let read = store.requests().since(&before).total().bytes_in;
    assert!(read < 4 * (16 << 10) + 8_192, "{read} bytes of 300,000");
}

async fn a_header_of_many_marks_is_read_whole<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store).await;
    let other = collection.writer(WriterOptions::default()).unwrap();
    let name = |number: usize| format!("{number:0>200}");
    // Calls that wait together share a segment, and so a header.
    let calls = (0..400).map(|number| {
        let other = other.clone();
        async move { other.append_from(&name(number), 9, vec![Op::delete("a")]).await.unwrap() }
    });
    futures::future::join_all(calls).await;
    store.calls();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for number in [0, 200, 399] {
        assert!(writer.append_from(&name(number), 9, vec![Op::delete("b")]).await.unwrap().is_duplicate());
    }
    let calls = store.calls();
    let ranges = calls.iter().filter(|call| call.starts_with("get_range log/")).count();
    let segments = store.keys("/log/").await.len();
    assert!(ranges > segments, "the longest header took a second request: {calls:?}");
}

async fn a_segment_with_damaged_ops_stops_readers_and_not_writers<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store).await;
    let other = collection.writer(WriterOptions::default()).unwrap();
    other.append_from("queue", 1, vec![large("a")]).await.unwrap();
    let key = store.keys("/log/").await.remove(0);
    store.overwrite(&key, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    assert!(writer.append_from("queue", 1, vec![large("b")]).await.unwrap().is_duplicate());
    assert!(!writer.append_from("queue", 2, vec![large("b")]).await.unwrap().is_duplicate());
    let error = collection.reader().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("log/00000000000000000001"), "{error}");
}

async fn a_segment_with_a_damaged_header_stops_writers<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store).await;
    let other = collection.writer(WriterOptions::default()).unwrap();
    other.append_from("queue", 1, vec![large("a")]).await.unwrap();
    let key = store.keys("/log/").await.remove(0);
    store.overwrite(&key, |bytes| bytes[130] ^= 1).await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let error = writer.append_from("queue", 2, vec![large("b")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("segment header"), "{error}");
}
