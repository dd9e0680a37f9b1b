//! Chroma's own tests, from its wheel, with clients of `deltafold.chroma` instead of its own.
//!
//! A short selection runs each time. `DELTAFOLD_CHROMA=all` runs all that a client without a server
//! can pass, and a list of modules runs these. Folds happen after every fourth segment.

use deltafold_testing::venv;

use crate::site;

/// The packages, all pinned: those of the tests of the server.
const REQUIREMENTS: &str = include_str!("../../cli/tests/serve/chroma-requirements.txt");

/// Modules of `chromadb.test` that run each time.
const SHORT: &[&str] = &["api.test_collection", "api.test_numpy_list_inputs", "client.test_database_tenant"];

/// All modules that take a client.
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
    "api.test_list_databases",
    "api.test_get_database",
    "api.test_delete_database",
    "api.test_numpy_list_inputs",
    "api.test_invalid_update",
];

/// Tests that no client of another package can pass, each with the reason.
const NOT_OURS: &[(&str, &str)] = &[
    ("test_persist", "it runs Chroma in its own process, with the package hnswlib"),
    ("sqlite_persistent", "it runs Chroma in its own process, with the package hnswlib"),
    ("local_persist_api", "it runs Chroma in its own process, with the package hnswlib"),
    ("test_ssl", "it starts a server of Chroma with a certificate"),
    ("test_error_includes_trace_id", "it looks at a header of HTTP"),
    ("test_default_embedding", "it downloads a model"),
    ("test_collection_query_with_invalid_collection_throws", "it downloads a model"),
    ("test_collection_update_with_invalid_collection_throws", "it downloads a model"),
];

#[test]
fn chromas_own_tests_pass_without_a_server() {
    let wanted = std::env::var("DELTAFOLD_CHROMA").unwrap_or_default();
    let modules = match wanted.as_str() {
        "" => SHORT.to_vec(),
        "all" => ALL.to_vec(),
        some => some.split(',').collect(),
    };
    let environment = venv::installed("chroma", REQUIREMENTS);
    let empty = tempfile::tempdir().unwrap();
    let left_out: Vec<&str> = NOT_OURS.iter().map(|(test, _)| *test).collect();
    let mut failed = Vec::new();
    for module in modules {
        let mut command = site::program(&environment, "pytest");
        let paths = [site::folder().to_owned(), site::source().join("tests")];
        command.env("PYTHONPATH", std::env::join_paths(paths).unwrap());
        command.args(["-p", "chroma_own", "--pyargs", &format!("chromadb.test.{module}"), "-q"]);
        command.args(["-p", "no:cacheprovider", "-k", &format!("not ({})", left_out.join(" or "))]);
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
