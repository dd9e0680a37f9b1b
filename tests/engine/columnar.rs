//! Parquet and Arrow files: out and in again equal, and clear errors for everything else.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deltafold::columnar::{Shape, TableError, TableFormat, TableOptions, TableReader, TableWriter};
use deltafold::format::{Op, OpRules, Record, Revision, Value};
use deltafold::store::Memory;
use deltafold::{Collection, CreateOptions, Entry, Order, ScanOptions, WriterOptions};
use deltafold_testing::random::Random;
use futures::TryStreamExt;

const FORMATS: [TableFormat; 2] = [TableFormat::Parquet, TableFormat::Arrow];

async fn made(options: &CreateOptions) -> Collection {
    Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), options).await.unwrap()
}

/// Records with every type of value, and with every field missing once.
fn records() -> Vec<(String, Record)> {
    let value = |number: usize| match number % 8 {
        0 => Value::String(format!("text {number} é")),
        1 => Value::I64(i64::MIN + number as i64),
        2 => Value::F64(0.1 + number as f64),
        3 => Value::Bool(number.is_multiple_of(3)),
        4 => Value::Strings((0..number % 3).map(|n| n.to_string()).collect()),
        5 => Value::I64s(vec![number as i64; number % 4]),
        6 => Value::F64s(vec![-0.0; number % 2]),
        _ => Value::Bools(vec![true, false]),
    };
    (0..3_000)
        .map(|number| {
            let mut record = Record::default();
            if number % 7 != 0 {
                record.embedding = Some(vec![f32::from_bits(number as u32 * 77_777), -0.0, f32::MIN_POSITIVE]);
            }
            match number % 3 {
                0 => {}
                1 => record.document = Some(String::new()),
                _ => record.document = Some(format!("document\n\"{number}\"")),
            }
            if number % 5 != 0 {
                record.metadata.insert(format!("typed.{}", number % 8), value(number));
            }
            if number % 2 == 0 {
                // An empty list of unknown type is a list of texts.
                let mixed =
                    Some(value(number / 2)).filter(|value| !matches!(value, Value::I64s(list) if list.is_empty()));
                let mixed = mixed.filter(|value| !matches!(value, Value::F64s(list) if list.is_empty()));
                record.metadata.extend(mixed.map(|value| ("mixed".to_owned(), value)));
            }
            (format!("r{number}"), record)
        })
        .collect()
}

async fn filled(options: &CreateOptions) -> Collection {
    let collection = made(options).await;
    let by_revision = options.ordering != deltafold::format::Ordering::Log;
    let ops = records().into_iter().enumerate().map(|(number, (id, record))| {
        let op = Op::put(id, record);
        if by_revision { op.at(Revision::new(u128::MAX - number as u128)) } else { op }
    });
    collection.writer(WriterOptions::default()).unwrap().append(ops.collect()).await.unwrap();
    collection
}

async fn entries(collection: &Collection) -> Vec<Entry> {
    let reader = collection.reader().await.unwrap();
    reader.scan(ScanOptions::default().order(Order::Insertion)).try_collect().await.unwrap()
}

async fn export(collection: &Collection, format: TableFormat, path: &Path) {
    let reader = collection.reader().await.unwrap();
    let mut shape = Shape::default();
    let entries = entries(collection).await;
    entries.iter().for_each(|entry| shape.note(&entry.record.metadata));
    let file = File::create(path).unwrap();
    let mut writer = TableWriter::new(file, format, &shape, collection, &reader).unwrap();
    for entry in entries {
        writer.write(entry).unwrap();
    }
    writer.finish().unwrap();
}

fn read(path: &Path, format: TableFormat, options: &TableOptions) -> Result<Vec<(u128, Op)>, TableError> {
    let mut reader = TableReader::open(File::open(path).unwrap(), format, options)?;
    let mut all = Vec::new();
    while let Some(next) = reader.next_ops()? {
        all.extend(next.ops);
        if let Some(error) = next.refused {
            return Err(error);
        }
    }
    Ok(all)
}

fn rules() -> OpRules {
    OpRules::log(3)
}

/// Bits of embeddings, not their values: -0.0 equals 0.0.
fn bits(record: &Record) -> Option<Vec<u32>> {
    record.embedding.as_ref().map(|numbers| numbers.iter().map(|number| number.to_bits()).collect())
}

#[tokio::test]
async fn a_file_comes_in_as_it_went_out() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        for options in [CreateOptions::new(3), CreateOptions::new(3).shards(2).by_revision(Duration::from_secs(9))] {
            let collection = filled(&options).await;
            let path = folder.path().join("file");
            export(&collection, format, &path).await;
            let ops = read(&path, format, &TableOptions::new(collection.config().rules())).unwrap();
            assert!(ops.iter().map(|(row, _)| *row).eq(1..=3_000), "the positions are the rows");
            let again = made(&options).await;
            again.writer(WriterOptions::default()).unwrap().append_run("file", ops).await.unwrap();
            let (ours, theirs) = (entries(&collection).await, entries(&again).await);
            assert_eq!(ours.len(), 3_000);
            let mut ours: Vec<_> =
                ours.into_iter().map(|entry| (entry.id, entry.changed.revision(), entry.record)).collect();
            let mut theirs: Vec<_> =
                theirs.into_iter().map(|entry| (entry.id, entry.changed.revision(), entry.record)).collect();
            if options.shards == 1 {
                assert!(ours.iter().map(|(id, ..)| id).eq(theirs.iter().map(|(id, ..)| id)), "in the same order");
            }
            ours.sort_by(|a, b| a.0.cmp(&b.0));
            theirs.sort_by(|a, b| a.0.cmp(&b.0));
            for (a, b) in ours.iter().zip(&theirs) {
                assert_eq!(a, b);
                assert_eq!(bits(&a.2), bits(&b.2));
            }
        }
    }
}

#[tokio::test]
async fn a_reader_begins_with_the_row_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let collection = filled(&CreateOptions::new(3)).await;
    for format in FORMATS {
        let path = folder.path().join("file");
        export(&collection, format, &path).await;
        let mut options = TableOptions::new(rules());
        options.from_row = 2_999;
        let rows: Vec<u128> = read(&path, format, &options).unwrap().into_iter().map(|(row, _)| row).collect();
        assert_eq!(rows, [2_999, 3_000]);
    }
}

#[tokio::test]
async fn an_empty_collection_is_a_file_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    let collection = made(&CreateOptions::new(3)).await;
    for format in FORMATS {
        let path = folder.path().join("file");
        export(&collection, format, &path).await;
        assert_eq!(read(&path, format, &TableOptions::new(rules())).unwrap(), []);
    }
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_named_with_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let collection = filled(&CreateOptions::new(3)).await;
    for format in FORMATS {
        let path = folder.path().join("file");
        export(&collection, format, &path).await;
        let error = read(&path, format, &TableOptions::new(OpRules::log(4))).unwrap_err();
        assert_eq!((error.row(), error.column()), (Some(2), "embedding"), "the first row has no embedding");
        assert!(error.to_string().contains("3 numbers, the collection's dimension is 4"), "{error}");
        let mut options = TableOptions::new(rules());
        options.columns = "id=document".parse().unwrap();
        let error = read(&path, format, &options).unwrap_err();
        assert_eq!((error.row(), error.column()), (Some(1), "document"));
        assert!(error.to_string().contains("each row needs an id"), "{error}");
        options.columns = "embedding=document".parse().unwrap();
        let error = read(&path, format, &options).unwrap_err();
        assert_eq!((error.row(), error.column()), (Some(2), "document"), "the first one that is not null");
        assert!(
            error.to_string().contains("it holds texts, and lists of 16, 32 or 64-bit floats are needed"),
            "{error}"
        );
        options.columns = "document=embedding,metadata=".parse().unwrap();
        let error = read(&path, format, &options).unwrap_err();
        assert!(error.to_string().contains("it holds lists of"), "{error}");
    }
}

#[tokio::test]
async fn rows_that_break_a_rule_are_told_and_reading_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let collection = filled(&CreateOptions::new(3)).await;
    let all = entries(&collection).await;
    for format in FORMATS {
        let path = folder.path().join("file");
        export(&collection, format, &path).await;
        // Records without a document have no id then.
        let mut options = TableOptions::new(rules());
        (options.columns, options.goes_on) = ("id=document".parse().unwrap(), true);
        let mut reader = TableReader::open(File::open(&path).unwrap(), format, &options).unwrap();
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        while let Some(next) = reader.next_ops().unwrap() {
            assert_eq!(next.refused, None);
            taken.extend(next.ops.into_iter().map(|(row, _)| row));
            refused.extend(next.rejected.iter().map(|error| u128::from(error.row().unwrap())));
        }
        let rows = |with: bool| -> Vec<u128> {
            let rows = (1..).zip(&all);
            rows.filter(|(_, entry)| entry.record.document.as_ref().is_some_and(|text| !text.is_empty()) == with)
                .map(|(row, _)| row)
                .collect()
        };
        assert_eq!((taken, refused), (rows(true), rows(false)), "{format:?}");
    }
}

#[test]
fn a_number_that_is_none_is_named_with_its_element() {
    use arrow_array::types::Float32Type;
    use arrow_array::{ArrayRef, FixedSizeListArray, RecordBatch, RecordBatchIterator, StringArray};

    let rows = [Some([Some(1.0), Some(2.0)]), Some([Some(1.0), Some(f32::NAN)])];
    let numbers = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 2);
    let columns: [(&str, ArrayRef); 2] =
        [("id", Arc::new(StringArray::from(vec!["a", "b"]))), ("vector", Arc::new(numbers))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let schema = batch.schema();
    let batches = RecordBatchIterator::new([Ok(batch)], schema);
    let mut reader = TableReader::of_batches(batches, &TableOptions::new(OpRules::log(2))).unwrap();
    let error = reader.next_ops().unwrap().unwrap().refused.unwrap();
    assert_eq!((error.row(), error.column()), (Some(2), "vector[1]"), "{error}");
    assert!(error.to_string().contains("not finite"), "{error}");
}

#[tokio::test]
async fn a_file_cut_short_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let collection = filled(&CreateOptions::new(3)).await;
    let mut random = Random::from_environment();
    for format in FORMATS {
        let path = folder.path().join("file");
        export(&collection, format, &path).await;
        let whole = std::fs::read(&path).unwrap();
        let cuts = (0..40).map(|_| random.index(whole.len())).chain([0, 1, 7, 8, 12, whole.len() - 1]);
        for cut in cuts {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path, format, &TableOptions::new(rules())).is_err(), "{format:?}, {cut} of {}", whole.len());
        }
    }
}

/// Damaged bytes give an error or some rows, and never a panic: the decoders of the crates are no
/// part of this repository, and the program ends at a panic.
#[tokio::test]
async fn damaged_files_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let collection = filled(&CreateOptions::new(3)).await;
    let mut random = Random::from_environment();
    let mut refused = 0;
    for format in FORMATS {
        let path = folder.path().join("file");
        export(&collection, format, &path).await;
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random.index(4) {
                // Most of a file is data. The descriptions stand at its ends.
                let place = match random.below(3) {
                    0 => random.index(bytes.len()),
                    1 => random.index(2_000),
                    _ => bytes.len() - 1 - random.index(2_000),
                };
                bytes[place] =
                    if random.once_in(2) { random.next() as u8 } else { bytes[place] ^ (1 << random.below(8)) };
            }
            std::fs::write(&path, &bytes).unwrap();
            refused += usize::from(read(&path, format, &TableOptions::new(rules())).is_err());
        }
    }
    println!("{refused} of 300 files were refused");
    assert!(refused > 50);
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "{\"op\":\"delete\",\"id\":\"a\"}\n".repeat(10)).unwrap();
    let options = TableOptions::new(rules());
    let error = read(&path, TableFormat::Parquet, &options).unwrap_err();
    assert!(error.to_string().contains("not a Parquet file"), "{error}");
    let error = read(&path, TableFormat::Arrow, &options).unwrap_err();
    assert!(error.to_string().contains("not an Arrow file"), "{error}");
    for (name, format) in [
        ("a/b.parquet", Some(TableFormat::Parquet)),
        ("x.PQ", Some(TableFormat::Parquet)),
        ("x.feather", Some(TableFormat::Arrow)),
        ("x.arrow", Some(TableFormat::Arrow)),
        ("x.jsonl", None),
        ("parquet", None),
    ] {
        assert_eq!(TableFormat::of_name(name), format, "{name}");
    }
}
