//! `backfill`: exports and scans of DynamoDB tables, in the layouts that the service and its tools
//! write.

use std::path::Path;

use deltafold_testing::export::{self, ID};
use serde_json::{Value, json};

use crate::home::Home;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/dynamodb");
const TIME: &str = "2020-11-04T07:28:34.028Z";
pub(crate) const MAPPING: &str =
    "[[rule]]\ncollection = \"c\"\ntable = \"T\"\nid = \"{pk}\"\nembedding = \"v\"\nmetadata = { n = \"i64\" }\n";

pub(crate) fn item(number: usize) -> Value {
    json!({ "pk": { "S": format!("i{number:05}") }, "n": { "N": number.to_string() }, "v": { "L": [{ "N": "1" }, { "N": "0.5" }] } })
}

pub(crate) fn items(count: usize) -> Vec<Value> {
    (0..count).map(item).collect()
}

/// A home with a mapping, a collection of this ordering, and an export in `bucket`.
pub(crate) fn with_export(ordering: &str, items: &[Value], files: usize) -> Home {
    let home = Home::new();
    home.run(&format!("create c --dimension 2 --ordering {ordering}")).ok();
    home.write("m.toml", MAPPING);
    export::write(&home.path().join("bucket"), &export::full("T", TIME, items, files));
    home
}

pub(crate) fn backfill() -> String {
    format!("backfill c --mapping m.toml --export bucket/AWSDynamoDB/{ID}")
}

/// The data files of an export, in the order of its manifest.
pub(crate) fn data_files(home: &Home) -> Vec<std::path::PathBuf> {
    let list = std::fs::read_to_string(manifest(home, "files")).unwrap();
    let key = |line: &str| serde_json::from_str::<Value>(line).unwrap()["dataFileS3Key"].as_str().unwrap().to_owned();
    list.lines().map(|line| home.path().join("bucket").join(key(line))).collect()
}

fn manifest(home: &Home, which: &str) -> std::path::PathBuf {
    home.path().join(format!("bucket/AWSDynamoDB/{ID}/manifest-{which}.json"))
}

/// Changes a manifest, and takes its checksum away.
fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
    let _ = std::fs::remove_file(path.with_extension("md5"));
}

/// Ops in the log. Nothing is folded in these tests.
fn ops(home: &Home) -> usize {
    home.log().len()
}

#[test]
fn an_export_is_taken_over_once() {
    let home = with_export("log", &items(1_000), 7);
    let done = home.run(&format!("{} --json", backfill())).ok().json();
    assert_eq!((&done["kind"], &done["table"], &done["time"]), (&json!("full_export"), &json!("T"), &json!(TIME)));
    assert_eq!((&done["items"], &done["ops"], &done["skipped"]), (&json!(1_000), &json!(1_000), &json!(0)));
    assert_eq!(home.records(), 1_000);
    let record = home.run("get c i00042 --json").ok().json();
    assert_eq!((&record["metadata"]["n"], &record["embedding"]), (&json!(42), &json!([1.0, 0.5])));
    let log = ops(&home);
    let again = home.run(&format!("{} --json", backfill())).ok().json();
    assert_eq!(again["ops"], 0);
    assert!(again["resumed"].as_u64().unwrap() > 800, "files that are in the log are not read again: {again}");
    assert_eq!(ops(&home), log);
    home.run(&backfill()).ok().says("0 ops appended to c").complains("start the consumer of the stream now");
}

/// A name of its own applies everything again, on purpose.
#[test]
fn another_source_is_another_backfill() {
    let home = with_export("revision", &items(10), 2);
    home.run(&backfill()).ok().says("10 items of table T as of 2020-11-04T07:28:34.028Z").says("10 ops appended");
    let again = home.run(&format!("{} --source again --json", backfill())).ok().json();
    assert_eq!((&again["ops"], &again["resumed"]), (&json!(10), &json!(0)));
    assert_eq!(home.records(), 10);
}

#[test]
fn a_damaged_file_appends_nothing_of_it() {
    let home = with_export("log", &items(100), 4);
    let third = data_files(&home).remove(2);
    let mut bytes = std::fs::read(&third).unwrap();
    let good = bytes.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&third, &bytes).unwrap();
    let name = third.file_name().unwrap().to_str().unwrap();
    home.run(&backfill()).ends_with(3).complains(name).complains("MD5 digest").complains("the same command again");
    assert_eq!(home.records(), 50);
    std::fs::remove_file(&third).unwrap();
    home.run(&backfill()).ends_with(4).complains(name).complains("is missing");
    std::fs::write(&third, good).unwrap();
    assert_eq!(home.run(&format!("{} --json", backfill())).ok().json()["ops"], 50);
    assert_eq!(home.records(), 100);
}

#[test]
fn counts_and_checksums_of_manifests_are_compared() {
    let refused = |which: &str, from: &str, to: &str, words: &[&str]| {
        let home = with_export("log", &items(10), 1);
        edit(&manifest(&home, which), from, to);
        let ran = home.run(&backfill()).ends_with(3);
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{words:?}: {ran:?}");
        assert_eq!(home.records(), 0);
    };
    refused("summary", "\"itemCount\":10", "\"itemCount\":11", &["manifest-files.json", "hold 10 items", "says 11"]);
    refused("summary", "DYNAMODB_JSON", "ION", &["format ION", "--export-format DYNAMODB_JSON"]);
    refused("files", "AWSDynamoDB/", "Elsewhere/", &["outside of the export"]);
    refused("files", "data/", "../../", &["is not a name"]);
    refused("files", "\"itemCount\":10", "\"itemCount\":", &["manifest-files.json", "line 1"]);
    let home = with_export("log", &items(10), 1);
    std::fs::write(manifest(&home, "files").with_extension("md5"), "AAAAAAAAAAAAAAAAAAAAAA==").unwrap();
    home.run(&backfill()).ends_with(3).complains("manifest-files.json` is damaged");
    // Sums that agree, and a file that holds less.
    let home = with_export("log", &items(10), 1);
    edit(&manifest(&home, "summary"), "\"itemCount\":10", "\"itemCount\":12");
    edit(&manifest(&home, "files"), "\"itemCount\":10", "\"itemCount\":12");
    home.run(&backfill()).ends_with(3).complains("holds 10 items, and the manifest says 12");
}

#[test]
fn an_export_that_is_not_there_is_told() {
    let home = with_export("log", &items(3), 1);
    let run = |address: &str| home.run(&format!("backfill c --mapping m.toml --export {address}"));
    run("nowhere").ends_with(4).complains("there is no folder `nowhere`");
    run("bucket/AWSDynamoDB").ends_with(4).complains(&format!("name one of the exports in that folder: {ID}"));
    run(&format!("bucket/AWSDynamoDB/{ID}/manifest-summary.json")).ok();
    std::fs::remove_file(manifest(&home, "summary")).unwrap();
    run(&format!("bucket/AWSDynamoDB/{ID}")).ends_with(4).complains("the export still runs");
    home.run("backfill c --mapping m.toml").ends_with(2).complains("--export");
    home.write("n.toml", MAPPING.replace("\"c\"", "\"d\""));
    home.run("backfill c --mapping n.toml --scan m.toml").ends_with(3).complains("no rule for collection `c`");
}

/// An item that the mapping refuses ends the backfill, and is named. The items before it stay, and
/// the same command goes on once the item or the mapping is mended.
#[test]
fn a_refused_item_is_named_by_file_line_and_key() {
    let mut bad = items(60);
    bad[37]["n"] = json!({ "S": "many" });
    bad[52]["v"] = json!({ "L": [{ "N": "1" }] });
    let home = with_export("log", &bad, 3);
    let file = data_files(&home).remove(1);
    let file = file.file_name().unwrap().to_str().unwrap();
    let error = home.run(&format!("{} --json", backfill())).ends_with(3).json_error();
    assert_eq!((&error["line"], &error["key"]), (&json!(18), &json!("pk=i00037 n=many")), "{error}");
    assert!(error["file"].as_str().unwrap().ends_with(file), "{error}");
    assert!(error["reason"].as_str().unwrap().contains("attribute `n`"), "{error}");
    assert_eq!(home.records(), 37);
    let checked = home.run(&format!("{} --dry-run --json", backfill())).ends_with(3);
    assert_eq!(serde_json::from_str::<Value>(&checked.stdout).unwrap()["refused"], 2);
    home.run(&format!("{} --dry-run", backfill())).ends_with(3).complains("pk=i00052").complains("2 items refused");
    assert_eq!(home.records(), 37);
    home.write(
        "m.toml",
        MAPPING.replace("\"i64\"", "\"string\"").replace("id =", "unless = { pk = \"i00052\" }\nid ="),
    );
    let done = home.run(&format!("{} --json", backfill())).ok().json();
    assert_eq!((&done["ops"], &done["skipped"], &done["resumed"]), (&json!(22), &json!(1), &json!(20)));
    assert_eq!(home.records(), 59);
}

/// In log order an item would replace a newer state.
#[test]
fn a_collection_in_log_order_must_be_empty() {
    let home = with_export("log", &items(3), 1);
    home.run_with("append c", "{\"op\":\"put\",\"id\":\"i00001\",\"metadata\":{\"n\":99}}\n").ok();
    home.run(&backfill()).ends_with(3).complains("is in log order and holds ops already").complains("--over-existing");
    home.run(&format!("{} --over-existing", backfill())).ok();
    assert_eq!(home.run("get c i00001 --json").ok().json()["metadata"]["n"], 1);
}

#[test]
fn changes_of_an_incremental_export_are_applied() {
    for ordering in ["log", "revision"] {
        let home = with_export(ordering, &items(4), 2);
        home.run(&backfill()).ok();
        let keys = |number: usize| json!({ "pk": { "S": format!("i{number:05}") } });
        let at = |micros: u64| json!({ "WriteTimestampMicros": { "N": micros.to_string() } });
        let mut changed = item(1);
        changed["n"] = json!({ "N": "-1" });
        let later = 1_604_474_914_028_000 + 5_000_000;
        let changes = [
            json!({ "Metadata": at(later), "Keys": keys(0), "OldImage": item(0) }),
            json!({ "Metadata": at(later), "Keys": keys(1), "OldImage": item(1), "NewImage": changed }),
            json!({ "Metadata": at(later), "Keys": keys(2) }),
            json!({ "Metadata": at(later), "Keys": keys(9), "NewImage": item(9) }),
        ];
        let to = home.path().join("incremental");
        export::write(&to, &export::incremental("T", "2020-11-04T08:00:00Z", &changes, 2));
        let run = format!("backfill c --mapping m.toml --export incremental/AWSDynamoDB/{ID} --json");
        let done = home.run(&run).ok().json();
        assert_eq!((&done["kind"], &done["ops"]), (&json!("incremental_export"), &json!(4)), "{ordering}");
        let state: Vec<(String, i64)> = home
            .run("scan c")
            .json_lines()
            .iter()
            .map(|record| (record["id"].as_str().unwrap().to_owned(), record["metadata"]["n"].as_i64().unwrap()))
            .collect();
        assert_eq!(state, [("i00001".into(), -1), ("i00003".into(), 3), ("i00009".into(), 9)], "{ordering}");
        // By revision a full export that is older changes nothing any more.
        if ordering == "revision" {
            home.run(&format!("{} --source again", backfill())).ok();
            assert_eq!(home.records(), 3);
        }
    }
}

#[test]
fn scans_come_in_every_form() {
    let mapping = "[[rule]]\ncollection = \"c\"\nid = \"{pk}\"\ndocument = \"text\"\n";
    let taken = |input: &str, words: &str| {
        let home = Home::with_collection();
        home.write("m.toml", mapping);
        home.run_with("backfill c --mapping m.toml --scan -", input).ok().says(words);
        home.run("scan c")
            .json_lines()
            .iter()
            .map(|record| record["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let scan = std::fs::read_to_string(format!("{FIXTURES}/scan.json")).unwrap();
    assert_eq!(taken(&scan, "1 item of the scan"), ["x1"]);
    let bare = r#"{"pk":{"S":"x2"},"text":{"S":"t"},"Items":{"S":"an attribute"},"Count":{"N":"1"}}"#;
    assert_eq!(taken(&format!("{scan}{scan}\n{bare}\n"), "3 items"), ["x1", "x2"]);
    assert_eq!(taken(&format!("[{bare},{bare}]"), "2 items"), ["x2"]);
    assert_eq!(taken(&std::fs::read_to_string(format!("{FIXTURES}/export.jsonl")).unwrap(), "1 item"), ["x1"]);
    let page = |rest: &str| format!(r#"{{"Items":[{bare}],"Count":1,"ScannedCount":1{rest}}}"#);
    let key = r#","LastEvaluatedKey":{"pk":{"S":"x2"}}"#;
    assert_eq!(taken(&format!("{}{}", page(key), page("")), "2 items"), ["x2"]);
    assert_eq!(taken(r#"{"Items":[],"Count":0}"#, "0 items"), [] as [&str; 0]);

    let refused = |input: &str, words: &[&str]| {
        let home = Home::with_collection();
        home.write("m.toml", mapping);
        let ran = home.run_with("backfill c --mapping m.toml --scan -", input).ends_with(3);
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{words:?}: {ran:?}");
    };
    refused(&page(key), &["does not reach the end of the table", "LastEvaluatedKey"]);
    refused(&page(r#","NextToken":"e30=""#), &["does not reach the end of the table"]);
    refused(&page("").replace("\"Count\":1", "\"Count\":2"), &["holds 1 items", "`Count` is 2"]);
    refused(&format!("{}{{\"Items\":[", page("")), &["after 1 items", "EOF"]);
    refused(r#"{"Count":5,"ScannedCount":5}"#, &["neither a page of a scan"]);
    refused("7", &["a page of a scan"]);
    refused(r#"{"Items":[{"pk":{"S":"x"},"text":{"N":"1"}}]}"#, &["-:1: item pk=x", "attribute `text`"]);
}

/// A file of a scan is a source by its content, and a rule about a table needs its name.
#[test]
fn a_file_of_a_scan_takes_effect_once() {
    let home = Home::with_collection();
    home.write("m.toml", MAPPING);
    let page = json!({ "Items": items(30), "Count": 30, "ScannedCount": 30 });
    home.write("scan.json.gz", export::gzip(page.to_string().as_bytes()));
    let run = "backfill c --mapping m.toml --scan scan.json.gz";
    home.run(run).ends_with(3).complains("rule 1").complains("certain tables");
    assert_eq!(home.run(&format!("{run} --table T --json")).ok().json()["ops"], 30);
    let again = home.run(&format!("{run} --table T --json")).ok().json();
    assert_eq!((&again["ops"], &again["duplicates"]), (&json!(0), &json!(30)));
    home.run("backfill c --mapping m.toml --scan none.json --table T").ends_with(4).complains("no file `none.json`");
}

/// The inputs of users: a record as a Kinesis data stream has it, and a rule for expired items.
#[test]
fn records_of_kinesis_and_rules_for_expired_items() {
    let home = Home::new();
    let told = home.run(&format!("map --check {FIXTURES}/map-t.toml {FIXTURES}/kds.jsonl --json")).ok().json_lines();
    assert_eq!((&told[0]["change"]["op"], &told[0]["change"]["id"]), (&json!("put"), &json!("p2")));
    let remove = |identity: &str| {
        format!(
            r#"{{"eventName":"REMOVE"{identity},"dynamodb":{{"Keys":{{"pk":{{"S":"x"}}}},"OldImage":{{"pk":{{"S":"x"}}}}}}}}"#
        )
    };
    let expired = remove(r#","userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"}"#);
    home.write("r.jsonl", format!("{expired}\n{}\n", remove(",\"userIdentity\":null")));
    let told = home.run(&format!("map --check {FIXTURES}/map-ttl.toml r.jsonl --json")).ok().json_lines();
    assert_eq!(told[0]["skipped"], "the rule keeps records of items that are gone");
    assert_eq!(told[1]["change"]["op"], "delete");
}

/// The program is killed at random moments while it takes an export over. Each run goes on, and no
/// item takes effect twice.
#[cfg(unix)]
#[test]
fn killed_again_and_again_each_item_comes_once() {
    let mut random = deltafold_testing::random::Random::from_environment();
    let home = with_export("log", &items(20_000), 24);
    let mut kills = 0;
    loop {
        let mut child = home.command(&backfill()).spawn().unwrap();
        // Killed once the store has grown by some files, or at its end.
        let wanted = home.files("").len() + 1 + random.index(3);
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if kills < 12 && home.files("").len() >= wanted {
                break None;
            }
        };
        match ended {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
        }
    }
    println!("{kills} kills");
    assert!(kills > 0);
    assert_eq!(home.records(), 20_000);
    home.run("compact c").ok();
    let status = home.run("status c --json").ok().json();
    assert_eq!(status["shards"][0]["ops"], 20_000, "each op is in the log once");
}
