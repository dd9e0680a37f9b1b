//! Compressed input whose checksum fails at its end: no wrong record is kept, and no advice keeps
//! one.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::home::{Home, Ran, puts};

const GOOD: &[u8] = include_bytes!("checksum/good.jsonl.gz");
const BAD_GZIP: &[u8] = include_bytes!("checksum/bad.jsonl.gz");
const BAD_ZSTD: &[u8] = include_bytes!("checksum/bad.jsonl.zst");

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

fn zstd(text: &str, set: impl FnOnce(&mut zstd::Encoder<'_, Vec<u8>>)) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
    encoder.include_checksum(true).expect("set");
    set(&mut encoder);
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

/// Runs the program with these bytes in a pipe.
fn piped(home: &Home, arguments: &str, input: &[u8]) -> Ran {
    let mut child = home.command(arguments).stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("ended");
    writing.join().expect("written");
    Ran::of(output)
}

fn records(home: &Home) -> Vec<Value> {
    home.run("scan c").json_lines()
}

/// The state that the good file gives an empty collection.
fn right() -> Vec<Value> {
    let home = Home::with_collection();
    home.write("good.jsonl.gz", GOOD);
    home.run("append c good.jsonl.gz").ok();
    let records = records(&home);
    assert_eq!((records.len(), &records[2]["embedding"][0]), (5, &1_002.0.into()));
    records
}

/// Story: a `.gz` had one wrong digit, which only its checksum at the end shows. By then all five
/// lines were acknowledged. The command in the message resumed behind the wrong line, which stayed
/// for good. Now a file is checked whole before its first line is appended.
#[test]
fn a_file_with_a_wrong_checksum_appends_nothing() {
    for (name, bytes) in [("in.jsonl.gz", BAD_GZIP), ("in.jsonl.zst", BAD_ZSTD)] {
        let home = Home::with_collection();
        home.write(name, bytes);
        let ran = home.run(&format!("append c {name} --source feed")).ends_with(3).complains("checksum");
        assert!(ran.stderr.contains("nothing of this input was appended"), "{ran:#?}");
        assert!(home.log().is_empty());
        let good = if name.ends_with("gz") { GOOD.to_vec() } else { zstd(&text(GOOD), |_| ()) };
        home.write(name, good);
        home.run(&resume(&ran)).ok().says("5 ops");
        assert_eq!(records(&home), right());
    }
}

fn text(gzip: &[u8]) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(gzip), &mut text).expect("text");
    text
}

fn resume(ran: &Ran) -> String {
    let line = ran.stderr.lines().find_map(|line| line.split_once("resume with: deltafold "));
    line.unwrap_or_else(|| panic!("no command to resume with in {ran:#?}")).1.to_owned()
}

#[test]
fn standard_input_from_a_file_is_checked_first() {
    let home = Home::with_collection();
    home.write("bad.gz", BAD_GZIP);
    let file = std::fs::File::open(home.path().join("bad.gz")).expect("open");
    let output = home.command("append c").stdin(file).output().expect("ran");
    Ran::of(output).ends_with(3).complains("nothing of this input was appended");
    assert!(home.log().is_empty());
    home.write("good.gz", GOOD);
    let file = std::fs::File::open(home.path().join("good.gz")).expect("open");
    Ran::of(home.command("append c").stdin(file).output().expect("ran")).ok();
    assert_eq!(records(&home), right());
}

/// A pipe cannot be read twice: its lines are acknowledged before the checksum at the end. The
/// message must say so, and its advice must lead to the content of the good file.
#[test]
fn a_pipe_with_a_wrong_checksum_is_appended_again_whole() {
    // zstd passes on no byte of a block whose frame fails with it, so the test needs many blocks.
    let good = puts(20_000);
    let wrong = good.replacen("text 100", "text 109", 1);
    let (good_zstd, mut bad_zstd) = (zstd(&good, |_| ()), zstd(&wrong, |_| ()));
    bad_zstd.truncate(bad_zstd.len() - 4);
    bad_zstd.extend_from_slice(&good_zstd[good_zstd.len() - 4..]);
    for (bad, good, first_wrong) in [(BAD_GZIP, GOOD, 2), (&bad_zstd, &good_zstd, 100)] {
        let right = {
            let home = Home::with_collection();
            home.write("good", good);
            home.run("append c good").ok();
            records(&home)
        };
        for source in ["", " --source feed"] {
            let home = Home::with_collection();
            let ran = piped(&home, &format!("append c{source}"), bad).ends_with(3).complains("checksum");
            let ran = ran.complains("lines 1 to ").complains(" are in the log, and any of them may be wrong");
            assert!(!ran.stderr.contains("--from-line") && !ran.stderr.contains("resume with"), "{ran:#?}");
            assert_eq!(ran.stderr.contains("do not use the source feed"), !source.is_empty(), "{ran:#?}");
            assert_ne!(records(&home)[first_wrong], right[first_wrong], "the wrong one is there for now");
            let follow =
                ran.stderr.lines().find_map(|line| line.split_once("the appended ops: deltafold ")).expect("help").1;
            assert_eq!(home.run(follow).json_lines().len() as u64, home.records(), "{follow}");
            home.write("FILE", good);
            let again = ran.stderr.split_once("append all of it: deltafold ").expect("a command").1;
            home.run(again.split_once(". A file").expect("its end").0).ok();
            assert_eq!(records(&home), right);
        }
    }
    let home = Home::with_collection();
    let error = piped(&home, "append c --json --source feed", BAD_GZIP).ends_with(3).json_error();
    assert_eq!(error["unreliable_lines"], serde_json::json!([1, 5]));
    assert!(error.get("resume_from_line").is_none() && error.get("source").is_none(), "{error:#}");
}

#[test]
fn a_bad_line_of_a_pipe_waits_for_the_checksum() {
    let wrong = format!("{}{{\n{}", puts(3), puts(2));
    let home = Home::with_collection();
    let ran = piped(&home, "append c", &gzip(&wrong))
        .ends_with(3)
        .complains("error: -:4:")
        .complains("line 3 and all before");
    assert!(resume(&ran).ends_with("--from-line 4"), "{ran:#?}");

    let mut broken = gzip(&wrong);
    let checksum = broken.len() - 8;
    broken[checksum] ^= 1;
    let home = Home::with_collection();
    let ran = piped(&home, "append c", &broken).ends_with(3).complains("any of them may be wrong");
    assert!(!ran.stderr.contains("--from-line"), "{ran:#?}");
}

/// Story: an interrupted pipe named a command that resumed behind its last line, with a warning
/// beside it. Its first lines could be wrong, and no later run checked them. That command kept them
/// for good.
#[test]
fn an_interrupted_compressed_pipe_is_appended_whole() {
    let home = Home::with_collection();
    let good = puts(60_000);
    let packed = gzip(&good.replacen("text 100", "text 109", 1));
    let mut child = home.command("append c").stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&packed[..packed.len() - 20]).expect("written");
    while home.records() <= 100 {
        std::thread::yield_now();
    }
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.expect("kill is there").success());
    let ran = Ran::of(child.wait_with_output().expect("ended")).ends_with(130);
    drop(stdin);
    let ran = ran.complains("any of them may be wrong").complains("which was not reached");
    assert!(!ran.stderr.contains("--from-line") && !ran.stderr.contains("resume with"), "{ran:#?}");
    let again = ran.stderr.split_once("append all of it: deltafold ").expect("a command").1;
    home.write("FILE", gzip(&good));
    home.run(again.split_once(". A file").expect("its end").0).ok();
    assert_eq!((home.records(), &home.run("get c r100").ok().json()["document"]), (60_000, &"text 100".into()));
}

#[test]
fn members_frames_and_trailing_bytes() {
    let (first, second) = (puts(2), puts(4).lines().skip(2).map(|line| format!("{line}\n")).collect::<String>());
    let plain = |text: &str| zstd(text, |_| ());
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
    let table: [(&str, Vec<u8>, Option<usize>); 8] = [
        ("members.gz", [gzip(&first), gzip(&second)].concat(), Some(4)),
        ("frames.zst", [plain(&first), plain(&second)].concat(), Some(4)),
        ("skippable.zst", [&skipped[..], &plain(&first), &skipped, &plain(&second)].concat(), Some(4)),
        ("empty.gz", gzip(""), Some(0)),
        ("garbage.gz", [gzip(&first), b"garbage".to_vec()].concat(), None),
        ("garbage.zst", [plain(&first), b"garbage".to_vec()].concat(), None),
        ("cut.gz", gzip(&first)[..gzip(&first).len() - 3].to_vec(), None),
        ("cut.zst", plain(&first)[..plain(&first).len() - 3].to_vec(), None),
    ];
    for (name, bytes, records) in table {
        let home = Home::with_collection();
        home.write(name, &bytes);
        let ran = home.run(&format!("append c {name}"));
        match records {
            Some(records) => assert_eq!((ran.code, home.records()), (0, records as u64), "{name}: {ran:#?}"),
            None => assert_eq!((ran.code, home.records()), (3, 0), "{name}: {ran:#?}"),
        }
    }
}

/// Frames without a checksum are accepted, because libraries write them. Nothing protects their
/// content.
#[test]
fn a_zstd_file_without_checksum_is_said_to_have_none() {
    let home = Home::with_collection();
    home.write("with.zst", zstd(&puts(2), |_| ()));
    home.write("without.zst", zstd(&puts(2), |encoder| encoder.include_checksum(false).expect("set")));
    assert_eq!(home.run("append c with.zst").ok().stderr, "");
    home.run("append c without.zst").ok().complains("`without.zst` carries no checksum");
    let ran = home.run("append c with.zst without.zst --json").ok();
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.json()["without_checksum"], serde_json::json!(["without.zst"]));
}

/// Story: a window over the limit was called damage. The file is sound, but asks for too much
/// memory.
#[test]
fn a_window_over_the_limit_is_named() {
    let home = Home::with_collection();
    let wide = zstd(&puts(2), |encoder| {
        encoder.long_distance_matching(true).expect("set");
        encoder.window_log(28).expect("set");
    });
    home.write("wide.zst", &wide);
    let ran =
        home.run("append c wide.zst").ends_with(3).complains("its zstd window is 256.0 MiB").complains("--long=27");
    assert!(!ran.stderr.contains("damaged"), "{ran:#?}");
    let ran = piped(&home, "append c", &wide).ends_with(3).complains("window");
    assert!(ran.stderr.contains("nothing of this input was appended"), "{ran:#?}");
}

/// With little memory a line and a window may take half of it each, and the error names the remedy.
#[test]
fn lines_and_windows_stay_within_the_memory() {
    let home = Home::with_collection();
    home.write("long.jsonl", vec![b' '; (32 << 20) + 1]);
    let small = "--memory 64MiB append c";
    home.run(&format!("{small} long.jsonl")).ends_with(3).complains("longer than 33554432 bytes").complains("--memory");
    let wide = zstd(&puts(2), |encoder| {
        encoder.long_distance_matching(true).expect("set");
        encoder.window_log(26).expect("set");
    });
    home.write("wide.zst", &wide);
    let ran = home.run(&format!("{small} wide.zst")).ends_with(3).complains("the limit is 32.0 MiB");
    ran.complains("--long=25").complains("--memory");
    home.run("append c wide.zst").ok();
}

/// The files of a command are checked one by one: those before the bad one are appended.
#[test]
fn a_bad_file_among_several_names_the_rest() {
    let home = Home::with_collection();
    home.write("a.jsonl", puts(2));
    home.write("b.gz", BAD_GZIP);
    home.write("c.jsonl", puts(3));
    let ran = home.run("append c a.jsonl b.gz c.jsonl").ends_with(3).complains("then append the rest: c.jsonl");
    assert_eq!(home.log().len(), 2);
    home.write("b.gz", GOOD);
    home.run(&resume(&ran)).ok().says("5 ops");
}
