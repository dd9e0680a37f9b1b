//! The program `deltafold serve` as a process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A running server. It is killed at the latest when its test ends.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// The program with this store, without our environment.
pub(crate) fn command(store: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltafold"));
    command.env_remove("DELTAFOLD_STORE").args(["--json", "--store", store]).stdin(Stdio::null());
    command
}

impl Program {
    /// Starts `serve` of a command from [`command`] on a free port, and waits until it listens.
    pub(crate) fn start(mut command: Command, options: &[&str]) -> Self {
        command.args(["serve", "--address", "127.0.0.1:0"]).args(options).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Result<serde_json::Value, _> = serde_json::from_str(&line);
        let told = told.unwrap_or_else(|_| panic!("the server did not start: {line}"));
        let address = told["url"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        Self { child, address }
    }

    /// The most memory that the process had resident, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
    }

    /// The files that the process holds open.
    #[cfg(target_os = "linux")]
    pub(crate) fn files(&self) -> Vec<std::path::PathBuf> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        open.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok()).collect()
    }

    /// Ends it by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bucket of an S3 server of the tests, as a store of the program.
#[cfg(feature = "s3")]
pub(crate) fn in_bucket(server: &deltafold_testing::s3::Server) -> Command {
    use deltafold_testing::s3::{ACCESS_KEY, BUCKET, SECRET_KEY};
    let mut command = command(&format!("s3://{BUCKET}/data?endpoint={}", server.endpoint()));
    command.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", ACCESS_KEY);
    command.env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command
}
