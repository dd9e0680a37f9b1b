//! Reading a directory of Chroma takes memory by configuration, not by the number of its records.

use std::path::Path;

use deltafold::MemoryLimit;
use deltafold::import::chroma::{Directory, OnMismatch};
use rusqlite::Connection;

use crate::allocator::{Measure, alone};

const MIB: usize = 1 << 20;
const COLLECTION: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const VECTORS: &str = "6ba7b811-9dad-11d1-80b4-00c04fd430c8";
const ROWS: &str = "6ba7b812-9dad-11d1-80b4-00c04fd430c8";

/// A collection of Chroma 1.5 with an index and no rows.
fn directory(folder: &Path, labels: u32, queued: u32) {
    let connection = Connection::open(folder.join("chroma.sqlite3")).unwrap();
    let sql = format!(
        "CREATE TABLE tenants (id TEXT);
         CREATE TABLE databases (id TEXT, name TEXT, tenant_id TEXT);
         CREATE TABLE collections (id TEXT, name TEXT, dimension INTEGER, database_id TEXT);
         CREATE TABLE collection_metadata (collection_id TEXT, key TEXT, str_value TEXT, int_value INTEGER,
             float_value REAL);
         CREATE TABLE segments (id TEXT, scope TEXT, collection TEXT);
         CREATE TABLE embeddings (id INTEGER PRIMARY KEY, segment_id TEXT, embedding_id TEXT, seq_id INTEGER);
         CREATE TABLE embedding_metadata (id INTEGER, key TEXT, string_value TEXT, int_value INTEGER,
             float_value REAL, bool_value INTEGER);
         CREATE TABLE max_seq_id (segment_id TEXT, seq_id INTEGER);
         CREATE TABLE embeddings_queue (seq_id INTEGER PRIMARY KEY, operation INTEGER, topic TEXT, id TEXT,
             vector BLOB, encoding TEXT, metadata TEXT);
         INSERT INTO databases VALUES ('d', 'default_database', 'default_tenant');
         INSERT INTO collections VALUES ('{COLLECTION}', 'many', 1, 'd');
         INSERT INTO segments VALUES ('{VECTORS}', 'VECTOR', '{COLLECTION}'), ('{ROWS}', 'METADATA', '{COLLECTION}');
         WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {queued})
         INSERT INTO embeddings_queue
         SELECT i, 2, 'persistent://default/default/{COLLECTION}', printf('queued-%093d', i), x'0000803f', 'FLOAT32', '{{}}'
         FROM s;"
    );
    connection.execute_batch(&sql).unwrap();
    let index = folder.join(VECTORS);
    std::fs::create_dir(&index).unwrap();
    let (vector_at, label_at) = (12u64, 16u64);
    let counts = [0, labels.into(), labels.into(), label_at + 8, label_at, vector_at].map(u64::to_le_bytes).concat();
    let graph = [1u64, 2, 1].map(u64::to_le_bytes).concat();
    let header = [&1i32.to_le_bytes()[..], &counts, &[0; 8], &graph, &0.5f64.to_le_bytes(), &100u64.to_le_bytes()];
    std::fs::write(index.join("header.bin"), header.concat()).unwrap();
    let element = |label: u32| [&[0; 12][..], &1f32.to_le_bytes(), &u64::from(label).to_le_bytes()].concat();
    std::fs::write(index.join("data_level0.bin"), (0..labels).flat_map(element).collect::<Vec<_>>()).unwrap();
    std::fs::write(index.join("index_metadata.pickle"), pickle(labels)).unwrap();
}

/// The labels, each id kept once and recalled once, 1,000 entries behind a mark.
fn pickle(labels: u32) -> Vec<u8> {
    let mut bytes = b"\x80\x03}(X\x0e\x00\x00\x00dimensionalityK\x01X\x0b\x00\x00\x00id_to_label}(".to_vec();
    let marked = |bytes: &mut Vec<u8>, label: u32| {
        if label > 0 && label.is_multiple_of(1_000) {
            bytes.extend_from_slice(b"u(");
        }
    };
    for label in 0..labels {
        marked(&mut bytes, label);
        bytes.extend_from_slice(b"X\x64\x00\x00\x00");
        bytes.extend_from_slice(format!("{label:0100}r").as_bytes());
        bytes.extend_from_slice(&label.to_le_bytes());
        bytes.push(b'J');
        bytes.extend_from_slice(&label.to_le_bytes());
    }
    bytes.extend_from_slice(b"uX\x0b\x00\x00\x00label_to_id}(");
    for label in 0..labels {
        marked(&mut bytes, label);
        bytes.push(b'J');
        bytes.extend_from_slice(&label.to_le_bytes());
        bytes.push(b'j');
        bytes.extend_from_slice(&label.to_le_bytes());
    }
    bytes.extend_from_slice(b"uu.");
    bytes
}

#[tokio::test]
async fn an_import_of_many_ids_stays_within_the_limit() {
    // Story: an import held every id in memory, the whole pickle, and each of its values. Ten
    // million records took 2 GiB beside the limit, and a longer pickle was refused.
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    directory(folder.path(), 20_000, 20_000);
    let measure = Measure::start();
    let directory = Directory::open(folder.path(), MemoryLimit::SMALLEST).unwrap();
    let mut source = directory.source(&directory.collections()[0]).unwrap();
    assert_eq!(source.survey().records(OnMismatch::Keep), 40_000);
    source.rewind(OnMismatch::Keep);
    let mut records = 0;
    loop {
        let batch = source.next_batch().unwrap();
        if batch.is_empty() {
            break;
        }
        records += batch.len();
    }
    let peak = measure.peak();
    assert_eq!(records, 40_000);
    assert!(peak < MIB, "{} KiB", peak >> 10);
}
