//! Settings, events and panics that end a function.

use std::sync::Arc;

use deltafold::{Collection, ErrorKind};
use deltafold_testing::lambda::{Answer, Function};
use serde_json::{Value, json};

use super::{Cloud, LONG, PROGRAM};

#[tokio::test]
async fn a_wrong_setting_is_reported_at_the_start() {
    for (variables, words) in [
        (&[][..], "DELTAFOLD_FUNCTION is not set"),
        (&[("DELTAFOLD_FUNCTION", "fold")], "it must be"),
        (&[("DELTAFOLD_FUNCTION", "ingest"), ("DELTAFOLD_STORE", "gs://b")], "gs://b"),
    ] {
        let mut function = Function::start(PROGRAM, variables).await;
        let said = function.refused().await;
        assert_eq!(said["errorType"], "Deltafold.Config");
        assert!(said["errorMessage"].as_str().unwrap().contains(words), "{said}");
        assert_eq!(function.exit().code(), Some(1));
        function.line("a reason", |line| line["reason"].as_str().is_some_and(|reason| reason.contains(words))).await;
    }
    let started = std::process::Command::new(PROGRAM).env_clear().output().unwrap();
    assert_eq!(started.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&started.stderr).contains("deltafold ingest"));
}

/// A function's log must show its panic. The exit code tells the service that it crashed.
#[cfg(feature = "simulation")]
#[test]
fn a_panic_is_a_line_of_the_log_and_exit_code_70() {
    let mut command = std::process::Command::new(PROGRAM);
    let ran = command.env_clear().env("DELTAFOLD_PANIC", "task").output().unwrap();
    assert_eq!(ran.status.code(), Some(70), "{ran:?}");
    let line: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!((&line["level"], &line["panic"]["version"]), (&json!("ERROR"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(line["message"].as_str().unwrap().contains("planted in task"), "{line}");
}

#[tokio::test]
async fn events_of_another_kind_are_refused() {
    let cloud = Cloud::start();
    cloud.collection(1).await;
    let function = cloud.function("ingest", &[]).await;
    for event in [json!({}), json!(null), json!({ "Records": [{ "eventSource": "aws:s3" }] })] {
        let (Answer::Failed(kind, _), _) = function.invoke(&event, LONG).await else { panic!("{event}") };
        assert_eq!(kind, "Deltafold.Event");
    }
    let error = Collection::open(Arc::new(cloud.server.store().await), &"c".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "nothing is written where nothing was said");
}
