//! Real directories of Chroma, made by two of its versions, come in as the program itself reads
//! them.
//!
//! `DELTAFOLD_IMPORT=all` adds the large ones.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use deltafold::store::Dir;
use deltafold_testing::chroma::{self, VERSION_1, VERSION_05};
use deltafold_testing::venv;
use serde_json::{Value, json};

use crate::api::{Api, options};

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A directory as a version of Chroma leaves it, and its content as that version reads it.
struct Made {
    folder: tempfile::TempDir,
    content: Value,
}

impl Made {
    fn by(version: (&str, &str), records: usize, space: &str, end: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chroma");
        let made = chroma::directory(version, &["make", path.to_str().unwrap(), &records.to_string(), space, end]);
        let expected = if end == "crash" { Some(9) } else { Some(0) };
        assert_eq!(made.status.code(), expected, "{}", String::from_utf8_lossy(&made.stderr));
        // A copy, because Chroma writes when it opens a directory.
        let other = folder.path().join("read");
        copied(&path, &other);
        let read = chroma::directory(version, &["dump", other.to_str().unwrap()]);
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        Self { content: serde_json::from_slice(&read.stdout).unwrap(), folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("chroma")
    }

    fn collections(&self) -> &Vec<Value> {
        self.content.as_array().unwrap()
    }
}

/// Runs the program on a store in a folder.
fn program(store: &Path, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_deltafold");
    Command::new(program).args(["--json", "--store"]).arg(store).args(arguments).output().unwrap()
}

#[track_caller]
fn ok(store: &Path, arguments: &[&str]) -> Value {
    let output = program(store, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The records of an imported collection, in the order of insertion.
fn scanned(store: &Path, collection: &str) -> Vec<Value> {
    let output = program(store, &["scan", collection, "--order", "insertion"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Compares a record. Embeddings of cosine may differ in the last bit of a product.
#[track_caller]
fn same(found: &Value, expected: &Value, is_cosine: bool) {
    let mut metadata = expected["metadata"].as_object().cloned().unwrap_or_default();
    if let Some(uri) = expected["uri"].as_str() {
        metadata.insert("#uri".to_owned(), json!(uri));
    }
    assert_eq!(found["id"], expected["id"]);
    assert_eq!(found["metadata"], Value::Object(metadata), "{}", expected["id"]);
    assert_eq!(found["document"], expected["document"], "{}", expected["id"]);
    let numbers = |value: &Value| -> Vec<f32> {
        value["embedding"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
    };
    let (found, wanted) = (numbers(found), numbers(expected));
    assert_eq!(found.len(), wanted.len());
    let near = |(a, b): (&f32, &f32)| {
        if is_cosine { (a - b).abs() <= 1e-6 * b.abs().max(1.0) } else { a.to_bits() == b.to_bits() }
    };
    assert!(found.iter().zip(&wanted).all(near), "{}: {found:?} {wanted:?}", expected["id"]);
}

/// Imports a directory and compares all of it.
fn comes_in_equal(version: (&str, &str), records: usize, space: &str, end: &str) -> (tempfile::TempDir, Made) {
    let made = Made::by(version, records, space, end);
    let before = tree(&made.path());
    let store = tempfile::tempdir().unwrap();
    let report = ok(store.path(), &["import", "chroma", made.path().to_str().unwrap()]);
    let reported = report["collections"].as_array().unwrap();
    assert_eq!(reported.len(), made.collections().len());
    for expected in made.collections() {
        let found = reported.iter().find(|found| found["id"] == expected["id"]).unwrap();
        let records = expected["records"].as_array().unwrap();
        for key in ["tenant", "database", "name"] {
            assert_eq!(found[key], expected[key]);
        }
        assert_eq!(found["records"], json!(records.len()));
        let Some(into) = found["into"].as_str() else {
            assert!(records.is_empty());
            continue;
        };
        let scanned = scanned(store.path(), into);
        assert_eq!(scanned.len(), records.len());
        let is_cosine = expected["metadata"]["hnsw:space"] == "cosine";
        scanned.iter().zip(records).for_each(|(found, expected)| same(found, expected, is_cosine));
    }
    assert_eq!(tree(&made.path()), before, "the import has written into the directory");
    (store, made)
}

/// The files of a directory with their content.
fn tree(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
        match entry.path().is_dir() {
            true => files.extend(tree(&entry.path())),
            false => files.push((entry.path(), std::fs::read(entry.path()).unwrap())),
        }
    }
    files.sort();
    files
}

/// Everything of a small directory of the old version is in the queue: its index is a stub.
#[test]
fn a_directory_of_version_05_comes_in_equal() {
    comes_in_equal(VERSION_05, 500, "cosine", "close");
}

/// The same directory in a bucket comes in with the same digests.
#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_a_bucket_comes_in_equal() {
    use deltafold::store::{Key, Store as _};
    use deltafold_testing::s3::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};

    let made = Made::by(VERSION_05, 1_200, "l2", "crash");
    let server = Server::start();
    let bucket = server.store_under("old/chroma").await;
    for (path, content) in tree(&made.path()) {
        let key = Key::new(path.strip_prefix(made.path()).unwrap().to_str().unwrap()).unwrap();
        bucket.create(&key, vec![content.into()]).await.unwrap();
    }
    let stores = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let here = ok(stores[0].path(), &["import", "chroma", made.path().to_str().unwrap()]);
    let address = format!("s3://{BUCKET}/old/chroma?endpoint={}", server.endpoint());
    let output = Command::new(env!("CARGO_BIN_EXE_deltafold"))
        .args(["--json", "--store"])
        .arg(stores[1].path())
        .args(["import", "chroma", &address])
        .envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let there: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(there["collections"], here["collections"]);
}

/// The process ends 755 changes after it wrote its index, and closes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_directory_of_version_1_comes_in_and_is_served() {
    let (store, made) = comes_in_equal(VERSION_1, 2_500, "cosine", "crash");
    let api = Api::of(Arc::new(Dir::open(store.path()).unwrap()), options()).await;
    for expected in made.collections() {
        let [tenant, database, name, id] =
            ["tenant", "database", "name", "id"].map(|key| expected[key].as_str().unwrap());
        let at = format!("/api/v2/tenants/{tenant}/databases/{database}/collections");
        let found = api.ok("GET", &format!("{at}/{name}"), json!(null)).await;
        assert_eq!((&found["id"], &found["metadata"]), (&expected["id"], &expected["metadata"]));
        let got = api.ok("POST", &format!("{at}/{id}/get"), json!({ "include": ["uris", "documents"] })).await;
        let records = expected["records"].as_array().unwrap();
        for (key, answered) in [("id", "ids"), ("uri", "uris"), ("document", "documents")] {
            let expected: Vec<&Value> = records.iter().map(|record| &record[key]).collect();
            assert_eq!(got[answered].as_array().unwrap().iter().collect::<Vec<_>>(), expected, "{name}: {answered}");
        }
    }
    // The same import again finds everything there.
    let again = ok(store.path(), &["import", "chroma", made.path().to_str().unwrap()]);
    for report in again["collections"].as_array().unwrap() {
        assert_eq!(report["resumed"], report["records"]);
    }
}

/// An embedding is in the index, and its record is not in the tables. The import names it, leaves
/// it out, or keeps it.
#[test]
fn ids_of_one_half_are_reported_skipped_or_kept() {
    let made = Made::by(VERSION_1, 1_200, "l2", "close");
    let path = made.path();
    let python = chroma::environment().join("bin/python");
    let change = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
        c.execute(\"DELETE FROM embeddings WHERE embedding_id = 'id-7' AND id IN (SELECT min(id) FROM embeddings WHERE embedding_id = 'id-7')\"); \
        c.commit()";
    venv::run(Command::new(python).args(["-c", change]).arg(path.join("chroma.sqlite3")));
    let path = path.to_str().unwrap();
    let store = tempfile::tempdir().unwrap();
    let one = ["import", "chroma", path, "--collection", "Articles-1"];
    let refused = program(store.path(), &one);
    assert_eq!(refused.status.code(), Some(3));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("embeddings without a record: 1 (`id-7`)"), "{said}");
    let dry = ok(store.path(), &[&one[..], &["--dry-run"]].concat());
    assert_eq!(dry["collections"][0]["only_embedding"], 1);
    let all = made.collections().iter().find(|found| found["name"] == "Articles-1").unwrap()["records"]
        .as_array()
        .unwrap()
        .len();
    let skipped = ok(store.path(), &[&one[..], &["--on-mismatch", "skip", "--into", "skipped"]].concat());
    assert_eq!(skipped["collections"][0]["records"], json!(all - 1));
    let kept = ok(store.path(), &[&one[..], &["--on-mismatch", "keep", "--into", "kept"]].concat());
    assert_eq!(kept["collections"][0]["records"], json!(all));
    let last = scanned(store.path(), "kept").pop().unwrap();
    assert_eq!((&last["id"], &last["document"], &last["metadata"]), (&json!("id-7"), &json!(null), &json!({})));
    assert_eq!(last["embedding"].as_array().unwrap().len(), 24);
}

#[test]
fn large_directories_of_both_versions_come_in_equal() {
    if std::env::var("DELTAFOLD_IMPORT").is_ok_and(|wanted| wanted == "all") {
        for version in [VERSION_05, VERSION_1] {
            for (records, space, end) in [(2_500, "l2", "crash"), (12_000, "cosine", "close")] {
                comes_in_equal(version, records, space, end);
            }
        }
    }
}
