//! Runs of several parts: scans cross from one part to the next, and a read touches only the parts
//! that it needs.

use std::ops::Bound;
use std::sync::Arc;

use deltafold::format::{Op, Patch, Position, Record, ShardId, Value};
use deltafold::store::Memory;
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Entry, MemoryLimit, Order, Policy, Reader, ScanOptions, Warm, Writer,
    WriterOptions,
};
use deltafold_testing::model::Model;
use deltafold_testing::watched::Watched;
use futures::{StreamExt, TryStreamExt};

/// The base then has four parts of at most 2 MiB, about 42,000 rows each.
const RECORDS: usize = 140_000;

fn id(number: usize) -> String {
    format!("r{number:06}")
}

fn patch(number: usize, key: &str) -> Op {
    let metadata = [(key.to_owned(), Some(Value::I64(1)))].into();
    Op::patch(id(number), Patch { metadata, ..Patch::default() })
}

async fn append(writer: &Writer, model: &mut Model, ops: Vec<Op>) {
    let ack = writer.append(ops.clone()).await.unwrap();
    let (_, sequence) = ack.segments()[0];
    for (index, op) in ops.into_iter().enumerate() {
        model.apply(op, ShardId::default(), Position::new(sequence, index).unwrap());
    }
}

/// A base of four parts, a newer run and a log, each with changes in all three.
async fn prepared() -> (Watched, Collection, Model) {
    let store = Watched::default();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0).fold_bytes(u64::MAX);
    let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
    let mut model = Model::default();
    let record = |number| Record { document: Some(format!("{number}")), ..Record::default() };
    // Inserted from the last id to the first; every second id comes later.
    let numbers: Vec<usize> = (0..RECORDS).rev().step_by(2).chain((0..RECORDS).rev().skip(1).step_by(2)).collect();
    for numbers in numbers.chunks(8_000) {
        append(&writer, &mut model, numbers.iter().map(|n| Op::put(id(*n), record(*n))).collect()).await;
    }
    compactor.run_once().await.unwrap();
    for (key, first) in [("fold", 0), ("log", 1)] {
        let patches = (first..RECORDS).step_by(1_000).map(|n| patch(n, key));
        let deletes = (first..RECORDS).step_by(700).map(|n| Op::delete(id(n)));
        let again = (first..RECORDS).step_by(2_100).map(|n| Op::put(id(n), record(n)));
        let new = (0..50).map(|n| Op::put(format!("r0{key}{n}"), record(n)));
        append(&writer, &mut model, patches.chain(deletes).chain(again).chain(new).collect()).await;
        if key == "fold" {
            compactor.run_once().await.unwrap();
        }
    }
    store.calls();
    (store, collection, model)
}

async fn scan(reader: &Reader, options: ScanOptions) -> Vec<Entry> {
    reader.scan(options).try_collect().await.unwrap()
}

#[tokio::test]
async fn reads_over_several_parts() {
    let (store, collection, model) = prepared().await;
    let cold = collection.reader().await.unwrap();
    let opened = store.calls();
    let verbs: Vec<&str> = opened.iter().map(|call| call.split('/').next().unwrap()).collect();
    assert_eq!(verbs, ["list ", "get head", "get manifest", "get log", "get_unless head"]);

    assert_eq!(cold.count().await.unwrap(), model.records.len() as u64);
    let by_id = model.by_id();
    assert_eq!(scan(&cold, ScanOptions::default()).await, by_id);
    let parts = |calls: &[String]| calls.iter().filter(|call| call.ends_with(".meta")).count();
    assert_eq!(parts(&store.calls()), 5 + 5, "a count keeps fronts, and a whole scan reads each part and keeps none");

    cold.get(&id(70_002)).await.unwrap().unwrap();
    assert_eq!(parts(&store.calls()), 1, "the document of the base: kept fronts tell the rest");
    assert!(cold.contains(&id(70_003)).await.unwrap());
    assert!(!cold.contains("r").await.unwrap(), "before all parts");
    assert!(!cold.contains("s").await.unwrap(), "behind them");
    assert_eq!(store.calls(), [""; 0]);

    for around in [42_000, 84_000, 126_000, 100_000] {
        let (start, end) = (Bound::Excluded(id(around - 1_500)), Bound::Included(id(around + 1_500)));
        let range = ScanOptions::default().start(start.clone()).end(end.clone());
        let expected: Vec<Entry> = model.records.range((start, end)).map(|(_, entry)| entry.clone()).collect();
        assert_eq!(scan(&cold, range.clone()).await, expected);
        let limited = range.limit(Some(1_234));
        assert_eq!(scan(&cold, limited).await, expected[..1_234]);
    }
    let prefix = ScanOptions::default().prefix(Some("r13107".to_owned()));
    let begins = |entry: &&Entry| entry.id.starts_with("r13107");
    assert_eq!(scan(&cold, prefix).await, by_id.iter().filter(begins).cloned().collect::<Vec<_>>());

    let warm = collection.warm_reader().await.unwrap();
    warm.warm(&Warm::default().documents()).await.unwrap();
    store.calls();
    assert_eq!(scan(&warm, ScanOptions::default()).await, by_id);
    let insertion = ScanOptions::default().order(Order::Insertion);
    let expected = model.by_insertion();
    assert_eq!(scan(&warm, insertion.clone().limit(Some(777))).await, expected[..777]);
    assert_eq!(scan(&warm, insertion).await, expected);
    assert_eq!(warm.count().await.unwrap(), by_id.len() as u64);
    assert_eq!(store.calls(), [""; 0], "nothing is read that was read");

    // An open stream goes on over the state at its beginning.
    let mut stream = warm.scan(ScanOptions::default());
    let mut streamed: Vec<Entry> = (&mut stream).take(1_000).try_collect().await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(by_id.iter().step_by(3).map(|entry| Op::delete(&entry.id)).collect()).await.unwrap();
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    drop((warm, cold));
    let rest: Vec<Entry> = stream.try_collect().await.unwrap();
    streamed.extend(rest);
    assert_eq!(streamed, by_id);
}

/// Story: a scan makes the records of neighbouring rows together. Rows with documents of a MiB each
/// would take all memory. Now a batch ends once it has taken its share.
#[tokio::test]
async fn batches_of_large_documents_hold_few_records() {
    let name = "c".parse().unwrap();
    let collection =
        Collection::create(Arc::new(Watched::<Memory>::default()), &name, &CreateOptions::new(2)).await.unwrap();
    let collection = collection.with_memory(MemoryLimit::SMALLEST);
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let record = |number: u8| Record {
        embedding: Some(vec![number.into(), 1.0]),
        document: Some(char::from(b'a' + number).to_string().repeat(1 << 20)),
        ..Record::default()
    };
    writer.append((0..12).map(|number| Op::put(id(number.into()), record(number))).collect()).await.unwrap();
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    let reader = collection.reader().await.unwrap();
    for order in [Order::Id, Order::Insertion] {
        let options = ScanOptions::default().order(order);
        let batches: Vec<Vec<Entry>> = reader.scan_batches(options).try_collect().await.unwrap();
        let records = batches.iter().map(Vec::len);
        assert!(records.clone().all(|records| (1..=4).contains(&records)), "{order:?}: {records:?}");
        let entries: Vec<Entry> = batches.into_iter().flatten().collect();
        let expected: Vec<Record> = (0..12).map(record).collect();
        assert_eq!(entries.into_iter().map(|entry| entry.record).collect::<Vec<_>>(), expected);
    }
}
