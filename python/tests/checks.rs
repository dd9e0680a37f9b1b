//! The package's own tests, and the type checkers.
//!
//! `DELTAFOLD_PYTEST` holds more arguments for pytest, such as `-k fork`. `HYPOTHESIS_EXAMPLES`
//! makes the property tests longer.

use std::path::PathBuf;

use deltafold_testing::s3::{self, ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use deltafold_testing::{ministack, venv};

use crate::site;

/// The packages, all pinned.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Examples that need no packages but these.
const EXAMPLES: [&str; 2] = ["examples/ingest_dataframe.py", "examples/time_travel.py"];

fn environment() -> PathBuf {
    venv::installed("python", REQUIREMENTS)
}

#[test]
fn the_package_passes_its_tests() {
    let server = Server::start();
    let emulator = ministack::endpoint();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(s3::bucket_at(emulator, "python"));
    let mut command = site::program(&environment(), "pytest");
    let more = std::env::var("DELTAFOLD_PYTEST").unwrap_or_default();
    command
        .args(["-q", "tests", "--doctest-modules"])
        .arg(site::folder().join("deltafold"))
        .args(more.split_whitespace())
        .env("DELTAFOLD_TEST_BUCKET", format!("s3://{BUCKET}/python?endpoint={}", server.endpoint()))
        .env("DELTAFOLD_TEST_EMULATOR", format!("s3://python/tests?endpoint={emulator}"))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    println!("{}", venv::run(&mut command));
}

#[test]
fn mypy_and_pyright_accept_the_package_in_strict_mode() {
    let environment = environment();
    let mut mypy = site::program(&environment, "mypy");
    println!("{}", venv::run(mypy.args(["--cache-dir=/dev/null", "python", "tests"]).args(EXAMPLES)));
    let mut pyright = site::program(&environment, "pyright");
    pyright.arg("--pythonpath").arg(environment.join("bin/python"));
    println!("{}", venv::run(pyright.arg("python").args(EXAMPLES)));
}
