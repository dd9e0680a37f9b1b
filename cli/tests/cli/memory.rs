//! Memory: the setting, a process that gets less than it asks for, and a log that no compactor
//! folds.

use std::process::{Command, Output};

use crate::home::{Home, Ran, puts};

/// The program with these arguments, in a process limited to this many KiB of address space.
fn limited(home: &Home, arguments: &str, kib: u64) -> Ran {
    // A program that ends by a signal has no exit code, and the test fails.
    Ran::of(limited_output(home, arguments, kib))
}

fn limited_output(home: &Home, arguments: &str, kib: u64) -> Output {
    let program = env!("CARGO_BIN_EXE_deltafold");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {kib}; exec {program} {arguments}")]).current_dir(home.path());
    command.env_remove("DELTAFOLD_STORE").env_remove("DELTAFOLD_MEMORY").env_remove("RUST_BACKTRACE");
    command.output().expect("a shell starts")
}

/// The least limit under which the program starts. It depends on the profile of the build: code
/// that is not optimised is larger.
fn least_to_start(home: &Home) -> u64 {
    let starts = |mib: &u64| limited_output(home, "--version", mib << 10).status.success();
    (40..200).step_by(10).find(starts).expect("the program starts in 200 MiB")
}

/// Lines that put documents of 15 MiB.
fn documents(count: usize) -> String {
    let text = "d".repeat(15 << 20);
    (0..count).map(|n| format!("{{\"op\":\"put\",\"id\":\"d{n}\",\"document\":\"{text}\"}}\n")).collect()
}

/// Story: after a small compressed file of large documents, every later command allocated more than
/// there was. The program died by SIGABRT, with no exit code and no output for a script.
#[test]
fn running_out_of_memory_has_an_exit_code() {
    let home = Home::with_collection();
    home.write("large.jsonl", documents(4));
    home.run("append c large.jsonl").ok();
    let least = least_to_start(&home);
    let (mut out, mut enough) = (0, 0);
    for mib in [least + 10, least + 30, least + 80, least + 150, 400, 2_000] {
        for command in ["scan c -o out.jsonl", "compact c", "append c large.jsonl --source s"] {
            let ran = limited(&home, command, mib << 10);
            match ran.code {
                0 => enough += 1,
                71 => {
                    out += 1;
                    assert!(ran.stderr.contains("memory") && ran.stderr.contains("help: "), "{ran:?}");
                }
                _ => panic!("{command} with {mib} MiB: {ran:?}"),
            }
        }
    }
    assert!(out > 0 && enough > 0, "out of memory {out} times, enough {enough} times");
    let error = limited(&home, "--json append c large.jsonl --source t", (least + 10) << 10).ends_with(71).json_error();
    assert_eq!(error["kind"], "out_of_memory");
    home.run("verify c --deep").ok();
}

#[test]
fn a_setting_below_the_minimum_names_the_minimum() {
    let home = Home::with_records(1);
    for wrong in ["--memory 1MiB", "--memory 63MiB", "--memory 256"] {
        home.run(&format!("{wrong} count c")).ends_with(2).complains("64 MiB");
    }
    home.run("--memory 64MiB count c").ok();
    let with_variable = |value| {
        let output = home.command("count c").env("DELTAFOLD_MEMORY", value).output();
        Ran::of(output.expect("the program starts"))
    };
    with_variable("1MiB").ends_with(2).complains("64 MiB");
    with_variable("64MiB").ok();
}

#[test]
fn an_object_file_longer_than_its_share_is_refused() {
    let home = Home::new();
    std::fs::File::create(home.path().join("huge")).and_then(|file| file.set_len(40 << 20)).expect("a sparse file");
    home.run("--memory 64MiB inspect huge").ends_with(3).complains("`--memory`");
}

fn segments(home: &Home) -> u64 {
    let status = home.run("status c --json").ok().json();
    let shard = &status["shards"][0];
    shard["unfolded_segments"].as_u64().unwrap_or_else(|| panic!("no number of segments in {shard}"))
}

/// Story: no process ran `compact`. The log grew without end, and so did the memory of every
/// command.
#[test]
fn append_folds_a_log_that_is_too_long() {
    let home = Home::with_collection();
    for _ in 0..4 {
        home.run_with("append c --max-backlog-segments 2", &puts(3)).ok();
        assert!(segments(&home) <= 2, "{}", segments(&home));
    }
    let folded = home.run_with("append c --max-backlog-ops 2", &puts(3)).ok();
    assert!(folded.stderr.contains("folding it meanwhile"), "{folded:?}");
    assert_eq!((segments(&home), home.records()), (0, 3));
}

#[test]
fn append_is_refused_beyond_the_limit_where_that_is_wanted() {
    let home = Home::with_collection();
    let append = "append c --when-behind refuse --max-backlog-segments 1 --source s";
    for n in 0..2 {
        home.run_with(&format!("{append}{n}"), &puts(1)).ok();
    }
    let refused = home.run_with(&format!("{append}2"), &puts(1)).ends_with(5);
    assert!(refused.stderr.contains("2 segments are not folded, and the limit is 1"), "{refused:?}");
    assert!(refused.stderr.contains("`compact`") && refused.stderr.contains("resume with: "), "{refused:?}");
    home.run_with("append c --when-behind go-on --max-backlog-segments 1", &puts(1)).ok();
    assert_eq!(segments(&home), 3);
    home.run("compact c").ok();
    home.run_with(&format!("{append}2"), &puts(1)).ok();
}
