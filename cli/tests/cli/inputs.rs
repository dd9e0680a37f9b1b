//! Inputs as programs write them: other layouts, encodings and formats than JSON Lines. `append`
//! takes them in, or names them with a remedy; `docs/formats.md` lists them.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::home::{Home, Ran, put, puts};

const A: &str = r#"{"op":"put","id":"a","embedding":[1,2],"document":"{[,"}"#;
const B: &str = r#"{"op":"put","id":"b","embedding":[3,4],"metadata":{"n":1}}"#;

/// Runs the program with these bytes through a pipe.
fn piped(home: &Home, arguments: &str, input: &[u8]) -> Ran {
    let mut child = home.command(arguments).stdin(Stdio::piped()).spawn().expect("started");
    // A program that refuses an input does not read it to the end.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    Ran::of(child.wait_with_output().expect("ended"))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.include_checksum(true).expect("set");
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

fn pretty(text: &str) -> String {
    serde_json::to_string_pretty(&serde_json::from_str::<Value>(text).expect("JSON")).expect("JSON")
}

/// Story: files of other programs were refused: with a byte order mark, as a list, over several
/// lines, without line breaks, compressed twice.
#[test]
fn every_layout_comes_in_by_path_and_by_pipe() {
    let lines = format!("{A}\n{B}\n");
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("a byte order mark", format!("\u{feff}{lines}").into()),
        ("line ends of DOS", format!("{A}\r\n{B}\r\n\x1a").into()),
        ("line ends of CR", format!("{A}\r{B}\r").into()),
        ("a list over lines", format!("[\n{A},\n{B}\n]\n").into()),
        ("a list on a line", format!("\u{feff}[{A},{B}]").into()),
        ("pretty objects", format!("{}\n{}\n", pretty(A), pretty(B)).into()),
        ("a pretty list", pretty(&format!("[{A},{B}]")).into()),
        ("two on a line", format!("{A}{B}\n").into()),
        ("a text sequence", format!("\x1e{A}\n\x1e{B}\n").into()),
        ("gzip in gzip", gzip(&gzip(lines.as_bytes()))),
        ("zstd in gzip", gzip(&zstd(lines.as_bytes()))),
        ("gzip in zstd", zstd(&gzip(format!("[{A},{B}]").as_bytes()))),
    ];
    let home = Home::new();
    for (number, (story, content)) in table.iter().enumerate() {
        for way in ["file", "pipe"] {
            let name = format!("c{number}{way}");
            home.run(&format!("create {name} --dimension 2")).ok();
            let report = if way == "file" {
                home.write("in", content);
                home.run(&format!("append {name} in --json"))
            } else {
                piped(&home, &format!("append {name} --json"), content)
            };
            assert_eq!(report.ok().json()["ops"], 2, "{story} by {way}");
            let records = home.run(&format!("scan {name}")).json_lines();
            let ids: Vec<&Value> = records.iter().map(|record| &record["id"]).collect();
            assert_eq!((ids, &records[0]["document"]), (vec![&json!("a"), &json!("b")], &json!("{[,")), "{story}");
        }
    }
}

/// Story: each line without JSON was "expected a JSON object, found a number".
#[test]
fn other_formats_are_named_with_a_remedy() {
    let home = Home::with_collection();
    let utf16: Vec<u8> = format!("\u{feff}{A}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let table: &[(&[u8], &str)] = &[
        (&utf16, "iconv -f UTF-16LE -t UTF-8"),
        (b"BZh91AY&SY\x12\x34", "bzip2 -dc"),
        (b"\xfd7zXZ\0\0\x04\xe6", "xz -dc"),
        (b"PK\x03\x04\x14\0", "zip"),
        (b"\x80\x04\x95\x0f\0", "pickle"),
        (b"id,embedding\na,\"[1,2]\"\n", "CSV"),
        (b"<!DOCTYPE html>\n<html>", "HTML"),
        (b"# header\n{}\n", "comment"),
        (b"{\"ids\":[\"a\"],\"embeddings\":[[1,2]]}", "jq -c"),
    ];
    for (content, word) in table {
        for (way, content) in [("plain", content.to_vec()), ("packed", gzip(content))] {
            home.write("in", &content);
            home.run("append c in").ends_with(3).complains("in:1:").complains(word).complains("nothing of this input");
            let error = piped(&home, "append c - --json", &content).ends_with(3);
            let error = error.stderr.lines().last().expect("an error").to_owned();
            let error: Value = serde_json::from_str(&error).expect("JSON");
            let reason = error["error"]["reason"].as_str().unwrap_or_default();
            assert!(reason.contains(word), "{word}, {way}: {error:#}");
        }
    }
    // In front of the end of padding, and of a line that is cut short, everything is appended.
    home.run_with("append c", &format!("{A}\n{}", "\0".repeat(600))).ends_with(3).complains("-:2:1: 600 NUL bytes");
    home.run_with("append c", &format!("{A}\n\u{feff}{B}\n")).ends_with(3).complains("-:2:1: a byte order mark");
    let cut = home.run_with("append c", &format!("{A}\n{}", &B[..30])).ends_with(3);
    cut.complains("-:2:31: ").complains("cut short").complains("line 1 and all before it are acknowledged");
    assert_eq!(home.log().len(), 3);
}

/// Story: `field` was empty for NaN, though scripts are promised the field.
#[test]
fn scripts_learn_field_and_element() {
    let home = Home::with_collection();
    let error = |line: &str| home.run_with("append c --json", line).ends_with(3).json_error();
    let field = |line: &str| error(line)["field"].clone();
    assert_eq!(field(r#"{"op":"put","id":"x","embedding":[0.5, NaN]}"#), "embedding[1]");
    assert_eq!(field(r#"{"op":"put","id":"x","embedding":[-Infinity,1]}"#), "embedding[0]");
    assert_eq!(field(r#"{"op":"put","id":"x","metadata":{"score":NaN}}"#), "metadata.score");
    assert_eq!(field(r#"{"op":"put","id":"x","document":"cut \ud83d"}"#), "document");
    assert_eq!(field(r#"{"op":"put","id":"x","embedding":[0.1,0.2,0.3]}"#), "embedding");
    let spread = error(&format!("[{A},\n {{\"op\":\"put\",\n  \"id\":\"x\",\"embedding\":[1,Infinity]}}]"));
    assert_eq!(
        (&spread["line"], &spread["column"], &spread["element"], &spread["field"]),
        (&json!(3), &json!(27), &json!(2), &json!("embedding[1]")),
        "{spread:#}"
    );
    assert_eq!(error("hello")["field"], Value::Null);
}

#[test]
fn a_list_resumes_at_its_element_and_takes_none_twice() {
    let home = Home::with_collection();
    let list = |bad: &str| {
        let elements: Vec<String> = (0..1_500).map(|n| if n == 1_200 { bad.into() } else { put(n) }).collect();
        format!("[{}]", elements.join(","))
    };
    home.write("in.json", list(r#"{"op":"put","id":"r1200","embedding":[1]}"#));
    let stopped =
        home.run("append c in.json").ends_with(3).complains("element 1200 and all before it are acknowledged");
    let command =
        stopped.stderr.lines().find_map(|line| line.split_once("resume with: deltafold ")).expect("a command");
    assert!(command.1.ends_with("--from-line 1201"), "{stopped:#?}");
    home.write("in.json", list(&put(1_200)));
    home.run(command.1).ok().says("300 ops");
    home.run(&command.1.replace("--from-line 1201", "--from-line 1")).ok();
    let ids: Vec<Value> = home.log().iter().map(|op| op["id"].clone()).collect();
    assert_eq!(ids, (0..1_500).map(|n| json!(format!("r{n:03}"))).collect::<Vec<_>>(), "every element once");
}

#[test]
fn a_second_layer_of_compression_is_checked_before_the_first_line() {
    let home = Home::with_collection();
    let mut inner = gzip(puts(2_000).as_bytes());
    let checksum = inner.len() - 6;
    inner[checksum] ^= 1;
    home.write("in.gz", gzip(&inner));
    home.run("append c in.gz")
        .ends_with(3)
        .complains("cannot read `in.gz` to its end")
        .complains("nothing of this input");
    assert_eq!(home.log().len(), 0);
    home.write("thrice.gz", gzip(&gzip(&gzip(puts(1).as_bytes()))));
    home.run("append c thrice.gz").ends_with(3).complains("gzip within compressed data");
}

#[test]
fn lines_without_an_op_come_in_by_an_option() {
    let home = Home::with_records(3);
    home.run("create d --dimension 2").ok();
    let scanned = home.run("scan c").ok().stdout;
    home.run_with("append d", &scanned)
        .ends_with(3)
        .complains("field `op`: it is missing")
        .complains("`append --op put`");
    home.run_with("append d --op put", &scanned).ok().says("3 ops");
    assert_eq!(home.run("scan d").ok().stdout, scanned);
    home.run_with("append d --op put", r#"{"op":"delete","id":"r000"}"#).ok();
    assert_eq!(home.run("count d --json").json()["records"], 2, "a line's own op counts");
    home.run_with("append d --op delete", &scanned).ends_with(2).complains("expected put, add, upsert or patch");
}

#[cfg(feature = "columnar")]
#[test]
fn files_of_columns_are_known_by_their_first_bytes() {
    let home = Home::with_records(5);
    for (format, name) in [("parquet", "p"), ("arrow", "a")] {
        home.run(&format!("create {name} --dimension 2")).ok();
        home.run(&format!("export c --format {format} --out {name}.{format}")).ok();
        std::fs::rename(home.path().join(format!("{name}.{format}")), home.path().join(format!("{name}.bin")))
            .expect("renamed");
        home.run(&format!("append {name} {name}.bin")).ok().says("5 ops");
        assert_eq!(home.run(&format!("scan {name}")).ok().stdout, home.run("scan c").ok().stdout);
        let content = std::fs::read(home.path().join(format!("{name}.bin"))).expect("the file");
        piped(&home, &format!("append {name}"), &content).ends_with(3).complains("not through a pipe");
    }
}
