//! The log of the program.

use std::fs::File;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::Value;

use crate::api::requested;
use crate::program::{Program, command};

/// An operator looks for the requests of one trace, and of one id that a client was given.
#[tokio::test]
async fn a_line_of_a_request_has_its_id_and_trace() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut command = command(folder.path().join("store").to_str().unwrap());
    command.arg("-vv").stderr(File::create(&log).unwrap());
    let program = Program::start(command, &[]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = http::Request::builder().uri("/api/v2/tenants/default_tenant").header("host", "localhost");
    let request =
        request.header("x-request-id", "mine").header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let answer = requested(program.address, request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    assert_eq!((answer.status, answer.headers["x-request-id"].to_str().unwrap()), (200, "mine"));
    // A line is written before its request is answered.
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_request =
        |line: &&Value| line["spans"].as_array().is_some_and(|spans| spans.iter().any(|span| span["id"] == "mine"));
    let line = lines.iter().filter(of_request).find(|line| line["fields"]["message"] == "answered a request");
    let span = &line.unwrap_or_else(|| panic!("{text}"))["spans"][0];
    assert_eq!((&span["trace_id"], &span["method"]), (&Value::from(trace), &Value::from("GET")));
}
