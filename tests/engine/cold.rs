//! Cold searches of a distant store: their ranges, bytes and rounds of requests.

use std::sync::Arc;

use deltafold::format::{Metric, Op, Record, Value};
use deltafold::store::Memory;
use deltafold::{
    Answer, Collection, CompactorOptions, CreateOptions, Exactness, Filter, Query, Reader, SweepOptions, Warm, Writer,
    WriterOptions,
};
use deltafold_testing::far::{Far, Read};
use deltafold_testing::random::Random;
use deltafold_testing::watched::Watched;

pub(super) const DIMENSION: u32 = 64;
pub(super) const RECORDS: usize = 3_000;

pub(super) fn vectors() -> Vec<Vec<f32>> {
    let mut random = Random::new(11);
    let number = |random: &mut Random| random.below(20_001) as f32 / 10_000.0 - 1.0;
    (0..RECORDS).map(|_| (0..DIMENSION).map(|_| number(&mut random)).collect()).collect()
}

/// A collection of one base, with documents.
pub(super) async fn prepared(shards: u16) -> (Far, Collection) {
    let store = Far::default();
    let options = CreateOptions::new(DIMENSION).metric(Metric::L2).shards(shards);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let put = |(number, vector): (usize, Vec<f32>)| {
        let document = Some(format!("the document of record {number}"));
        let metadata = [("number".to_owned(), Value::I64(number as i64))].into();
        Op::put(format!("{number:05}"), Record { embedding: Some(vector), metadata, document })
    };
    let ops: Vec<Op> = vectors().into_iter().enumerate().map(put).collect();
    for ops in ops.chunks(1_000) {
        writer.append(ops.to_vec()).await.unwrap();
    }
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    store.reads();
    (store, collection)
}

pub(super) fn query(number: usize) -> Query {
    Query::new(vectors()[number].clone(), 5)
}

pub(super) fn approximately(query: Query) -> Query {
    query.exactness(Exactness::Approximate { candidates: 50 })
}

pub(super) async fn ask(reader: &Reader, query: Query) -> Answer {
    reader.search(&[query]).await.unwrap().remove(0)
}

pub(super) fn of_objects(reads: &[Read]) -> Vec<Read> {
    reads.iter().filter(|read| read.key.ends_with(".emb")).cloned().collect()
}

fn bytes(reads: &[Read]) -> u64 {
    reads.iter().map(|read| read.bytes).sum()
}

/// Bytes of one row in the sections of an object: factors, sign bits, 8-bit codes, f32.
pub(super) const SIGNS: u64 = 4 + 4 + DIMENSION as u64 / 8;
pub(super) const BYTES: u64 = 4 + 4 + 4 + DIMENSION as u64;

#[tokio::test]
async fn an_approximate_search_reads_signs_and_the_rows_of_candidates() {
    let (store, collection) = prepared(1).await;
    let reader = collection.reader().await.unwrap();
    store.reads();
    let answer = ask(&reader, approximately(query(7))).await;
    assert_eq!((answer.hits[0].entry.id.as_str(), answer.hits[0].distance), ("00007", 0.0));
    let reads = store.reads();
    assert_eq!((answer.work.requests, answer.work.bytes), (reads.len() as u64, bytes(&reads)));
    let reads = of_objects(&reads);
    let signs = &reads[0];
    assert_eq!(signs.range.unwrap().0, 0);
    assert!(signs.bytes < RECORDS as u64 * SIGNS + 4_096, "{signs:?}");
    assert!(reads.len() > 1 && reads[1..].iter().all(|read| read.range.unwrap().0 >= signs.bytes), "{reads:?}");
    // Ranges already held are not read again.
    ask(&reader, approximately(query(7))).await;
    assert_eq!(of_objects(&store.reads()), reads[1..]);
    // An exact search lacks the 8-bit codes alone.
    let exact = ask(&reader, query(7)).await;
    assert_eq!(exact.hits[0], answer.hits[0]);
    let reads = of_objects(&store.reads());
    assert!(reads[0].range.unwrap().0 >= signs.bytes && reads[0].bytes < RECORDS as u64 * BYTES, "{reads:?}");
}

#[tokio::test]
async fn an_exact_search_reads_codes_and_rows_that_they_leave() {
    let (store, collection) = prepared(2).await;
    let reader = collection.reader().await.unwrap();
    store.reads();
    let answer = ask(&reader, query(7)).await;
    assert_eq!(answer.hits.len(), 5);
    assert!(answer.work.read < 100, "{:?}", answer.work);
    let reads = of_objects(&store.reads());
    assert!(reads.iter().all(|read| read.range.is_some()), "{reads:?}");
    // Codes, a front for each shard, and at most a block for either end of each range of rows.
    let most = RECORDS as u64 * (SIGNS + BYTES) + 2 * 4_096 + reads.len() as u64 * (2 * (16 << 10) + (64 << 10));
    assert!(bytes(&reads) < most, "{} bytes, at most {most}", bytes(&reads));
    assert!(bytes(&reads) < RECORDS as u64 * (SIGNS + BYTES + 4 * u64::from(DIMENSION)), "{reads:?}");
}

/// Story: a filter left ten of 3,000 rows. To rule out some of the ten, the search fetched the
/// codes of all rows.
#[tokio::test]
async fn a_selective_filter_reads_the_rows_that_it_leaves() {
    let (store, collection) = prepared(2).await;
    let warm = collection.reader().await.unwrap();
    warm.warm(&Warm::default().signs().bytes().rows()).await.unwrap();
    let selective = || query(7).filter(Filter::less("number", 10));
    for query in [selective(), approximately(selective())] {
        let reader = collection.reader().await.unwrap();
        store.reads();
        let answer = ask(&reader, query.clone()).await;
        let reads = of_objects(&store.reads());
        // For each shard: the front of the object with the norms, and the blocks of the rows.
        let most = 2 * ((4 << 10) + RECORDS as u64 / 2 * 4 + (32 << 10));
        assert!(bytes(&reads) < most, "{} bytes: {reads:?}", bytes(&reads));
        assert_eq!(answer.hits, ask(&warm, query).await.hits);
        assert_eq!((answer.hits.len(), answer.work.coded, answer.work.read), (5, 0, 10));
    }
    let reader = collection.reader().await.unwrap();
    store.reads();
    let none = query(7).filter(Filter::less("number", 0));
    assert_eq!(ask(&reader, none).await.hits, []);
    assert_eq!(of_objects(&store.reads()), [], "no row is left");
}

#[tokio::test]
async fn searches_at_once_fetch_codes_once() {
    let (store, collection) = prepared(2).await;
    let reader = collection.reader().await.unwrap();
    store.reads();
    let asked = futures::future::join_all((0..4).map(|_| ask(&reader, approximately(query(7))))).await;
    assert!(asked.iter().all(|answer| answer.hits == asked[0].hits));
    let fronts = of_objects(&store.reads()).into_iter().filter(|read| read.range.unwrap().0 == 0).count();
    assert_eq!(fronts, 2);
}

#[tokio::test]
async fn a_get_reads_one_row() {
    let (store, collection) = prepared(1).await;
    let reader = collection.reader().await.unwrap();
    store.reads();
    let entry = reader.get("00007").await.unwrap().unwrap();
    assert_eq!(entry.record.embedding.unwrap(), vectors()[7]);
    let reads = of_objects(&store.reads());
    assert_eq!(reads.len(), 2, "the front, and the block of the row: {reads:?}");
    assert!(bytes(&reads) <= (16 << 10) + RECORDS as u64 * 4 + 4_096, "{reads:?}");
    reader.get("02007").await.unwrap().unwrap();
    assert_eq!(of_objects(&store.reads()).len(), 1, "the front is held");
}

/// Story: a get of a small collection fetched front and row of an object by two requests. Before,
/// one request had fetched the whole object.
#[tokio::test]
async fn a_small_object_comes_whole_with_one_request() {
    let store = Far::default();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(DIMENSION)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let put = |number: usize| {
        let record = Record { embedding: Some(vectors()[number].clone()), ..Record::default() };
        Op::put(format!("{number:05}"), record)
    };
    writer.append((0..20).map(put).collect()).await.unwrap();
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    let reader = collection.reader().await.unwrap();
    store.reads();
    assert_eq!(reader.get("00007").await.unwrap().unwrap().record.embedding.unwrap(), vectors()[7]);
    ask(&reader, query(7)).await;
    ask(&reader, query(7).exactness(Exactness::Approximate { candidates: 10 })).await;
    assert_eq!(of_objects(&store.reads()).len(), 1);
}

/// Story: bytes of a range were damaged on the way. The store compares a checksum of a whole
/// object, and a range has none. The checksums of its blocks show the damage, and the reader reads
/// again.
#[tokio::test]
async fn a_range_damaged_on_the_way_is_read_again() {
    let (store, collection) = prepared(1).await;
    let sound = ask(&collection.reader().await.unwrap(), query(7)).await;
    for (times, whole) in [(1, true), (2, true), (3, false)] {
        let reader = collection.reader().await.unwrap();
        store.damage(".emb", times);
        match reader.search(&[query(7)]).await {
            Ok(answers) => {
                assert!(whole, "{times} times");
                assert_eq!(answers[0].hits, sound.hits);
            }
            Err(error) => {
                assert!(!whole, "{times} times: {error}");
                assert_eq!(error.kind(), deltafold::ErrorKind::Corrupt);
                assert!(error.to_string().contains(".emb"), "{error}");
                // Damaged blocks are not held.
                assert_eq!(ask(&reader, query(7)).await.hits, sound.hits);
            }
        }
    }
    // Damage of rows.
    let reader = collection.reader().await.unwrap();
    ask(&reader, approximately(query(7))).await;
    store.damage(".emb", 3);
    let error = reader.search(&[approximately(query(7))]).await.unwrap_err();
    assert_eq!(error.kind(), deltafold::ErrorKind::Corrupt);
}

/// Each round of requests takes a second of virtual time.
#[tokio::test(start_paused = true)]
async fn a_search_from_nothing_takes_five_rounds() {
    for (shards, exactness) in
        [(1, Exactness::Exact), (1, Exactness::Approximate { candidates: 50 }), (2, Exactness::Exact)]
    {
        let (store, collection) = prepared(shards).await;
        let expected = ask(&collection.reader().await.unwrap(), query(7).exactness(exactness)).await;
        store.reads();
        store.slow_down();
        let collection =
            Collection::builder(Arc::new(store.clone()), &"c".parse().unwrap()).open_to_read().await.unwrap();
        let reader = collection.reader_to_search(exactness).await.unwrap();
        let answer = ask(&reader, query(7).exactness(exactness)).await;
        assert_eq!(answer.hits, expected.hits);
        let reads = store.reads();
        // Only the first shard's head is read beside the register.
        let later = u64::from(shards > 1);
        let last = |reads: &[Read]| reads.iter().map(|read| read.round).max().unwrap();
        assert!(last(&reads) <= 4 + later, "{reads:#?}");
        // Codes come beside the last check of the head, and rows in the next round.
        assert_eq!(last(&of_objects(&reads)), 3 + later, "{reads:#?}");
    }
}

/// The ids that a search finds. The reader takes its head from beside the register. While it reads
/// slot 2, the slot is folded and swept, and a writer that slept creates it anew.
async fn found_over_a_stale_segment() -> Vec<String> {
    let store = Watched::<Memory>::default();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(1)).await.unwrap();
    let put = |id: &str| vec![Op::put(id, Record { embedding: Some(vec![1.0]), ..Record::default() })];
    let (sleeper, awake) =
        <(Writer, Writer)>::from([(), ()].map(|()| collection.writer(WriterOptions::default()).unwrap()));
    sleeper.append(put("first")).await.unwrap();
    awake.append(put("second")).await.unwrap();
    let early = Collection::builder(Arc::new(store.clone()), &name).open_to_read().await.unwrap();
    store.before("get", "/log/00000000000000000002", move || async move {
        awake.append(put("third")).await.unwrap();
        collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
        let all = SweepOptions::KEEP_NOTHING;
        drop(collection.sweep(&all).await.unwrap());
        sleeper.append(put("fourth")).await.unwrap();
    });
    let reader = early.reader_to_search(Exactness::Exact).await.unwrap();
    assert!(store.all_reached());
    let found = ask(&reader, Query::new(vec![1.0], 10)).await;
    found.hits.into_iter().map(|hit| hit.entry.id).collect()
}

/// Story: a reader took the head from beside the register for the current one. That head is a hint:
/// the log and the check of the head behind it decide.
#[tokio::test]
async fn a_head_read_ahead_hides_nothing_acknowledged_since() {
    assert_eq!(found_over_a_stale_segment().await, ["first", "second", "third", "fourth"]);
}

/// The test above fails if the second check of the head is missing.
#[cfg(feature = "simulation")]
#[test]
fn without_the_second_look_an_acknowledged_op_is_missing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guards = [deltafold::simulation::Guard::TailRecheck];
    let found = deltafold::simulation::Guard::without(&guards, || runtime.block_on(found_over_a_stale_segment()));
    assert_eq!(found, ["first", "fourth"]);
}

/// A log that is not swept has more names than one short list holds. The reader then lists from the
/// last folded segment.
#[tokio::test]
async fn a_long_log_is_listed_from_the_last_folded_segment() {
    let store = Far::default();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(1)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let put = |number: usize| vec![Op::put(number.to_string(), Record::default())];
    for number in 0..520 {
        writer.append(put(number)).await.unwrap();
    }
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    for behind in [0, 1] {
        store.reads();
        let reader = collection.reader().await.unwrap();
        let lists = store.reads().into_iter().filter(|read| read.key.ends_with('/')).count();
        assert_eq!(lists, 2);
        assert_eq!(reader.positions()[0].tail.get(), 520 + behind);
        assert_eq!(reader.count().await.unwrap(), 520 + behind);
        writer.append(put(520)).await.unwrap();
    }
}

#[tokio::test]
async fn refresh_then_search_fetches_the_rows_alone() {
    let (store, collection) = prepared(1).await;
    let mut reader = collection.reader().await.unwrap();
    ask(&reader, query(7)).await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let put =
        |number| Op::put(format!("new{number}"), Record { embedding: Some(vectors()[7].clone()), ..Record::default() });
    writer.append((0..10).map(put).collect()).await.unwrap();
    store.reads();
    drop(reader.refresh().await.unwrap());
    let refreshed = store.reads();
    assert!(refreshed.iter().all(|read| !read.key.contains("/part/")), "{refreshed:?}");
    let answer = ask(&reader, query(7)).await;
    assert_eq!(answer.hits.iter().filter(|hit| hit.distance == 0.0).count(), 5);
    let reads = store.reads();
    assert!(reads.iter().all(|read| read.range.is_some() && read.bytes <= (128 << 10)), "{reads:?}");
}
