//! The package, laid out for an interpreter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of this crate.
pub(crate) fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder that holds the package: links to its sources, and to the extension built with this
/// test.
pub(crate) fn folder() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let built = built();
        let site = target().join("tmp/python");
        let package = site.join("deltafold");
        fs::create_dir_all(&package).unwrap();
        for entry in fs::read_dir(source().join("python/deltafold")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "__pycache__" {
                link(&entry.path(), &package.join(entry.file_name()));
            }
        }
        link(&built, &package.join("_deltafold.abi3.so"));
        site
    })
}

/// The extension built with this test.
pub(crate) fn built() -> PathBuf {
    let built = std::env::current_exe().unwrap().with_file_name(format!("lib_deltafold.{ENDING}"));
    assert!(built.is_file(), "cargo did not build {}", built.display());
    built
}

/// The target folder.
pub(crate) fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

#[cfg(target_os = "macos")]
const ENDING: &str = "dylib";
#[cfg(not(target_os = "macos"))]
const ENDING: &str = "so";

/// Makes or replaces a link at once, so that two runs of the tests do not disturb each other.
fn link(from: &Path, to: &Path) {
    let new = to.with_added_extension(std::process::id().to_string());
    std::os::unix::fs::symlink(from, &new).unwrap();
    fs::rename(&new, to).unwrap();
}

/// A program of a virtual environment that finds the package, in the folder of this crate.
pub(crate) fn program(venv: &Path, name: &str) -> Command {
    let mut command = Command::new(venv.join("bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(venv.join("bin")).chain(std::env::split_paths(&path));
    command
        .current_dir(source())
        .env("PATH", std::env::join_paths(paths).unwrap())
        .env("PYTHONPATH", folder())
        .env("MYPYPATH", folder())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
