//! tinyproxy, a real HTTP proxy, on loopback. On Debian, as root, the first test installs it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::venv;

/// A running proxy; it ends when this is dropped.
pub struct Tinyproxy {
    pub port: u16,
    folder: tempfile::TempDir,
    process: Child,
}

/// The program of the system.
fn program() -> PathBuf {
    let find = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
        folders.iter().map(|folder| folder.join("tinyproxy")).find(|program| program.is_file())
    };
    if let Some(program) = find() {
        return program;
    }
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let apt = Path::new("/usr/bin/apt-get");
    assert!(
        is_root && apt.exists(),
        "the tests of proxies need tinyproxy: install the package `tinyproxy-bin` (Debian) or `tinyproxy` (Homebrew)"
    );
    venv::run(Command::new(apt).arg("update"));
    let install = ["install", "--yes", "--no-install-recommends", "tinyproxy-bin"];
    venv::run(Command::new(apt).args(install).env("DEBIAN_FRONTEND", "noninteractive"));
    find().expect("the package `tinyproxy-bin` has the program")
}

impl Tinyproxy {
    /// A proxy with these lines in its configuration: `BasicAuth user password`.
    pub fn start(lines: &str) -> Self {
        let (program, folder) = (program(), tempfile::tempdir().unwrap());
        // Another process may take the free port before the proxy does.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let path = |name: &str| folder.path().join(name);
            let head = format!(
                "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 200\nLogFile \"{}\"\nLogLevel Connect\n",
                path("log").display()
            );
            std::fs::write(path("conf"), head + lines).unwrap();
            // The proxy ends with this process, however this one ends: see the module of ministack.
            let script = "\"$0\" \"$@\" & pid=$!; cat > /dev/null; kill $pid";
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(&program).args(["-d", "-c"]).arg(path("conf"));
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut process = command.spawn().unwrap();
            if is_up(port) {
                return Self { port, folder, process };
            }
            process.kill().and_then(|()| process.wait()).unwrap();
            eprintln!("tinyproxy did not start: {}", std::fs::read_to_string(path("log")).unwrap_or_default());
        }
        panic!("tinyproxy cannot be started");
    }

    /// The requests so far: `CONNECT host:port HTTP/1.1`.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let asked = log.lines().filter(|line| line.contains("Request (file descriptor"));
        asked.filter_map(|line| Some(line.split_once("): ")?.1.to_owned())).collect()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Waits until the proxy accepts connections; a minute at most.
fn is_up(port: u16) -> bool {
    (0..1_200).any(|_| {
        let up = TcpStream::connect(("127.0.0.1", port)).is_ok();
        if !up {
            std::thread::sleep(Duration::from_millis(50));
        }
        up
    })
}
