//! The cost of everything in requests, which users pay for: counted by the store, over a real
//! server.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{EditKind, Op, Patch, Record};
use deltafold::store::{RequestKind, Requests, Store};
use deltafold::{Collection, CompactorOptions, CreateOptions, Policy, Writer, WriterOptions};
use deltafold_testing::cloud::{in_s3, in_s3_and_dynamodb};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

async fn made(store: Arc<dyn Store>) -> (Collection, Writer) {
    let collection = Collection::create(store, &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![put(0)]).await.unwrap();
    (collection, writer)
}

fn put(number: usize) -> Op {
    Op::put(format!("id-{number}"), Record { embedding: Some(vec![1.0, number as f32]), ..Record::default() })
}

/// The requests of `work` to the store, as `kind calls` for each kind.
async fn asked<T>(store: &dyn Store, work: impl Future<Output = T>) -> (T, Requests, Vec<(RequestKind, u64)>) {
    let before = store.requests();
    let done = work.await;
    let asked = store.requests().since(&before);
    let calls = asked.iter().map(|(kind, count)| (kind, count.calls)).collect();
    (done, asked, calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_is_one_put_and_one_conditional_get() {
    let (store, _keep) = in_s3().await;
    let (_, writer) = made(Arc::new(store.clone())).await;
    let work = async {
        for number in 1..11 {
            writer.append(vec![put(number)]).await.unwrap();
        }
    };
    let ((), requests, calls) = asked(&store, work).await;
    assert_eq!(calls, [(RequestKind::GetUnless, 10), (RequestKind::Create, 10)]);
    assert_eq!(requests.of(RequestKind::GetUnless).unchanged, 10, "a head that has not changed is not sent");
    assert_eq!(requests.of(RequestKind::GetUnless).bytes_in, 0);
    let (store, _keep) = in_s3_and_dynamodb().await;
    let (_, writer) = made(Arc::new(store.clone())).await;
    let ((), _, calls) = asked(&store, async { drop(writer.append(vec![put(1)]).await.unwrap()) }).await;
    assert_eq!(calls, [(RequestKind::Create, 1), (RequestKind::RegisterRead, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_with_nothing_new_is_two_gets() {
    let (store, _keep) = in_s3().await;
    let (collection, writer) = made(Arc::new(store.clone())).await;
    let mut reader = collection.reader().await.unwrap();
    let (_, _, calls) = asked(&store, reader.refresh()).await;
    assert_eq!(calls, [(RequestKind::Get, 1), (RequestKind::GetUnless, 1)]);
    writer.append(vec![put(1)]).await.unwrap();
    let (_, _, calls) = asked(&store, reader.refresh()).await;
    assert_eq!(calls, [(RequestKind::Get, 2), (RequestKind::GetUnless, 1)], "one more for the segment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fold_of_64_segments_is_68_gets_and_6_puts_at_most() {
    let (store, _keep) = in_s3().await;
    let (collection, writer) = made(Arc::new(store.clone())).await;
    // A watching compactor: it has seen the collection before. Merges are counted apart from folds.
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    let mut compactor = collection.compactor(CompactorOptions::default().policy(policy.clone()));
    compactor.tick().await.unwrap();
    let mut clocks = 0;
    for round in 0..3 {
        for number in 0..64 - usize::from(round == 0) {
            writer.append(vec![put(round * 64 + number + 1)]).await.unwrap();
        }
        let (report, requests, calls) = asked(&store, compactor.tick()).await;
        assert_eq!(report.unwrap().published(EditKind::Fold), 1);
        let count = |kind| requests.of(kind).calls;
        let gets = count(RequestKind::Get) + count(RequestKind::GetUnless);
        let puts = count(RequestKind::Create) + count(RequestKind::Replace);
        eprintln!("fold {round}: {calls:?}");
        assert!(gets <= 68 && puts <= 6, "{calls:?}");
        clocks += count(RequestKind::Clock);
        let rest = requests.total().calls - count(RequestKind::Clock);
        assert_eq!(rest, gets + puts, "a reader that keeps up lists nothing: {calls:?}");
    }
    assert!(clocks <= 1, "the clock is looked at once a day");
    // A fresh compactor, as in a scheduled function: it lists the log once and does not probe it.
    for number in 0..64 {
        writer.append(vec![put(1_000 + number)]).await.unwrap();
    }
    let (report, requests, calls) =
        asked(&store, collection.compactor(CompactorOptions::default().policy(policy)).run_once()).await;
    assert_eq!(report.unwrap().published(EditKind::Fold), 1);
    let gets = requests.of(RequestKind::Get).calls + requests.of(RequestKind::GetUnless).calls;
    let puts = requests.of(RequestKind::Create).calls + requests.of(RequestKind::Replace).calls;
    eprintln!("cold fold: {calls:?}");
    assert!(gets <= 68 && puts <= 6 && requests.of(RequestKind::List).calls == 1, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_watch_is_two_gets_an_interval_and_no_list() {
    let (store, _keep) = in_s3().await;
    let (collection, _writer) = made(Arc::new(store.clone())).await;
    let mut compactor = collection.compactor(CompactorOptions::default());
    compactor.tick().await.unwrap();
    for _ in 0..3 {
        let (_, _, calls) = asked(&store, compactor.tick()).await;
        assert_eq!(calls, [(RequestKind::Get, 1), (RequestKind::GetUnless, 1)]);
    }
    // The watch itself does too, however often it polls.
    let before = store.requests();
    let probe = store.clone();
    let enough = async move {
        while probe.requests().since(&before).total().calls < 20 {
            tokio::task::yield_now().await;
        }
    };
    let (_, requests, calls) = asked(&store, compactor.watch(Duration::from_millis(1), enough, |_| ())).await;
    let (gets, conditional) = (requests.of(RequestKind::Get).calls, requests.of(RequestKind::GetUnless).calls);
    assert!(gets.abs_diff(conditional) <= 1 && requests.total().calls == gets + conditional, "{calls:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn metrics_hear_of_every_request() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    // For this thread, which runs all of this test.
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (store, _keep) = in_s3().await;
    let (_, writer) = made(Arc::new(store.clone())).await;
    writer.append(vec![Op::patch("id-0", Patch::default())]).await.unwrap();
    let seen = snapshots.snapshot().into_vec();
    let total: u64 = seen
        .iter()
        .filter(|(key, ..)| key.key().name() == "deltafold_requests_total")
        .map(|(.., value)| if let DebugValue::Counter(count) = value { *count } else { 0 })
        .sum();
    assert_eq!(total, store.requests().total().calls);
    assert!(seen.iter().any(|(key, ..)| key.key().name() == "deltafold_request_seconds"));
    let created = seen.iter().find(|(key, ..)| {
        let labels: Vec<(&str, &str)> = key.key().labels().map(|label| (label.key(), label.value())).collect();
        labels == [("kind", "create"), ("outcome", "done")]
    });
    assert!(matches!(created, Some((.., DebugValue::Counter(count))) if *count >= 4), "{created:?}");
}
