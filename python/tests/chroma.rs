//! Chroma's own tests, from its wheel, with clients of `deltafold.chroma` instead of its own.
//!
//! A short selection runs each time. `DELTAFOLD_CHROMA=all` runs all that a client without a server
//! can pass, and a list of modules runs these. Folds happen after every fourth segment.

use deltafold_testing::chroma;

use crate::site;

/// Modules of `chromadb.test` that run each time.
const SHORT: &[&str] = &[
    "api.test_collection",
    "api.test_numpy_list_inputs",
    "client.test_database_tenant",
    "property.test_collections",
    "property.test_filtering",
];

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

/// It looks at a header of HTTP.
const NOT_OURS: &[&str] = &["test_error_includes_trace_id"];

#[test]
fn chromas_own_tests_pass_without_a_server() {
    let environment = chroma::environment();
    chroma::run_its_tests(SHORT, ALL, NOT_OURS, || {
        let mut command = site::program(&environment, "pytest");
        let paths = [site::folder().to_owned(), site::source().join("tests")];
        command.args(["-p", "chroma_own"]).env("PYTHONPATH", std::env::join_paths(paths).unwrap());
        command
    });
}
