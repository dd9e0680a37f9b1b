//! Chroma's own tests, from its wheel, against the server on a folder or in a bucket.
//!
//! A short selection runs with every test run. `DELTAFOLD_CHROMA=all` runs all that a server of
//! another make can pass, and a list of modules runs these. Folds happen after every fourth
//! segment. `DELTAFOLD_CHROMA_STORE=s3` takes the S3 server of the tests instead of a folder.

use std::process::Command;

use deltafold_testing::chroma;

use crate::program::{self, Program};

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
    let place = Place::wanted();
    let server = Program::start(place.command(), &["--allow-reset", "--fold-segments", "4"]);
    let python = chroma::environment().join("bin/python");
    chroma::run_its_tests(SHORT, ALL, &[], || {
        let mut command = Command::new(&python);
        command.args(["-m", "pytest"]);
        command.env("CHROMA_INTEGRATION_TEST_ONLY", "1");
        command.env("CHROMA_SERVER_HOST", "127.0.0.1");
        command.env("CHROMA_SERVER_HTTP_PORT", server.address.port().to_string());
        command
    });
}
