//! Warm readers: their levels, and the limit on their memory.

use std::sync::Arc;

use deltafold::format::{Op, Record};
use deltafold::{Collection, CompactorOptions, Error, ErrorKind, Filter, Find, Policy, Warm, Writer, WriterOptions};

use super::cold::{BYTES, DIMENSION, RECORDS, SIGNS, approximately, ask, of_objects, prepared, query};

#[tokio::test]
async fn a_warm_reader_searches_without_a_request() {
    let (store, collection) = prepared(2).await;
    let reader = collection.reader().await.unwrap();
    let warmth = reader.warm(&Warm::default().documents().signs().bytes().rows()).await.unwrap();
    assert!(warmth.is_complete(), "{warmth:?}");
    assert_eq!((warmth.objects, warmth.signs, warmth.bytes, warmth.rows), (2, 2, 2, 2));
    let held = RECORDS as u64 * (SIGNS + BYTES - 4 + 4 * u64::from(DIMENSION) + 13);
    assert!((held..held + held / 2).contains(&warmth.memory_bytes), "{warmth:?}, codes and rows take {held}");
    store.reads();
    for query in [query(7), approximately(query(7))] {
        assert_eq!(ask(&reader, query).await.hits.len(), 5);
    }
    assert_eq!(store.reads(), []);
    // Warm ranges are not read again. A bound that holds all of them changes nothing.
    for _ in 0..2 {
        let all = Warm::default().documents().signs().bytes().rows().max_bytes(2 * warmth.memory_bytes);
        assert!(reader.warm(&all).await.unwrap().is_complete());
        assert_eq!(store.reads(), []);
    }
}

#[tokio::test]
async fn a_warm_reader_keeps_its_limit_and_tells_its_levels() {
    let (store, collection) = prepared(4).await;
    let roomy = ask(&collection.reader().await.unwrap(), query(7)).await;
    let reader = collection.reader().await.unwrap();
    let all = Warm::default().signs().bytes().rows();
    let mut before = 0;
    for max in [40_000, 100_000, 200_000, 500_000, 900_000, 1_200_000, 2_000_000] {
        let warmth = reader.warm(&all.max_bytes(max)).await.unwrap();
        assert!(warmth.memory_bytes <= max, "{max}: {warmth:?}");
        // Codes come before rows, and more memory holds more.
        assert!(warmth.signs >= warmth.bytes && warmth.bytes >= warmth.rows, "{max}: {warmth:?}");
        let held = warmth.signs + warmth.bytes + warmth.rows;
        assert!(held >= before, "{max}: {warmth:?}");
        assert_eq!(warmth.is_complete(), held == 12);
        before = held;
        for query in [query(7), approximately(query(7))] {
            let answer = ask(&reader, query).await;
            assert_eq!(answer.hits[0], roomy.hits[0]);
            let now = reader.warmth();
            assert!(now.memory_bytes <= max + 4 * 4_096, "{max}: {now:?} after a search");
        }
    }
    assert_eq!(before, 12);
    // With less memory the least recently used goes; searches go on from ranges.
    let warmth = reader.warm(&Warm::default().signs().max_bytes(150_000)).await.unwrap();
    assert!(warmth.memory_bytes <= 150_000 && warmth.signs == 4 && warmth.rows == 0, "{warmth:?}");
    store.reads();
    assert_eq!(ask(&reader, query(7)).await.hits, roomy.hits);
    assert!(!of_objects(&store.reads()).is_empty());
}

/// A newer run has rows in an object of its own, whose owners the index keeps. The same records in
/// the log have none.
#[tokio::test]
async fn rows_of_newer_runs_count_to_the_index() {
    const MORE: u64 = 256;
    let (_, collection) = prepared(1).await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let put = |number: u64| {
        let embedding = Some(vec![number as f32; DIMENSION as usize]);
        Op::put(format!("new{number}"), Record { embedding, ..Record::default() })
    };
    writer.append((0..MORE).map(put).collect()).await.unwrap();
    let index_bytes = async || {
        let reader = collection.reader().await.unwrap();
        ask(&reader, query(7)).await;
        reader.warmth().index_bytes
    };
    let in_the_log = index_bytes().await;
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
    let in_a_run = index_bytes().await;
    let rows = MORE * 4..MORE * 9;
    assert!(in_a_run >= in_the_log && rows.contains(&(in_a_run - in_the_log)), "{in_the_log}, then {in_a_run}");
}

#[tokio::test]
async fn a_mapped_object_is_warm_without_memory() {
    let (far, _) = prepared(1).await;
    let collection = Collection::open(Arc::new(far.inner), &"c".parse().unwrap()).await.unwrap();
    let reader = collection.reader().await.unwrap();
    let estimated = reader.warmth().index_bytes;
    let codes = reader.warm(&Warm::default().bytes()).await.unwrap();
    let rows = reader.warm(&Warm::default().bytes().rows()).await.unwrap();
    assert!(codes.is_complete() && rows.is_complete() && rows.rows == 1, "{rows:?}");
    assert_eq!(codes.memory_bytes, rows.memory_bytes, "parts and the index alone");
    let expected = RECORDS as u64 * 12 + RECORDS as u64 / 4;
    assert!((expected..expected + 64).contains(&rows.index_bytes), "{rows:?}");
    assert!(estimated.abs_diff(rows.index_bytes) <= 16, "{estimated} were estimated: {rows:?}");
    let limit = |bytes| Warm::default().bytes().max_bytes(bytes);
    assert!(reader.warm(&limit(rows.index_bytes)).await.unwrap().is_complete());
    assert!(reader.warm(&limit(rows.index_bytes - 1)).await.is_err());
}

fn assert_names(error: &Error, numbers: [u64; 2]) {
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    assert!(numbers.iter().all(|number| error.to_string().contains(&number.to_string())), "{error}");
}

/// Story: a limit below the size of the index was accepted in silence. Searches made the index all
/// the same.
#[tokio::test]
async fn a_limit_below_the_index_refuses_searches() {
    let (store, collection) = prepared(2).await;
    let reader = collection.reader().await.unwrap();
    let index = reader.warm(&Warm::default().bytes()).await.unwrap().index_bytes;
    let max = index / 2;
    // Another reader has no index. It compares an estimate, and reads nothing.
    let other = collection.reader().await.unwrap();
    let estimate = other.warmth().index_bytes;
    store.reads();
    for (reader, index) in [(&reader, index), (&other, estimate)] {
        assert_names(&reader.warm(&Warm::default().bytes().max_bytes(max)).await.unwrap_err(), [index, max]);
    }
    assert_eq!(store.reads(), []);
    // A refused limit does not hold.
    ask(&reader, query(7)).await;
    // A limit for columns holds, and refuses all that needs the index.
    other.warm(&Warm::default().columns().max_bytes(max)).await.unwrap();
    let filter = || Filter::less("number", 10);
    assert_names(&other.search(&[query(7)]).await.unwrap_err(), [estimate, max]);
    assert_names(&other.count_matching(&filter()).await.unwrap_err(), [estimate, max]);
    assert_names(&other.find(&Find::new(filter())).await.err().unwrap(), [estimate, max]);
    assert!(other.warmth().memory_bytes <= max, "{:?}", other.warmth());
    assert!(other.get("00007").await.unwrap().is_some());
    other.warm(&Warm::default().bytes().max_bytes(2 * index)).await.unwrap();
    assert_eq!(ask(&other, query(7)).await.hits, ask(&reader, query(7)).await.hits);
}

async fn append(writer: &Writer, count: usize) {
    let put = |number: usize| {
        let embedding = Some(vec![number as f32; DIMENSION as usize]);
        Op::put(format!("new{number}"), Record { embedding, ..Record::default() })
    };
    writer.append((0..count).map(put).collect()).await.unwrap();
}

/// In one shard the log outgrows the limit alone. In two, their indexes together do.
#[tokio::test]
async fn a_log_that_outgrows_the_limit_refuses_searches() {
    for shards in [1, 2] {
        let (_, collection) = prepared(shards).await;
        let mut reader = collection.reader().await.unwrap();
        let index = reader.warm(&Warm::default().bytes()).await.unwrap().index_bytes;
        let max = index + 4_096;
        reader.warm(&Warm::default().bytes().max_bytes(max)).await.unwrap();
        append(&collection.writer(WriterOptions::default()).unwrap(), 20).await;
        drop(reader.refresh().await.unwrap());
        for _ in 0..2 {
            let error = reader.search(&[query(7)]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
            assert!(error.to_string().contains(&max.to_string()), "{error}");
            // Norms of opened objects stay beyond the limit.
            let fronts = RECORDS as u64 * 4 + 2 * 4_096;
            assert!(reader.warmth().memory_bytes <= max + fronts, "{:?}", reader.warmth());
        }
        // In the base a record takes 12.25 bytes.
        collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
        drop(reader.refresh().await.unwrap());
        ask(&reader, query(7)).await;
    }
}
