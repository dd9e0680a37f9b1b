//! Small faults of arguments and of files named by options.

use serde_json::Value;

use crate::home::{Home, Ran};

#[test]
fn a_time_to_live_of_nothing_is_refused() {
    let home = Home::with_records(1);
    home.run("compact c").ok();
    home.run("pin c p --ttl 0s").ends_with(2).complains("longer than nothing");
    home.run("pin c p --ttl 0.0001ms").ends_with(3).complains("at least 1 ms");
    home.run("count c --pin p").ends_with(4);
    home.run("follow c --interval 0s").ends_with(2);
    home.run("compact c --watch --interval 0s").ends_with(2);
}

#[test]
fn versions_of_another_number_than_shards_are_wrong_usage() {
    let home = Home::with_records(1);
    home.run("compact c").ok();
    for command in ["get c r000", "scan c", "count c"] {
        home.run(&format!("{command} --version 1")).ok();
        let said = "`--version` names 2 versions, and `c` has 1 shard";
        home.run(&format!("{command} --version 1,2")).ends_with(2).complains(said);
    }
}

/// With `--json` a script reads standard error line by line: each line must be JSON.
#[test]
fn standard_error_is_json_lines_for_scripts() {
    let home = Home::with_records(20);
    let json = |ran: &Ran| {
        for line in ran.stderr.lines() {
            let parsed: Result<Value, _> = serde_json::from_str(line);
            assert!(parsed.is_ok_and(|value| value.is_object()), "{ran:#?}");
        }
    };
    for command in [
        "status",
        "compact c",
        "sweep c --dry-run",
        "verify c",
        "count c",
        "get c absent",
        "drop c",
        "history c",
        "pin c p --ttl 0s",
        "count",
        "nonsense",
        "count c --nonsense",
        "scan c",
        "demo",
        "doctor",
        "append c nowhere",
        "inspect nowhere",
        "follow c --until-end",
        "cost",
    ] {
        for more in ["", " -vvv", " --requests"] {
            json(&home.run(&format!("{command} --json{more}")));
        }
    }
    let error = home.run("count c --nonsense --json").ends_with(2).json_error();
    assert_eq!(error["kind"], "usage");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("--nonsense")), "{error:#}");
}

/// Story: a named pipe kept the program waiting for ever, and a device filled the memory.
#[cfg(all(target_os = "linux", feature = "mapping"))]
#[test]
fn files_of_options_are_read_with_a_limit() {
    let home = Home::with_collection();
    let made = std::process::Command::new("mkfifo").arg(home.path().join("fifo")).status().expect("mkfifo runs");
    assert!(made.success());
    home.write("large.toml", vec![b'#'; (1 << 20) + 1]);
    home.write("binary.toml", [0xff, 0xfe]);
    std::fs::create_dir(home.path().join("folder")).expect("made");
    let limit = std::time::Duration::from_secs(60);
    for (file, words) in [
        ("fifo", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("folder", "is a folder"),
        ("large.toml", "larger than 1.0 MiB"),
        ("binary.toml", "not UTF-8 text"),
    ] {
        let run = |arguments: &str| Ran::within(home.command(arguments), limit, "").ends_with(3).complains(file);
        run(&format!("map --check {file}")).complains(words);
        if file != "large.toml" {
            run(&format!("cost --requests-of {file} --covering 1d")).complains(words);
        }
    }
    // A pipe that the shell has opened is read.
    let mut shell = std::process::Command::new("bash");
    let rule = "[[rule]]\\ncollection = \"c\"\\nid = \"{a}\"\\ndocument = \"a\"\\n";
    let command = format!("{} map --check <(printf '{rule}')", env!("CARGO_BIN_EXE_deltafold"));
    let ran = match shell.arg("-c").arg(command).current_dir(home.path()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        output => Ran::of(output.expect("bash runs")),
    };
    ran.ok().complains("is sound");
}
