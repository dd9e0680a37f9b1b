//! Readers with a memory limit of a few KiB give the same answers as readers with ample memory.

use std::sync::Arc;
use std::time::Duration;

use deltafold_format::{Change, Op, Patch, Record, Revision, Value};
use futures::TryStreamExt;
use proptest::prelude::*;

use super::{Entry, Order, Reader, ScanOptions};
use crate::error::ErrorKind;
use crate::store::{Memory, Store};
use crate::{Collection, CompactorOptions, CreateOptions, MemoryLimit, Policy, Query, WriterOptions};

const DIMENSION: u32 = 3;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn collection(revision: bool, shards: u16) -> Collection {
    let options = CreateOptions { shards, ..CreateOptions::new(DIMENSION) };
    let options = if revision { options.by_revision(Duration::from_secs(1_000)) } else { options };
    Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), &options).await.unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    /// One segment of ops: id, action, value.
    Append(Vec<(u8, u8, u8)>),
    Refresh,
    /// Folds one segment.
    FoldOne,
    Fold,
    MergeAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec((0..12_u8, 0..5_u8, any::<u8>()), 1..12).prop_map(Step::Append),
        3 => Just(Step::Refresh),
        2 => Just(Step::FoldOne),
        1 => Just(Step::Fold),
        1 => Just(Step::MergeAll),
    ]
}

fn op((id, action, content): (u8, u8, u8), revision: Option<u64>) -> Op {
    op_with_text((id, action, content), "text ", revision)
}

fn op_with_text((id, action, content): (u8, u8, u8), text: &str, revision: Option<u64>) -> Op {
    let embedding = (content % 3 == 0).then(|| vec![f32::from(content), 1.0, -2.0]);
    let document = (content % 2 == 0).then(|| text.repeat(usize::from(content)));
    let metadata = [("n".to_owned(), Value::I64(content.into()))];
    let record = Record { embedding, document, metadata: metadata.into_iter().collect() };
    let patch = Patch {
        embedding: record.embedding.clone().map_or(Change::Keep, Change::Set),
        document: record
            .document
            .clone()
            .map_or(if content % 5 == 0 { Change::Clear } else { Change::Keep }, Change::Set),
        metadata: [(format!("m{}", content % 4), (content % 7 > 0).then(|| Value::String("x".repeat(content.into()))))]
            .into_iter()
            .collect(),
    };
    let id = format!("id-{id:02}");
    let op = match (action, revision) {
        (0, _) | (4, Some(_)) => Op::put(id, record),
        (1, _) => Op::patch(id, patch),
        (2, _) => Op::upsert(id, patch),
        (3, _) => Op::delete(id),
        _ => Op::add(id, record),
    };
    match revision {
        Some(revision) => op.at(Revision::new(revision.into())),
        None => op,
    }
}

async fn scan(reader: &Reader, options: ScanOptions) -> Vec<Entry> {
    reader.scan(options).try_collect().await.unwrap()
}

/// Every way to read gives the same result.
async fn agree(tiny: &Reader, roomy: &Reader) {
    assert_eq!(tiny.count().await.unwrap(), roomy.count().await.unwrap());
    for order in [Order::Id, Order::Insertion] {
        for (prefix, limit) in [(None, None), (Some("id-0"), None), (None, Some(3))] {
            let options = ScanOptions { order, prefix: prefix.map(str::to_owned), limit, ..ScanOptions::default() };
            assert_eq!(scan(tiny, options.clone()).await, scan(roomy, options).await);
        }
    }
    for id in (0..12).map(|id| format!("id-{id:02}")) {
        assert_eq!(tiny.get(&id).await.unwrap(), roomy.get(&id).await.unwrap());
        assert_eq!(tiny.contains(&id).await.unwrap(), roomy.contains(&id).await.unwrap());
    }
    assert_eq!(tiny.positions(), roomy.positions());
    for query in [[0.0, 0.0, 0.0], [9.0, 1.0, -2.0]].map(|vector| Query::new(vector.to_vec(), 4)) {
        let found = roomy.search(std::slice::from_ref(&query)).await.unwrap();
        match tiny.search(&[query]).await {
            Ok(tiny) => assert_eq!(tiny[0].hits, found[0].hits),
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}"),
        }
    }
}

async fn fold_one(collection: &Collection) {
    let policy = Policy { fold_segments: 1, fold_bytes: 1, ..Policy::default() };
    let mut compactor = collection.compactor(CompactorOptions { policy });
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let mut stop = Some(stop);
    let done = async { drop(stopped.await) };
    let idle = tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>());
    let done = futures::future::select(Box::pin(done), Box::pin(idle));
    let each = |_: &_| {
        if let Some(stop) = stop.take() {
            stop.send(()).unwrap();
        }
    };
    compactor.watch(Duration::from_secs(1), async { drop(done.await) }, each).await.unwrap();
}

async fn play(steps: Vec<Step>, revision: bool, (memory, text, ops_a_segment): (u64, &str, usize), shards: u16) {
    let collection = collection(revision, shards).await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let tiny = collection.clone().with_memory(MemoryLimit::tiny(memory));
    let mut reader = tiny.reader().await.unwrap();
    let mut number = 0;
    for step in steps {
        match step {
            Step::Append(ops) => {
                let ops = ops.into_iter().take(ops_a_segment).map(|it| {
                    number += 1;
                    // Revisions that do not ascend, so some ops are late.
                    op_with_text(it, text, revision.then(|| number * 7 % 101 + 1))
                });
                writer.append(ops.collect()).await.unwrap();
            }
            Step::Refresh => {
                let old = reader.clone();
                let before = scan(&old, ScanOptions::default()).await;
                drop(reader.refresh().await.unwrap());
                agree(&reader, &collection.reader().await.unwrap()).await;
                assert_eq!(scan(&old, ScanOptions::default()).await, before);
            }
            Step::FoldOne => fold_one(&tiny).await,
            Step::Fold => drop(tiny.compactor(CompactorOptions::default()).run_once().await.unwrap()),
            Step::MergeAll => drop(tiny.compactor(CompactorOptions::default()).merge_all().await.unwrap()),
        }
    }
    drop(reader.refresh().await.unwrap());
    let roomy = collection.reader().await.unwrap();
    agree(&reader, &roomy).await;
    agree(&tiny.reader().await.unwrap(), &roomy).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_with_little_memory_answers_as_one_with_much(
        steps in proptest::collection::vec(step(), 1..24),
        revision in any::<bool>(),
        memory in prop_oneof![Just(1_000_u64), Just(6_000), Just(30_000)],
        shards in 1..3_u16,
    ) {
        run(play(steps, revision, (memory, "text ", 12), shards));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn large_ops_beyond_the_limit_read_as_those_in_memory(
        steps in proptest::collection::vec(step(), 1..24),
        revision in any::<bool>(),
        shards in 1..3_u16,
    ) {
        run(play(steps, revision, (400_000, &"text ".repeat(100), 3), shards));
    }
}

/// Story: a reader composed documents of 15 MiB into a run before it could count them. That took
/// three times as long as reading them. Now it keeps the segments as they came, with an index.
#[test]
fn large_ops_move_aside_as_they_came() {
    run(async {
        let collection = collection(false, 1).await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        for number in 0..36_u8 {
            let op = op_with_text((number % 12, number / 7 % 5, 200 + number), &"text ".repeat(30), None);
            writer.append(vec![op]).await.unwrap();
        }
        let large = collection.clone().with_memory(MemoryLimit::tiny(400_000));
        let mut reader = large.reader().await.unwrap();
        let unread = |reader: &Reader| {
            let overlay = reader.shards[0].snapshot().overlay.clone();
            overlay.aside().iter().map(|aside| aside.unread().map_or(0, |unread| unread.len())).collect::<Vec<_>>()
        };
        let moved = unread(&reader);
        assert!(moved.len() == 1 && moved[0] >= 10, "{moved:?}");
        agree(&reader, &collection.reader().await.unwrap()).await;

        fold_one(&collection).await;
        drop(reader.refresh().await.unwrap());
        assert!(reader.positions()[0].folded.get() > 0);
        agree(&reader, &collection.reader().await.unwrap()).await;

        // Small ops behind them are composed into a run, and the index of the large ones stays.
        for _ in 0..40 {
            writer.append((0..12).map(|id| op((id, 1, 255), None)).collect()).await.unwrap();
        }
        drop(reader.refresh().await.unwrap());
        assert!(reader.shards[0].snapshot().overlay.aside().iter().any(|aside| aside.run().is_some()));
        agree(&reader, &collection.reader().await.unwrap()).await;
        agree(&large.reader().await.unwrap(), &collection.reader().await.unwrap()).await;
    });
}

/// Story: each batch of a scan by insertion visited all parts in the same order. With a cache for
/// all but a few, each part was dropped just before it was needed again. So every batch read all of
/// them.
#[test]
fn a_scan_by_insertion_reads_kept_parts_first() {
    run(async {
        let store = Arc::new(Memory::new());
        let options = CreateOptions { shards: 8, ..CreateOptions::new(DIMENSION) };
        let name = "c".parse().unwrap();
        let collection = Collection::create(store.clone(), &name, &options).await.unwrap();
        let writer = collection.writer(WriterOptions::default()).unwrap();
        for number in 0..600 {
            let text = Some("a text of some length".to_owned());
            let record = Record { document: text, ..Record::default() };
            writer.append(vec![Op::put(format!("id-{number:03}"), record)]).await.unwrap();
        }
        collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
        let tiny = collection.with_memory(MemoryLimit::tiny(128 << 10)).reader().await.unwrap();
        let warmth = tiny.warm(&crate::Warm::default().documents()).await.unwrap();
        assert!(warmth.kept >= 4 && warmth.kept < 8, "{warmth:?}");
        let before = store.requests();
        let entries = scan(&tiny, ScanOptions { order: Order::Insertion, ..ScanOptions::default() }).await;
        assert_eq!(entries.len(), 600);
        let gets = store.requests().since(&before).total().calls;
        // 31 batches, each of which needs all eight parts.
        assert!(gets < 125, "{gets} requests");
    });
}

#[test]
fn damage_of_large_ops_set_aside_is_an_error() {
    run(async {
        let collection = collection(false, 1).await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        for number in 0..24_u8 {
            let op = op_with_text((number % 12, 0, 200), &"text ".repeat(30), None);
            writer.append(vec![op]).await.unwrap();
        }
        let reader = collection.with_memory(MemoryLimit::tiny(400_000)).reader().await.unwrap();
        let snapshot = reader.shards[0].snapshot().clone();
        assert!(snapshot.overlay.aside().iter().any(|aside| aside.unread().is_some()));
        snapshot.objects.pools().scratch.damage();
        assert_eq!(reader.count().await.unwrap(), 12, "a count reads none of them");
        let error = reader.scan(ScanOptions::default()).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("temporary file"), "{error}");
    });
}

/// A reader moved ops 1 to 20 to its temporary file. Then a fold took some of them. The reader must
/// not read those twice, nor lose the others.
#[test]
fn a_fold_within_a_spilled_run_loses_and_repeats_nothing() {
    run(async {
        let collection = collection(false, 1).await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let tiny = collection.clone().with_memory(MemoryLimit::tiny(1_000));
        for number in 0..20 {
            writer.append(vec![op((number % 12, 0, number), None)]).await.unwrap();
        }
        let mut reader = tiny.reader().await.unwrap();
        assert!(reader.shards[0].snapshot().overlay.aside().len() > 1);
        fold_one(&collection).await;
        drop(reader.refresh().await.unwrap());
        let folded = reader.positions()[0].folded.get();
        assert!((1..20).contains(&folded), "{folded} folded");
        agree(&reader, &collection.reader().await.unwrap()).await;
    });
}

/// Ops beyond the limit were in a temporary file, and its disk returned other bytes.
#[test]
fn damage_of_the_temporary_file_is_an_error_that_names_it() {
    run(async {
        let collection = collection(false, 1).await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        for number in 0..40 {
            writer.append(vec![op((number % 12, 0, number), None)]).await.unwrap();
        }
        let reader = collection.with_memory(MemoryLimit::tiny(1_000)).reader().await.unwrap();
        let scratch = reader.shards[0].snapshot().objects.pools().scratch.clone();
        assert!(reader.get("id-03").await.unwrap().is_some());
        scratch.damage();
        let error = reader.scan(ScanOptions::default()).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("temporary file"), "{error}");
    });
}

#[test]
fn a_warm_reader_tells_how_much_fits() {
    run(async {
        let collection = collection(false, 2).await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        for number in 0..60 {
            writer.append(vec![op((number % 12, 0, number), None)]).await.unwrap();
        }
        collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
        let warm = collection.warm_reader().await.unwrap().warmth();
        assert!(warm.is_complete() && warm.parts == 2, "{warm:?}");
        let tiny = collection.with_memory(MemoryLimit::tiny(1_000)).reader().await.unwrap();
        let warmth = tiny.warm(&crate::Warm::default().columns()).await.unwrap();
        assert!(!warmth.is_complete() && warmth.parts == 2, "{warmth:?}");
    });
}

/// Story: the parts of all versions that a server had read stayed in memory until they filled its
/// limit.
#[test]
fn parts_leave_memory_with_the_last_snapshot_that_lists_them() {
    run(async {
        let collection = collection(false, 1).await;
        let writer = collection.writer(WriterOptions::default()).unwrap();
        let replace_all = async || {
            writer.append((0..12).map(|id| op((id, 0, 6), None)).collect()).await.unwrap();
            drop(collection.compactor(CompactorOptions::default()).merge_all().await.unwrap());
        };
        replace_all().await;
        let mut reader = collection.warm_reader().await.unwrap();
        let pools = reader.shards[0].snapshot().objects.pools().clone();
        let one = pools.parts.bytes();
        assert!(one > 0);
        let older = reader.clone();
        let before = scan(&older, ScanOptions::default()).await;
        for _ in 0..3 {
            replace_all().await;
            drop(reader.refresh().await.unwrap());
            reader.warm(&crate::Warm::default().columns()).await.unwrap();
            let two = pools.parts.bytes();
            assert!(two > one && two < 3 * one, "{two} bytes, {one} of one version");
        }
        assert_eq!(scan(&older, ScanOptions::default()).await, before);
        drop(older);
        assert!(pools.parts.bytes() < 2 * one, "{} bytes, {one} of one version", pools.parts.bytes());
        // A fold adds a part. The others are in both versions, and stay in memory.
        let kept = pools.parts.bytes();
        writer.append(vec![op((0, 0, 6), None)]).await.unwrap();
        fold_one(&collection).await;
        drop(reader.refresh().await.unwrap());
        assert_eq!(reader.shards[0].snapshot().objects.manifest().runs.len(), 2);
        assert!(pools.parts.bytes() >= kept, "{} bytes of {kept} are left", pools.parts.bytes());
    });
}
