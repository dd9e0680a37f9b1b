//! Chroma from PyPI, pinned: its own tests, and directories that it wrote.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::venv;

/// The packages of version 1.
pub const VERSION_1: (&str, &str) = ("chroma", include_str!("chroma-requirements.txt"));
/// The packages of version 0.5.
pub const VERSION_05: (&str, &str) = ("chroma-05", include_str!("chroma-05-requirements.txt"));

/// Tests of Chroma that no other implementation can pass, each with the reason.
const NOT_OURS: &[(&str, &str)] = &[
    ("test_persist", "it runs Chroma in its own process, with the package hnswlib"),
    ("sqlite_persistent", "it runs Chroma in its own process, with the package hnswlib"),
    ("local_persist_api", "it runs Chroma in its own process, with the package hnswlib"),
    ("test_ssl", "it starts a server of Chroma with a certificate"),
    ("test_default_embedding", "it downloads a model"),
    ("test_collection_query_with_invalid_collection_throws", "it downloads a model"),
    ("test_collection_update_with_invalid_collection_throws", "it downloads a model"),
];

/// The environment with version 1.
pub fn environment() -> PathBuf {
    venv::installed(VERSION_1.0, VERSION_1.1)
}

/// Makes directories of Chroma and reads them back, with this version of it.
pub fn directory(version: (&str, &str), arguments: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/chroma_directory.py");
    let python = venv::installed(version.0, version.1).join("bin/python");
    Command::new(python).arg(script).args(arguments).env("ANONYMIZED_TELEMETRY", "False").output().unwrap()
}

/// Runs modules of `chromadb.test` with pytest: those that `DELTAFOLD_CHROMA` lists, `all`, or the
/// short selection. `command` makes pytest's command line up to its arguments.
pub fn run_its_tests(short: &[&str], all: &[&str], left_out: &[&str], command: impl Fn() -> Command) {
    let wanted = std::env::var("DELTAFOLD_CHROMA").unwrap_or_default();
    let modules = match wanted.as_str() {
        "" => short.to_vec(),
        "all" => all.to_vec(),
        some => some.split(',').collect(),
    };
    let left_out: Vec<&str> = NOT_OURS.iter().map(|(test, _)| test).chain(left_out).copied().collect();
    let empty = tempfile::tempdir().unwrap();
    let mut failed = Vec::new();
    for module in modules {
        let mut command = command();
        command.args(["--pyargs", &format!("chromadb.test.{module}"), "-q", "-p", "no:cacheprovider"]);
        command.args(["-k", &format!("not ({})", left_out.join(" or "))]);
        command.env("ANONYMIZED_TELEMETRY", "False").env("PROPERTY_TESTING_PRESET", "fast");
        let output = command.current_dir(empty.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{module}: {}", text.lines().last().unwrap_or_default());
        if !output.status.success() {
            failed.push(format!("{module}:\n{text}{}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// A directory that version 1 of Chroma wrote, with this number of records.
pub fn make_directory(path: &Path, records: usize) {
    let made = directory(VERSION_1, &["make", path.to_str().unwrap(), &records.to_string(), "cosine", "close"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
