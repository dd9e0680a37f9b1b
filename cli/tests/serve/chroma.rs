//! Chroma's own tests, from its wheel, against the server on a folder.
//!
//! A short selection runs with every test run. `DELTAFOLD_CHROMA=all` runs all that a server of
//! another make can pass. Folds happen after every fourth segment, so that they come in between.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use deltafold_testing::venv;

/// The packages, all pinned.
const REQUIREMENTS: &str = include_str!("chroma-requirements.txt");

/// Modules of `chromadb.test` that run each time.
const SHORT: &[&str] = &["api.test_collection", "api.test_get_database", "client.test_database_tenant"];

/// All modules that test a server over HTTP.
const ALL: &[&str] = &[
    "test_api",
    "property.test_embeddings",
    "property.test_filtering",
    "property.test_add",
    "property.test_collections",
    "property.test_collections_with_database_tenant",
    "client.test_database_tenant",
    "client.test_multiple_clients_concurrency",
    "test_multithreaded",
    "api.test_collection",
    "api.test_limit_offset",
    "api.test_count_api",
    "api.test_list_databases",
    "api.test_get_database",
    "api.test_delete_database",
    "api.test_numpy_list_inputs",
    "api.test_invalid_update",
    "api.test_types",
];

/// Tests that no foreign server can pass, each with the reason.
const NOT_OURS: &[(&str, &str)] = &[
    ("test_persist", "it runs Chroma in its own process, with the package hnswlib"),
    ("local_persist_api", "it runs Chroma in its own process, with the package hnswlib"),
    ("test_ssl", "it starts a server of Chroma with a certificate"),
    ("test_default_embedding", "it downloads a model"),
    ("test_collection_query_with_invalid_collection_throws", "it downloads a model"),
    ("test_collection_update_with_invalid_collection_throws", "it downloads a model"),
];

/// The program, ended with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn served(folder: &Path) -> (Served, u16) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deltafold"))
        .args(["--json", "--store"])
        .arg(folder)
        .args(["serve", "--address", "127.0.0.1:0", "--allow-reset", "--fold-segments", "4"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let served = Served(child);
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let port = told["url"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    (served, port)
}

#[test]
fn chromas_own_tests_pass() {
    let all = std::env::var("DELTAFOLD_CHROMA").is_ok_and(|wanted| wanted == "all");
    let python = venv::installed("chroma", REQUIREMENTS).join("bin/python");
    let folder = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let (_served, port) = served(folder.path());
    let left_out: Vec<&str> = NOT_OURS.iter().map(|(test, _)| *test).collect();
    let mut failed = Vec::new();
    for module in if all { ALL } else { SHORT } {
        let mut command = Command::new(&python);
        command.args(["-m", "pytest", "--pyargs", &format!("chromadb.test.{module}"), "-q", "-p", "no:cacheprovider"]);
        command.args(["-k", &format!("not ({})", left_out.join(" or "))]);
        let output = command
            .current_dir(empty.path())
            .env("ANONYMIZED_TELEMETRY", "False")
            .env("CHROMA_INTEGRATION_TEST_ONLY", "1")
            .env("CHROMA_SERVER_HOST", "127.0.0.1")
            .env("CHROMA_SERVER_HTTP_PORT", port.to_string())
            .env("PROPERTY_TESTING_PRESET", "fast")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{module}: {}", text.lines().last().unwrap_or_default());
        if !output.status.success() {
            failed.push(format!("{module}:\n{text}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
