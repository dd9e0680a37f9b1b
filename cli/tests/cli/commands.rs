//! Every command, for people and for scripts.

use serde_json::json;

use crate::home::{Home, puts};

#[test]
fn create_makes_a_collection_once() {
    let home = Home::new();
    home.run("create c --dimension 3 --metric cosine --shards 2")
        .ok()
        .says("created c in dir:")
        .says("dimension 3, cosine, 2 shards");
    home.run("create c --dimension 3").ends_with(1).complains("a collection `c` exists already");
    let created = home.run("create d -d 3 --json").ok().json();
    assert_eq!(
        (&created["collection"], &created["metric"], &created["shards"]),
        (&json!("d"), &json!("l2"), &json!(1))
    );
    home.run("create Bad -d 3").ends_with(2).complains("is not a collection name");
    home.run("create e -d 0").ends_with(3).complains("choose 1 to 65536");
}

#[test]
fn status_shows_a_collection_and_lists_all() {
    let home = Home::with_records(3);
    home.run("status").ok().says("COLLECTION").says("c ");
    home.run("status c").ok().says("dimension 2, l2, 1 shard").says("waiting to be folded");
    home.run("compact c").ok();
    home.run("status c").ok().says("version 1").says("base").says("3 ops folded into 1 run");
    let all = home.run("status --json").ok().json();
    assert_eq!(all["collections"][0]["shards"][0]["runs"][0]["rows"], 3);
    assert_eq!(home.run("status c --json").ok().json(), all["collections"][0]);
}

#[test]
fn get_reads_records_by_id() {
    let home = Home::with_records(3);
    let line = home.run("get c r001").ok().json();
    let expected = json!({"id": "r001", "embedding": [1.0, 0.5], "metadata": {"n": 1}, "document": "text 1"});
    assert_eq!(line, expected);
    let two = home.run("get c r002 r000 --no-embeddings").json_lines();
    assert_eq!(
        two,
        [
            json!({"id": "r002", "metadata": {"n": 2}, "document": "text 2"}),
            json!({"id": "r000", "metadata": {"n": 0}, "document": "text 0"}),
        ]
    );
    let missing = home.run("get c absent r000 missing").ends_with(4).complains("`absent`, `missing`");
    assert_eq!(missing.stdout.lines().count(), 1, "the record found is printed");
}

#[test]
fn scan_reads_ranges_in_both_orders() {
    let home = Home::with_collection();
    let lines: Vec<String> = puts(20).lines().rev().map(|line| format!("{line}\n")).collect();
    home.run_with("append c", &lines.concat()).ok();
    let ids = |arguments: &str| {
        let lines = home.run(&format!("scan c {arguments}")).json_lines();
        lines.iter().map(|line| line["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("--limit 2"), ["r000", "r001"]);
    assert_eq!(ids("--order insertion --limit 2"), ["r019", "r018"]);
    assert_eq!(ids("--prefix r01").len(), 10);
    assert_eq!(ids("--start r003 --end r005"), ["r003", "r004"]);
    assert_eq!(ids("").len(), 20);
    let bare = home.run("scan c --limit 1 --no-embeddings --no-documents --json").json_lines();
    assert_eq!(bare, [json!({"id": "r000", "metadata": {"n": 0}})]);
}

#[test]
fn append_imports_the_ops_that_scan_exports() {
    let home = Home::with_records(20);
    home.run("scan c --as-ops -o export.jsonl").ok();
    home.run("create d -d 2").ok();
    home.run("append d export.jsonl").ok();
    assert_eq!(home.run("scan d").ok().stdout, home.run("scan c").ok().stdout);
}

#[test]
fn count_counts() {
    let home = Home::with_records(5);
    assert_eq!(home.run("count c").ok().stdout, "5\n");
    home.run_with("append c", "{\"op\":\"delete\",\"id\":\"r003\"}\n").ok();
    assert_eq!(home.records(), 4);
}

#[test]
fn follow_prints_ops_with_their_positions() {
    let home = Home::with_records(3);
    let log = home.log();
    assert_eq!(log.len(), 3);
    assert_eq!(log[0]["position"], "00000000000000000001.0000000");
    let second = log[1]["position"].as_str().expect("a position");
    assert_eq!((&log[2]["op"], &log[2]["id"], &log[2]["shard"]), (&json!("put"), &json!("r002"), &json!(0)));
    let rest = home.run(&format!("follow c --until-end --after {second}")).json_lines();
    assert_eq!(rest, log[2..]);
    assert_eq!(home.run("follow c --until-end --from 4").json_lines(), [json!(null); 0]);
    assert_eq!(home.run("follow c --until-end --new").json_lines(), [json!(null); 0]);
    home.run("follow c --shard 1").ends_with(4).complains("no shard 1");
    home.run("follow c --after x").ends_with(2).complains("is not a log position");
}

#[test]
fn compact_folds_and_merges() {
    let home = Home::with_records(3);
    home.run("compact c").ok().says("version   1  fold   3 ops -> 3 rows");
    home.run("compact c").ok().says("nothing to do");
    home.run_with("append c", "{\"op\":\"patch\",\"id\":\"r000\",\"document\":null}\n").ok();
    let report = home.run("compact c --merge-all --json").ok().json();
    assert_eq!((&report["folds"], &report["conflicts"]), (&json!(1), &json!(0)));
    assert_eq!(home.run("status c --json").json()["shards"][0]["runs"].as_array().map(Vec::len), Some(1));
    assert_eq!(home.records(), 3);
}

#[test]
fn history_shows_the_edit_of_each_version() {
    let home = Home::with_records(3);
    home.run("history c").ok().says("no version yet");
    home.run("compact c").ok();
    home.run("pin c before").ok();
    home.run("history c").ok().says("fold").says("pin");
    let history = home.run("history c --json").ok().json();
    assert_eq!(history["versions"].as_array().map(Vec::len), Some(2));
    assert_eq!((&history["versions"][0]["edit"], &history["versions"][0]["rows_in"]), (&json!("fold"), &json!(3)));
    let newest = home.run("history c --json --limit 1").ok().json();
    assert_eq!(newest["versions"], json!([history["versions"][1]]));
}

#[test]
fn a_pin_keeps_a_version_that_sweep_would_delete() {
    let home = Home::with_records(3);
    home.run("pin c before").ends_with(3).complains("run `compact` first");
    home.run("compact c").ok();
    home.run("pin c before").ok().says("`before` keeps version 1 until it is removed");
    home.run("pin c before").ends_with(1).complains("exists already");
    let pinned = home.run("pin c later --ttl 7d --json").ok().json();
    assert_eq!(pinned["ttl_seconds"], 604_800.0);
    home.run_with("append c", "{\"op\":\"delete\",\"id\":\"r000\"}\n").ok();
    home.run("compact c --merge-all").ok();
    let dry = home.run("sweep c --keep-versions 0 --min-age 0s --dry-run --json").ok().json();
    let swept = home.run("sweep c --keep-versions 0 --min-age 0s").ok();
    assert!(swept.stdout.contains("SEGMENTS"));
    assert_eq!(dry["dry_run"], true);
    // The lines may have come in one segment or in several.
    let first_kept = dry["shards"][0]["truncated"].as_u64().expect("a sequence");
    assert!(first_kept > 1, "only the last segment folded stays: {dry:#}");
    assert_eq!(dry["shards"][0]["segments"], first_kept - 1, "{dry:#}");
    assert_eq!(home.records(), 2);
    assert_eq!(home.run("count c --pin before").ok().stdout, "3\n");
    home.run("unpin c before").ok().says("removed pin `before`");
    home.run("unpin c before").ends_with(4).complains("no pin `before`");
    home.run("count c --pin before").ends_with(4);
    home.run("sweep c --keep-versions 0 --min-age 0s").ok();
    home.run("count c --version 1").ends_with(4).complains("has no version 1");
    home.run("verify c --deep").ok();
}

#[test]
fn verify_reads_as_deep_as_asked() {
    let home = Home::with_records(3);
    home.run("compact c").ok();
    home.run("verify c").ok().says("c is sound (quick)");
    home.run("verify c --deep").ok().says("c is sound (deep)").says("3 rows");
    let report = home.run("verify c --deep --json").ok().json();
    assert_eq!((&report["sound"], &report["rows"], &report["ops"]), (&json!(true), &json!(3), &json!(3)));
}

#[test]
fn inspect_knows_every_kind_of_object() {
    let home = Home::with_records(3);
    home.run("compact c").ok();
    let kind = |object: &str| home.run(&format!("inspect {object} --json")).ok().json()["kind"].clone();
    assert_eq!(kind("c/collection"), "collection register");
    assert_eq!(kind("c/0000/head"), "head");
    let segment = home.run("inspect c/0000/log/00000000000000000001").ok();
    segment.says("segment, format 1").says("ops_by_kind").says("{\"put\":");
    for (ending, expected) in [(".meta", "part"), (".emb", "embedding object")] {
        let file = home.files(ending).remove(0);
        assert_eq!(kind(&file.display().to_string()), expected, "by its path");
    }
    let manifest = home.run("inspect c/0000/manifest/x").ends_with(4);
    manifest.complains("no object or file");
    home.write("note.txt", "hello");
    home.run("inspect note.txt").ends_with(6).complains("object `note.txt`");
}

#[test]
fn drop_asks_or_is_told_not_to() {
    let home = Home::with_records(3);
    home.run("drop c").ends_with(2).complains("nothing was done").complains("--yes");
    assert_eq!(home.records(), 3);
    home.run("drop c --yes").ok().says("dropped c: ");
    home.run("count c").ends_with(4).complains("no collection `c`");
    home.run("drop c --yes").ends_with(4);
    home.run("create c -d 2").ok();
    let report = home.run("drop c -y --json").ok().json();
    assert!(report["objects"].as_u64() >= Some(1), "{report:#}");
    home.run("status").ok().says("holds no collection");
}

#[test]
fn completions_are_printed_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        home.run(&format!("completions {shell}")).ok().says("deltafold").says("compact");
    }
}

#[test]
fn inspect_tells_damage_from_age() {
    let home = Home::new();
    let golden = |name: &str| format!("{}/../format/golden/v1/{name}", env!("CARGO_MANIFEST_DIR"));
    home.run(&format!("inspect {}", golden("head"))).ok().says("head, format 1").says("sound");
    home.run(&format!("inspect {}", golden("part"))).ok().says("metadata columns").says("document_blocks");
    let damaged = home.run(&format!("inspect {}", golden("segment.checksum"))).ends_with(6);
    damaged.says("damaged").complains("the crc32 of its bytes does not match");
    home.run(&format!("inspect {}", golden("head.newer"))).ends_with(1).complains("use a newer version");
    home.run(&format!("inspect {}", golden("collection.truncated"))).ends_with(6);
}

/// Types an answer at a terminal, which needs `script` of util-linux. `None` if that is missing.
#[cfg(target_os = "linux")]
fn typed(home: &Home, arguments: &str, answer: &str) -> Option<String> {
    use std::io::Write as _;
    let mut command = std::process::Command::new("script");
    command.arg("-qec").arg(format!("{} {arguments}", env!("CARGO_BIN_EXE_deltafold"))).arg("/dev/null");
    command.current_dir(home.path()).env_remove("DELTAFOLD_STORE").env("NO_COLOR", "1");
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: there is no `script`");
            return None;
        }
        child => child.expect("script starts"),
    };
    child.stdin.take().expect("a pipe").write_all(format!("{answer}\n").as_bytes()).expect("typed");
    Some(String::from_utf8_lossy(&child.wait_with_output().expect("it ends").stdout).into_owned())
}

#[cfg(target_os = "linux")]
#[test]
fn a_drop_is_confirmed_by_typing_the_name() {
    let home = Home::with_records(3);
    let Some(text) = typed(&home, "drop c", "yes") else { return };
    assert!(text.contains("type `c` to go on") && text.contains("nothing was done"), "{text}");
    assert_eq!(home.records(), 3);
    let text = typed(&home, "drop c", "c").expect("as before");
    assert!(text.contains("dropped c"), "{text}");
    home.run("count c").ends_with(4);
}
