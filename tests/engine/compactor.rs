//! Compaction and sweep: when they run, their cost, and the objects they leave alone.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{EditKind, Metadata, Op, Patch, Record, Value};
use deltafold::store::{Memory, Store};
use deltafold::{
    At, Collection, CompactorOptions, CreateOptions, Depth, ErrorKind, Policy, ScanOptions, SweepOptions, Writer,
    WriterOptions,
};
use deltafold_testing::on_stores;
use deltafold_testing::watched::{Fault, Watched};
use futures::TryStreamExt;

on_stores!(
    every: [
        a_fold_costs_a_few_requests_and_an_idle_round_two,
        a_dry_run_deletes_nothing_and_tells_all,
        a_sweep_keeps_versions_by_number_by_age_and_by_pin,
    ],
    local: [
        folds_come_by_count_and_by_bytes,
        a_watch_folds_while_it_lasts_and_stops_when_told,
        a_watch_outlives_an_outage,
        a_compactor_waits_for_another_s_claim_and_not_for_ever,
        a_damaged_claim_stops_no_compactor,
        records_may_grow_by_patches_beyond_the_limit_of_an_op,
    ],
);

async fn made<S: Store + Clone>(store: &Watched<S>) -> (Collection, Writer) {
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

fn put(id: impl ToString) -> Op {
    Op::put(id.to_string(), Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

fn policy(fold_segments: u64, fold_bytes: u64) -> CompactorOptions {
    CompactorOptions::default().policy(Policy::default().fold_segments(fold_segments).fold_bytes(fold_bytes))
}

async fn append<S>(_: &Watched<S>, writer: &Writer, segments: std::ops::Range<usize>) {
    for number in segments {
        writer.append(vec![put(number)]).await.unwrap();
    }
}

/// A fold forgets a producer that was silent for longer than the retention, by the store's dates
/// alone. It keeps one that is heard of now and then.
#[tokio::test]
async fn a_silent_source_is_forgotten_by_a_fold() {
    let store = deltafold::store::Memory::new();
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let mut compactor = collection.compactor(CompactorOptions::default());
    let hear = async |source: &str, position: u128| {
        // A new writer each time: it knows only the log and the snapshot.
        let writer = collection.writer(WriterOptions::default()).unwrap();
        writer.append_from(source, position, vec![put(position)]).await.unwrap().is_duplicate()
    };
    assert!(!hear("silent", 7).await);
    for day in 0..15 {
        assert!(!hear("busy", day).await);
        compactor.run_once().await.unwrap();
        assert!(hear("silent", 7).await, "it is remembered on day {day}");
        store.advance(Duration::from_hours(24));
    }
    for day in 15..17 {
        assert!(!hear("busy", day).await);
        compactor.run_once().await.unwrap();
        store.advance(Duration::from_hours(24));
    }
    assert!(hear("busy", 16).await, "a source heard of is remembered");
    assert!(!hear("silent", 7).await, "a silent one is not");
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let error = writer.append_from("clock/00", 1, vec![put(1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "the names of dates are not for sources");
}

fn count(calls: &[String], verb: &str) -> usize {
    calls.iter().filter(|call| call.starts_with(verb)).count()
}

async fn a_fold_costs_a_few_requests_and_an_idle_round_two<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&store, &writer, 0..5).await;
    let mut compactor = collection.compactor(policy(5, 1 << 20));
    store.calls();
    assert_eq!(compactor.tick().await.unwrap().published(EditKind::Fold), 1);
    let calls = store.calls();
    assert_eq!(count(&calls, "list"), 1, "{calls:?}");
    assert_eq!(count(&calls, "get log/"), 5, "each segment; the list told the end: {calls:?}");
    assert_eq!((count(&calls, "create"), count(&calls, "replace")), (4, 1), "claim, part, embeddings, manifest; head");
    assert!(calls.len() <= 5 + 10, "{calls:?}");
    compactor.tick().await.unwrap();
    assert_eq!(store.calls(), ["get_unless head", "get log/00000000000000000006"]);
    append(&store, &writer, 5..9).await;
    store.calls();
    compactor.tick().await.unwrap();
    assert_eq!(count(&store.calls(), "get log/"), 5);
    compactor.tick().await.unwrap();
    assert_eq!(
        store.calls(),
        ["get_unless head", "get log/00000000000000000010"],
        "a segment that was read is not read again"
    );
    append(&store, &writer, 9..10).await;
    store.calls();
    let report = compactor.tick().await.unwrap();
    assert_eq!(report.published(EditKind::Fold), 1);
    assert_eq!(count(&store.calls(), "get log/"), 2, "the new one, and the end once");
}

async fn folds_come_by_count_and_by_bytes<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    let mut by_count = collection.compactor(policy(3, 1 << 20));
    append(&store, &writer, 0..2).await;
    assert!(by_count.tick().await.unwrap().events.is_empty());
    append(&store, &writer, 2..3).await;
    assert_eq!(by_count.tick().await.unwrap().published(EditKind::Fold), 1);
    let mut by_bytes = collection.compactor(policy(1_000, 2_000));
    append(&store, &writer, 3..5).await;
    assert!(by_bytes.tick().await.unwrap().events.is_empty());
    append(&store, &writer, 5..30).await;
    let report = by_bytes.tick().await.unwrap();
    let folds: Vec<_> = report.events.iter().filter(|event| event.kind == EditKind::Fold).collect();
    assert!(folds.len() >= 3, "one fold reads no more than its bytes, and one segment: {folds:?}");
    assert!(folds.iter().all(|fold| fold.bytes_in < 2_000 + 1_000 && fold.version.is_some()), "{folds:?}");
    // Senseless values act like the closest sensible ones.
    let mut odd = collection.compactor(
        CompactorOptions::default().policy(
            Policy::default()
                .fold_segments(0)
                .fold_bytes(0)
                .fan_in(0)
                .absorb_one_in(0)
                .rewrites(0)
                .forget_sources_after(Duration::ZERO),
        ),
    );
    append(&store, &writer, 30..40).await;
    odd.tick().await.unwrap();
    odd.merge_all().await.unwrap();
    let status = collection.status().await.unwrap().shards.remove(0);
    assert_eq!((status.folded, status.runs.len()), (status.tail, 1));
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 40);
}

async fn a_watch_folds_while_it_lasts_and_stops_when_told<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (heard, mut folds) = tokio::sync::mpsc::unbounded_channel();
    let mut compactor = collection.compactor(policy(2, 1 << 20));
    let watch = compactor.watch(
        Duration::from_millis(1),
        async {
            drop(stopped.await);
        },
        |event| heard.send(event.clone()).unwrap(),
    );
    let work = async {
        for round in 0..3 {
            append(&store, &writer, round * 2..round * 2 + 2).await;
            while folds.recv().await.unwrap().kind != EditKind::Fold {}
        }
        stop.send(()).unwrap();
    };
    let (watched, ()) = futures::join!(watch, work);
    watched.unwrap();
    assert_eq!(collection.status().await.unwrap().shards[0].folded.get(), 6);
}

async fn a_watch_outlives_an_outage<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&store, &writer, 0..2).await;
    let mut compactor = collection.compactor(policy(2, 1 << 20));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stop = std::sync::Mutex::new(Some(stop));
    store.fail("create", "/part/", Fault::Transient);
    store.fail("create", "/manifest/", Fault::Transient);
    let stopped = async { drop(stopped.await) };
    compactor.watch(Duration::from_millis(1), stopped, |_| drop(stop.lock().unwrap().take())).await.unwrap();
    assert_eq!(collection.status().await.unwrap().shards[0].folded.get(), 2);
    // Damage ends it.
    append(&store, &writer, 2..4).await;
    let key = store.keys("/log/").await.remove(3);
    store.overwrite(&key, |bytes| bytes[30] ^= 1).await;
    let error = compactor.watch(Duration::from_millis(1), std::future::pending(), |_| ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

async fn a_compactor_waits_for_another_s_claim_and_not_for_ever<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&store, &writer, 0..2).await;
    let mut first = collection.compactor(policy(2, 1 << 20));
    let mut second = collection.compactor(policy(2, 1 << 20));
    // The first one dies after its claim.
    store.fail("create", "/part/", Fault::Permanent);
    assert_eq!(first.tick().await.unwrap_err().kind(), ErrorKind::Storage);
    for _ in 0..2 {
        assert!(second.tick().await.unwrap().events.is_empty(), "the claimant may be at it");
    }
    assert_eq!(second.tick().await.unwrap().published(EditKind::Fold), 1, "it is not");
    // A compactor that is told to run does not wait.
    append(&store, &writer, 2..4).await;
    store.fail("create", "/part/", Fault::Permanent);
    first.tick().await.unwrap_err();
    assert_eq!(second.run_once().await.unwrap().published(EditKind::Fold), 1);
}

async fn a_damaged_claim_stops_no_compactor<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&store, &writer, 0..1).await;
    collection.compactor(policy(1, 1)).tick().await.unwrap();
    let claim = deltafold::store::Key::new(format!("{}/0000/claim", collection.name())).unwrap();
    store.overwrite(&claim, Vec::clear).await;
    append(&store, &writer, 1..2).await;
    assert_eq!(collection.compactor(policy(1, 1)).tick().await.unwrap().published(EditKind::Fold), 1);
    for fault in [Fault::Permanent, Fault::LoseRequest] {
        store.fail("replace", "/claim", fault);
        append(&store, &writer, 2..3).await;
        assert_eq!(collection.compactor(policy(1, 1)).tick().await.unwrap().published(EditKind::Fold), 1);
    }
}

async fn a_dry_run_deletes_nothing_and_tells_all<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    for round in 0..4 {
        append(&store, &writer, round..round + 2).await;
        collection.compactor(policy(1, 1 << 20)).merge_all().await.unwrap();
    }
    let before = store.keys("").await;
    let options = |dry_run| SweepOptions::KEEP_NOTHING.dry_run(dry_run);
    let planned = collection.sweep(&options(true)).await.unwrap().remove(0).1;
    assert_eq!(store.keys("").await, before);
    assert!(planned.segments == 7 && planned.manifests > 0 && planned.parts > 0 && planned.bytes > 0, "{planned:?}");
    let mut done = collection.sweep(&options(false)).await.unwrap().remove(0).1;
    let gone = before.len() + 1 - store.keys("").await.len();
    assert_eq!(done.segments + done.manifests + done.parts, gone as u64, "and one manifest came, that of the sweep");
    done.bytes = planned.bytes;
    assert_eq!(done, planned);
    let again = collection.sweep(&options(false)).await.unwrap().remove(0).1;
    assert_eq!((again.segments, again.parts), (0, 0));
}

async fn a_sweep_keeps_versions_by_number_by_age_and_by_pin<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    for round in 0..6 {
        append(&store, &writer, round..round + 1).await;
        collection.compactor(policy(1, 1 << 20)).merge_all().await.unwrap();
        if round == 1 {
            collection.pin("early", None).await.unwrap();
        }
    }
    let readable = async |collection: &Collection| -> Vec<u64> {
        collection.history().await.unwrap().versions.iter().map(|entry| entry.version.get()).collect()
    };
    let all = readable(&collection).await;
    // All are younger than an hour.
    collection.sweep(&SweepOptions::default().min_age(Duration::from_secs(3_600)).keep_versions(0)).await.unwrap();
    assert_eq!(readable(&collection).await, all);
    collection.sweep(&SweepOptions::default().min_age(Duration::ZERO).keep_versions(3)).await.unwrap();
    let left = readable(&collection).await;
    let current = collection.status().await.unwrap().shards[0].version.get();
    assert_eq!(
        left.iter().filter(|version| **version >= current - 4).count(),
        5,
        "three before the one that was swept, it, and the sweep"
    );
    assert_eq!(left.len(), 6, "and the pinned one: {left:?} of {all:?}");
    let pinned = collection.reader_at(At::Pin("early".to_owned())).await.unwrap();
    assert_eq!(pinned.count().await.unwrap(), 2);
    for version in &left {
        let at = At::Versions(vec![deltafold::format::Version::new(*version)]);
        let reader = collection.reader_at(at).await.unwrap();
        let entries: Vec<_> = reader.scan(ScanOptions::default()).try_collect().await.unwrap();
        assert_eq!(entries.len() as u64, reader.count().await.unwrap());
    }
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// Limits are checked op by op on the way in. The sum of many ops is kept.
async fn records_may_grow_by_patches_beyond_the_limit_of_an_op<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    let patch = |round: usize| {
        let metadata = (0..1_000).map(|key| (format!("key-{round}-{key}"), Some(Value::I64(key)))).collect();
        Op::patch("a", Patch { metadata, ..Patch::default() })
    };
    writer.append(vec![put("a"), put("b")]).await.unwrap();
    for round in 0..4 {
        writer.append(vec![patch(round)]).await.unwrap();
        if round % 2 == 1 {
            collection.compactor(policy(1, 1 << 20)).run_once().await.unwrap();
        }
    }
    let keys = async |collection: &Collection| -> Metadata {
        collection.reader().await.unwrap().get("a").await.unwrap().unwrap().record.metadata
    };
    let grown = keys(&collection).await;
    assert_eq!(grown.len(), 4_000);
    collection.compactor(policy(1, 1 << 20)).merge_all().await.unwrap();
    assert_eq!(keys(&collection).await, grown);
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// One fold reads no more than its byte limit. A compactor that is told to fold everything goes on
/// after the first.
#[tokio::test]
async fn folding_everything_takes_as_many_folds_as_it_needs() {
    let store = Watched::<deltafold::store::Memory>::default();
    let (collection, writer) = made(&store).await;
    append(&store, &writer, 0..30).await;
    let report = collection.compactor(policy(1_000, 2_000)).run_once().await.unwrap();
    assert!(report.published(EditKind::Fold) >= 3, "{report:?}");
    let status = collection.status().await.unwrap().shards.remove(0);
    assert_eq!(status.folded, status.tail, "nothing is left, not even less than one fold is made for");
}

/// A writer appended while the fold was published. A compactor that folds that op too may never
/// end.
#[tokio::test]
async fn folding_everything_leaves_later_appends_alone() {
    let store = Watched::<deltafold::store::Memory>::default();
    let (collection, writer) = made(&store).await;
    append(&store, &writer, 0..2).await;
    store.before("replace", "/head", move || async move {
        writer.append(vec![put("later")]).await.unwrap();
    });
    let report = collection.compactor(policy(1_000, 1 << 20)).run_once().await.unwrap();
    let status = collection.status().await.unwrap().shards.remove(0);
    assert_eq!((report.published(EditKind::Fold), status.folded.get(), status.tail.get()), (1, 2, 3));
}

/// Story: a merge found one of its inputs gone. If another compactor merged it, that is a conflict
/// and does no harm. If the current version still needs it, the object is lost.
#[tokio::test]
async fn a_merge_of_a_lost_object_is_damage() {
    for part in [".meta", ".emb"] {
        let store = Watched::over(Memory::new());
        let (collection, writer) = made(&store).await;
        for id in 0..3 {
            writer.append(vec![put(id)]).await.unwrap();
            let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
            collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
        }
        let lost = store.keys(part).await.pop().unwrap();
        store.inner.delete(std::slice::from_ref(&lost)).await.unwrap();
        let error = collection.compactor(CompactorOptions::default()).merge_all().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(lost.as_str()), "{error}");
    }
}

/// The resident bytes of the files below a folder that this process maps, as the kernel counts
/// them.
#[cfg(target_os = "linux")]
fn resident(folder: &std::path::Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut is_below, mut kib) = (false, 0);
    for line in maps.lines() {
        if let Some(rest) = line.strip_prefix("Rss:") {
            kib += if is_below { rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap() } else { 0 };
        } else if line.split(' ').next().is_some_and(|word| word.contains('-')) {
            is_below = line.contains(folder.to_str().unwrap());
        }
    }
    kib << 10
}

/// Story: a merge copies each embedding once, and the pages of all its inputs stayed resident until
/// it ended.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_merge_keeps_few_rows_of_its_inputs_resident() {
    const DIMENSION: usize = 384;
    let folder = tempfile::tempdir().unwrap();
    let store = Watched::over(deltafold::store::Dir::open(folder.path()).unwrap());
    let options = CreateOptions::new(384);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for run in 0..5 {
        let record = |n: usize| Record {
            embedding: Some((0..DIMENSION).map(|at| (n * DIMENSION + at) as f32).collect()),
            ..Record::default()
        };
        // The ids of each run lie among those of the others, so that all inputs are open at once.
        let ops = (0..1_800).map(|n| Op::put(format!("{n:05}-{run}"), record(n * 5 + run)));
        writer.append(ops.collect()).await.unwrap();
        let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
        collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
    }
    // The first object is full and written while the last tenth of the rows is left.
    let most = Arc::new(std::sync::Mutex::new(None));
    let (path, seen) = (folder.path().to_owned(), most.clone());
    store.before("create", ".emb", move || async move { *seen.lock().unwrap() = Some(resident(&path)) });
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    let most = most.lock().unwrap().expect("the merge writes embeddings");
    // 8,700 rows of 1,536 bytes and as many codes of 440 were read by then.
    assert!(most < 9 << 20, "{most} bytes of the inputs are resident");
}
