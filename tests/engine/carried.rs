//! Merges that take whole parts over by reference.

use std::sync::Arc;

use deltafold::format::{Change, Metadata, Op, Patch, Record, Value};
use deltafold::store::Memory;
use deltafold::{Collection, CompactorOptions, CreateOptions, Depth, Policy, ScanOptions, Writer, WriterOptions};
use deltafold_testing::random::Random;
use deltafold_testing::watched::Watched;
use futures::TryStreamExt;

/// A text of this many bytes that does not compress to less than half.
fn noise(random: &mut Random, bytes: usize) -> String {
    let letter = |random: &mut Random| char::from(b'!' + u8::try_from(random.below(90)).unwrap());
    (0..bytes).map(|_| letter(random)).collect()
}

async fn made(store: &Watched) -> (Collection, Writer) {
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

/// Appends each list of ops, and folds it into a run of its own.
async fn folded(collection: &Collection, writer: &Writer, runs: Vec<Vec<Op>>) {
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
    for ops in runs {
        writer.append(ops).await.unwrap();
        compactor.run_once().await.unwrap();
    }
}

async fn ids(collection: &Collection) -> Vec<String> {
    let reader = collection.reader().await.unwrap();
    let entries: Vec<_> = reader.scan(ScanOptions::default()).try_collect().await.unwrap();
    assert_eq!(reader.count().await.unwrap(), entries.len() as u64);
    entries.into_iter().map(|entry| entry.id).collect()
}

/// Story: 17,000 puts were folded and 17,000 upserts of later ids behind them. The merge took the
/// large part of the upserts into the base by reference, as no other run had ids in its range. The
/// base must hold whole records alone, so every read of it called the part damaged.
#[tokio::test]
async fn a_base_takes_no_upserts_by_reference() {
    let random = &mut Random::from_environment();
    let base = Record { document: Some(noise(random, 200 << 10)), ..Record::default() };
    let document = noise(random, 200 << 10);
    let patch = Patch { document: Change::Set(document.clone()), ..Patch::default() };
    let metadata: Metadata = [("n".to_owned(), Value::I64(1))].into();
    let record = Record { document: Some(document), metadata, ..Record::default() };
    let cases = [
        (Op::put("z", record.clone()), true),
        (Op::add("z", record), true),
        (Op::upsert("z", patch.clone()), true),
        (Op::patch("z", patch), false),
    ];
    for (op, is_record) in cases {
        let store = Watched::over(Memory::new());
        let (collection, writer) = made(&store).await;
        let case = format!("{:.60}", format!("{op:?}"));
        folded(&collection, &writer, vec![vec![Op::put("a", base.clone())], vec![op]]).await;
        collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
        let expected = if is_record { vec!["a", "z"] } else { vec!["a"] };
        assert_eq!(ids(&collection).await, expected, "{case}");
        let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
        assert!(report.findings.is_empty(), "{case}: {report:?}");
    }
}

/// Story: documents of 15 MiB that compress to a few KiB were decoded and encoded by the fold, and
/// again by every merge, which judged a part by its stored bytes alone.
#[tokio::test]
async fn a_merge_carries_long_documents_of_few_stored_bytes() {
    let store = Watched::over(Memory::new());
    let (collection, writer) = made(&store).await;
    let long = |id: &str| Op::put(id, Record { document: Some(id.repeat(600 << 10)), ..Record::default() });
    let short = |id: &str| Op::put(id, Record { document: Some(id.repeat(100)), ..Record::default() });
    folded(&collection, &writer, vec![vec![long("a")], vec![long("b")], vec![short("c")], vec![long("d")]]).await;
    let before = store.keys(".meta").await;
    collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    let written: Vec<_> = store.keys(".meta").await.into_iter().filter(|key| !before.contains(key)).collect();
    assert_eq!(written.len(), 1, "one part, of `c` and of `d` behind it: {written:?}");
    assert_eq!(ids(&collection).await, ["a", "b", "c", "d"]);
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
    let document = collection.reader().await.unwrap().get("b").await.unwrap().unwrap().record.document;
    assert_eq!(document, Some("b".repeat(600 << 10)));
}
