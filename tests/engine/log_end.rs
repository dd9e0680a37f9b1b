//! Story: a segment was deleted, and `follow` took the hole for the end of the log. It passed on
//! 100 of 400 ops and reported that this was all. A copy made that way lost data in silence.
//!
//! Now every reader of the log tells its end from a hole. Each test removes one slot and looks with
//! each reader.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Sequence, ShardId};
use deltafold::store::{Key, Memory, Store};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Depth, Error, ErrorKind, FollowOptions, ScanOptions, SweepOptions,
    WriterOptions,
};
use deltafold_testing::watched::{Fault, Watched, folder};
use futures::TryStreamExt as _;

/// The last segment that is folded, and the last one.
const FOLDED: u64 = 4;
const LAST: u64 = 6;

/// A polling reader notices a hole after at most this many polls.
const POLLS: usize = 65;

/// The reaction of a reader of the log to a removed slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It ends with the error `Corrupt`, which names the slot.
    Damage,
    /// It does not need the slot and reads everything else.
    Whole,
    /// It reads up to the slot. Nothing shows that the slot was ever taken.
    Front,
}
use Seen::{Damage, Front, Whole};

/// The removed slot, and the outcomes for followers; for readers, folds and fresh writers; and for
/// verification.
const CASES: [(u64, Seen, Seen, Seen); 5] = [
    (1, Damage, Whole, Damage),
    (2, Damage, Whole, Damage),
    (FOLDED, Damage, Whole, Damage),
    (5, Damage, Damage, Damage),
    (LAST, Front, Front, Front),
];

struct Made {
    store: Arc<dyn Store>,
    collection: Collection,
    _keep: Option<tempfile::TempDir>,
}

impl Made {
    async fn remove(&self, slot: u64) {
        self.store.delete(&[self.key(slot)]).await.unwrap();
    }

    fn key(&self, slot: u64) -> Key {
        Key::new(format!("c/{}/log/{}", ShardId::all(1).next().unwrap(), Sequence::new(slot).unwrap())).unwrap()
    }

    /// Checks the outcome of a reader: an error, or the ops that it read.
    fn check(&self, slot: u64, expected: Seen, reader: &str, read: Result<u64, Error>) {
        match (expected, read) {
            (Damage, Err(error)) => self.is_of(&error, slot, reader),
            (Whole, Ok(ops)) => assert_eq!(ops, LAST, "{reader} without slot {slot}"),
            (Front, Ok(ops)) => assert_eq!(ops, slot - 1, "{reader} without slot {slot}"),
            (_, read) => panic!("{reader} without slot {slot}: expected {expected:?}, found {read:?}"),
        }
    }

    fn is_of(&self, error: &Error, slot: u64, reader: &str) {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{reader} without slot {slot}: {error}");
        let key = self.key(slot).to_string();
        assert!(error.to_string().contains(&key), "{reader} without slot {slot}: {error}");
    }
}

fn op(slot: u64) -> Vec<Op> {
    vec![Op::upsert(format!("r{slot}"), deltafold::format::Patch::default())]
}

/// One op in each segment, in memory and in a folder, with segments up to `upto`, folded up to
/// `FOLDED`.
async fn stores(upto: u64) -> Vec<Made> {
    let (dir, keep) = folder();
    let stores: [(Arc<dyn Store>, _); 2] = [(Arc::new(Memory::new()), None), (Arc::new(dir), Some(keep))];
    let mut made = Vec::new();
    for (store, keep) in stores {
        let collection =
            Collection::create(store.clone(), &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
        append(&collection, 1..=upto.min(FOLDED)).await;
        collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
        append(&collection, FOLDED + 1..=upto).await;
        made.push(Made { store, collection, _keep: keep });
    }
    made
}

async fn append(collection: &Collection, slots: impl Iterator<Item = u64>) {
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for slot in slots {
        writer.append(op(slot)).await.unwrap();
    }
}

fn shard() -> ShardId {
    ShardId::all(1).next().unwrap()
}

fn from_start(until_tail: bool) -> FollowOptions {
    FollowOptions::default().until_tail(until_tail).interval(Duration::from_micros(10))
}

/// Follows, and counts the ops passed on. An error must come after the ops in front of the slot and
/// before all others.
async fn followed(made: &Made, slot: u64, options: FollowOptions) -> Result<u64, Error> {
    let mut follow = made.collection.follow(shard(), options).unwrap();
    let mut ops = 0;
    loop {
        match follow.try_next().await {
            Ok(Some((position, _))) => {
                ops += 1;
                assert_eq!(position.sequence().get(), ops, "ops in order, and none behind a hole");
            }
            Ok(None) => return Ok(ops),
            Err(error) => {
                assert_eq!(ops, slot - 1, "nothing behind the hole, all in front of it: {error}");
                return Err(error);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_tells_a_hole_from_the_end() {
    for (slot, expected, ..) in CASES {
        for made in stores(LAST).await {
            made.remove(slot).await;
            made.check(slot, expected, "follow until the end", followed(&made, slot, from_start(true)).await);
            if expected == Damage {
                made.check(slot, expected, "follow", followed(&made, slot, from_start(false)).await);
            }
        }
    }
}

/// The hole opens while the follower waits at it: once in front of a later segment, once below the
/// slots folded meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_follower_notices_a_hole() {
    for folds in [false, true] {
        for made in stores(FOLDED).await {
            let mut follow = made.collection.follow(shard(), from_start(false)).unwrap();
            for _ in 0..FOLDED {
                follow.try_next().await.unwrap().unwrap();
            }
            // The follower is not polled here, so it has not seen the slot before it is removed.
            append(&made.collection, 5..=LAST).await;
            if folds {
                made.collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
            }
            made.remove(5).await;
            let error = follow.try_next().await.unwrap_err();
            made.is_of(&error, 5, "a waiting follower");
        }
    }
}

/// The slot was empty when the follower read it. Segments came before the follower listed the log,
/// so there is no hole.
#[tokio::test]
async fn a_slot_filled_meanwhile_is_no_hole() {
    let store = deltafold_testing::watched::Watched::<Memory>::default();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    append(&collection, 1..=2).await;
    let other = collection.clone();
    let follow = collection.follow(shard(), from_start(true)).unwrap();
    store.before("list", "log/", move || async move {
        let writer = other.writer(WriterOptions::default()).unwrap();
        for slot in 3..=4 {
            writer.append(op(slot)).await.unwrap();
        }
    });
    let ops: Vec<_> = follow.try_collect().await.unwrap();
    assert!(store.all_reached());
    assert_eq!(ops.len(), 2, "the log ended there when it was read");
}

/// No segment follows the last one, but the head says that it was folded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_knows_the_last_segment_folded() {
    for until_tail in [true, false] {
        for made in stores(FOLDED).await {
            made.remove(FOLDED).await;
            made.check(FOLDED, Damage, "follow", followed(&made, FOLDED, from_start(until_tail)).await);
        }
    }
}

/// A swept slot is not damage, and neither is a future one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swept_slot_is_no_hole() {
    for made in stores(LAST).await {
        let sweep = SweepOptions::KEEP_NOTHING;
        made.collection.sweep(&sweep).await.unwrap();
        let error = followed(&made, 1, from_start(true)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Superseded, "{error}");
        let kept = from_start(true).from_segment(Sequence::new(FOLDED).unwrap());
        let ops: Vec<_> = made.collection.follow(shard(), kept).unwrap().try_collect().await.unwrap();
        assert_eq!(ops.len() as u64, LAST - FOLDED + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_tells_a_hole_from_the_end() {
    for (slot, _, expected, _) in CASES {
        for made in stores(LAST).await {
            made.remove(slot).await;
            let reading = async {
                let reader = made.collection.reader().await?;
                let scanned: Vec<_> = reader.scan(ScanOptions::default()).try_collect().await?;
                let count = reader.count().await?;
                assert_eq!(scanned.len() as u64, count);
                for number in 1..=count {
                    assert!(reader.contains(&format!("r{number}")).await?);
                }
                Ok(count)
            };
            made.check(slot, expected, "reader", reading.await);
        }
    }
}

/// An open reader finds new segments by GET. It notices a hole after some polls, and shows nothing
/// behind it until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refreshed_reader_notices_a_hole() {
    for (slot, _, expected, _) in CASES {
        for made in stores(FOLDED).await {
            let mut reader = made.collection.reader().await.unwrap();
            append(&made.collection, 5..=LAST).await;
            made.remove(slot).await;
            let mut read = Ok(0);
            for _ in 0..POLLS {
                read = match reader.refresh().await {
                    Ok(_) => reader.count().await,
                    Err(error) => Err(error),
                };
                if expected == Damage && read.is_ok() {
                    assert_eq!(reader.count().await.unwrap(), slot - 1, "what lies in front of the hole");
                }
            }
            made.check(slot, expected, "refreshed reader", read);
        }
    }
}

/// A hole opens in front of a waiting reader, and a fold has passed it. The reader goes on with the
/// snapshot, which holds the segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_passes_a_hole_that_is_folded() {
    for made in stores(FOLDED).await {
        let mut reader = made.collection.reader().await.unwrap();
        append(&made.collection, 5..=5).await;
        made.collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
        append(&made.collection, LAST..=LAST).await;
        made.remove(5).await;
        reader.refresh().await.unwrap();
        assert_eq!(reader.count().await.unwrap(), LAST, "with the ops acknowledged behind the fold");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fold_stops_at_a_hole() {
    for (slot, _, expected, _) in CASES {
        for opened_before in [false, true] {
            for made in stores(FOLDED).await {
                let mut compactor = made.collection.compactor(CompactorOptions::default());
                if opened_before {
                    compactor.run_once().await.unwrap();
                }
                append(&made.collection, 5..=LAST).await;
                made.remove(slot).await;
                let folded = match compactor.run_once().await {
                    Ok(_) => Ok(made.collection.status().await.unwrap().shards[0].folded.get()),
                    Err(error) => Err(error),
                };
                made.check(slot, expected, "fold", folded);
                if expected == Damage {
                    assert_eq!(made.collection.status().await.unwrap().shards[0].folded.get(), FOLDED);
                }
            }
        }
    }
}

/// The compactor of a watch polls, and notices a hole too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watching_compactor_notices_a_hole() {
    for made in stores(FOLDED).await {
        let mut compactor = made.collection.compactor(CompactorOptions::default());
        compactor.tick().await.unwrap();
        append(&made.collection, 5..=LAST).await;
        made.remove(5).await;
        let mut ticked = Ok(());
        for _ in 0..POLLS {
            ticked = ticked.and(compactor.tick().await.map(drop));
        }
        made.is_of(&ticked.unwrap_err(), 5, "watch");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_writer_tells_a_hole_from_the_end() {
    for (slot, _, expected, _) in CASES {
        for source in [None, Some("queue")] {
            for made in stores(LAST).await {
                made.remove(slot).await;
                let writer = made.collection.writer(WriterOptions::default()).unwrap();
                let appended = match source {
                    None => writer.append(op(9)).await,
                    Some(source) => writer.append_from(source, 1, op(9)).await,
                };
                let front = appended.map(|ack| ack.segments()[0].1.get() - 1);
                made.check(slot, expected, "writer", front);
            }
        }
    }
}

/// An open writer knows the end of the log and does not check it again: it creates the slot behind.
/// From then on all others notice the hole, even that of the last segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_writer_goes_on_behind_a_hole() {
    for slot in [5, LAST] {
        for made in stores(FOLDED).await {
            let writer = made.collection.writer(WriterOptions::default()).unwrap();
            for number in 5..=LAST {
                writer.append(op(number)).await.unwrap();
            }
            made.remove(slot).await;
            let ack = writer.append(op(9)).await.unwrap();
            assert_eq!(ack.segments()[0].1.get(), LAST + 1);
            made.check(slot, Damage, "follow", followed(&made, slot, from_start(true)).await);
            made.check(slot, Damage, "reader", made.collection.reader().await.map(|_| 0));
            let fresh = made.collection.writer(WriterOptions::default()).unwrap();
            made.check(slot, Damage, "writer", fresh.append(op(9)).await.map(|_| 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_names_a_missing_slot() {
    for (slot, _, _, expected) in CASES {
        for made in stores(LAST).await {
            made.remove(slot).await;
            for depth in [Depth::Quick, Depth::Deep] {
                let report = made.collection.verify(depth, |_| ()).await.unwrap();
                let keys: Vec<&str> = report.findings.iter().map(|finding| finding.key.as_str()).collect();
                let key = made.key(slot);
                let missing: &[&str] = if expected == Damage { &[key.as_str()] } else { &[] };
                assert_eq!(keys, missing, "{depth:?}: {:?}", report.findings);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_counts_the_slots_of_a_hole() {
    for made in stores(LAST).await {
        for slot in [2, 3, 4, 5] {
            made.remove(slot).await;
        }
        let report = made.collection.verify(Depth::Quick, |_| ()).await.unwrap();
        let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
        assert_eq!(finding.key, made.key(2).as_str());
        assert!(finding.problem.contains("so are the 3 slots behind it"), "{}", finding.problem);
    }
}

/// A status that cannot read a hole of the log says so. If it called an outage damage, operators
/// would restore from their copies.
#[tokio::test]
async fn a_failure_at_a_hole_of_the_log_is_no_damage() {
    let store = Watched::over(Memory::new());
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let name = "c".parse().unwrap();
    let collection = Collection::create(shared.clone(), &name, &CreateOptions::new(2)).await.unwrap();
    append(&collection, 1..=LAST).await;
    let made = Made { store: shared, collection, _keep: None };
    made.remove(LAST - 1).await;
    store.calls();
    assert_eq!(made.collection.status().await.unwrap().shards[0].damage.len(), 1);
    for call in store.calls() {
        let (verb, key) = call.split_once(' ').unwrap();
        let verb = ["get", "get_range", "get_unless", "list"].into_iter().find(|known| *known == verb).unwrap();
        store.fail(verb, key, Fault::Permanent);
        let status = made.collection.status().await;
        assert_eq!(status.map(|status| status.shards).unwrap_err().kind(), ErrorKind::Storage, "{call}");
        assert!(store.all_reached(), "{call}");
    }
}
