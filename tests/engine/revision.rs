//! R11, redelivered or late messages: in a collection ordered by revision the state is a function
//! of the set of ops.
//!
//! Story: a queue delivered the patch of a record after the record's delete, and the record was
//! there again. A message came back from the dead letters after days, and old values replaced new
//! ones. Here ops come in every order, any number of times, in any segments, with folds and merges
//! in between. The state is always the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Change, Metadata, Op, Patch, Record, Revision, ShardId, Value};
use deltafold::store::{Memory, Store};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Depth, Entry, ErrorKind, FollowOptions, KEEP_TOMBSTONES, Order,
    Policy, ScanOptions, SweepOptions, Writer, WriterOptions,
};
use deltafold_testing::model::{by_the_book, untied};
use deltafold_testing::random::Random;
use deltafold_testing::watched::{self, Watched};
use deltafold_testing::{canonical, data};
use futures::TryStreamExt;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn made(store: Arc<dyn Store>, dimension: u32, shards: u16, keep: Duration) -> (Collection, Writer) {
    let options = CreateOptions::new(dimension).shards(shards).by_revision(keep);
    let collection = Collection::create(store, &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

fn metadata(key: &str, value: i64) -> Metadata {
    [(key.to_owned(), Value::I64(value))].into()
}

fn put(revision: u128, key: &str, value: i64) -> Op {
    let embedding = Some(vec![value as f32, 0.5]);
    Op::put("r", Record { embedding, metadata: metadata(key, value), ..Record::default() }).at(Revision::new(revision))
}

fn fields(key: &str, value: Option<i64>) -> Patch {
    Patch { metadata: [(key.to_owned(), value.map(Value::I64))].into(), ..Patch::default() }
}

fn patch(revision: u128, key: &str, value: Option<i64>) -> Op {
    Op::patch("r", fields(key, value)).at(Revision::new(revision))
}

fn upsert(revision: u128, key: &str, value: i64) -> Op {
    Op::upsert("r", fields(key, Some(value))).at(Revision::new(revision))
}

fn delete(revision: u128) -> Op {
    Op::delete("r").at(Revision::new(revision))
}

/// All records. Count, both scans and lookups must agree on them.
async fn records(collection: &Collection) -> Vec<Entry> {
    let reader = collection.reader().await.unwrap();
    let all: Vec<Entry> = reader.scan(ScanOptions::default()).try_collect().await.unwrap();
    assert_eq!(reader.count().await.unwrap(), all.len() as u64);
    let options = ScanOptions::default().order(Order::Insertion);
    let inserted: Vec<Entry> = reader.scan(options).try_collect().await.unwrap();
    let mut sorted = all.clone();
    sorted.sort_by_key(|entry| (entry.inserted.revision(), entry.shard));
    assert_eq!(inserted, sorted);
    for entry in all.iter().step_by(all.len() / 20 + 1) {
        assert_eq!(reader.get(&entry.id).await.unwrap().as_ref(), Some(entry));
        assert!(reader.contains(&entry.id).await.unwrap());
    }
    all
}

async fn is_sound(collection: &Collection) {
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

fn policies() -> [Policy; 3] {
    [
        Policy::default().fan_in(usize::MAX).absorb_one_in(0),
        Policy::default().fan_in(2).absorb_one_in(0),
        Policy::default(),
    ]
}

async fn sweep(collection: &Collection) {
    let options = SweepOptions::KEEP_NOTHING;
    collection.sweep(&options).await.unwrap();
}

/// Delivers ops in this order, cut into segments, folds and merges at random. Returns the records.
async fn deliver(ops: &[Op], random: &mut Random) -> Vec<Entry> {
    let (collection, writer) = made(Arc::new(Memory::new()), 2, 1, KEEP_TOMBSTONES).await;
    let [one, two, three] = policies();
    let policy = [one, two, three][random.below(3) as usize].clone();
    let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
    let mut rest = ops;
    while !rest.is_empty() {
        let (segment, after) = rest.split_at(1 + random.below(rest.len() as u64) as usize);
        writer.append(segment.to_vec()).await.unwrap();
        match random.below(5) {
            0 | 1 => drop(compactor.run_once().await.unwrap()),
            2 => drop(compactor.merge_all().await.unwrap()),
            3 => sweep(&collection).await,
            _ => {}
        }
        rest = after;
    }
    let state = records(&collection).await;
    if random.once_in(4) {
        compactor.merge_all().await.unwrap();
        is_sound(&collection).await;
        assert_eq!(records(&collection).await, state, "a merge changes nothing");
    }
    state
}

/// Every order of `ops`, by Heap's algorithm.
fn permutations(ops: &mut Vec<Op>, of_first: usize, all: &mut Vec<Vec<Op>>) {
    if of_first <= 1 {
        return all.push(ops.clone());
    }
    for i in 0..of_first {
        permutations(ops, of_first - 1, all);
        ops.swap(if of_first.is_multiple_of(2) { i } else { 0 }, of_first - 1);
    }
}

#[tokio::test]
async fn every_order_of_small_histories_gives_one_state() {
    let mut random = Random::from_environment();
    let document = |revision, text: Option<&str>| {
        let document = text.map_or(Change::Clear, |text| Change::Set(text.to_owned()));
        Op::patch("r", Patch { document, ..Patch::default() }).at(Revision::new(revision))
    };
    let embedding = |revision, to: Change<Vec<f32>>| {
        Op::upsert("r", Patch { embedding: to, ..Patch::default() }).at(Revision::new(revision))
    };
    let histories = [
        vec![put(1, "a", 1), patch(2, "a", Some(2)), delete(3), patch(4, "b", Some(4)), upsert(5, "c", 5)],
        vec![put(1, "a", 1), document(2, Some("x")), document(3, None), put(4, "b", 4), patch(5, "a", Some(5))],
        vec![upsert(1, "a", 1), delete(2), upsert(3, "b", 3), patch(4, "b", None), delete(5)],
        vec![put(1 << 100, "a", 1), embedding(3, Change::Set(vec![7.0, 7.0])), delete(2), put(1, "b", 2)],
        vec![
            embedding(1, Change::Set(vec![1.0, 1.0])),
            embedding(2, Change::Clear),
            embedding(4, Change::Set(vec![4.0, 4.0])),
            delete(3),
        ],
        // At one revision a delete beats a patch, and a patch a put.
        vec![put(7, "a", 1), patch(7, "a", Some(2)), delete(6), upsert(8, "b", 3), document(7, Some("y"))],
        vec![put(7, "a", 1), upsert(7, "a", 2), delete(7), patch(6, "b", Some(3))],
    ];
    for history in histories {
        let mut sorted = history.clone();
        sorted.sort_by_key(|op| {
            (
                op.revision,
                match op.action.name() {
                    "put" => 0,
                    "delete" => 2,
                    _ => 1,
                },
            )
        });
        let expected = by_the_book(&sorted);
        let mut all = Vec::new();
        permutations(&mut history.clone(), history.len(), &mut all);
        for mut ops in all {
            // A repetition at a random place.
            if random.once_in(2) {
                let again = ops[random.below(ops.len() as u64) as usize].clone();
                ops.insert(random.below(ops.len() as u64 + 1) as usize, again);
            }
            let state = deliver(&ops, &mut random).await.pop().map(untied);
            let found = state.map(|entry| {
                let revision = |place: deltafold::format::Place| place.revision().unwrap();
                (entry.record, revision(entry.inserted), revision(entry.changed))
            });
            assert_eq!(found, expected, "{ops:?}");
        }
    }
}

/// Two producers give one revision to different changes. Neither is right, but every order must
/// give the same state.
#[tokio::test]
async fn different_ops_of_one_revision_give_one_state_in_every_order() {
    let mut random = Random::from_environment();
    let set = |x: f32| Op::patch("r", Patch { embedding: Change::Set(vec![x, x]), ..Patch::default() });
    let histories = [
        vec![put(7, "a", 1), put(7, "a", 2), put(7, "b", 3)],
        vec![put(7, "a", 1), patch(7, "a", Some(2)), patch(7, "a", Some(3)), upsert(7, "a", 4)],
        vec![
            put(1, "a", 1),
            set(1.0).at(Revision::new(7)),
            set(2.0).at(Revision::new(7)),
            set(-0.0).at(Revision::new(7)),
        ],
    ];
    for history in histories {
        let mut all = Vec::new();
        permutations(&mut history.clone(), history.len(), &mut all);
        let mut states = Vec::new();
        for ops in all {
            states.push(deliver(&ops, &mut random).await);
        }
        assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "{states:?}");
        assert_eq!(states[0].len(), 1);
    }
}

/// Real updates, with their line number as revision.
fn revised(data: &data::DataSet) -> Vec<Op> {
    data.base().chain(data.updates()).zip(1..).map(|(op, line)| op.at(Revision::new(line))).collect()
}

fn shuffle(ops: &mut [Op], random: &mut Random) {
    for i in (1..ops.len()).rev() {
        ops.swap(i, random.below(i as u64 + 1) as usize);
    }
}

async fn sha256(collection: &Collection) -> String {
    let all = records(collection).await;
    canonical::sha256(all.iter().map(|entry| (entry.id.as_str(), &entry.record)))
}

/// All ops in random order, one in twenty repeated, in segments of random size with folds, merges
/// and sweeps between them. At the end some come again, after days.
async fn shuffled(store: Arc<dyn Store>, later: impl FnOnce(), data: &data::DataSet, shards: u16, most: u64) {
    let mut random = Random::from_environment();
    let ops = revised(data);
    let dimension = ops.iter().find_map(|op| op.action.embedding()).unwrap().len();
    let mut delivered = ops.clone();
    for _ in 0..ops.len() / 20 {
        delivered.push(ops[random.below(ops.len() as u64) as usize].clone());
    }
    shuffle(&mut delivered, &mut random);
    let (collection, writer) = made(store, u32::try_from(dimension).unwrap(), shards, KEEP_TOMBSTONES).await;
    let mut compactor = collection.compactor(CompactorOptions::default());
    let mut rest = &delivered[..];
    while !rest.is_empty() {
        let (segment, after) = rest.split_at((1 + random.below(most) as usize).min(rest.len()));
        writer.append(segment.to_vec()).await.unwrap();
        match random.below(6) {
            0..=2 => drop(compactor.run_once().await.unwrap()),
            3 => drop(compactor.merge_all().await.unwrap()),
            4 => sweep(&collection).await,
            _ => {}
        }
        rest = after;
    }
    assert_eq!(sha256(&collection).await, data.expected_sha256());
    let before = records(&collection).await;
    assert_eq!(before.len() as u64, data.expected_records());
    is_sound(&collection).await;

    // From the dead letters, days later.
    later();
    shuffle(&mut delivered, &mut random);
    writer.append(delivered[..500.min(delivered.len())].to_vec()).await.unwrap();
    assert_eq!(records(&collection).await, before);
    compactor.merge_all().await.unwrap();
    assert_eq!(records(&collection).await, before, "to the last revision and embedding");
    is_sound(&collection).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shuffled_updates_give_the_known_state_in_memory() {
    let store = Memory::new();
    shuffled(Arc::new(store.clone()), || store.advance(DAY * 10), &data::DataSet::demo(), 1, 120).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shuffled_updates_give_the_known_state_in_a_folder() {
    let (store, _keep) = watched::folder();
    shuffled(Arc::new(store), || (), &data::DataSet::demo(), 3, 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_updates_shuffled_give_the_known_state() {
    let Some(data) = data::DataSet::whole() else { return };
    let store = Memory::new();
    shuffled(Arc::new(store.clone()), || store.advance(DAY * 10), &data, 2, 4_000).await;
}

/// Rows of all runs that hold no record.
async fn remembered(collection: &Collection) -> u64 {
    let status = collection.status().await.unwrap();
    status.shards.iter().flat_map(|shard| &shard.runs).map(|run| run.absent).sum()
}

/// Changes another record, so that there is something to fold and to merge.
async fn elsewhere(writer: &Writer, revision: u128) {
    writer.append(vec![Op::put("elsewhere", Record::default()).at(Revision::new(revision))]).await.unwrap();
}

#[tokio::test]
async fn tombstones_are_kept_as_long_as_was_chosen_and_then_forgotten() {
    let store = Memory::new();
    let (collection, writer) = made(Arc::new(store.clone()), 2, 1, DAY * 30).await;
    let mut compactor = collection.compactor(CompactorOptions::default());
    let waiting = Op::patch("waits", fields("a", Some(1))).at(Revision::new(9));
    writer.append(vec![put(1, "a", 1), delete(5), waiting]).await.unwrap();
    compactor.run_once().await.unwrap();
    assert_eq!(remembered(&collection).await, 2);

    // Late, but within the retention.
    store.advance(DAY * 29);
    for late in [put(3, "late", 1), upsert(4, "late", 1), patch(2, "late", Some(1))] {
        writer.append(vec![late]).await.unwrap();
        compactor.merge_all().await.unwrap();
        assert!(records(&collection).await.is_empty());
    }
    // The late ops changed nothing, but they renewed the delete.
    store.advance(DAY * 29);
    elsewhere(&writer, 1).await;
    compactor.merge_all().await.unwrap();
    assert_eq!(remembered(&collection).await, 1, "the patch that waited is forgotten, the tombstone is not");
    assert_eq!(records(&collection).await.len(), 1);
    is_sound(&collection).await;

    store.advance(DAY * 2);
    compactor.merge_all().await.unwrap();
    assert_eq!(remembered(&collection).await, 0);
    is_sound(&collection).await;
    // Later than the retention, as documented: the record is there again.
    writer.append(vec![put(3, "too late", 1)]).await.unwrap();
    assert_eq!(records(&collection).await.len(), 2);
}

/// An op that waits in the log came in time, however late it is folded.
#[tokio::test]
async fn an_op_in_time_meets_its_tombstone_when_folded_late() {
    let store = Memory::new();
    let (collection, writer) = made(Arc::new(store.clone()), 2, 1, DAY * 30).await;
    let never = Policy::default().absorb_one_in(0);
    let mut folding = collection.compactor(CompactorOptions::default().policy(never));
    writer.append(vec![put(1, "a", 1), delete(5)]).await.unwrap();
    folding.run_once().await.unwrap();
    elsewhere(&writer, 1).await;
    folding.run_once().await.unwrap();
    store.advance(DAY * 29);
    writer.append(vec![put(3, "late", 1)]).await.unwrap();
    store.advance(DAY * 5);
    // It merges, and does not fold one segment yet.
    let mut merging = collection.compactor(CompactorOptions::default());
    let report = merging.tick().await.unwrap();
    assert_eq!(report.published(deltafold::format::EditKind::Merge), 1);
    let status = collection.status().await.unwrap();
    assert_eq!((status.shards[0].runs.len(), status.shards[0].folded.next()), (1, status.shards[0].tail));
    assert_eq!(remembered(&collection).await, 1);
    assert_eq!(records(&collection).await.len(), 1);
    merging.run_once().await.unwrap();
    assert_eq!(records(&collection).await.len(), 1);
}

/// While a merge begins, another compactor folds ops that came in time, and sweeps them. The merge
/// knows nothing of them, and must not forget the tombstone.
#[tokio::test]
async fn ops_folded_during_a_merge_meet_the_tombstone() {
    another_process_folds_and_sweeps(false).await;
}

/// A young segment that came afterwards hides none of those ops.
#[tokio::test]
async fn ops_folded_before_a_young_segment_meet_the_tombstone() {
    another_process_folds_and_sweeps(true).await;
}

async fn another_process_folds_and_sweeps(and_appends: bool) {
    let memory = Memory::new();
    let store = Watched::over(memory.clone());
    let (collection, writer) = made(Arc::new(store.clone()), 2, 1, DAY * 30).await;
    let never = Policy::default().absorb_one_in(0);
    let mut folding = collection.compactor(CompactorOptions::default().policy(never.clone()));
    writer.append(vec![put(1, "a", 1), delete(5)]).await.unwrap();
    folding.run_once().await.unwrap();
    elsewhere(&writer, 1).await;
    folding.run_once().await.unwrap();
    memory.advance(DAY * 29);
    writer.append(vec![put(3, "late", 1)]).await.unwrap();
    memory.advance(DAY * 5);
    let (other, mut others) = (collection.clone(), collection.compactor(CompactorOptions::default().policy(never)));
    let mut merging = collection.compactor(CompactorOptions::default());
    // The first list is that of the log's tail; the second is that of the merge.
    store.before("list", "log/", || async {});
    store.before("list", "log/", move || async move {
        others.run_once().await.unwrap();
        sweep(&other).await;
        if and_appends {
            elsewhere(&other.writer(WriterOptions::default()).unwrap(), 2).await;
        }
    });
    drop(store.calls());
    merging.tick().await.unwrap();
    assert!(store.all_reached(), "{:#?}", store.calls());
    assert_eq!(records(&collection).await.len(), 1, "only the record in another place");
    merging.merge_all().await.unwrap();
    assert_eq!(records(&collection).await.len(), 1);
}

/// A large part of the base that no newer row touches is carried over, but not for ever.
#[tokio::test]
async fn a_carried_part_is_rewritten_once_a_tombstone_expires() {
    let store = Memory::new();
    let (collection, writer) = made(Arc::new(store.clone()), 2, 1, DAY * 30).await;
    let mut compactor = collection.compactor(CompactorOptions::default());
    let row = |number: u32| Op::put(format!("a{number:05}"), Record::default()).at(Revision::new(1));
    writer.append((0..20_000).map(row).collect()).await.unwrap();
    writer.append(vec![Op::delete("a00007").at(Revision::new(2))]).await.unwrap();
    compactor.merge_all().await.unwrap();
    let part = |collection: &Collection| {
        let collection = collection.clone();
        async move { collection.status().await.unwrap().shards[0].runs[0].clone() }
    };
    assert_eq!((part(&collection).await.rows, part(&collection).await.absent), (20_000, 1));
    elsewhere(&writer, 1).await;
    let report = compactor.merge_all().await.unwrap();
    assert!(report.bytes_out() < 10_000, "it was carried over: {report:?}");
    store.advance(DAY * 31);
    elsewhere(&writer, 2).await;
    compactor.merge_all().await.unwrap();
    assert_eq!((part(&collection).await.rows, part(&collection).await.absent), (20_000, 0));
    assert_eq!(records(&collection).await.len(), 20_000);
    is_sound(&collection).await;
}

#[tokio::test]
async fn each_ordering_takes_its_own_ops_and_follows_them() {
    let (by_revision, writer) = made(Arc::new(Memory::new()), 2, 1, KEEP_TOMBSTONES).await;
    let refused = |outcome: deltafold::Result<deltafold::Ack>, says: &str| {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    };
    refused(writer.append(vec![delete(1), Op::delete("r")]).await, "record `r`: revision is missing");
    refused(writer.append(vec![Op::add("r", Record::default()).at(Revision::new(1))]).await, "use `put` or `upsert`");
    let ops = vec![put(u128::MAX, "a", 1), patch(3, "b", None), delete(0)];
    writer.append(ops.clone()).await.unwrap();
    let followed = by_revision.follow(ShardId::default(), FollowOptions::default().until_tail(true));
    let followed: Vec<Op> = followed.unwrap().map_ok(|(_, op)| op).try_collect().await.unwrap();
    assert_eq!(followed, ops);

    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let by_log = Collection::create(store, &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    let writer = by_log.writer(WriterOptions::default()).unwrap();
    refused(writer.append(vec![delete(1)]).await, "record `r`: revision must not be there");
}

/// Records of one revision, in several shards and runs, with and without a limit.
#[tokio::test]
async fn a_scan_by_insertion_is_ordered_by_revision_shard_and_id() {
    let (collection, writer) = made(Arc::new(Memory::new()), 2, 3, KEEP_TOMBSTONES).await;
    let mut compactor = collection.compactor(CompactorOptions::default());
    let mut random = Random::from_environment();
    let mut ops: Vec<Op> = (0..200_u32)
        .map(|number| Op::put(format!("{number}"), Record::default()).at(Revision::new(u128::from(number % 7) << 90)))
        .collect();
    shuffle(&mut ops, &mut random);
    for segment in ops.chunks(30) {
        writer.append(segment.to_vec()).await.unwrap();
        if random.once_in(2) {
            compactor.run_once().await.unwrap();
        }
    }
    let all = records(&collection).await;
    let mut sorted = all.clone();
    sorted.sort_by_key(|entry| (entry.inserted.revision(), entry.shard, entry.id.clone()));
    let reader = collection.reader().await.unwrap();
    for limit in [1, 13, 199, 500] {
        let options = ScanOptions::default().order(Order::Insertion).limit(Some(limit));
        let found: Vec<Entry> = reader.scan(options).try_collect().await.unwrap();
        assert_eq!(found, sorted[..limit.min(200)]);
    }
    let mut by_shard: BTreeMap<ShardId, usize> = BTreeMap::new();
    all.iter().for_each(|entry| *by_shard.entry(entry.shard).or_default() += 1);
    assert_eq!(by_shard.len(), 3);
}
