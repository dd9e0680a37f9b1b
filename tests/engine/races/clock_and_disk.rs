//! A clock that steps back, times that compaction must keep, and a file damaged by a power failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deltafold::format::{Op, Position, Record, Sequence, ShardId, Timestamp};
use deltafold::store::{Memory, Store};
use deltafold::{
    Collection, CollectionStatus, CompactorOptions, CreateOptions, Depth, Entry, Env, ErrorKind, FollowOptions, System,
    WriterOptions,
};
use deltafold_testing::on_stores;
use deltafold_testing::watched::Watched;
use futures::TryStreamExt;

use super::{append, assert_sound, entries, fold, ids, made, patch, put, sweep};

on_stores!(
    local: [
        r14_folding_and_merging_keep_times_and_provenance,
        r15_a_zero_filled_or_cut_segment_is_an_error,
    ],
);

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
        let collection = Collection::builder(Arc::new(store.clone()), &name)
            .env(clock)
            .create(&CreateOptions::new(2))
            .await
            .unwrap();
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
        let pins = |status: CollectionStatus| -> Vec<String> {
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

/// Story: compaction rewrote records as if it had inserted them. The questions "when was this
/// inserted" and "which period does this run hold" had no answer any more. Now a record keeps the
/// positions of its insertion and its last change, and a run keeps the time range of its segments.
async fn r14_folding_and_merging_keep_times_and_provenance<S: Store + Clone>(store: Watched<S>) {
    let clock = Arc::new(Steps { now: AtomicI64::new(1_000), step: 10 });
    let options = CreateOptions::new(2);
    let name = "c".parse().unwrap();
    let collection = Collection::builder(Arc::new(store), &name).env(clock).create(&options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    append(&writer, vec![put("a"), put("b"), put("c")]).await;
    append(&writer, vec![patch("a", "x"), Op::delete("b")]).await;
    fold(&collection).await;
    append(&writer, vec![put("b"), put("c"), Op::add("a", Record::default())]).await;
    let from_log = entries(&collection).await;
    let place = |entry: &Entry| (entry.id.clone(), entry.inserted.to_string(), entry.changed.to_string());
    let at = |sequence: u64, index: usize| Position::new(Sequence::new(sequence).unwrap(), index).unwrap().to_string();
    let expected = [("a", at(1, 0), at(2, 0)), ("b", at(3, 0), at(3, 0)), ("c", at(1, 2), at(3, 1))]
        .map(|(id, inserted, changed)| (id.to_owned(), inserted, changed));
    assert_eq!(from_log.iter().map(place).collect::<Vec<_>>(), expected);
    fold(&collection).await;
    assert_eq!(entries(&collection).await, from_log);
    let times = |status: CollectionStatus| -> Vec<(i64, i64)> {
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
    let (collection, writer) = made(&store).await;
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
        let follow = collection.follow(ShardId::new(0).unwrap(), FollowOptions::default().until_tail(true));
        let followed: Result<Vec<_>, _> = follow.unwrap().try_collect().await;
        assert_eq!(followed.unwrap_err().kind(), ErrorKind::Corrupt);
        let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        assert_eq!(report.findings[0].key, key.as_str());
        store.overwrite(&key, |bytes| *bytes = whole.to_vec()).await;
    }
    assert_eq!(ids(&collection).await, ["a", "b"]);
}
