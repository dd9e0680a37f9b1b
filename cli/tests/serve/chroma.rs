//! Chroma's own tests, from its wheel, against the server on a folder or in a bucket.
//!
//! A short selection runs with every test run. `DELTAFOLD_CHROMA=all` runs all that a server of
//! another make can pass, and a list of modules runs these. Folds happen after every fourth
//! segment. `DELTAFOLD_CHROMA_STORE=s3` takes the S3 server of the tests instead of a folder.

use std::process::Command;

use deltafold_testing::venv;

use crate::program::{self, Program};

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
    ("sqlite_persistent", "it runs Chroma in its own process, with the package hnswlib"),
    ("local_persist_api", "it runs Chroma in its own process, with the package hnswlib"),
    ("test_ssl", "it starts a server of Chroma with a certificate"),
    ("test_default_embedding", "it downloads a model"),
    ("test_collection_query_with_invalid_collection_throws", "it downloads a model"),
    ("test_collection_update_with_invalid_collection_throws", "it downloads a model"),
];

/// The store that the server is on.
enum Place {
    Folder(tempfile::TempDir),
    #[cfg(feature = "s3")]
    Bucket(deltafold_testing::s3::Server),
}

impl Place {
    /// A folder, or what `DELTAFOLD_CHROMA_STORE` names.
    fn wanted() -> Self {
        match std::env::var("DELTAFOLD_CHROMA_STORE").as_deref() {
            Err(_) | Ok("folder") => Self::Folder(tempfile::tempdir().unwrap()),
            #[cfg(feature = "s3")]
            Ok("s3") => Self::Bucket(deltafold_testing::s3::Server::start()),
            Ok(other) => panic!("DELTAFOLD_CHROMA_STORE is `{other}`; give `folder` or `s3`"),
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Folder(folder) => program::command(folder.path().to_str().unwrap()),
            #[cfg(feature = "s3")]
            Self::Bucket(server) => program::in_bucket(server),
        }
    }
}

#[test]
fn chromas_own_tests_pass() {
    let wanted = std::env::var("DELTAFOLD_CHROMA").unwrap_or_default();
    let modules = match wanted.as_str() {
        "" => SHORT.to_vec(),
        "all" => ALL.to_vec(),
        some => some.split(',').collect(),
    };
    let python = venv::installed("chroma", REQUIREMENTS).join("bin/python");
    let place = Place::wanted();
    let empty = tempfile::tempdir().unwrap();
    let server = Program::start(place.command(), &["--allow-reset", "--fold-segments", "4"]);
    let left_out: Vec<&str> = NOT_OURS.iter().map(|(test, _)| *test).collect();
    let mut failed = Vec::new();
    for module in modules {
        let mut command = Command::new(&python);
        command.args(["-m", "pytest", "--pyargs", &format!("chromadb.test.{module}"), "-q", "-p", "no:cacheprovider"]);
        command.args(["-k", &format!("not ({})", left_out.join(" or "))]);
        let output = command
            .current_dir(empty.path())
            .env("ANONYMIZED_TELEMETRY", "False")
            .env("CHROMA_INTEGRATION_TEST_ONLY", "1")
            .env("CHROMA_SERVER_HOST", "127.0.0.1")
            .env("CHROMA_SERVER_HTTP_PORT", server.address.port().to_string())
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
