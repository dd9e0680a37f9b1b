//! Text that a terminal acts on, through every path of data to one.

use std::process::Stdio;

use serde_json::json;

use crate::home::{Home, Ran};

/// Texts that move the cursor, change the title, forge a line, or turn letters around.
const HOSTILE: [&str; 6] = [
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{9b}31m\u{9d}0;owned\u{9c}",
    "a\r\nerror: forged\u{8}\u{8}",
    "user\u{202e}txt.exe\u{2066}\u{2069}\u{200f}",
    "one\u{2028}two\u{2029}three",
    "\u{7f}\u{85}\u{90}\u{61c}",
];

fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Neither output has characters that a terminal acts on, and the program made every line.
#[track_caller]
fn harmless(ran: Ran) -> Ran {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains(|c| c != '\n' && is_active(c)), "{ran:?}");
        assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{ran:?}");
    }
    ran
}

/// Runs the program with these arguments as they are.
fn run(home: &Home, arguments: &[&str], input: &str) -> Ran {
    let mut command = home.command("");
    let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that fails early does not read to the end.
    let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
    drop(stdin);
    harmless(Ran::of(child.wait_with_output().expect("ended")))
}

/// Ids, keys, documents, names of pins and files, sources, and the messages about all of them.
#[test]
fn no_data_reaches_a_terminal_as_it_is() {
    for text in HOSTILE {
        for more in [&[][..], &["--json"], &["-vv"]] {
            let home = Home::with_collection();
            let run = |arguments: &[&str], input: &str| run(&home, &[arguments, more].concat(), input);
            let record = json!({ "op": "put", "id": text, "metadata": { text: text }, "document": text });
            assert_eq!(run(&["append", "c", "--source", text], &record.to_string()).code, 0);
            for read in [&["get", "c", text][..], &["scan", "c"], &["follow", "c", "--until-end"]] {
                let ran = run(read, "").ok();
                let line: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
                assert_eq!((&line["id"], &line["metadata"][text]), (&json!(text), &json!(text)), "{read:?}");
            }
            run(&["inspect", "c/0000/log/00000000000000000001"], "").ok();
            run(&["compact", "c"], "").ok();
            run(&["get", "c", &format!("{text}x")], "").ends_with(4);
            run(&["count", "c", "--pin", text], "").ends_with(4);
            // Pins have no control characters in their names, and may have the others.
            assert!(matches!(run(&["pin", "c", text], "").code, 0 | 3));
            run(&["status", "c"], "").ok();
            run(&["unpin", "c", &format!("{text}x")], "").ends_with(4);
            // The user's own names, which are refused.
            run(&["count", text], "").ends_with(2);
            run(&[text], "").ends_with(2);
            run(&["append", "c", "--from-line", text], "").ends_with(2);
            run(&["count", "c", "--store", &format!("dir:{text}")], "").ends_with(4);
            run(&["count", "c", "--store", &format!("gs://{text}")], "").ends_with(2);
            run(&["inspect", text], "").ends_with(4);
            run(&["append", "c", text], "").ends_with(4);
            // Lines that are not ops. The messages quote them.
            for line in [
                json!({ "op": text, "id": "a" }),
                json!({ "op": "put", "id": "a", text: 1 }),
                json!({ "op": "put", "id": "a", "metadata": { text: [1, "x"] } }),
                json!(text),
            ] {
                run(&["append", "c", "--source", text], &line.to_string()).ends_with(3);
                std::fs::write(home.path().join(text), line.to_string()).expect("a file");
                run(&["append", "c", text], "").ends_with(3).complains("resume");
            }
            run(&["append", "c"], text).ends_with(3);
            assert_eq!(run(&["count", "c"], "").ok().stdout.matches('1').count(), 1);
        }
    }
}

#[cfg(feature = "mapping")]
#[test]
fn no_mapping_or_sample_reaches_a_terminal_as_it_is() {
    for text in HOSTILE {
        let home = Home::new();
        let quoted = json!(text).to_string();
        home.write("wrong.toml", format!("[[rule]]\ncollection = \"c\"\n\"{text}\" = 1\n"));
        home.write(
            "unknown.toml",
            format!("[[rule]]\ncollection = \"c\"\nid = \"{{a}}\"\ndocument = \"a\"\n{quoted} = 1\n"),
        );
        home.write("right.toml", "[[rule]]\ncollection = \"c\"\nid = \"{a}\"\ndocument = \"a\"\n");
        let sample = json!({ "eventName": "INSERT", "dynamodb": { "Keys": {}, "NewImage": { "a": { "S": text } } } });
        let wrong = json!({ "eventName": text, "dynamodb": { "Keys": {}, "NewImage": { "a": { text: text } } } });
        home.write("right.json", sample.to_string());
        home.write("wrong.json", wrong.to_string());
        for more in [&[][..], &["--json"], &["--check"], &["--check", "--json"]] {
            let map = |arguments: &[&str]| run(&home, &[&["map"], arguments, more].concat(), "").code;
            assert_eq!(map(&["wrong.toml"]), 3);
            assert_eq!(map(&["unknown.toml"]), 3);
            assert_eq!(map(&["right.toml", "right.json"]), 0);
            assert_eq!(map(&["right.toml", "wrong.json"]), 3);
            assert_eq!(map(&[text]), 4);
        }
    }
}

/// A command to copy must reach the same source and the same file, with any characters that they
/// contain.
#[cfg(unix)]
#[test]
fn a_printed_command_reads_back_in_a_shell() {
    use std::os::unix::ffi::OsStrExt as _;
    let names: [&[u8]; 6] = [
        b"it's $HOME `id`.jsonl",
        b"-x.jsonl",
        b"\x1b[31m%s\\n!.jsonl",
        b"two\nlines.jsonl",
        "\u{202e}name\u{9b}.jsonl".as_bytes(),
        b"\xff no text \x80.jsonl",
    ];
    for shell in ["sh", "bash"] {
        for (number, name) in names.iter().enumerate() {
            let home = Home::with_collection();
            let file = std::ffi::OsStr::from_bytes(name);
            std::fs::write(home.path().join(file), "{\"op\":\"put\",\"id\":\"a\"}\n{\n").expect("a file");
            let source = format!("{}-{number}", HOSTILE[number]);
            let output = home.command("append c --source").arg(&source).arg("--").arg(file).output().expect("ran");
            let ran = harmless(Ran::of(output)).ends_with(3);
            let command = ran.stderr.split_once("resume with: deltafold ").expect("a command").1.trim_end();
            let right = "{\"op\":\"put\",\"id\":\"a\"}\n{\"op\":\"put\",\"id\":\"b\"}\n";
            std::fs::write(home.path().join(file), right).expect("a file");
            // From the first line: the line that is in already shows that it is the same source.
            let command = command.replace("--from-line 2", "--from-line 1 --json");
            let mut resumed = std::process::Command::new(shell);
            resumed.arg("-c").arg(format!("\"$DELTAFOLD\" {command}")).current_dir(home.path());
            resumed.env("DELTAFOLD", env!("CARGO_BIN_EXE_deltafold")).env_remove("DELTAFOLD_STORE");
            let report = Ran::of(resumed.output().expect("a shell")).ok().json();
            assert_eq!((&report["ops"], &report["duplicates"]), (&json!(2), &json!(1)), "{shell}: {command}");
        }
    }
}

/// On a terminal records are shown as cards. All styles in them are ours.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_no_escape_from_a_record() {
    let home = Home::with_collection();
    let text = HOSTILE.concat();
    let record = json!({ "op": "put", "id": "a", "metadata": { text.as_str(): text }, "document": text });
    home.run_with("append c", &record.to_string()).ok();
    for command in ["get c a", "get c a --json", "scan c", "follow c --until-end"] {
        let mut script = std::process::Command::new("script");
        script.arg("-qec").arg(format!("{} {command}", env!("CARGO_BIN_EXE_deltafold"))).arg("/dev/null");
        script.current_dir(home.path()).env_remove("DELTAFOLD_STORE").env("NO_COLOR", "1").env("TERM", "xterm");
        let output = match script.output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            output => output.expect("script ran"),
        };
        let shown = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && shown.contains("owned"), "{shown:?}");
        // The terminal itself puts a return before each line break.
        assert!(!shown.contains(|c| !matches!(c, '\r' | '\n') && is_active(c)), "{command}: {shown:?}");
    }
}
