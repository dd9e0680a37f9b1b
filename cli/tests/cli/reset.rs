//! `reset --then-backfill`: the collection is dropped, created anew as it was, and filled from an
//! export; also where the command is broken off and runs again.

use deltafold_testing::export::{self, ID};
use deltafold_testing::random::Random;
use deltafold_testing::s3::{BUCKET, Fault};
use serde_json::{Value, json};

use crate::backfill::{MAPPING, item, items};
use crate::cloud::Cloud;
use crate::home::{Home, puts};

const TIME: &str = "2020-11-04T07:28:34.028Z";

/// A folder with a mapping, an export of these items, and a collection with other records.
fn with_old(items: &[Value]) -> Home {
    let home = Home::new();
    home.run("create c --dimension 2 --metric cosine --shards 2 --ordering revision --keep-tombstones 3d").ok();
    home.run_with("append c", "{\"op\":\"put\",\"id\":\"old\",\"revision\":7,\"embedding\":[1,2]}\n").ok();
    home.write("m.toml", MAPPING);
    export::write(&home.path().join("bucket"), &export::full("T", TIME, items, 4));
    home
}

fn reset() -> String {
    format!("reset c --yes --then-backfill --mapping m.toml --export bucket/AWSDynamoDB/{ID}")
}

/// Its options, without those that each collection has of its own.
fn options(home: &Home) -> Value {
    let mut status = home.run("status c --json").ok().json();
    let names = ["dimension", "metric", "ordering", "keep_tombstones_seconds"];
    let shards = status["shards"].as_array().map(Vec::len);
    json!({ "of": names.map(|name| status[name].take()), "shards": shards })
}

#[test]
fn a_reset_creates_the_collection_as_it_was_and_fills_it() {
    let home = with_old(&items(40));
    let before = options(&home);
    assert_eq!(before["shards"], 2, "{before}");
    let planned = home.run(&format!("{} --dry-run", reset())).ok().says("would create c anew");
    planned.says(&format!("would fill it with the items of table T as of {TIME}"));
    assert_eq!(home.records(), 1);
    let ran = home.run(&reset()).ok().says("dropped c: ").says("created c anew, with the same options");
    ran.says("40 items of table T").says("40 ops appended to c");
    assert_eq!((home.records(), options(&home)), (40, before.clone()));
    let done = home.run(&format!("{} --json", reset())).ok().json();
    assert_eq!((&done["created_anew"], &done["backfill"]["ops"]), (&json!(true), &json!(40)), "{done}");
    assert_eq!((home.records(), options(&home)), (40, before));
    assert!(home.files("RESET/c").is_empty());
}

#[test]
fn nothing_is_deleted_where_the_backfill_cannot_begin() {
    let home = with_old(&items(3));
    home.write("other.toml", MAPPING.replace("\"c\"", "\"d\""));
    let refused = |arguments: &str, code: i32, words: &str| {
        home.run(&format!("reset c --yes {arguments}")).ends_with(code).complains(words);
        assert_eq!(home.run("get c old --json").ok().json()["id"], "old", "{arguments}");
    };
    let export = format!("--export bucket/AWSDynamoDB/{ID}");
    refused(&format!("--then-backfill --mapping other.toml {export}"), 3, "no rule for collection `c`");
    refused(&format!("--then-backfill --mapping none.toml {export}"), 4, "none.toml");
    refused("--then-backfill --mapping m.toml --export elsewhere", 4, "there is no folder `elsewhere`");
    refused("--then-backfill --mapping m.toml", 2, "--export ADDRESS");
    refused(&format!("--then-backfill {export}"), 2, "--mapping");
    refused(&export, 2, "go with `--then-backfill`");
    refused(&format!("--then-backfill --mapping m.toml {export} --no-wait"), 2, "--no-wait");
    // Nor does a plan or a refusal leave a file of rejects.
    let rejects = format!("--then-backfill --mapping m.toml {export} --rejects bad.jsonl");
    home.run(&format!("reset c --dry-run {rejects}")).ok();
    home.run_with(&format!("reset c {rejects}"), "").ends_with(2).complains("--yes");
    assert!(!home.path().join("bad.jsonl").exists());
    // A plan refuses the file that the reset would refuse, and leaves it as it is.
    for (file, words) in
        [("{\"source\":\"other\",\"line\":1}\n", "of another source"), ("text", "not a file of rejects")]
    {
        home.write("bad.jsonl", file);
        for plan in ["--dry-run", ""] {
            refused(&format!("{rejects} {plan}"), 2, words);
        }
        assert_eq!(std::fs::read_to_string(home.path().join("bad.jsonl")).unwrap(), file);
    }
    refused(&format!("{rejects} --dry-run").replace("bad.jsonl", "none/bad.jsonl"), 4, "none/bad.jsonl");
    home.run("drop c --yes").ok();
    home.run(&reset()).ends_with(4).complains("there is no collection `c`");
}

/// The drop is done, and the store refuses the new collection. The note knows what it must be.
#[test]
fn a_reset_that_stopped_behind_the_drop_goes_on() {
    let cloud = Cloud::new();
    cloud.write("m.toml", MAPPING);
    export::write(&cloud.path().join("bucket"), &export::full("T", TIME, &items(20), 2));
    for more in [&reset()["reset c --yes".len()..], ""] {
        cloud.run("create c --dimension 2 --shards 3").ok();
        cloud.run_with("append c", &puts(3)).ok();
        cloud.server.fail_always("create", "data/c/", Fault::Answer(403, "AccessDenied"));
        cloud.run(&reset()).ends_with(1).complains("permission");
        cloud.server.heal();
        let paths = cloud.server.backend.paths(BUCKET);
        assert!(paths.len() == 1 && paths[0].ends_with("RESET/c"), "the note stays, and nothing else: {paths:?}");
        let ran = cloud.run(&format!("reset c --yes{more}")).ok().says("created c anew");
        if more.is_empty() {
            ran.complains("a backfill was to follow: deltafold backfill c --mapping FILE --export ADDRESS");
        }
        let records = if more.is_empty() { "0" } else { "20" };
        assert_eq!(cloud.run("count c").ok().stdout.trim(), records);
        assert_eq!(cloud.run("status c --json").ok().json()["shards"].as_array().map(Vec::len), Some(3));
        assert!(!cloud.server.backend.paths(BUCKET).iter().any(|path| path.contains("RESET")));
        cloud.run("drop c --yes").ok();
    }
}

/// The reset is done by then, so the message names the command that goes on with the backfill.
#[test]
fn a_backfill_that_stops_behind_a_reset_is_named() {
    let mut bad = items(40);
    bad[25]["n"] = json!({ "S": "many" });
    let home = with_old(&bad);
    let ran = home.run(&reset()).ends_with(3).complains("item pk=i00025").says("created c anew");
    let again =
        ran.stderr.lines().find_map(|line| line.split_once("is created anew; go on with: deltafold ")).unwrap().1;
    assert_eq!(again, format!("backfill c --mapping m.toml --export bucket/AWSDynamoDB/{ID}"));
    assert_eq!(home.records(), 25);
    home.run(again).ends_with(3);
    home.write("m.toml", MAPPING.replace("id =", "unless = { n = \"many\" }\nid ="));
    home.run(again).ok().says("14 ops appended");
    assert_eq!(home.records(), 39);
    // Or it goes on without the item at once.
    home.write("m.toml", MAPPING);
    let ran = home.run(&format!("{} --rejects bad.jsonl --json", reset())).ends_with(7);
    let done: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&done["backfill"]["rejected"], home.records()), (&json!(1), 39));
}

/// SIGKILL at random moments of the reset and of the backfill: the same command ends rightly.
#[cfg(unix)]
#[test]
fn a_reset_that_is_killed_again_and_again_ends_rightly() {
    let mut random = Random::from_environment();
    let home = with_old(&items(2_000));
    let before = options(&home);
    let mut kills = 0;
    for _ in 0..15 {
        let mut child = home.command(&reset()).spawn().unwrap();
        // It begins with the note.
        let note = home.path().join("deltafold-data/RESET/c");
        while child.try_wait().unwrap().is_none() && !note.exists() {}
        for _ in 0..random.below(2_000_000) {
            std::hint::spin_loop();
        }
        kills += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    println!("{kills} kills");
    assert!(kills > 0);
    home.run(&reset()).ok();
    assert_eq!((home.records(), options(&home)), (2_000, before));
    assert!(home.run("get c old").code == 4 && home.run("get c i00042").code == 0);
    assert_eq!(
        home.run("get c i00042 --json").ok().json()["metadata"]["n"],
        item(42)["n"]["N"].as_str().unwrap().parse::<i64>().unwrap()
    );
    assert!(home.files("RESET/c").is_empty());
}
