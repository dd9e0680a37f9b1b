//! The wheel, as a user gets it: `scripts/wheel` makes it, and pip installs it where there is no
//! Rust.
//!
//! A build for a release takes many minutes, so the script gets the extension of this test. The
//! rest is as always: `maturin` reads the manifests and packs the wheel.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use deltafold_testing::{chroma, venv};

use crate::site;

/// The README's five lines, and the program of the same wheel.
const FIVE_LINES: &str = r#"
import deltafold
articles = deltafold.open("./data").create("articles", dimension=2)
articles.upsert(ids=["a", "b"], embeddings=[[0.1, 0.9], [0.8, 0.2]], documents=["first", "second"])
for hit in articles.query([0.2, 0.8], k=1):
    print(hit.id, hit.document)
"#;

#[test]
#[expect(clippy::disallowed_methods, reason = "it prints how long a user waits")]
fn the_wheel_installs_and_runs_without_rust() {
    let begin = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let wheel = wheel(folder.path());
    let size = fs::metadata(&wheel).unwrap().len();
    println!("{}: {} MB, not optimised, in {:?}", wheel.display(), size / 1_000_000, begin.elapsed());

    let begin = Instant::now();
    let venv = folder.path().join("venv");
    venv::run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    let in_venv = |name: &str| {
        let mut command = Command::new(venv.join("bin").join(name));
        // Without the folders of Rust.
        let path = std::env::join_paths([&venv.join("bin"), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        command.current_dir(folder.path()).env_clear().env("PATH", path);
        for kept in ["HOME", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_TRUSTED_HOST", "HTTPS_PROXY"] {
            command.envs(std::env::var_os(kept).map(|value| (kept, value)));
        }
        command
    };
    venv::run(in_venv("pip").args(["install", "--quiet", "--disable-pip-version-check"]).arg(&wheel));
    assert_eq!(venv::run(in_venv("python").args(["-c", FIVE_LINES])), "a first\n");
    println!("installed and searched in {:?}", begin.elapsed());

    let count = venv::run(in_venv("deltafold").args(["--store", "./data", "--json", "count", "articles"]));
    assert!(count.contains("2"), "{count}");
    let version = concat!("deltafold ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(venv::run(in_venv("python").args(["-m", "deltafold", "--version"])), version);

    // The example starts the program, which reads what Chroma itself wrote.
    chroma::make_directory(&folder.path().join("chroma"), 60);
    let example = site::source().join("examples/migrate_from_chroma.py");
    let moved = venv::run(in_venv("python").arg(example).args(["./chroma", "./moved"]));
    assert!(moved.contains("Articles-1: ") && moved.contains("records, first ["), "{moved}");
}

/// Runs `scripts/wheel` with a cargo that has built the extension already.
fn wheel(folder: &Path) -> PathBuf {
    let manifest = site::source().join("Cargo.toml");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let library = folder.join(site::built().file_name().unwrap());
    fs::copy(site::built(), &library).unwrap();
    venv::run(Command::new("strip").arg("--strip-debug").arg(&library));
    let package = venv::run(Command::new(&cargo).args(["pkgid", "--manifest-path"]).arg(&manifest));
    let built = serde_json::json!({
        "reason": "compiler-artifact",
        "package_id": package.trim(),
        "manifest_path": manifest,
        "target": {
            "kind": ["cdylib", "rlib"], "crate_types": ["cdylib", "rlib"], "name": "_deltafold",
            "src_path": site::source().join("src/lib.rs"), "edition": "2024",
            "doc": false, "doctest": false, "test": false,
        },
        "profile": {
            "opt_level": "1", "debuginfo": 0, "debug_assertions": true, "overflow_checks": true, "test": false,
        },
        "features": [],
        "filenames": [library],
        "executable": null,
        "fresh": true,
    });
    let messages = folder.join("messages");
    fs::write(&messages, format!("{built}\n{{\"reason\":\"build-finished\",\"success\":true}}\n")).unwrap();
    let stand_in = folder.join("cargo");
    let script = "#!/bin/sh\n[ \"$1\" = rustc ] && exec cat \"$MESSAGES\"\nexec \"$REAL_CARGO\" \"$@\"\n";
    fs::write(&stand_in, script).unwrap();
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
    let wheels = folder.join("wheels");
    let mut command = Command::new(site::source().join("../scripts/wheel"));
    command.args(["--compression-level", "1", "--out"]).arg(&wheels);
    command.env("CARGO_TARGET_DIR", site::target());
    command.env("CARGO", stand_in).env("MESSAGES", messages).env("REAL_CARGO", cargo);
    venv::run(&mut command);
    let mut made = fs::read_dir(&wheels).unwrap().map(|entry| entry.unwrap().path());
    made.next().unwrap()
}
