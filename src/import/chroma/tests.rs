//! Directories made by hand: cases that the real program leaves only when it crashes.

use std::path::Path;

use deltafold_format::{Record, Value};
use futures::TryStreamExt as _;
use rusqlite::Connection;

use super::*;
use crate::catalogue::Catalogue;
use crate::collection::Collection;
use crate::log::{FollowOptions, WriterOptions};
use crate::reader::{Order, ScanOptions};
use crate::store::Memory;

const ID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const VECTORS: &str = "6ba7b811-9dad-11d1-80b4-00c04fd430c8";
const ROWS: &str = "6ba7b812-9dad-11d1-80b4-00c04fd430c8";

/// The tables of Chroma 1.5, as far as they matter, with one collection.
fn directory(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("chroma.sqlite3")).unwrap();
    connection
        .execute_batch(&format!(
            "CREATE TABLE tenants (id TEXT PRIMARY KEY);
             CREATE TABLE databases (id TEXT PRIMARY KEY, name TEXT, tenant_id TEXT);
             CREATE TABLE collections (id TEXT PRIMARY KEY, name TEXT, dimension INTEGER, database_id TEXT,
                 config_json_str TEXT, schema_str TEXT);
             CREATE TABLE collection_metadata (collection_id TEXT, key TEXT, str_value TEXT, int_value INTEGER,
                 float_value REAL, bool_value INTEGER);
             CREATE TABLE segments (id TEXT PRIMARY KEY, type TEXT, scope TEXT, collection TEXT);
             CREATE TABLE embeddings (id INTEGER PRIMARY KEY, segment_id TEXT, embedding_id TEXT, seq_id BLOB);
             CREATE TABLE embedding_metadata (id INTEGER, key TEXT, string_value TEXT, int_value INTEGER,
                 float_value REAL, bool_value INTEGER, PRIMARY KEY (id, key));
             CREATE TABLE embedding_metadata_array (id INTEGER, key TEXT, string_value TEXT, int_value INTEGER,
                 float_value REAL, bool_value INTEGER);
             CREATE TABLE max_seq_id (segment_id TEXT PRIMARY KEY, seq_id INTEGER);
             CREATE TABLE embeddings_queue (seq_id INTEGER PRIMARY KEY, operation INTEGER, topic TEXT, id TEXT,
                 vector BLOB, encoding TEXT, metadata TEXT);
             INSERT INTO tenants VALUES ('acme');
             INSERT INTO databases VALUES ('d', 'archive', 'acme');
             INSERT INTO collections VALUES ('{ID}', 'Notes', 2, 'd', '{{\"hnsw\":{{\"space\":\"ip\",\"ef_search\":7}}}}', NULL);
             INSERT INTO collection_metadata VALUES ('{ID}', 'about', 'tests', NULL, NULL, NULL);
             INSERT INTO segments VALUES ('{VECTORS}', 't', 'VECTOR', '{ID}'), ('{ROWS}', 't', 'METADATA', '{ID}');"
        ))
        .unwrap();
    connection
}

fn queue(connection: &Connection, operation: i64, id: &str, vector: Option<[f32; 2]>, metadata: Option<&str>) {
    let vector = vector.map(|vector| vector.map(f32::to_le_bytes).concat());
    let sql = "INSERT INTO embeddings_queue (operation, topic, id, vector, encoding, metadata) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let topic = format!("persistent://default/default/{ID}");
    connection.execute(sql, (operation, topic, id, vector, "FLOAT32", metadata)).unwrap();
}

fn row(connection: &Connection, id: i64, name: &str, document: &str) {
    connection.execute("INSERT INTO embeddings VALUES (?1, ?2, ?3, 0)", (id, ROWS, name)).unwrap();
    let sql = "INSERT INTO embedding_metadata VALUES (?1, 'chroma:document', ?2, NULL, NULL, NULL)";
    connection.execute(sql, (id, document)).unwrap();
}

fn all(directory: &Directory, on_mismatch: OnMismatch) -> Vec<(String, Record)> {
    let mut source = directory.source(&directory.collections()[0]).unwrap();
    source.rewind(on_mismatch);
    let mut all = Vec::new();
    loop {
        let batch = source.next_batch().unwrap();
        if batch.is_empty() {
            return all;
        }
        all.extend(batch);
    }
}

fn opened(path: &Path) -> Result<Directory> {
    Directory::open(path, MemoryLimit::default())
}

const ADD: i64 = 0;
const UPDATE: i64 = 1;
const UPSERT: i64 = 2;
const DELETE: i64 = 3;

/// The metadata segment stopped before the queue's end, as after a crash between the two writes.
/// Changes that wait must count as Chroma counts them when it starts again.
#[test]
fn changes_that_wait_are_applied_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let connection = directory(folder.path());
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        row(&connection, id, name, name);
        queue(&connection, ADD, name, Some([id as f32, 0.0]), Some("{}"));
    }
    connection.execute("INSERT INTO max_seq_id VALUES (?1, 3)", [ROWS]).unwrap();
    queue(&connection, ADD, "c", Some([9.0, 9.0]), Some(r#"{"ignored":1}"#));
    queue(&connection, UPDATE, "b", None, Some(r#"{"k":[1,2],"chroma:document":"new","chroma:uri":"u"}"#));
    queue(&connection, DELETE, "a", None, None);
    queue(&connection, UPSERT, "d", Some([4.0, 0.0]), Some(r#"{"f":1.0,"b":true}"#));
    queue(&connection, UPDATE, "nothing", Some([5.0, 0.0]), Some("{}"));
    queue(&connection, ADD, "a", Some([6.0, 0.0]), Some(r#"{"n":1}"#));
    queue(&connection, UPDATE, "a", Some([7.0, 0.0]), Some(r#"{"n":null,"m":2}"#));
    drop(connection);
    let directory = opened(folder.path()).unwrap();
    let survey = directory.source(&directory.collections()[0]).unwrap().survey().clone();
    assert!(survey.fits() && survey.rows == 4, "an update of nothing makes no record: {survey:?}");
    let found = all(&directory, OnMismatch::Fail);
    let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["b", "c", "d", "a"]);
    let (_, b) = &found[0];
    assert_eq!((b.document.as_deref(), &b.embedding), (Some("new"), &Some(vec![2.0, 0.0])));
    assert_eq!(b.metadata["k"], Value::I64s(vec![1, 2]));
    assert_eq!(b.metadata["#uri"], Value::String("u".to_owned()));
    let (_, c) = &found[1];
    assert_eq!((c.document.as_deref(), &c.embedding, c.metadata.len()), (Some("c"), &Some(vec![3.0, 0.0]), 0));
    assert_eq!(found[2].1.metadata["f"], Value::F64(1.0));
    let (_, a) = &found[3];
    assert_eq!((a.document.as_deref(), &a.embedding), (None, &Some(vec![7.0, 0.0])));
    assert_eq!(a.metadata, [("m".to_owned(), Value::I64(2))].into());
}

/// Ten records with embeddings.
fn ten(folder: &Path) -> Connection {
    let connection = directory(folder);
    for id in 0..10 {
        row(&connection, id, &format!("r{id}"), "text");
        queue(&connection, ADD, &format!("r{id}"), Some([id as f32, 1.0]), None);
    }
    connection.execute("INSERT INTO max_seq_id VALUES (?1, 10)", [ROWS]).unwrap();
    connection
}

/// A copy broke off after six records. The next one appends the rest, and enters the collection in
/// the catalogue only then.
#[tokio::test]
async fn a_copy_resumes_behind_the_records_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    drop(ten(folder.path()));
    let directory = opened(folder.path()).unwrap();
    let found = &directory.collections()[0];
    let store: Arc<dyn crate::store::Store> = Arc::new(Memory::new());
    let name = target(found, None).unwrap();
    assert_eq!(name.as_str(), "http.6ba7b8109dad11d180b400c04fd430c8.notes");
    let options = crate::collection::CreateOptions::new(2).metric(found.metric());
    let begun = Collection::create(store.clone(), &name, &options).await.unwrap();
    let records = all(&directory, OnMismatch::Fail);
    let ops = records.iter().take(6).map(|(id, record)| deltafold_format::Op::put(id, record.clone())).collect();
    begun.writer(WriterOptions::default()).unwrap().append(ops).await.unwrap();
    let catalogue = Catalogue::new(store.clone(), None, std::time::Duration::ZERO);
    assert!(catalogue.collection("acme", "archive", "Notes").await.is_err());

    let mut stages = Vec::new();
    let source = directory.source(found).unwrap();
    let copied = copy(store.clone(), source, &CopyOptions::default(), |now| stages.push(now.stage)).await.unwrap();
    assert_eq!((copied.records, copied.resumed), (10, 6));
    assert!(stages.contains(&Stage::Append));
    let scan = begun.reader().await.unwrap().scan(ScanOptions::default().order(Order::Insertion));
    let stored: Vec<_> = scan.map_ok(|entry| (entry.id, entry.record)).try_collect().await.unwrap();
    assert_eq!(stored, records);
    let shard = deltafold_format::ShardId::new(0).unwrap();
    let log = begun.follow(shard, FollowOptions::default().until_tail(true)).unwrap();
    let ops: Vec<_> = log.try_collect().await.unwrap();
    assert_eq!(ops.len(), 10, "each record was appended once");
    let entry = catalogue.collection("acme", "archive", "Notes").await.unwrap();
    assert_eq!((entry.id.to_string(), entry.dimension), (ID.to_owned(), Some(2)));
    assert_eq!(entry.metadata.unwrap()["about"], "tests");
    assert_eq!(entry.configuration.document()["hnsw"]["ef_search"], 7);
    assert_eq!(entry.configuration.document()["hnsw"]["space"], "ip");
}

/// A client wrote to the target after the import. Nothing is appended.
#[tokio::test]
async fn a_copy_refuses_a_target_with_other_records() {
    let folder = tempfile::tempdir().unwrap();
    drop(ten(folder.path()));
    let directory = opened(folder.path()).unwrap();
    let found = &directory.collections()[0];
    let store: Arc<dyn crate::store::Store> = Arc::new(Memory::new());
    let options = CopyOptions::default().into("notes".parse::<deltafold_format::CollectionName>().unwrap());
    copy(store.clone(), directory.source(found).unwrap(), &options, |_| ()).await.unwrap();
    let collection = Collection::open(store.clone(), &"notes".parse().unwrap()).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![deltafold_format::Op::delete("r3")]).await.unwrap();
    let error = copy(store, directory.source(found).unwrap(), &options, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("collection `notes` differs from the directory"), "{error}");
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 9);
}

#[test]
fn halves_that_do_not_fit_are_counted_and_kept_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let connection = ten(folder.path());
    connection
        .execute_batch("DELETE FROM embeddings WHERE id = 4; DELETE FROM embeddings_queue WHERE id = 'r6'")
        .unwrap();
    drop(connection);
    let directory = opened(folder.path()).unwrap();
    let survey = directory.source(&directory.collections()[0]).unwrap().survey().clone();
    assert!(!survey.fits());
    assert_eq!(survey.only_embedding, (1, vec!["r4".to_owned()]));
    assert_eq!(survey.without_embedding, (1, vec!["r6".to_owned()]));
    let ids = |on_mismatch| all(&directory, on_mismatch).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(OnMismatch::Skip), ["r0", "r1", "r2", "r3", "r5", "r7", "r8", "r9"]);
    assert_eq!(ids(OnMismatch::Keep), ["r0", "r1", "r2", "r3", "r5", "r6", "r7", "r8", "r9", "r4"]);
    let kept = all(&directory, OnMismatch::Keep);
    assert_eq!(kept[5].1.embedding, None);
    assert_eq!(kept[9].1.embedding, Some(vec![4.0, 1.0]));
}

#[test]
fn a_missing_pickle_or_table_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let connection = ten(folder.path());
    connection.execute("INSERT INTO max_seq_id VALUES (?1, 9)", [VECTORS]).unwrap();
    let directory = opened(folder.path()).unwrap();
    let error = directory.source(&directory.collections()[0]).unwrap_err().to_string();
    assert!(error.contains("index_metadata.pickle` cannot be used: it is missing"), "{error}");
    connection.execute_batch("DROP TABLE embeddings_queue").unwrap();
    let error = opened(folder.path()).unwrap_err().to_string();
    assert!(error.contains("chroma.sqlite3` cannot be used: it has no table `embeddings_queue`"), "{error}");
}

/// Any damage of a page is an error or records; never a panic.
#[test]
fn damaged_pages_of_the_database_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    drop(ten(folder.path()));
    let path = folder.path().join("chroma.sqlite3");
    let sound = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..sound.len()).step_by(509) {
        let mut changed = sound.clone();
        changed[at] ^= 0x55;
        std::fs::write(&path, &changed).unwrap();
        let read = opened(folder.path()).and_then(|directory| match directory.collections() {
            [found] => directory.source(found)?.next_batch().map(drop),
            _ => Ok(()),
        });
        refused += usize::from(read.is_err());
    }
    assert!(refused > 0);
    std::fs::write(&path, &sound[..sound.len() / 2]).unwrap();
    assert!(opened(folder.path()).is_err());
}
