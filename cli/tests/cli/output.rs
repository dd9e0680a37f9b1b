//! The common parts of all commands: usage, stores, JSON errors, colours, a reader that goes away.

use std::io::{BufRead as _, BufReader, Read as _};

use crate::home::Home;

#[test]
fn help_lists_the_commands_and_the_exit_codes() {
    let home = Home::new();
    let help = home.run("--help").ok().says("Exit codes:").says("damage found");
    for command in
        ["create", "append", "get", "scan", "count", "follow", "compact", "status", "history", "pin", "unpin"]
    {
        assert!(help.stdout.contains(command), "{command}");
        home.run(&format!("{command} --help")).ok().says("--json").says("--store");
    }
    home.run("--version").ok().says(env!("CARGO_PKG_VERSION"));
    assert_eq!(home.run("").code, 2, "help, and no command");
    home.run("fold c").ends_with(2);
    home.run("count").ends_with(2);
    home.run("count c --pin p --version 1").ends_with(2);
    home.run("sweep c --min-age soon").ends_with(2).complains("units ms, s, m, h, d");
}

#[test]
fn the_store_is_named_by_option_or_environment() {
    let home = Home::new();
    home.run("--store dir:here create c -d 2").ok().says("here");
    assert_eq!(home.run("count c --store here").ok().stdout, "0\n");
    let by_environment = home.command("count c").env("DELTAFOLD_STORE", "dir:here").output().expect("started");
    assert_eq!(by_environment.stdout, b"0\n");
    home.run("count c").ends_with(4).complains("there is no store in `./deltafold-data`");
    assert!(!home.path().join("deltafold-data").exists(), "looking makes nothing");
    home.run("count c --store gs://bucket").ends_with(2).complains("use `dir:PATH`");
}

#[test]
fn errors_are_json_for_scripts() {
    let home = Home::with_collection();
    let error = home.run("get c a b --json").ends_with(4).json_error();
    assert_eq!(error["kind"], "not_found");
    assert_eq!(error["missing"], serde_json::json!(["a", "b"]));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("`a`, `b`")));
    assert_eq!(home.run("count d --json").ends_with(4).json_error()["kind"], "not_found");
}

#[test]
fn colours_are_for_terminals_or_on_request() {
    let home = Home::with_collection();
    assert!(!home.run("status").ok().stdout.contains('\u{1b}'));
    assert!(home.run("count d --color always").ends_with(4).stderr.contains('\u{1b}'));
    assert!(!home.run("count d --color never").ends_with(4).stderr.contains('\u{1b}'));
    assert!(!home.run("count d").ends_with(4).stderr.contains('\u{1b}'));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::with_records(2_000);
    let mut child = home.command("scan c").spawn().expect("started");
    let mut line = String::new();
    let mut stdout = BufReader::with_capacity(64, child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("a line");
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("read");
    assert_eq!((child.wait().expect("ended").code(), stderr.as_str()), (Some(0), ""));
    assert!(line.contains("r000"));
}

/// Runs the program on a terminal, which needs `script` of util-linux. `None` if that is missing.
#[cfg(target_os = "linux")]
fn on_a_terminal(home: &Home, arguments: &str, no_color: bool) -> Option<String> {
    let mut command = std::process::Command::new("script");
    command.arg("-qec").arg(format!("{} {arguments}", env!("CARGO_BIN_EXE_deltafold"))).arg("/dev/null");
    command.current_dir(home.path()).env_remove("DELTAFOLD_STORE").env_remove("NO_COLOR").env("TERM", "xterm");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: there is no `script`");
            None
        }
        output => {
            let output = output.expect("script ran");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{text}");
            Some(text)
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_shows_a_record_as_a_card() {
    let home = Home::with_records(3);
    let Some(card) = on_a_terminal(&home, "get c r001 -vv", false) else { return };
    assert!(card.contains("document") && card.contains("[1, 0.5] (2 numbers)"), "{card}");
    assert!(card.contains('\u{1b}'), "in colours: {card}");
    let Some(plain) = on_a_terminal(&home, "get c r001", true) else { return };
    assert!(plain.contains("document") && !plain.contains('\u{1b}'), "NO_COLOR: {plain}");
    let Some(table) = on_a_terminal(&home, "status", true) else { return };
    assert!(table.contains("COLLECTION") && !table.contains('\u{1b}'), "NO_COLOR: {table}");
}
