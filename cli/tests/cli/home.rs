//! A folder to run the program in, and the result of a run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder of its own, with the default store in it.
pub(crate) struct Home(tempfile::TempDir);

/// The result of a run of the program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test"))
    }

    /// A folder with an empty collection `c` of dimension 2.
    pub(crate) fn with_collection() -> Self {
        let home = Self::new();
        home.run("create c --dimension 2").ok();
        home
    }

    /// A folder whose collection `c` holds `count` records `r000`, `r001`, ….
    pub(crate) fn with_records(count: usize) -> Self {
        let home = Self::with_collection();
        home.run_with("append c", &puts(count)).ok();
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The program with these words as arguments, in this folder and without our environment.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltafold"));
        command.args(arguments.split_whitespace()).current_dir(self.path());
        command.env_remove("DELTAFOLD_STORE").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "AWS_CA_BUNDLE"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        Ran::of(self.command(arguments).output().expect("the program starts"))
    }

    /// Runs the program with this on standard input.
    pub(crate) fn run_with(&self, arguments: &str, input: &str) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        let input = input.to_owned();
        // A program that fails early does not read to the end.
        let writing = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().expect("the program ends");
        writing.join().expect("the input is written");
        Ran::of(output)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), content).expect("a file for the test");
    }

    pub(crate) fn records(&self) -> u64 {
        self.run("count c --json").json()["records"].as_u64().expect("a count")
    }

    /// The ops in the log of the first shard, as JSON. It works only before any sweep.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.run("follow c --until-end").json_lines()
    }

    /// The files of the store with this ending, in order.
    pub(crate) fn files(&self, ending: &str) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        walk(&self.path().join("deltafold-data"), &mut found);
        found.retain(|path| path.to_string_lossy().ends_with(ending));
        found.sort();
        found
    }
}

impl Ran {
    /// Runs a command that must end within `limit`, with this on standard input.
    #[cfg(any(feature = "mapping", all(feature = "s3", feature = "dynamodb")))]
    pub(crate) fn within(mut command: Command, limit: std::time::Duration, input: &str) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        stdin.write_all(input.as_bytes()).expect("the program reads its input");
        drop(stdin);
        let id = child.id();
        let (ended, watching) = std::sync::mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            let late = watching.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if late {
                Command::new("kill").args(["-9", &id.to_string()]).status().expect("it can be killed");
            }
            late
        });
        let output = child.wait_with_output().expect("the program runs");
        let _ = ended.send(());
        let ran = Self::of(output);
        assert!(!watch.join().expect("the watch ends"), "it did not end within {limit:?}: {ran:?}");
        ran
    }

    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program prints UTF-8");
        Self {
            code: output.status.code().expect("the program ends by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.ends_with(0)
    }

    /// Asserts the exit code. A failure must print an error.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        if code != 0 {
            assert!(self.stderr.contains("error"), "{self:#?}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "`{text}` is not in {self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn complains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is not in {self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    #[track_caller]
    pub(crate) fn json_lines(self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.ok().stdout.lines().map(parse).collect()
    }

    /// The error that `--json` prints.
    #[track_caller]
    pub(crate) fn json_error(self) -> Value {
        let error: Value = serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        error["error"].clone()
    }
}

/// Lines that put records `r000`, `r001`, ….
pub(crate) fn puts(count: usize) -> String {
    (0..count).map(put).collect()
}

pub(crate) fn put(number: usize) -> String {
    format!(
        "{{\"op\":\"put\",\"id\":\"r{number:03}\",\"embedding\":[{number},0.5],\"metadata\":{{\"n\":{number}}},\"document\":\"text {number}\"}}\n"
    )
}
