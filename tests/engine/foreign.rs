//! Story: a segment with another collection's uid stood in the middle of a log. Readers and folds
//! took it for a leftover of a dropped collection and applied the ops behind it. Verification
//! called the collection sound.
//!
//! A leftover lands in an empty slot, at the end of the log or behind it. A writer that passes a
//! leftover counts it in its own segment. So a foreign segment that the next segment does not count
//! is damage.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltafold::format::{Op, Patch, Segment, Sequence, ShardId};
use deltafold::store::{Key, Memory, Store};
use deltafold::{Collection, CompactorOptions, CreateOptions, Depth, Error, ErrorKind, FollowOptions, WriterOptions};
use deltafold_testing::watched::folder;
use futures::TryStreamExt as _;

struct Made {
    store: Arc<dyn Store>,
    collection: Collection,
    _keep: Option<tempfile::TempDir>,
}

fn shard() -> ShardId {
    ShardId::all(1).next().unwrap()
}

fn key(slot: u64) -> Key {
    Key::new(format!("c/{}/log/{}", shard(), Sequence::new(slot).unwrap())).unwrap()
}

fn op(id: &str) -> Vec<Op> {
    vec![Op::upsert(id, Patch::default())]
}

async fn made_in(store: Arc<dyn Store>, appends: u64) -> Collection {
    let collection = Collection::create(store, &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for number in 1..=appends {
        writer.append(op(&format!("r{number}"))).await.unwrap();
    }
    collection
}

/// A collection of `appends` segments, in memory and in a folder.
async fn stores(appends: u64) -> Vec<Made> {
    let (dir, keep) = folder();
    let stores: [(Arc<dyn Store>, _); 2] = [(Arc::new(Memory::new()), None), (Arc::new(dir), Some(keep))];
    let mut made = Vec::new();
    for (store, keep) in stores {
        made.push(Made { collection: made_in(store.clone(), appends).await, store, _keep: keep });
    }
    made
}

/// The segment in a slot of another collection of the same name.
async fn foreign(slot: u64) -> Bytes {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    made_in(store.clone(), slot).await;
    store.get(&key(slot)).await.unwrap().unwrap().bytes
}

impl Made {
    /// A sleeping writer of a dropped collection leaves a segment in a free slot.
    async fn leave(&self, slot: u64) {
        let created = self.store.create(&key(slot), vec![foreign(slot).await]).await.unwrap();
        assert!(matches!(created, deltafold::store::Outcome::Done(_)));
    }

    /// Replaces the object in a slot.
    async fn replace(&self, slot: u64) {
        self.store.delete(&[key(slot)]).await.unwrap();
        self.leave(slot).await;
    }

    async fn append(&self, id: &str) -> u64 {
        let writer = self.collection.writer(WriterOptions::default()).unwrap();
        writer.append(op(id)).await.unwrap().segments()[0].1.get()
    }

    async fn fold(&self) -> Result<u64, Error> {
        self.collection.compactor(CompactorOptions::default()).run_once().await?;
        Ok(self.collection.status().await.unwrap().shards[0].folded.get())
    }

    async fn count(&self) -> Result<u64, Error> {
        self.collection.reader().await?.count().await
    }

    /// The slots of the ops that a follower passes on, and its error.
    async fn followed(&self, from: u64) -> (Vec<u64>, Option<Error>) {
        let options = FollowOptions::default().until_tail(true);
        let mut follow = self.collection.follow(shard(), options.from_segment(Sequence::new(from).unwrap())).unwrap();
        let mut slots = Vec::new();
        loop {
            match follow.try_next().await {
                Ok(Some((position, _))) => slots.push(position.sequence().get()),
                Ok(None) => return (slots, None),
                Err(error) => return (slots, Some(error)),
            }
        }
    }

    /// The slots that verification reports as damage, and those that it notes.
    async fn verified(&self) -> (Vec<String>, Vec<String>) {
        let report = self.collection.verify(Depth::Deep, |_| ()).await.unwrap();
        let keys = |found: &[deltafold::Finding]| found.iter().map(|found| found.key.clone()).collect();
        (keys(&report.findings), keys(&report.notes))
    }

    async fn passed(&self, slot: u64) -> u32 {
        let bytes = self.store.get(&key(slot)).await.unwrap().unwrap().bytes;
        Segment::decode(bytes).unwrap().header().passed
    }
}

fn is_of(error: &Error, slot: u64) {
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(key(slot).as_str()), "{slot}: {error}");
}

fn names(slots: &[u64]) -> Vec<String> {
    slots.iter().map(|slot| key(*slot).to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leftovers_at_the_end_are_passed_and_counted() {
    for made in stores(3).await {
        let open = made.collection.writer(WriterOptions::default()).unwrap();
        open.append(op("open")).await.unwrap();
        let mut reader = made.collection.reader().await.unwrap();
        for slot in [5, 6] {
            made.leave(slot).await;
        }
        assert_eq!(made.count().await.unwrap(), 4);
        reader.refresh().await.unwrap();
        assert_eq!(made.followed(1).await.0, [1, 2, 3, 4]);
        assert_eq!(made.verified().await, (Vec::new(), names(&[5, 6])));
        assert_eq!(made.fold().await.unwrap(), 4, "a fold ends with a segment of the collection");

        // One writer knows the end, one looks it up, and one learns the marks of its source from
        // the log.
        let ack = open.append(op("a")).await.unwrap();
        assert_eq!(ack.segments()[0].1.get(), 7);
        made.leave(8).await;
        assert_eq!(made.append("b").await, 9);
        made.leave(10).await;
        let sourced = made.collection.writer(WriterOptions::default()).unwrap();
        assert_eq!(sourced.append_from("queue", 1, op("c")).await.unwrap().segments()[0].1.get(), 11);
        assert_eq!(sourced.append_from("queue", 2, op("d")).await.unwrap().segments()[0].1.get(), 12);
        for (slot, passed) in [(7, 2), (9, 1), (11, 1), (12, 0)] {
            assert_eq!(made.passed(slot).await, passed, "slot {slot}");
        }

        assert_eq!(made.count().await.unwrap(), 8);
        reader.refresh().await.unwrap();
        assert_eq!(reader.count().await.unwrap(), 8);
        let (slots, error) = made.followed(1).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(slots, [1, 2, 3, 4, 7, 9, 11, 12]);
        assert_eq!(made.followed(6).await.0, [7, 9, 11, 12], "from the middle of a row of them");
        assert_eq!(made.fold().await.unwrap(), 12);
        assert_eq!(made.count().await.unwrap(), 8);
        assert_eq!(made.verified().await, (Vec::new(), names(&[5, 6, 8, 10])));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leftover_behind_the_end_is_no_hole() {
    for made in stores(2).await {
        made.leave(5).await;
        assert_eq!(made.count().await.unwrap(), 2);
        assert_eq!(made.followed(1).await.0, [1, 2]);
        assert_eq!(made.verified().await, (Vec::new(), names(&[5])));
        for slot in [3, 4, 6] {
            assert_eq!(made.append("next").await, slot);
        }
        assert_eq!(made.passed(6).await, 1);
        assert_eq!(made.verified().await, (Vec::new(), names(&[5])));
        let (slots, error) = made.followed(1).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(slots, [1, 2, 3, 4, 6]);
    }
}

/// A leftover does not hide a lost segment in front of a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_front_of_a_leftover_is_found() {
    for made in stores(3).await {
        made.leave(4).await;
        assert_eq!(made.append("next").await, 5);
        made.store.delete(&[key(3)]).await.unwrap();
        is_of(&made.count().await.unwrap_err(), 3);
        let (slots, error) = made.followed(1).await;
        assert_eq!(slots, [1, 2]);
        is_of(&error.unwrap(), 3);
        assert_eq!(made.verified().await.0, names(&[3]));
    }
}

/// Each of four slots in turn, with two of them folded or none: a foreign segment replaces the
/// collection's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_segment_in_the_middle_is_damage() {
    for folded in [0, 2] {
        for slot in 1..=4 {
            for made in stores(folded).await {
                if folded > 0 {
                    assert_eq!(made.fold().await.unwrap(), folded);
                }
                for number in folded + 1..=4 {
                    made.append(&format!("r{number}")).await;
                }
                made.replace(slot).await;
                let (slots, error) = made.followed(1).await;
                assert_eq!(slots, (1..slot).collect::<Vec<_>>(), "all in front of slot {slot}, and nothing behind");
                if slot == 4 {
                    // Nothing tells the last one from a leftover until another segment follows.
                    assert!(error.is_none(), "{error:?}");
                    assert_eq!(made.verified().await, (Vec::new(), names(&[4])));
                    continue;
                }
                is_of(&error.unwrap(), slot);
                assert_eq!(made.verified().await.0, names(&[slot]));
                if slot > folded {
                    is_of(&made.count().await.unwrap_err(), slot);
                    is_of(&made.fold().await.unwrap_err(), slot);
                    let writer = made.collection.writer(WriterOptions::default()).unwrap();
                    is_of(&writer.append_from("queue", 1, op("x")).await.unwrap_err(), slot);
                } else {
                    assert_eq!(made.count().await.unwrap(), 4, "the snapshot holds what the slot held");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_segment_folded_is_not_foreign() {
    for made in stores(3).await {
        assert_eq!(made.fold().await.unwrap(), 3);
        made.replace(3).await;
        let (slots, error) = made.followed(1).await;
        assert_eq!(slots, [1, 2]);
        is_of(&error.unwrap(), 3);
        assert_eq!(made.verified().await, (names(&[3]), Vec::new()));
    }
}

/// A writer counted a leftover where the collection's own segment is. The count is not believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_of_foreign_slots_that_is_too_high_is_damage() {
    for made in stores(2).await {
        made.leave(3).await;
        assert_eq!(made.append("next").await, 4);
        // A copy can hold such a segment: the collection's own uid, made for slot 3 of another log.
        let own = made.store.get(&key(2)).await.unwrap().unwrap().bytes;
        let twin = reseal(&own, 3);
        made.store.delete(&[key(3)]).await.unwrap();
        made.store.create(&key(3), vec![twin]).await.unwrap();
        is_of(&made.count().await.unwrap_err(), 4);
        assert_eq!(made.verified().await.0, names(&[4]));
    }
}

/// The ops of a segment, sealed for another slot.
fn reseal(segment: &Bytes, slot: u64) -> Bytes {
    use deltafold::format::{SegmentBody, SegmentStamp};
    let segment = Segment::decode(segment.clone()).unwrap();
    let header = segment.header();
    let body = SegmentBody::encode(&op("again"), header.dimension).unwrap();
    let stamp = SegmentStamp {
        collection: header.collection,
        sequence: Sequence::new(slot).unwrap(),
        writer: header.writer,
        batch: 99,
        times: header.times,
        marks: Vec::new(),
        passed: 0,
    };
    body.seal(stamp).unwrap().to_bytes()
}

/// A waiting follower ignores a leftover at the end. A later segment that does not count it proves
/// damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_follower_judges_a_leftover_by_the_next_slot() {
    for damaged in [false, true] {
        for made in stores(2).await {
            let interval = Duration::from_micros(10);
            let options = FollowOptions::default().interval(interval);
            let mut follow = made.collection.follow(shard(), options).unwrap();
            for _ in 0..2 {
                follow.try_next().await.unwrap().unwrap();
            }
            if damaged {
                made.append("lost").await;
                made.append("behind").await;
                made.replace(3).await;
                is_of(&follow.try_next().await.unwrap_err(), 3);
            } else {
                made.leave(3).await;
                made.append("behind").await;
                assert_eq!(follow.try_next().await.unwrap().unwrap().0.sequence().get(), 4);
            }
        }
    }
}
