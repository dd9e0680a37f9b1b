//! Outputs that close: a reader that goes away ends a command that only prints. Work and verdicts
//! go on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::home::{Home, puts};

/// The output that is closed before the program starts.
#[derive(Clone, Copy)]
enum Closed {
    Stdout,
    Both,
}

/// A pipe without a reader.
fn no_reader() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// The exit code of a command whose output has no reader.
fn code(home: &Home, arguments: &str, closed: Closed, input: &str) -> i32 {
    let mut command = home.command(arguments);
    command.stdin(Stdio::piped()).stdout(no_reader());
    match closed {
        Closed::Stdout => command.stderr(Stdio::piped()),
        Closed::Both => command.stderr(no_reader()),
    };
    let mut child = command.spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let writing = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("ended");
    writing.join().expect("written");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("write the output") && !said.contains("panicked"), "{arguments}: {said}");
    output.status.code().unwrap_or_else(|| panic!("{arguments}: {output:?}"))
}

/// Story: `append --acks | head -1` ended with 0, with 512 of 60,000 lines in. The first ack
/// without a reader ended the work.
#[test]
fn append_goes_on_when_its_acks_have_no_reader() {
    let home = Home::with_collection();
    home.write("in.jsonl", puts(60_000));
    let mut child = home.command("append c in.jsonl --acks").spawn().expect("started");
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(line.contains("acknowledged"), "{line}");
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("read");
    assert_eq!((child.wait().expect("ended").code(), stderr.as_str()), (Some(0), ""));
    assert_eq!(home.records(), 60_000);
}

#[test]
fn every_command_gives_its_verdict_without_a_reader() {
    for closed in [Closed::Stdout, Closed::Both] {
        for verbose in ["", " -vv", " --json", " --json -vv --requests"] {
            let home = Home::with_records(50);
            let run = |arguments: &str| code(&home, &format!("{arguments}{verbose}"), closed, "");
            for command in [
                "create d -d 2",
                "compact c",
                "pin c p",
                "status",
                "status c",
                "history c",
                "count c",
                "get c r001",
                "scan c",
                "follow c --until-end",
                "inspect c/0000/head",
                "verify c --deep",
                "sweep c",
                "unpin c p",
                "compact c --merge-all",
                "cost",
                "doctor",
                "completions bash",
                "drop d --yes",
            ] {
                assert_eq!(run(command), 0, "{command}{verbose}");
            }
            assert_eq!(code(&home, &format!("append c{verbose}"), closed, &puts(100)), 0);
            assert_eq!(code(&home, &format!("append c{verbose}"), closed, "{\n"), 3);
            assert_eq!(run("get c absent r001"), 4);
            assert_eq!(run("count absent"), 4);
            assert_eq!(run("pin c p --ttl 0s"), 2);
            assert_eq!(run("drop c"), 2, "there is no terminal to ask");
            assert_eq!(home.records(), 100);
            let head = home.files("c/0000/head").remove(0);
            std::fs::write(&head, b"damage").expect("written");
            assert_eq!(run("verify c --deep"), 6);
            assert_eq!(run("inspect c/0000/head"), 6);
        }
    }
}

#[test]
fn a_demo_and_a_watch_work_without_a_reader() {
    let home = Home::new();
    assert_eq!(code(&home, "demo", Closed::Stdout, ""), 0);
    assert_eq!(home.run("status demo --json").ok().json()["shards"][0]["unfolded_segments"], 0, "to its end");
    let home = Home::with_records(3);
    let mut command = home.command("compact c --watch --interval 1ms --fold-segments 1");
    let mut child = command.stdout(no_reader()).stderr(Stdio::piped()).spawn().expect("started");
    let version = || home.run("status c --json").json()["shards"][0]["version"].as_u64();
    while version() < Some(1) {}
    home.run_with("append c", &puts(1)).ok();
    while version() < Some(2) {}
    assert!(child.try_wait().expect("asked").is_none(), "it watches on");
    assert!(Command::new("kill").arg(child.id().to_string()).status().expect("kill").success());
    assert_eq!(child.wait().expect("ended").code(), Some(0));
}

/// A full disk is not a reader that goes away: the work is done, and the lost output is a failure.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_fails_after_the_work() {
    let home = Home::with_records(3);
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("the device");
    let output = home.command("compact c").stdout(full()).output().expect("ran");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the command did its work, and its output could not be written"), "{said}");
    assert_eq!(home.run("status c --json").json()["shards"][0]["version"], 1);
    let output = home.command("scan c").stdout(full()).output().expect("ran");
    assert_eq!(output.status.code(), Some(1));
}
