//! `backfill --rejects`: items that the mapping refuses go to a file, the others to the log; each
//! item to exactly one of them, whatever breaks off and runs again.

use deltafold_testing::export::{self, ID};
use deltafold_testing::random::Random;
use serde_json::{Value, json};

use crate::backfill::{MAPPING, backfill, data_files, item, items, with_export};
use crate::home::{Home, Ran};

/// Items of which some have a number that is none.
fn some_bad(count: usize, is_bad: impl Fn(usize) -> bool) -> Vec<Value> {
    let bad = |number| {
        let mut bad = item(number);
        bad["n"] = json!({ "S": "many" });
        bad
    };
    (0..count).map(|number| if is_bad(number) { bad(number) } else { item(number) }).collect()
}

fn rejects(home: &Home) -> Vec<Value> {
    let text = std::fs::read_to_string(home.path().join("bad.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The numbers of the items in the file, by their texts.
fn turned_away(home: &Home) -> Vec<usize> {
    let number = |reject: &Value| {
        let text: Value = serde_json::from_str(reject["text"].as_str().unwrap()).unwrap();
        text["Item"]["pk"]["S"].as_str().unwrap()[1..].parse().unwrap()
    };
    rejects(home).iter().map(number).collect()
}

/// The revision of the last op on a record in the log.
fn revision(home: &Home, id: &str) -> String {
    let log = home.log();
    let last = log.iter().rfind(|op| op["id"] == id).unwrap();
    assert!(!last["revision"].is_null(), "{last}");
    last["revision"].to_string()
}

/// The command behind these words in the help.
fn command(ran: &Ran, words: &str) -> String {
    let found = ran.stderr.lines().find_map(|line| line.split_once(words));
    found.unwrap_or_else(|| panic!("`{words}` is not in {ran:#?}")).1.to_owned()
}

#[test]
fn refused_items_are_turned_away_and_come_in_mended() {
    for ordering in ["log", "revision"] {
        let mut all = some_bad(60, |number| number == 37);
        all[52]["v"] = json!({ "L": [{ "N": "1" }] });
        let home = with_export(ordering, &all, 3);
        let run = format!("{} --rejects bad.jsonl", backfill());
        let ran = home.run(&run).ends_with(7).says("58 ops appended").says("; 2 turned away");
        let ran = ran.complains("2 items were turned away; everything else was appended. See `bad.jsonl`");
        assert_eq!(home.records(), 58, "{ordering}");
        let found = rejects(&home);
        let of = |index: usize, names: [&str; 4]| names.map(|name| found[index][name].clone());
        assert_eq!(
            of(0, ["file", "line", "field", "key"]),
            [json!(2), json!(18), json!("n"), json!("pk=i00037 n=many")],
            "{found:#?}"
        );
        assert_eq!(of(1, ["file", "line", "field", "base64"]), [json!(3), json!(13), json!("embedding"), Value::Null]);
        assert!(found[0]["reason"].as_str().unwrap().contains("attribute `n`"), "{found:#?}");
        let file = data_files(&home).remove(1);
        assert!(found[0]["input"].as_str().unwrap().ends_with(file.file_name().unwrap().to_str().unwrap()));
        let text: Value = serde_json::from_str(found[0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, json!({ "Item": all[37] }));

        // Another run turns nothing away twice.
        let again = home.run(&format!("{run} --json")).ends_with(7);
        let done: Value = serde_json::from_str(&again.stdout).unwrap();
        assert_eq!((&done["rejected"], &done["rejected_before"], &done["ops"]), (&json!(0), &json!(2), &json!(0)));
        assert_eq!(again.json_error()["kind"], "partly");
        assert_eq!(rejects(&home), found);

        // Their texts come in by the command that was named, with the revision of the export.
        let texts: String = found.iter().map(|reject| format!("{}\n", reject["text"].as_str().unwrap())).collect();
        let mended =
            texts.replace("\"S\":\"many\"", "\"N\":\"37\"").replace("[{\"N\":\"1\"}]", "[{\"N\":\"1\"},{\"N\":\"2\"}]");
        home.run_with(&command(&ran, "jq -r 'select(.text).text' bad.jsonl | deltafold "), &mended).ok().says("2 ops");
        assert_eq!(home.records(), 60, "{ordering}");
        if ordering == "revision" {
            assert_eq!(revision(&home, "i00037"), revision(&home, "i00001"));
        }
    }
}

#[test]
fn a_limit_stops_in_front_of_the_item_beyond_it() {
    let home = with_export("log", &some_bad(600, |number| number % 100 == 99), 6);
    let run = format!("{} --rejects bad.jsonl --max-rejects 3", backfill());
    let stopped = home.run(&run).ends_with(3).complains("line 100 would exceed `--max-rejects`, 3: item pk=i00399");
    assert_eq!((turned_away(&home), home.log().len()), (vec![99, 199, 299], 396));
    let again = command(&stopped, "none takes effect twice: deltafold ");
    assert_eq!(again, run);
    home.run(&again).ends_with(3).complains("line 100 would exceed");
    home.run(&again.replace("--max-rejects 3", "--max-rejects 20"))
        .ends_with(7)
        .says("; 3 turned away; 3 turned away before");
    assert_eq!((turned_away(&home), home.log().len()), (vec![99, 199, 299, 399, 499, 599], 594));
    home.run(&format!("{} --max-rejects 3", backfill())).ends_with(2);
    home.run(&format!("{run} --dry-run")).ends_with(2).complains("--dry-run");
    home.run(&format!("{run} --source other")).ends_with(2).complains("rejects of another source");
}

/// A pipe has no name of its own, so the command to go on with gives it one.
#[test]
fn items_of_a_pipe_are_turned_away_once() {
    let home = Home::with_collection();
    home.write("m.toml", MAPPING);
    let input: String = some_bad(50, |number| number % 10 == 9).iter().map(|item| format!("{item}\n")).collect();
    let run = "backfill c --mapping m.toml --scan - --table T --rejects bad.jsonl";
    let stopped = home.run_with(&format!("{run} --max-rejects 2"), &input).ends_with(3);
    let stopped = stopped.complains("-: item 30 would exceed");
    let again = command(&stopped, "none takes effect twice: deltafold ");
    assert!(again.contains(" --scan - --table T --source scan-"), "{again}");
    let done = home.run_with(&again.replace("--max-rejects 2", "--max-rejects 9"), &input).ends_with(7);
    done.says("; 27 appended before").says("; 3 turned away; 2 turned away before");
    let lines: Vec<u64> = rejects(&home).iter().map(|reject| reject["line"].as_u64().unwrap()).collect();
    assert_eq!((lines, home.log().len()), (vec![10, 20, 30, 40, 50], 45));
}

/// The text of a change is no item. It comes in again with the time of its write.
#[test]
fn a_change_that_was_turned_away_comes_in_again() {
    let home = with_export("revision", &items(3), 1);
    home.run(&backfill()).ok();
    let at = |micros: u64| json!({ "WriteTimestampMicros": { "N": micros.to_string() } });
    let (mut good, mut bad) = (item(0), item(1));
    good["n"] = json!({ "N": "-1" });
    bad["n"] = json!({ "S": "many" });
    let change = |number: usize, new: &Value| json!({ "Metadata": at(1_604_474_999_000_000), "Keys": { "pk": new["pk"] }, "OldImage": item(number), "NewImage": new });
    let changes = [change(0, &good), change(1, &bad)];
    export::write(&home.path().join("later"), &export::incremental("T", "2020-11-04T08:00:00Z", &changes, 1));
    let run = format!("backfill c --mapping m.toml --export later/AWSDynamoDB/{ID} --rejects bad.jsonl");
    let ran = home.run(&run).ends_with(7);
    let text = rejects(&home)[0]["text"].as_str().unwrap().replace("\"S\":\"many\"", "\"N\":\"-1\"");
    home.run_with(&command(&ran, "bad.jsonl | deltafold "), &text).ok().says("1 op");
    let shown = home.run("get c i00001 --json").ok().json();
    assert_eq!(shown["metadata"]["n"], -1);
    assert_eq!(revision(&home, "i00001"), revision(&home, "i00000"));
}

/// SIGKILL while it takes an export over: in the end each item is in the log or in the file, once.
#[cfg(unix)]
#[test]
fn killed_again_and_again_no_item_is_lost_or_in_both_places() {
    const ITEMS: usize = 6_000;
    let mut random = Random::from_environment();
    let is_bad = |number: usize| number % 7 == 3;
    let home = with_export("log", &some_bad(ITEMS, is_bad), 24);
    let run = format!("{} --rejects bad.jsonl", backfill());
    let mut kills = 0;
    while kills < 12 {
        let mut child = home.command(&run).spawn().unwrap();
        // Killed once the store has grown by some files, or at its end.
        let wanted = home.files("").len() + 1 + random.index(3);
        while child.try_wait().unwrap().is_none() && home.files("").len() < wanted {}
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    println!("{kills} kills");
    assert!(kills > 0);
    home.run(&run).ends_with(7);
    let bad: Vec<usize> = (0..ITEMS).filter(|number| is_bad(*number)).collect();
    assert_eq!(turned_away(&home), bad, "each bad item once");
    let good: Vec<String> =
        (0..ITEMS).filter(|number| !is_bad(*number)).map(|number| format!("i{number:05}")).collect();
    let ids: Vec<String> = home.log().iter().map(|op| op["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, good);
}
