//! Programs from PyPI, pinned. The first test that needs them installs them into the target folder.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

/// A virtual environment with these packages, dependencies included. The first caller makes it.
/// Other requirements make another one.
pub fn installed(name: &str, requirements: &str) -> PathBuf {
    let target = scratch();
    let venv = target.join(format!("{name}-{:08x}", crc32fast::hash(requirements.as_bytes())));
    let lock = File::create(target.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let done = venv.join("installed");
    if !done.exists() {
        let _ = std::fs::remove_dir_all(&venv);
        let file = target.join(format!("{name}-requirements.txt"));
        std::fs::write(&file, requirements).unwrap();
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        run(Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(file));
        File::create(done).unwrap();
    }
    venv
}

/// `tmp` of the target folder. Programs of tests lie two folders below it, in `debug/deps` or
/// another profile's.
fn scratch() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.ancestors().nth(3).unwrap().join("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a command that must succeed, and returns its output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; the tests need python3 with venv and pip"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
