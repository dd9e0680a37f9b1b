//! Signals that ask a long command to stop.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use crate::home::{Home, Ran, puts};

fn send(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(status.expect("kill is there").success());
}

/// Story: SIGTERM ended `append` in silence. The user of a supervisor did not learn under which
/// source the lines are in the log, and could not resume.
#[test]
fn a_terminated_append_says_how_to_go_on() {
    for (signal, code, word) in [("-INT", 130, "interrupted"), ("-TERM", 143, "terminated")] {
        for json in [false, true] {
            let home = Home::with_collection();
            let more = if json { " --json" } else { "" };
            let mut child = home.command(&format!("append c{more}")).stdin(Stdio::piped()).spawn().expect("started");
            let mut stdin = child.stdin.take().expect("a pipe");
            stdin.write_all(puts(5).as_bytes()).expect("written");
            while home.records() < 5 {
                std::thread::yield_now();
            }
            send(&child, signal);
            let ran = Ran::of(child.wait_with_output().expect("ended")).ends_with(code).complains(word);
            drop(stdin);
            let command = if json {
                let error = ran.json_error();
                assert_eq!(error["kind"], word);
                format!(
                    "append c --source {} --from-line {}",
                    error["source"].as_str().expect("one"),
                    error["resume_from_line"]
                )
            } else {
                ran.stderr.split_once("resume with: deltafold ").expect("a command").1.to_owned()
            };
            assert!(command.trim_end().ends_with("--from-line 6"), "{command}");
            home.run_with(command.trim_end(), &puts(8)).ok();
            assert_eq!(home.log().len(), 8, "every line once");
        }
    }
}

#[test]
fn commands_that_go_on_end_well_when_asked_to() {
    for signal in ["-INT", "-TERM"] {
        let home = Home::with_records(3);
        let mut follow = home.command("follow c").spawn().expect("started");
        let mut line = String::new();
        let mut lines = BufReader::new(follow.stdout.take().expect("a pipe"));
        lines.read_line(&mut line).expect("a line");
        send(&follow, signal);
        assert_eq!(follow.wait().expect("ended").code(), Some(0), "follow {signal}");

        let mut watch = home.command("compact c --watch --interval 1ms --fold-segments 1").spawn().expect("started");
        let mut line = String::new();
        BufReader::new(watch.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert!(line.contains("fold"), "{line}");
        send(&watch, signal);
        assert_eq!(watch.wait().expect("ended").code(), Some(0), "compact --watch {signal}");
    }
}

/// Story: `verify`, `scan`, `sweep` and `compact` handled no signals. As the first process of a
/// container they could not be stopped at all. Elsewhere they ended in silence and without an exit
/// code.
#[cfg(all(feature = "s3", feature = "dynamodb"))]
#[test]
fn a_signal_ends_other_commands_with_its_exit_code() {
    use std::time::Duration;

    use deltafold_testing::s3::Fault;

    let cloud = crate::cloud::Cloud::new();
    cloud.run("create c --dimension 2").ok();
    cloud.run_with("append c", &puts(3)).ok();
    cloud.server.fail_always("get", "c/0000/head", Fault::Slow(Duration::from_secs(3_600)));
    let commands = ["verify c --deep", "scan c", "sweep c", "compact c", "pin c kept"];
    let commands = commands.map(|command| (command, "-TERM", 143, "terminated"));
    for (command, signal, code, word) in commands.into_iter().chain([("verify c", "-INT", 130, "interrupted")]) {
        cloud.server.calls();
        let mut child = cloud.command(command).spawn().expect("started");
        while !cloud.server.calls().iter().any(|call| call.contains("head")) {
            assert!(child.try_wait().expect("asked").is_none(), "{command} asks for the head");
            std::thread::yield_now();
        }
        send(&child, signal);
        let ran = Ran::of(child.wait_with_output().expect("ended")).ends_with(code).complains(word);
        assert_eq!(ran.stdout, "", "{command}: no verdict");
        assert!(ran.stderr.contains("again"), "{command}: {ran:?}");
    }
}

/// The program waits for the reader of its output and does nothing else. A signal must reach it
/// there.
#[test]
fn a_signal_ends_a_scan_that_waits_for_its_reader() {
    let home = Home::with_records(5_000);
    let mut scan = home.command("scan c").spawn().expect("started");
    let mut line = String::new();
    let mut lines = BufReader::new(scan.stdout.take().expect("a pipe"));
    lines.read_line(&mut line).expect("a line");
    send(&scan, "-TERM");
    assert_eq!(scan.wait().expect("ended").code(), Some(143));
}
