//! Reads of a distant store fetch only the pieces of parts that they need. The tests count requests
//! and bytes.

use std::sync::Arc;

use deltafold::format::{Op, Patch, Record, Value};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, ErrorKind, Filter, Find, GetOptions, Include, Order, Policy, Query,
    Reader, ScanOptions, Warm, WriterOptions,
};
use deltafold_testing::far::{Far, Read};
use deltafold_testing::random::Random;
use futures::TryStreamExt;

const RECORDS: usize = 360;
/// So long that a part holds about 120 records, and a block of documents two.
const DOCUMENT: usize = 30_000;

fn id(number: usize) -> String {
    format!("{number:05}")
}

/// Text that hardly compresses, so that stored bytes show how much was read.
fn document(number: usize) -> String {
    let mut random = Random::new(number as u64 + 1);
    let letters = (0..DOCUMENT).map(|_| char::from(b' ' + u8::try_from(random.below(95)).unwrap()));
    format!("record {number} {}", letters.collect::<String>())
}

fn record(number: usize) -> Record {
    let mut metadata = deltafold::format::Metadata::new();
    metadata.insert("number".to_owned(), Value::I64(number as i64));
    metadata.insert("title".to_owned(), Value::String(format!("the title of {number}")));
    if number < 20 {
        metadata.insert("rare".to_owned(), Value::Bool(true));
    }
    Record { embedding: Some(vec![number as f32, 1.0]), metadata, document: Some(document(number)) }
}

/// A collection of one base of three or four parts, and nothing behind it.
async fn prepared() -> (Far, Collection) {
    let store = Far::default();
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let ops: Vec<Op> = (0..RECORDS).map(|number| Op::put(id(number), record(number))).collect();
    for ops in ops.chunks(100) {
        writer.append(ops.to_vec()).await.unwrap();
    }
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    store.reads();
    (store, collection)
}

/// Reads of parts since the last call.
fn of_parts(store: &Far) -> Vec<Read> {
    store.reads().into_iter().filter(|read| read.key.ends_with(".meta")).collect()
}

fn bytes(reads: &[Read]) -> u64 {
    reads.iter().map(|read| read.bytes).sum()
}

async fn found(reader: &Reader, find: &Find) -> Vec<String> {
    let entries: Vec<_> = reader.find(find).await.unwrap().try_collect().await.unwrap();
    entries.into_iter().map(|entry| entry.id).collect()
}

/// The number of parts of the base.
async fn parts(reader: &Reader) -> usize {
    usize::try_from(reader.warmth().parts).unwrap()
}

/// The kind of object that a request reads, or `list`.
fn kind(read: &Read) -> &str {
    match read.key.split('/').nth(2) {
        None => "register",
        Some("") => "list",
        Some(_) if read.key.ends_with(".emb") => "embeddings",
        Some(kind) => kind,
    }
}

/// Each round of requests takes a second of virtual time.
#[tokio::test(start_paused = true)]
async fn a_cold_get_takes_six_requests_in_four_rounds() {
    let (store, _) = prepared().await;
    store.slow_down();
    let name = "c".parse().unwrap();
    let opened = Collection::builder(Arc::new(store.clone()), &name).open_with_reader().await.unwrap();
    let entry = opened.1.get(&id(123)).await.unwrap().unwrap();
    assert_eq!(entry.record, record(123));
    let reads = store.reads();
    let mut rounds: Vec<(u64, &str)> = reads.iter().map(|read| (read.round, kind(read))).collect();
    rounds.sort_unstable();
    // The names of the log and a head read after them prove that the log is empty. The part takes
    // two reads: its front with all columns in one range, and a block of documents. The embedding
    // adds one, as its object is small.
    let expected =
        [(0, "list"), (0, "register"), (1, "head"), (1, "manifest"), (2, "part"), (3, "embeddings"), (3, "part")];
    assert_eq!(rounds, expected, "{reads:#?}");
    let part: Vec<&Read> = reads.iter().filter(|read| kind(read) == "part").collect();
    assert_eq!(part[0].range.unwrap().0, 0);
    assert!(part[0].bytes < 16 << 10 && part[1].bytes < 70 << 10, "{part:#?}");
}

/// Segments not yet folded come in one round, and the second check of the head in another.
#[tokio::test(start_paused = true)]
async fn a_log_adds_two_rounds_to_a_cold_get() {
    let (store, collection) = prepared().await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    for number in 0..36 {
        writer.append(vec![Op::put(format!("new{number}"), record(number))]).await.unwrap();
    }
    store.reads();
    store.slow_down();
    let name = "c".parse().unwrap();
    let opened = Collection::builder(Arc::new(store.clone()), &name).open_with_reader().await.unwrap();
    assert_eq!(opened.1.get(&id(123)).await.unwrap().unwrap().record, record(123));
    let reads = store.reads();
    let of = |wanted: &str| reads.iter().filter(|read| kind(read) == wanted).map(|read| read.round).collect::<Vec<_>>();
    assert_eq!(of("log"), [2; 36], "{reads:#?}");
    assert_eq!((of("head"), of("part")), (vec![1, 3], vec![4, 5]), "{reads:#?}");
}

/// A process that reads one record reads no embeddings of other records in the log. It reads the
/// part beside the segments.
#[tokio::test(start_paused = true)]
async fn one_record_is_read_without_the_embeddings_of_others() {
    const DIMENSION: u32 = 512;
    let store = Far::default();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(DIMENSION)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let put = |number: usize| {
        let embedding = Some(vec![number as f32; DIMENSION as usize]);
        let document = Some(format!("the document of record {number}"));
        Op::put(id(number), Record { embedding, document, ..Record::default() })
    };
    writer.append((0..200).map(put).collect()).await.unwrap();
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    for segment in 1..=36 {
        writer.append((segment * 200..segment * 200 + 100).map(put).collect()).await.unwrap();
    }
    writer.append(vec![Op::delete(id(9)), Op::delete(id(211)), put(8)]).await.unwrap();
    let reader = collection.reader().await.unwrap();
    store.reads();
    // The record is in the base; in a segment; in neither; deleted in the log, from the base and
    // from the log; in the last segment.
    for (number, more) in [(7, 0), (405, 1), (150_000, 0), (9, 0), (211, 1), (8, 0)] {
        store.slow_down();
        let open = Arc::new(store.clone());
        let found = Collection::builder(open, &name).open_and_get(&id(number)).await.unwrap();
        let reads = store.reads();
        let of = |wanted: &str| {
            let of = reads.iter().filter(|read| kind(read) == wanted);
            of.map(|read| read.round).collect::<Vec<_>>()
        };
        assert_eq!(of("log").len(), 37 + more, "{number}: {reads:#?}");
        assert!(of("log").iter().all(|round| (2..=3).contains(round)), "{number}: {reads:#?}");
        assert_eq!(of("head"), [1, 3 + more as u64], "{number}: {reads:#?}");
        assert!(reads.iter().all(|read| read.round <= 3 + more as u64), "{number}: {reads:#?}");
        assert!(bytes(&reads) < 37 * (70 << 10) + (1 + more as u64) * (300 << 10), "{} bytes", bytes(&reads));
        assert_eq!(found, reader.get(&id(number)).await.unwrap(), "{number}");
        store.reads();
    }
}

/// Story: `get --no-embeddings` fetched each embedding, and then left it out.
#[tokio::test]
async fn a_get_without_embeddings_fetches_none() {
    let (store, collection) = prepared().await;
    let (name, options) = ("c".parse().unwrap(), GetOptions::default().embedding(false));
    let open = Arc::new(store.clone());
    let cold = Collection::builder(open, &name).open_and_get_with(&id(5), &options).await.unwrap();
    let reader = collection.reader().await.unwrap();
    let warm = reader.get_many_with(&[id(5), id(7)], &options).await.unwrap();
    assert!(!store.reads().iter().any(|read| kind(read) == "embeddings"));
    for (found, number) in [cold].iter().chain(&warm).zip([5, 5, 7]) {
        let expected = Record { embedding: None, ..record(number) };
        assert_eq!(found.as_ref().unwrap().record, expected);
    }
    assert!(reader.get_with(&id(5), &GetOptions::default()).await.unwrap().unwrap().record.embedding.is_some());
    assert!(store.reads().iter().any(|read| kind(read) == "embeddings"));
}

/// Several runs hold rows of one id. Their parts come in one round, and so do their documents.
#[tokio::test(start_paused = true)]
async fn a_get_reads_the_parts_of_all_runs_at_once() {
    let (store, collection) = prepared().await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    for key in ["one", "two"] {
        let metadata = [(key.to_owned(), Some(Value::Bool(true)))].into();
        writer.append(vec![Op::patch(id(123), Patch { metadata, ..Patch::default() })]).await.unwrap();
        collection.compactor(CompactorOptions::default().policy(policy.clone())).run_once().await.unwrap();
    }
    let reader = collection.reader().await.unwrap();
    store.reads();
    store.slow_down();
    let entry = reader.get(&id(123)).await.unwrap().unwrap();
    assert_eq!(entry.record.document, record(123).document);
    assert_eq!(entry.record.metadata.len(), record(123).metadata.len() + 2);
    let rounds: Vec<u64> = of_parts(&store).into_iter().map(|read| read.round).collect();
    assert_eq!(rounds, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_second_get_reads_a_block_of_documents_alone() {
    let (store, collection) = prepared().await;
    let reader = collection.reader().await.unwrap();
    reader.get(&id(0)).await.unwrap().unwrap();
    store.reads();
    assert_eq!(reader.get(&id(7)).await.unwrap().unwrap().record, record(7));
    let reads = of_parts(&store);
    assert_eq!(reads.len(), 1, "{reads:?}");
    assert!(reads[0].bytes < 70 << 10, "{reads:?}");
    assert!(reader.contains(&id(7)).await.unwrap() && !reader.contains("00007x").await.unwrap());
    assert_eq!(of_parts(&store), []);
}

#[tokio::test]
async fn a_count_reads_fronts_alone() {
    let (store, collection) = prepared().await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![Op::delete(id(5)), Op::put("new", Record::default())]).await.unwrap();
    let reader = collection.reader().await.unwrap();
    store.reads();
    assert_eq!(reader.count().await.unwrap(), RECORDS as u64);
    let reads = of_parts(&store);
    assert!(!reads.is_empty() && reads.len() <= 2, "the parts that the log touches: {reads:?}");
    assert!(reads.iter().all(|read| read.range.is_some() && read.bytes < 8 << 10), "{reads:?}");
    // The columns of every part are still to be read, also of those whose front is in memory.
    reader.warm(&Warm::default().columns()).await.unwrap();
    assert_eq!(of_parts(&store).len(), parts(&reader).await);
}

/// A filter on a key that only one part has: the summaries of the others rule them out.
#[tokio::test]
async fn a_filter_reads_its_columns_of_parts_that_may_match() {
    let (store, collection) = prepared().await;
    let reader = collection.reader().await.unwrap();
    assert!(parts(&reader).await >= 3, "{} parts", parts(&reader).await);
    let include = Include::NOTHING;
    store.reads();
    assert_eq!(reader.count_matching(&Filter::exists("absent")).await.unwrap(), 0);
    let fronts = of_parts(&store);
    assert_eq!(fronts.len(), parts(&reader).await, "{fronts:?}");
    assert!(bytes(&fronts) < 32 << 10, "{fronts:?}");

    let rare = Find::new(Filter::equals("rare", true)).include(include);
    assert_eq!(found(&reader, &rare).await, (0..20).map(id).collect::<Vec<_>>());
    let reads = of_parts(&store);
    assert_eq!(reads.len(), 1, "one column of one part: {reads:?}");
    assert!(reads[0].bytes < 512, "{reads:?}");

    // Bounds rule out all parts but one, and no other part's column is read.
    let one = Find::new(Filter::equals("number", 359)).include(include);
    assert_eq!(found(&reader, &one).await, [id(359)]);
    let reads = of_parts(&store);
    assert_eq!(reads.len(), 1, "{reads:?}");
    assert!(reads[0].bytes < 2 << 10, "{reads:?}");
    assert_eq!(found(&reader, &one).await, [id(359)]);
    assert_eq!(of_parts(&store), [], "columns that were read are kept");

    // Every row has the key: the summary alone decides.
    let all = Find::new(Filter::exists("title")).include(include);
    assert_eq!(found(&reader, &all).await.len(), RECORDS);
    assert_eq!(of_parts(&store), []);
}

#[tokio::test]
async fn a_document_filter_reads_only_blocks_left_open_by_columns() {
    let (store, collection) = prepared().await;
    let reader = collection.reader().await.unwrap();
    assert_eq!(reader.count_matching(&Filter::exists("absent")).await.unwrap(), 0);
    store.reads();
    let text = Filter::document_contains("record 11 ");
    assert_eq!(reader.count_matching(&Filter::equals("rare", true).and(text.clone())).await.unwrap(), 1);
    let reads = of_parts(&store);
    // Of 20 records, in blocks of two.
    assert!(bytes(&reads) < (20 + 2) * DOCUMENT as u64, "{reads:?}");
    assert_eq!(reader.count_matching(&text).await.unwrap(), 1);
    assert!(bytes(&of_parts(&store)) > RECORDS as u64 * DOCUMENT as u64 / 2, "all documents were read");
    assert_eq!(reader.warmth().documents, 0);
}

#[tokio::test]
async fn hits_read_columns_and_documents_of_winners_alone() {
    let (store, collection) = prepared().await;
    let reader = collection.reader().await.unwrap();
    let query = |include| Query::new(vec![200.0, 1.0], 3).include(include);
    reader.search(&[query(Include::NOTHING)]).await.unwrap();
    let fronts = of_parts(&store);
    assert_eq!(fronts.len(), parts(&reader).await);
    assert!(bytes(&fronts) < 32 << 10, "an answer of ids reads fronts alone: {fronts:?}");
    let answer = reader.search(&[query(Include::ALL)]).await.unwrap().remove(0);
    for hit in &answer.hits {
        let number: usize = hit.entry.id.parse().unwrap();
        assert_eq!(hit.entry.record, record(number));
    }
    let reads = of_parts(&store);
    // Three adjacent records are in two blocks at most; a part may end between them.
    assert!(reads.len() <= 4 && bytes(&reads) < 5 * DOCUMENT as u64 + (16 << 10), "{reads:?}");
    let metadata = query(Include::NOTHING.metadata(true));
    let answer = reader.search(&[metadata]).await.unwrap().remove(0);
    assert!(answer.hits.iter().all(|hit| hit.entry.record.document.is_none() && !hit.entry.record.metadata.is_empty()));
    assert_eq!(of_parts(&store), [], "the columns are kept");
}

#[tokio::test]
async fn many_records_of_a_find_read_each_block_about_once() {
    let (store, collection) = prepared().await;
    let reader = collection.reader().await.unwrap();
    reader.count_matching(&Filter::exists("absent")).await.unwrap();
    store.reads();
    let entries: Vec<_> = reader.find(&Find::all()).await.unwrap().try_collect().await.unwrap();
    assert_eq!(entries.len(), RECORDS);
    assert!(entries.iter().enumerate().all(|(number, entry)| entry.record.document == record(number).document));
    let reads = of_parts(&store);
    assert!(bytes(&reads) < (RECORDS * DOCUMENT * 5 / 4) as u64, "{} bytes", bytes(&reads));
    assert!(reads.len() < 40, "{} requests", reads.len());
}

#[tokio::test]
async fn no_document_stays_in_memory_unless_asked() {
    let (store, collection) = prepared().await;
    let reader = collection.reader().await.unwrap();
    reader.get(&id(3)).await.unwrap();
    let by_insertion = ScanOptions::default().order(Order::Insertion);
    let narrow = ScanOptions::default().prefix(Some("0001".to_owned()));
    for options in [by_insertion, narrow, ScanOptions::default()] {
        reader.scan(options).try_collect::<Vec<_>>().await.unwrap();
    }
    let _: Vec<_> = reader.find(&Find::all()).await.unwrap().try_collect().await.unwrap();
    let warmth = reader.warm(&Warm::default().columns()).await.unwrap();
    assert_eq!((warmth.kept, warmth.documents), (warmth.parts, 0));
    assert!(warmth.memory_bytes < 256 << 10, "{warmth:?}");
    let warmth = reader.warm(&Warm::default().documents().rows()).await.unwrap();
    assert!(warmth.is_complete() && warmth.documents == warmth.parts, "{warmth:?}");
    assert!(warmth.memory_bytes > (RECORDS * DOCUMENT) as u64, "{warmth:?}");
    store.reads();
    assert_eq!(reader.get(&id(77)).await.unwrap().unwrap().record, record(77));
    reader.scan(ScanOptions::default().order(Order::Insertion)).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(reader.warmth().documents, warmth.parts);
    assert_eq!(of_parts(&store), []);
}

/// A patch of metadata in the log needs the columns of the record below, but not its document.
#[tokio::test]
async fn a_search_over_patches_in_the_log_reads_no_document() {
    let (store, collection) = prepared().await;
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let patch = |number| {
        let metadata = [("seen".to_owned(), Some(Value::Bool(true)))].into();
        Op::patch(id(number), Patch { metadata, ..Patch::default() })
    };
    writer.append((0..RECORDS).step_by(10).map(patch).collect()).await.unwrap();
    let reader = collection.reader().await.unwrap();
    store.reads();
    let seen = Filter::equals("seen", true).and(Filter::exists("rare"));
    assert_eq!(reader.count_matching(&seen).await.unwrap(), 2);
    let reads = of_parts(&store);
    assert!(bytes(&reads) < 64 << 10, "{reads:?}");
    let entries: Vec<_> = reader.find(&Find::new(seen)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.record.document.clone()).collect::<Vec<_>>(),
        [0, 10].map(|n| record(n).document)
    );
}

/// Story: bytes of a range were damaged on the way. The store compares a checksum of a whole
/// object, and a range has none. The checksums of its pieces show the damage, and the reader reads
/// again.
#[tokio::test]
async fn a_piece_damaged_on_the_way_is_read_again() {
    let (store, collection) = prepared().await;
    // Columns and a block of documents are two ranges, and each is read up to three times.
    for (times, whole) in [(1, true), (4, true), (6, false)] {
        let reader = collection.reader().await.unwrap();
        reader.contains(&id(9)).await.unwrap();
        store.damage(".meta", times);
        match reader.get(&id(9)).await {
            Ok(entry) => {
                assert!(whole, "{times} times");
                assert_eq!(entry.unwrap().record, record(9));
            }
            Err(error) => {
                assert!(!whole, "{times} times: {error}");
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert!(error.to_string().contains(".meta"), "{error}");
                // Damaged pieces are not kept.
                assert_eq!(reader.get(&id(9)).await.unwrap().unwrap().record, record(9));
            }
        }
    }
    let reader = collection.reader().await.unwrap();
    store.damage(".meta", 3);
    assert_eq!(reader.contains(&id(9)).await.unwrap_err().kind(), ErrorKind::Corrupt);
}
