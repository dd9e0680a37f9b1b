//! Segments sent ahead: full batches wait for their slot while their bytes are already in the
//! bucket. Only the last request, with its condition, waits for the batch's turn. Under any failure
//! each batch lands once and in order.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Record};
use deltafold::store::{RequestKind, Requests, Store};
use deltafold::{Ack, Collection, CreateOptions, Depth, Result, Writer, WriterOptions};
use deltafold_testing::s3::{BUCKET, Fault, Server};
use futures::future::join_all;

/// A record of 256 KiB: a few make a segment worth sending ahead.
const DIMENSION: u32 = 65_536;
/// The number of records that fill a batch.
const A_BATCH: usize = 5;

struct Setting {
    server: Server,
    store: Arc<dyn Store>,
    collection: Collection,
    /// The requests of the creation of the collection.
    probed: Requests,
}

impl Setting {
    async fn new() -> Self {
        let server = Server::start();
        let store: Arc<dyn Store> = Arc::new(server.store().await);
        let options = CreateOptions::new(DIMENSION);
        let collection = Collection::create(store.clone(), &"c".parse().unwrap(), &options).await.unwrap();
        let probed = store.requests();
        Self { server, store, collection, probed }
    }

    /// A writer whose batches are full after a few records.
    fn writer(&self) -> Writer {
        self.collection.writer(WriterOptions::default().max_batch_ops(A_BATCH)).unwrap()
    }

    fn requests(&self, kind: RequestKind) -> u64 {
        self.store.requests().since(&self.probed).of(kind).calls
    }

    /// Waits until every staged upload became a segment or was given up.
    async fn nothing_is_left(&self) {
        while self.server.backend.uploads(BUCKET) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Checks that exactly these batches of these writers are there.
    async fn holds(&self, names: &[&str], batches: usize) {
        let reader = self.collection.reader().await.unwrap();
        assert_eq!(reader.count().await.unwrap(), (names.len() * batches * A_BATCH) as u64);
        for name in names {
            for id in (0..batches).flat_map(|batch| (0..A_BATCH).map(move |row| format!("{name}-{batch}-{row}"))) {
                assert!(reader.contains(&id).await.unwrap(), "{id}");
            }
        }
        // The accounting of ops does not show a batch that landed twice; the log does.
        let log = self.store.list_after("c/0000/log/", None, 1_000).await.unwrap();
        assert_eq!(log.len(), names.len() * batches);
        assert!(self.collection.verify(Depth::Deep, |_| ()).await.unwrap().is_sound());
    }
}

fn batch(name: &str, batch: usize) -> Vec<Op> {
    let embedding = |row: usize| (0..DIMENSION).map(|at| (at as usize * 7 + row + batch) as f32 * 0.37).collect();
    let record = |row| Record { embedding: Some(embedding(row)), ..Record::default() };
    (0..A_BATCH).map(|row| Op::put(format!("{name}-{batch}-{row}"), record(row))).collect()
}

/// Appends some batches at once; they enter the log in this order.
async fn append(writer: &Writer, name: &str, batches: std::ops::Range<usize>) -> Vec<Result<Ack>> {
    join_all(batches.map(|number| writer.append(batch(name, number)))).await
}

fn slots(acks: Vec<Result<Ack>>) -> Vec<u64> {
    acks.into_iter().map(|ack| ack.unwrap().segments()[0].1.get()).collect()
}

#[tokio::test]
async fn a_waiting_batch_is_uploaded_before_its_slot_is_free() {
    let setting = Setting::new().await;
    let writer = setting.writer();
    assert_eq!(slots(append(&writer, "a", 0..1).await), [1]);
    let puts = setting.requests(RequestKind::Create);
    assert_eq!(slots(append(&writer, "a", 1..12).await), (2..=12).collect::<Vec<u64>>());
    // The first goes out whole and at once: nothing is in front of it.
    assert_eq!(setting.requests(RequestKind::Create) - puts, 1);
    assert_eq!(setting.requests(RequestKind::UploadComplete), 10);
    assert_eq!(setting.requests(RequestKind::UploadAbort), 0);
    setting.nothing_is_left().await;
    setting.holds(&["a"], 12).await;
}

#[tokio::test]
async fn small_segments_are_not_worth_it() {
    let setting = Setting::new().await;
    let options = WriterOptions::default().max_batch_ops(1);
    let writer = setting.collection.writer(options).unwrap();
    append(&writer, "a", 0..1).await;
    let small = |n: usize| writer.append(vec![Op::delete(format!("a-0-{n}"))]);
    for ack in join_all((0..10).map(small)).await {
        ack.unwrap();
    }
    assert_eq!(setting.requests(RequestKind::UploadStart), 0);
}

/// Another writer takes the slots that batches were sent ahead for. The batches are sent anew for
/// the slots that they get.
#[tokio::test]
async fn a_lost_slot_costs_only_the_upload_for_it() {
    let setting = Setting::new().await;
    let (a, b) = (setting.writer(), setting.writer());
    assert_eq!(slots(append(&a, "a", 0..1).await), [1]);
    assert_eq!(slots(append(&b, "b", 0..1).await), [2]);
    // The first batch finds slot 2 taken while the two behind it are in flight to slots 3 and 4.
    assert_eq!(slots(append(&a, "a", 1..4).await), [3, 4, 5]);
    setting.nothing_is_left().await;
    assert_eq!(setting.requests(RequestKind::UploadAbort), 2);
    assert_eq!(slots(append(&b, "b", 1..4).await), [6, 7, 8]);
    setting.nothing_is_left().await;
    setting.holds(&["a", "b"], 4).await;
}

#[tokio::test]
async fn writers_that_meet_lose_and_double_nothing() {
    let setting = Setting::new().await;
    let names = ["a", "b", "c"];
    let all = names.map(|name| {
        let writer = setting.writer();
        async move {
            for ack in append(&writer, name, 0..12).await {
                ack.unwrap();
            }
        }
    });
    join_all(all).await;
    setting.nothing_is_left().await;
    setting.holds(&names, 12).await;
}

#[tokio::test]
async fn each_batch_lands_once_though_any_answer_is_lost() {
    let lost = [Fault::LoseAnswer, Fault::LoseRequest, Fault::AnswerAfter(500, "InternalError")];
    let refused = [Fault::Answer(409, "ConditionalRequestConflict"), Fault::Answer(503, "SlowDown"), Fault::Echo];
    for (verb, faults) in [
        ("upload_start", &[lost[0], lost[1], refused[1]][..]),
        ("upload_part", &[lost[0], lost[1], lost[2], Fault::DamageRequest]),
        ("upload_complete", &[lost[0], lost[1], lost[2], refused[0], refused[1], refused[2]]),
    ] {
        for fault in faults {
            let setting = Setting::new().await;
            let writer = setting.writer();
            assert_eq!(slots(append(&writer, "a", 0..1).await), [1]);
            setting.server.fail(verb, "/log/", *fault);
            assert_eq!(slots(append(&writer, "a", 1..5).await), [2, 3, 4, 5], "{verb} {fault:?}");
            assert!(setting.server.all_reached(), "{verb} {fault:?}");
            setting.holds(&["a"], 5).await;
        }
    }
}
