//! Group commit: which ops share a segment, and how long a segment waits for them.

use std::collections::BTreeMap;
use std::time::Duration;

use deltafold::WriterOptions;
use deltafold::format::{Op, Record};
use deltafold::store::{Memory, Store};
use deltafold_testing::on_stores;
use deltafold_testing::watched::Watched;
use futures::future::join_all;

use crate::writer::{ids, log, made, made_with_writer, put, stop};

on_stores!(
    local: [
        calls_that_come_while_a_segment_is_written_share_the_next,
        callers_that_were_acknowledged_together_meet_again,
        a_segment_takes_so_many_ops_and_bytes_and_no_more,
    ],
);

async fn calls_that_come_while_a_segment_is_written_share_the_next<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made_with_writer(&store).await;
    let (reached, go_on) = stop(&store);
    let first = tokio::spawn({
        let writer = writer.clone();
        async move { writer.append(vec![put("first")]).await.unwrap() }
    });
    reached.notified().await;
    let mut others = Vec::new();
    for number in 0..63 {
        let mut append = Box::pin(writer.append(vec![put(format!("other-{number:02}"))]));
        assert!(futures::poll!(&mut append).is_pending());
        others.push(append);
    }
    go_on.notify_one();
    assert_eq!(first.await.unwrap().segments()[0].1.get(), 1);
    for ack in join_all(others).await {
        assert_eq!(ack.unwrap().segments()[0].1.get(), 2);
    }
    let ids = ids(&collection).await;
    assert!(ids.is_sorted() && ids.len() == 64, "in the order in which they were begun: {ids:?}");
}

async fn callers_that_were_acknowledged_together_meet_again<S: Store + Clone>(store: Watched<S>) {
    const ROUNDS: usize = 20;
    // In one thread all callers that one segment woke append again before the appender goes on.
    let rounds = async move {
        let (collection, writer) = made_with_writer(&store).await;
        let callers = (0..16).map(|caller| {
            let writer = writer.clone();
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    writer.append(vec![put(format!("{caller}-{round}"))]).await.unwrap();
                }
            })
        });
        join_all(callers).await.into_iter().for_each(Result::unwrap);
        (store.keys("/log/").await.len(), log(&collection).await.len())
    };
    let alone = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(rounds);
    let (segments, ops) = tokio::task::spawn_blocking(alone).await.unwrap();
    assert_eq!(ops, 16 * ROUNDS);
    // Without group commit it would be 320.
    assert!(segments <= 2 * ROUNDS, "{segments} segments");
}

async fn a_segment_takes_so_many_ops_and_bytes_and_no_more<S: Store + Clone>(store: Watched<S>) {
    let collection = made(&store, 1).await;
    let options = WriterOptions::default().max_batch_ops(10).max_batch_bytes(10_000);
    let writer = collection.writer(options).unwrap();
    let big = |id: &str| Op::put(id, Record { document: Some("d".repeat(6_000)), ..Record::default() });
    let (reached, go_on) = stop(&store);
    let mut appends: Vec<_> = vec![vec![put("a")]]
        .into_iter()
        .chain((0..25).map(|n| vec![put(format!("n{n:02}"))]))
        .chain([
            (0..30).map(|n| put(format!("whole{n:02}"))).collect(),
            vec![big("x")],
            vec![big("y")],
            vec![big("z"), big("zz")],
        ])
        .map(|ops| {
            let writer = writer.clone();
            Box::pin(async move { writer.append(ops).await.unwrap().segments()[0].1.get() })
        })
        .collect();
    for append in &mut appends {
        assert!(futures::poll!(append).is_pending());
    }
    let (placed, ()) = futures::join!(join_all(appends), async {
        reached.notified().await;
        go_on.notify_one();
    });
    let mut segments: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (call, segment) in placed.into_iter().enumerate() {
        segments.entry(segment).or_default().push(call);
    }
    let sizes: Vec<usize> = segments.values().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 30);
    assert!(sizes.iter().all(|calls| *calls <= 10), "{sizes:?}");
    let alone = |call: usize| segments.values().any(|calls| *calls == [call]);
    assert!(alone(26), "a call of more ops than a segment takes gets one of its own, whole");
    assert!(alone(27) && alone(28), "two documents of 6,000 bytes are over 10,000");
    assert!(alone(29), "and a call is never cut");
}

/// On one thread, so that the order of tasks does not depend on the machine.
#[tokio::test]
async fn a_lone_append_does_not_wait_for_company() {
    let (_collection, writer) = made_with_writer(&Watched::<Memory>::default()).await;
    // The second comes once the first has handed its op over and other tasks have had a turn.
    let share_a_segment = async |first: &str, second: &str| {
        let late = async {
            tokio::task::yield_now().await;
            writer.append(vec![put(second)]).await.unwrap()
        };
        let (first, second) = futures::join!(writer.append(vec![put(first)]), late);
        first.unwrap().segments() == second.segments()
    };
    assert!(share_a_segment("a", "b").await, "nothing tells that one more will come");
    assert!(share_a_segment("c", "d").await, "they meet again");
    writer.append(vec![put("alone")]).await.unwrap();
    assert!(!share_a_segment("e", "f").await, "the first, as the one before, came alone");
}

/// With a linger a segment waits for company; time is virtual here.
#[tokio::test(start_paused = true)]
async fn a_segment_lingers_for_company() {
    let store: Watched = Watched::default();
    let collection = made(&store, 1).await;
    let writer = collection.writer(WriterOptions::default().linger(Duration::from_secs(5))).unwrap();
    let late = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        writer.append(vec![put("b")]).await.unwrap()
    };
    let (first, second) = futures::join!(writer.append(vec![put("a")]), late);
    assert_eq!(first.unwrap().segments(), second.segments());
    let too_late = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        writer.append(vec![put("d")]).await.unwrap()
    };
    let (third, fourth) = futures::join!(writer.append(vec![put("c")]), too_late);
    assert_eq!((third.unwrap().segments()[0].1.get(), fourth.segments()[0].1.get()), (2, 3));
    // A flush ends the wait.
    let mut append = Box::pin(writer.append(vec![put("e")]));
    assert!(futures::poll!(&mut append).is_pending());
    let before = tokio::time::Instant::now();
    writer.flush().await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    append.await.unwrap();
}
