//! Reading a log takes memory in proportion to the data decoded at once, however small the stored
//! bytes and however long the log.

use std::sync::Arc;

use deltafold::format::{Op, Record, ShardId, Value};
use deltafold::store::Memory;
use deltafold::{Collection, CompactorOptions, CreateOptions, FollowOptions, MemoryLimit, Policy, WriterOptions};
use futures::TryStreamExt;

use crate::allocator::{Measure, alone};

const MIB: usize = 1 << 20;
/// The memory limit of the collections here, and the program's allowance beside it.
const LIMIT: usize = 64 * MIB;
const BESIDE: usize = 64 * MIB;

async fn made() -> Collection {
    let store = Arc::new(Memory::new());
    let collection = Collection::create(store, &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    collection.with_memory(MemoryLimit::new(LIMIT as u64).unwrap())
}

/// Documents of 4 MiB each that compress to almost nothing, a segment each.
async fn with_documents(count: usize) -> Collection {
    let collection = made().await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for number in 0..count {
        let document = Some(format!("{number} and the same again; ").repeat(4 * MIB / 25));
        writer.append(vec![Op::put(number.to_string(), Record { document, ..Record::default() })]).await.unwrap();
    }
    writer.close().await.unwrap();
    collection
}

/// Small ops, 20,000 a segment.
async fn with_small_ops(segments: usize) -> Collection {
    let collection = made().await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for segment in 0..segments {
        let op = |number: usize| {
            let metadata = [("number".to_owned(), Value::I64(number as i64))].into();
            let id = format!("record/{:08}", number.wrapping_mul(2_654_435_761) % 100_000_000);
            Op::put(id, Record { metadata, ..Record::default() })
        };
        writer.append((0..20_000).map(|at| op(segment * 20_000 + at)).collect()).await.unwrap();
    }
    writer.close().await.unwrap();
    collection
}

/// A policy that never merges.
fn only_folds() -> CompactorOptions {
    CompactorOptions::default().policy(Policy::default().fan_in(usize::MAX).absorb_one_in(0))
}

#[tokio::test]
async fn a_fold_of_compressed_documents_stays_within_the_limit() {
    // Story: 54 KB of stored segments held 1.5 GiB of documents. A fold counted the 54 KB, read all
    // of it at once, and took 3.3 GiB.
    let _alone = alone().await;
    let collection = with_documents(60).await;
    let measure = Measure::start();
    let report = collection.compactor(only_folds()).run_once().await.unwrap();
    let peak = measure.peak();
    assert!(peak < LIMIT + BESIDE, "{} MiB", peak / MIB);
    assert!(report.events.len() > 10, "a fold of 240 MiB is done in pieces: {} events", report.events.len());
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 60);
}

#[tokio::test]
async fn a_fold_of_many_small_ops_stays_within_the_limit() {
    // Story: a tail of 1.2 million plain ops took 1.7 GiB to fold. Each op was held as strings and
    // maps, twice.
    let _alone = alone().await;
    let collection = with_small_ops(15).await;
    let measure = Measure::start();
    collection.compactor(only_folds()).run_once().await.unwrap();
    let peak = measure.peak();
    assert!(peak < LIMIT + BESIDE / 4, "{} MiB", peak / MIB);
}

#[tokio::test]
async fn an_append_behind_a_long_tail_reads_headers_alone() {
    // Story: a writer that appends from a source decoded the whole tail to learn its marks. That
    // took 553 MiB for one line.
    let _alone = alone().await;
    for collection in [with_small_ops(15).await, with_documents(20).await] {
        let measure = Measure::start();
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let ack = writer.append_from("queue", 1, vec![Op::delete("x")]).await.unwrap();
        assert!(!ack.is_duplicate());
        drop(writer);
        let peak = measure.peak();
        assert!(peak < 2 * MIB, "{} KiB", peak >> 10);
    }
}

#[tokio::test]
async fn a_follower_holds_a_few_segments_and_one_op() {
    // Story: a follower counted stored bytes, and held eight segments with all their ops decoded.
    let _alone = alone().await;
    let shard = ShardId::new(0).unwrap();
    let options = FollowOptions::default().until_tail(true);
    for (collection, ops, most) in
        [(with_documents(20).await, 20, 32 * MIB), (with_small_ops(15).await, 300_000, 16 * MIB)]
    {
        let measure = Measure::start();
        let mut following = collection.follow(shard, options).unwrap();
        let mut count = 0;
        while let Some((_, op)) = following.try_next().await.unwrap() {
            count += 1;
            drop(op);
        }
        let peak = measure.peak();
        assert_eq!(count, ops);
        assert!(peak < most, "{} MiB", peak / MIB);
    }
}

#[tokio::test]
async fn a_get_behind_a_log_holds_segments_of_its_record_alone() {
    // Story: a `get` without a reader kept every segment of few stored bytes until it had read all
    // of them. Behind 25 documents of 15 MiB it took 402 MiB.
    let _alone = alone().await;
    let documents = with_documents(40).await;
    let versions = made().await;
    let writer = versions.writer(WriterOptions::default()).unwrap();
    for number in 0..40 {
        let document = Some(format!("{number} and the same again; ").repeat(4 * MIB / 25));
        writer.append(vec![Op::put("7", Record { document, ..Record::default() })]).await.unwrap();
    }
    for (collection, begins) in [(documents, "7 and"), (versions, "39 and")] {
        let measure = Measure::start();
        let found = collection.get("7").await.unwrap().unwrap();
        let peak = measure.peak();
        assert!(found.record.document.unwrap().starts_with(begins));
        assert!(peak < LIMIT + BESIDE, "{} MiB", peak / MIB);
    }
}
