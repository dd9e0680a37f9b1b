//! ministack, a third-party emulator of AWS from PyPI, on loopback: S3, DynamoDB, SQS and Lambda.
//! The first test that needs it installs it into the target folder. Each test program runs one
//! process that ends with it, and another for a test that would keep it busy for long.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use super::venv;

/// The packages for `pip`, dependencies included, so that every run installs the same.
const REQUIREMENTS: &str = include_str!("ministack-requirements.txt");

/// The running emulator's address: `http://127.0.0.1:PORT`.
pub fn endpoint() -> &'static str {
    static RUNNING: OnceLock<Emulator> = OnceLock::new();
    RUNNING.get_or_init(Emulator::start).endpoint()
}

/// Calls an action `SERVICE_VERSION.ACTION` of a service that speaks JSON.
pub fn call(endpoint: &str, target: &str, body: &Value) -> Value {
    let head = format!("Content-Type: application/x-amz-json-1.0\r\nX-Amz-Target: {target}\r\n");
    let answer = post(endpoint, "dynamodb", &head, &body.to_string());
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {target}: {answer}"))
}

/// Calls an action of a service that takes forms and answers with XML.
pub fn form(endpoint: &str, service: &str, fields: &str) -> String {
    post(endpoint, service, "Content-Type: application/x-www-form-urlencoded\r\n", fields)
}

/// The emulator checks no signature; the service in it leads a form to its place.
fn post(endpoint: &str, service: &str, head: &str, body: &str) -> String {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{head}\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes())).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    body.to_owned()
}

/// A process of the emulator. It ends with this process, or when this is dropped.
pub struct Emulator {
    endpoint: String,
    process: Child,
}

impl Emulator {
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn start() -> Self {
        let venv = venv::installed("ministack", REQUIREMENTS);
        // Another process may take the free port before the emulator does.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let log = venv.with_file_name(format!("ministack-{}-{port}.log", std::process::id()));
            // The emulator ends when its standard input does. This process holds that input, so the
            // emulator ends with this process, however this one ends.
            let script = "\"$0\" & pid=$!; cat > /dev/null; kill $pid";
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(venv.join("bin/ministack"));
            command.env("GATEWAY_PORT", port.to_string()).env("BIND_HOST", "127.0.0.1").env("LOG_LEVEL", "WARNING");
            command.env("IOT_MTLS_ENABLED", "0").env("MINISTACK_REGION", "us-east-1");
            // The environment of the functions that it runs.
            command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
            let output = File::create(&log).unwrap();
            command.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
            let mut child = command.spawn().unwrap();
            if is_up(port) {
                return Self { endpoint: format!("http://127.0.0.1:{port}"), process: child };
            }
            child.kill().and_then(|()| child.wait()).unwrap();
            eprintln!("ministack did not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        panic!("ministack cannot be started");
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The shell in front of it ends with its standard input, and ends the emulator.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Waits until the emulator answers; two minutes at most.
fn is_up(port: u16) -> bool {
    for _ in 0..1_200 {
        if let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) {
            let mut answer = [0; 5];
            let asked = connection
                .write_all(b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            if asked.and_then(|()| connection.read_exact(&mut answer)).is_ok() && &answer == b"HTTP/" {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}
