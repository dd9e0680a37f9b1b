//! `append`: its input, the line where it stops, and that no line takes effect twice.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::json;

use crate::home::{Home, Ran, put, puts};

/// The arguments of the command that a failed append names to resume.
fn resume(ran: &Ran) -> String {
    let line = ran.stderr.lines().find_map(|line| line.split_once("resume with: deltafold "));
    line.unwrap_or_else(|| panic!("no command to resume with in {ran:#?}")).1.to_owned()
}

#[test]
fn files_and_standard_input_plain_or_compressed() {
    let home = Home::with_collection();
    let (first, second, third, fourth) = (put(0), put(1), put(2), put(3));
    home.write("a.jsonl", &first);
    home.write("b.jsonl.zst", zstd::encode_all(second.as_bytes(), 3).expect("compressed"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(third.as_bytes()).expect("compressed");
    home.write("c.jsonl.gz", gzip.finish().expect("compressed"));
    home.run("append c a.jsonl b.jsonl.zst c.jsonl.gz").ok().says("appended to c in ").says("3 ops");
    let report = home.run_with("append c - --json", &fourth).ok().json();
    assert_eq!((&report["ops"], &report["duplicates"]), (&json!(1), &json!(0)));
    assert_eq!(home.records(), 4);
}

#[test]
fn standard_input_is_decompressed_by_its_first_bytes() {
    let home = Home::with_collection();
    let packed = zstd::encode_all(puts(3).as_bytes(), 3).expect("compressed");
    let mut child = home.command("append c").stdin(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("a pipe").write_all(&packed).expect("written");
    Ran::of(child.wait_with_output().expect("ended")).ok();
    assert_eq!(home.records(), 3);
}

#[test]
fn a_file_of_another_kind_than_its_name_is_refused() {
    let home = Home::with_collection();
    home.write("a.jsonl.zst", puts(1));
    home.run("append c a.jsonl.zst").ends_with(3).complains("does not begin as a `.zst` file");
    home.run("append c nowhere.jsonl").ends_with(4).complains("cannot open `nowhere.jsonl`");
    let packed = zstd::encode_all(puts(20_000).as_bytes(), 3).expect("compressed");
    home.write("cut.jsonl.zst", &packed[..packed.len() / 2]);
    let cut = home.run("append c cut.jsonl.zst").ends_with(3).complains("cut short").complains("nothing of this input");
    home.write("cut.jsonl.zst", &packed);
    home.run(&resume(&cut)).ok();
    assert_eq!((home.records(), home.log().len()), (20_000, 20_000), "every line once");
}

#[test]
fn blank_lines_are_no_ops_and_count_as_lines() {
    let home = Home::with_collection();
    home.run_with("append c", &format!("\n{}  \r\n\n{}", put(0), put(1))).ok();
    assert_eq!(home.records(), 2);
    let bad = home.run_with("append c", "\n\n{\n").ends_with(3);
    bad.complains("-:3:").complains("nothing of this input was appended");
}

#[test]
fn a_bad_line_stops_and_the_named_command_goes_on_from_it() {
    let home = Home::with_collection();
    let good = puts(10);
    let mut lines: Vec<&str> = good.lines().collect();
    let bad = r#"{"op":"put","id":"r006","metadata":{"n":[1,"x"]}}"#;
    let right = std::mem::replace(&mut lines[6], bad);
    home.write("in.jsonl", lines.join("\n"));
    let stopped = home
        .run("append c in.jsonl")
        .ends_with(3)
        .complains("in.jsonl:7:44: field `metadata.n[1]`: a list holds values of one type")
        .complains("line 6 and all before it are acknowledged: 6 ops");
    assert_eq!(home.records(), 6, "everything before it is in");
    let command = resume(&stopped);
    assert!(command.ends_with("--from-line 7"), "{command}");

    lines[6] = right;
    home.write("in.jsonl", lines.join("\n"));
    home.run(&command).ok().says("4 ops");
    assert_eq!((home.records(), home.log().len()), (10, 10), "every line once");
}

/// Several threads parse at once. A thread finds the second bad line while another is still before
/// the first one.
#[test]
fn lines_parsed_at_once_end_at_the_first_bad_one_in_order() {
    let good = puts(30_000);
    let mut lines: Vec<&str> = good.lines().collect();
    for bad in [17_001, 17_600, 25_000] {
        lines[bad] = "{";
    }
    let input = lines.join("\n");
    let packed = zstd::encode_all(input.as_bytes(), 1).expect("compressed");
    let plain = input.as_bytes();
    for (name, content) in [("in.jsonl", plain), ("in.jsonl.zst", &packed[..]), ("-", plain), ("-", &packed[..])] {
        let home = Home::with_collection();
        let ran = if name == "-" {
            let mut child = home.command("append c").stdin(Stdio::piped()).spawn().expect("started");
            // The program does not read a plain pipe on behind the bad line.
            let _ = child.stdin.take().expect("a pipe").write_all(content);
            Ran::of(child.wait_with_output().expect("ended"))
        } else {
            home.write(name, content);
            home.run(&format!("append c {name}"))
        };
        let ran = ran.ends_with(3).complains(&format!("error: {name}:17002:"));
        assert!(resume(&ran).ends_with("--from-line 17002"), "{ran:#?}");
        let log = home.log();
        assert_eq!(log.len(), 17_001, "{name}: no line behind it is appended");
        assert!(log.iter().enumerate().all(|(n, op)| op["id"] == format!("r{n:03}")), "{name}: in order");
    }
}

#[test]
fn no_line_takes_effect_twice_wherever_one_goes_on_from() {
    let home = Home::with_collection();
    home.write("in.jsonl", format!("{}{{\n", puts(600)));
    let stopped = home.run("append c in.jsonl").ends_with(3);
    home.write("in.jsonl", puts(700));
    for line in [601, 1, 300] {
        let command = resume(&stopped).replace("--from-line 601", &format!("--from-line {line}"));
        home.run(&command).ok();
    }
    let log = home.log();
    assert_eq!(log.len(), 700, "every line once");
    assert!(log.iter().enumerate().all(|(n, op)| op["id"] == format!("r{n:03}")), "and in order");
}

#[test]
fn a_named_source_delivered_twice_is_appended_once() {
    let home = Home::with_collection();
    home.write("in.jsonl", puts(5));
    assert_eq!(home.run("append c in.jsonl --source feed --json").ok().json()["duplicates"], 0);
    home.run("compact c").ok();
    assert_eq!(home.run("append c in.jsonl --source feed --json").ok().json()["duplicates"], 5);
    home.run("append c in.jsonl --source feed").ok().says("5 of them had been appended before");
    home.run("append c in.jsonl --source other").ok();
    assert_eq!(home.log().len(), 10);
    home.run("append c in.jsonl in.jsonl --source feed").ends_with(2).complains("go with one file");
}

#[test]
fn lines_that_the_collection_cannot_hold_are_refused_by_field() {
    let home = Home::with_collection();
    let wide = r#"{"op":"put","id":"a","embedding":[1,2,3]}"#;
    home.run_with("append c", wide)
        .ends_with(3)
        .complains("field `embedding`: has 3 numbers, the collection's dimension is 2");
    let error = home.run_with("append c --json", wide).ends_with(3).json_error();
    assert_eq!((&error["line"], &error["column"], &error["field"]), (&json!(1), &json!(34), &json!("embedding")));
    assert_eq!((&error["kind"], &error["resume_from_line"]), (&json!("bad_input"), &json!(1)));
}

#[cfg(unix)]
#[test]
fn an_interrupted_append_acknowledges_and_says_how_to_go_on() {
    let home = Home::with_collection();
    let mut child = home.command("append c").stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(puts(5).as_bytes()).expect("written");
    while home.records() < 5 {
        std::thread::yield_now();
    }
    // Its input stays open, so it would wait for more lines for ever.
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill is there").success());
    let stopped = Ran::of(child.wait_with_output().expect("ended")).ends_with(130).complains("error: interrupted");
    drop(stdin);
    let command = resume(&stopped);
    assert!(command.ends_with("--from-line 6"), "{command}");
    home.run_with(&command, &puts(8)).ok();
    assert_eq!(home.log().len(), 8, "every line once");
}

#[test]
fn acknowledgements_tell_a_script_how_far_the_input_is_durable() {
    let home = Home::with_collection();
    let ran = home.run_with("append c --acks --json", &puts(500)).ok();
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let (report, acks) = lines.split_last().expect("a report");
    assert_eq!(report["ops"], json!(500));
    let acknowledged: Vec<u64> = acks.iter().filter_map(|ack| ack["acknowledged_line"].as_u64()).collect();
    assert!(acknowledged.len() == acks.len() && acknowledged.is_sorted(), "{acknowledged:?}");
    assert_eq!(acknowledged.last(), Some(&500));
    home.run_with("append c --acks", &put(1)).ok().says("line 1 and all before it are acknowledged");
}
