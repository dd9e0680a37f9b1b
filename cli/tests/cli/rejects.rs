//! `append --rejects`: bad lines go to a file, the others to the log; each line to exactly one of
//! them, whatever breaks off and runs again.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::home::{Home, Ran, put};

/// A line that is an op, or not, by its number.
fn line(number: usize, is_bad: bool) -> String {
    match (is_bad, number % 3) {
        (false, _) => put(number),
        (true, 0) => format!("{{\"op\":\"put\",\"id\":\"r{number:03}\",\"embedding\":[{number},NaN]}}\n"),
        (true, 1) => format!("{{\"op\":\"put\",\"id\":\"r{number:03}\",\"embedding\":[1]}}\n"),
        (true, _) => format!("r{number:03}\n"),
    }
}

fn lines(count: usize, is_bad: impl Fn(usize) -> bool) -> String {
    (0..count).map(|number| line(number, is_bad(number))).collect()
}

fn rejects(home: &Home, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(home.path().join(name)).expect("a file of rejects");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn numbers(rejects: &[Value]) -> Vec<u64> {
    rejects.iter().map(|reject| reject["line"].as_u64().expect("a number")).collect()
}

fn ids(home: &Home) -> Vec<String> {
    home.log().iter().map(|op| op["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn bad_lines_are_turned_away_and_the_load_goes_on() {
    let home = Home::with_collection();
    let mut input = lines(5, |n| n == 0 || n == 3).into_bytes();
    input.extend_from_slice(b"{\"op\":\"put\",\"id\":\"caf\xe9\"}\n");
    home.write("in.jsonl", &input);
    let ran = home.run("append c in.jsonl --rejects bad.jsonl").ends_with(7);
    ran.says("3 ops").says("; 3 turned away").complains("3 lines were turned away; everything else was appended");
    assert_eq!(ids(&home), ["r001", "r002", "r004"]);
    let found = rejects(&home, "bad.jsonl");
    let of = |index: usize, names: [&str; 4]| names.map(|name| found[index][name].clone());
    assert_eq!(
        of(0, ["input", "line", "column", "field"]),
        [json!("in.jsonl"), json!(1), json!(40), json!("embedding[1]")],
        "{found:#?}"
    );
    assert!(found[0]["reason"].as_str().is_some_and(|reason| reason.contains("`NaN`")), "{found:#?}");
    assert_eq!(found[0]["text"], line(0, true).trim_end());
    assert_eq!((&found[2]["line"], &found[2]["field"], &found[2]["text"]), (&json!(6), &json!("id"), &Value::Null));
    assert_eq!(found[2]["base64"], "eyJvcCI6InB1dCIsImlkIjoiY2Fm6SJ9");

    let report = home.run("append c in.jsonl --rejects other.jsonl --json").ends_with(7);
    let error: Value = serde_json::from_str(&report.stderr).expect("JSON");
    let error = &error["error"];
    assert_eq!((&error["kind"], &error["rejected"]), (&json!("partly"), &json!(3)));
    let report = report.json();
    assert_eq!((&report["ops"], &report["rejected"]), (&json!(3), &json!(3)));

    // Nothing was turned away: the file is there, and empty.
    home.run_with("append c --rejects none.jsonl", &put(9)).ok();
    assert_eq!(rejects(&home, "none.jsonl"), Vec::<Value>::new());
}

/// Threads parse batches at once; the file has the order of the input all the same.
#[test]
fn many_bad_lines_come_in_order_from_all_threads() {
    let is_bad = |n: usize| n % 97 == 5 || (10_000..10_600).contains(&n);
    for packed in [false, true] {
        let home = Home::with_collection();
        let input = lines(20_000, is_bad);
        let name = if packed { "in.jsonl.zst" } else { "in.jsonl" };
        home.write(
            name,
            if packed { zstd::encode_all(input.as_bytes(), 1).expect("compressed") } else { input.into() },
        );
        home.run(&format!("append c {name} --rejects bad.jsonl")).ends_with(7);
        let bad: Vec<u64> = (0..20_000).filter(|n| is_bad(*n)).map(|n| n as u64 + 1).collect();
        assert_eq!(numbers(&rejects(&home, "bad.jsonl")), bad);
        let good: Vec<String> = (0..20_000).filter(|n| !is_bad(*n)).map(|n| format!("r{n:03}")).collect();
        assert_eq!(ids(&home), good);
    }
}

/// Story: a bad line was mended in its file, and the file appended again under the same source. The
/// log holds later positions of that source, so the line would count as a repetition.
#[test]
fn a_second_run_passes_over_what_was_turned_away() {
    let home = Home::with_collection();
    let append = "append c in.jsonl --source feed --rejects bad.jsonl";
    home.write("in.jsonl", lines(10, |n| n == 3 || n == 7));
    home.run(append).ends_with(7);
    let first = rejects(&home, "bad.jsonl");
    home.write("in.jsonl", lines(12, |n| n == 7 || n == 11));
    let again =
        home.run(append).ends_with(7).says("; 1 turned away, and 2 before").says("8 of them had been appended before");
    again.complains("3 lines were turned away");
    let second = rejects(&home, "bad.jsonl");
    assert_eq!((&second[..2], numbers(&second)), (&first[..], vec![4, 8, 12]), "none twice");
    assert_eq!(ids(&home), ["r000", "r001", "r002", "r004", "r005", "r006", "r008", "r009", "r010"]);
    // The texts come in by themselves.
    home.run_with("append c -", &[3, 7, 11].map(put).concat()).ok();
    assert_eq!(home.records(), 12);
}

#[test]
fn a_limit_stops_in_front_of_the_line_beyond_it() {
    let home = Home::with_collection();
    home.write("in.jsonl", lines(2_000, |n| n % 100 == 99));
    let stopped = home.run("append c in.jsonl --rejects bad.jsonl --max-rejects 3").ends_with(3);
    let stopped =
        stopped.complains("in.jsonl: line 400 would exceed `--max-rejects`, 3").complains("line 399 and all before");
    assert_eq!((numbers(&rejects(&home, "bad.jsonl")), home.log().len()), (vec![100, 200, 300], 396));
    let command =
        stopped.stderr.lines().find_map(|line| line.split_once("resume with: deltafold ")).expect("a command").1;
    assert!(
        command.contains("--rejects bad.jsonl --max-rejects 3") && command.ends_with("--from-line 400"),
        "{command}"
    );
    home.run(command).ends_with(3).complains("line 400 would exceed");
    home.run(&command.replace("--max-rejects 3", "--max-rejects 20")).ends_with(7);
    assert_eq!((rejects(&home, "bad.jsonl").len(), home.log().len()), (20, 1_980));
    home.run_with("append c --max-rejects 3", "").ends_with(2);
}

#[test]
fn a_file_of_anything_else_is_refused_and_stays() {
    let home = Home::with_collection();
    home.write("in.jsonl", lines(3, |n| n == 1));
    for (name, content) in [
        ("ops.jsonl", put(1)),
        ("text", "hello".to_owned()),
        ("half", "{\"op\":".to_owned()),
        ("other.jsonl", "{\"source\":\"other\",\"input\":\"x\",\"line\":1}\n".to_owned()),
        ("numberless", "{\"source\":\"feed\",\"input\":\"x\"}\n".to_owned()),
    ] {
        home.write(name, &content);
        home.run(&format!("append c in.jsonl --source feed --rejects {name}"))
            .ends_with(2)
            .complains("nothing was written");
        assert_eq!(std::fs::read_to_string(home.path().join(name)).expect("the file"), content, "{name}");
    }
    std::fs::create_dir(home.path().join("folder")).expect("made");
    home.run("append c in.jsonl --rejects folder").ends_with(2).complains("not a regular file");
    home.run("append c in.jsonl --rejects in.jsonl").ends_with(2);
    assert_eq!(home.log().len(), 0, "nothing was appended");
    // Two processes at once.
    let mut first =
        home.command("append c - --source feed --rejects bad.jsonl").stdin(Stdio::piped()).spawn().expect("started");
    let mut pipe = first.stdin.take().expect("a pipe");
    pipe.write_all(lines(2, |n| n == 1).as_bytes()).expect("written");
    while std::fs::metadata(home.path().join("bad.jsonl")).map_or(0, |meta| meta.len()) == 0 {
        std::thread::yield_now();
    }
    home.run("append c in.jsonl --source feed --rejects bad.jsonl").ends_with(5).complains("another load writes");
    drop(pipe);
    Ran::of(first.wait_with_output().expect("ended")).ends_with(7);
}

/// A run that was killed leaves a last line unfinished. The next run removes it and writes it anew.
#[test]
fn an_unfinished_line_is_written_anew() {
    let home = Home::with_collection();
    let append = "append c in.jsonl --source feed --rejects bad.jsonl";
    home.write("in.jsonl", lines(6, |n| n % 2 == 1));
    home.run(append).ends_with(7);
    let whole = std::fs::read(home.path().join("bad.jsonl")).expect("the file");
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("two lines") + 1;
    for length in [last + 1, last + 20, whole.len() - 1, last, 5, 0] {
        home.write("bad.jsonl", &whole[..length]);
        home.run(append).ends_with(7);
        assert_eq!(std::fs::read(home.path().join("bad.jsonl")).expect("the file"), whole, "cut to {length}");
    }
    assert_eq!(home.log().len(), 3);
}

/// SIGKILL at random moments: in the end each line is in the log or in the file, once.
#[cfg(unix)]
#[test]
fn killed_again_and_again_no_line_is_lost_or_in_both_places() {
    const LINES: usize = 6_000;
    let mut random = deltafold_testing::random::Random::from_environment();
    let home = Home::with_collection();
    let is_bad = |n: usize| n % 7 == 3;
    home.write("in.jsonl", lines(LINES, is_bad));
    let append = "append c in.jsonl --source feed --rejects bad.jsonl";
    let mut from = 1;
    for _ in 0..12 {
        let mut child = home.command(&format!("{append} --acks --json --from-line {from}")).spawn().expect("started");
        let mut acks = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        for _ in 0..random.below(4) {
            let Some(Ok(ack)) = acks.next() else { break };
            let ack: Value = serde_json::from_str(&ack).expect("a line of JSON");
            // It goes on behind an acknowledged line, or comes again.
            if let Some(line) = ack["acknowledged_line"].as_u64()
                && random.below(2) == 0
            {
                from = from.max(line + 1);
            }
        }
        for _ in 0..random.below(3_000_000) {
            std::hint::spin_loop();
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    home.run(&format!("{append} --from-line {from}")).ends_with(7);
    let bad: Vec<u64> = (0..LINES).filter(|n| is_bad(*n)).map(|n| n as u64 + 1).collect();
    assert_eq!(numbers(&rejects(&home, "bad.jsonl")), bad, "each bad line once");
    let good: Vec<String> = (0..LINES).filter(|n| !is_bad(*n)).map(|n| format!("r{n:03}")).collect();
    let log = ids(&home);
    assert_eq!(log.iter().collect::<BTreeSet<_>>().len(), log.len(), "no op twice");
    assert_eq!(log, good);
}

/// The file keeps its beginning, and the load goes on behind it.
#[test]
fn a_line_that_is_too_long_is_turned_away() {
    let home = Home::with_collection();
    let long = |first: &str| format!("{first}{}\n", " ".repeat(33 << 20));
    let input = format!("{}{}{}{}", put(0), long(r#"{"op":"put""#), long(""), put(1));
    home.write("in.jsonl", input);
    let append = "--memory 64MiB append c in.jsonl --source s --rejects bad.jsonl";
    home.run(append).ends_with(7).says("2 ops").says("; 2 turned away");
    assert_eq!(ids(&home), ["r000", "r001"]);
    let found = rejects(&home, "bad.jsonl");
    assert_eq!(numbers(&found), [2, 3]);
    assert!(found[0]["reason"].as_str().is_some_and(|reason| reason.contains("longer than 33554432 bytes")));
    assert_eq!(found[0]["beginning"].as_str().map(|text| (text.len(), &text[..11])), Some((1024, r#"{"op":"put""#)));
    home.run(append).ends_with(7).says("; 0 turned away, and 2 before").says("2 of them had been appended before");
    home.run("--memory 64MiB append c in.jsonl").ends_with(3).complains("in.jsonl:2: the line is longer");
}

#[cfg(feature = "columnar")]
#[test]
fn rows_are_turned_away_like_lines() {
    let home = Home::with_collection();
    let record = |n: usize| match n % 10 {
        4 => format!("{{\"op\":\"put\",\"id\":\"r{n:04}\",\"embedding\":[1,2]}}\n"),
        _ => format!("{{\"op\":\"put\",\"id\":\"r{n:04}\",\"embedding\":[1,2],\"document\":\"k{n}\"}}\n"),
    };
    home.run_with("append c", &(0..3_000).map(record).collect::<String>()).ok();
    for format in ["parquet", "arrow"] {
        home.run(&format!("create {format} --dimension 2")).ok();
        home.run(&format!("export c --format {format} --out t.{format}")).ok();
        // A command to go on with names the columns again.
        home.run(&format!("create stops-{format} --dimension 2")).ok();
        home.run(&format!("append stops-{format} t.{format} --columns id=document,metadata= --source t"))
            .ends_with(3)
            .complains(&format!("t.{format} --columns id=document,metadata= --source t --from-line 5"));
        // Where the document is null, the id is.
        let append =
            format!("append {format} t.{format} --columns id=document,metadata= --source t --rejects {format}.jsonl");
        home.run(&append).ends_with(7).says("2,700 ops").says("; 300 turned away");
        let found = rejects(&home, &format!("{format}.jsonl"));
        let rows: Vec<u64> = found.iter().map(|reject| reject["row"].as_u64().expect("a row")).collect();
        assert_eq!(rows, (0..300).map(|n| n * 10 + 5).collect::<Vec<_>>());
        assert_eq!((&found[0]["field"], &found[0]["source"]), (&json!("document"), &json!("t")), "{found:#?}");
        home.run(&append)
            .ends_with(7)
            .says("; 0 turned away, and 300 before")
            .says("2,700 of them had been appended before");
        assert_eq!(rejects(&home, &format!("{format}.jsonl")).len(), 300);
    }
}
