//! The JavaScript client of Chroma, pinned, takes a tour of the server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use deltafold_testing::venv;

use crate::program::{Program, command};

/// The client in `tmp` of the target folder, installed by the first test that needs it.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chroma-javascript");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let wanted = include_str!("javascript/package-lock.json");
    // The lock file is written last, so it tells that the rest is there.
    if fs::read_to_string(folder.join("package-lock.json")).is_ok_and(|found| found == wanted) {
        return folder;
    }
    fs::write(folder.join("package.json"), include_str!("javascript/package.json")).unwrap();
    let making = folder.join("npm-shrinkwrap.json");
    fs::write(&making, wanted).unwrap();
    let options = ["ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"];
    venv::run(Command::new("npm").args(options).current_dir(&folder));
    fs::rename(making, folder.join("package-lock.json")).unwrap();
    folder
}

#[test]
fn the_javascript_client_takes_the_tour() {
    if Command::new("npm").arg("--version").output().is_err() {
        println!("skipped: there is no npm; install Node.js 20 or later");
        return;
    }
    let client = installed();
    let folder = tempfile::tempdir().unwrap();
    let server = Program::start(command(folder.path().to_str().unwrap()), &["--fold-segments", "2"]);
    fs::write(client.join("tour.mjs"), include_str!("javascript/tour.mjs")).unwrap();
    let mut tour = Command::new("node");
    tour.arg("tour.mjs").arg(server.address.port().to_string()).current_dir(&client);
    let output = tour.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().last(), Some("the tour is done"));
}
