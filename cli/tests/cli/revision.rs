//! Collections ordered by revision.

use serde_json::{Value, json};

use crate::home::Home;

const OPS: &str = r#"{"op":"put","id":"a","embedding":[1,0.5],"metadata":{"n":1},"revision":20000000000000000000001}
{"op":"delete","id":"b","revision":"300000000000000000000000000000000000000"}
{"op":"patch","id":"a","metadata":{"n":2},"revision":"20000000000000000000002"}
{"op":"put","id":"b","revision":7}
"#;

#[test]
fn a_collection_is_ordered_by_revision_where_that_is_chosen() {
    let home = Home::new();
    home.run("create c -d 2 --keep-tombstones 3d").ends_with(2).complains("add `--ordering revision`");
    home.run("create c -d 2 --ordering revision")
        .ok()
        .says("dimension 2, l2, 1 shard, ordered by revision, tombstones kept for 14 days");
    let created = home.run("create d -d 2 --ordering revision --keep-tombstones 36h --json").ok().json();
    assert_eq!((&created["ordering"], &created["keep_tombstones_seconds"]), (&json!("revision"), &json!(129_600.0)));
    let created = home.run("create e -d 2 --json").ok().json();
    assert_eq!((&created["ordering"], &created["keep_tombstones_seconds"]), (&json!("log"), &json!(null)));
    home.run("status c").ok().says("ordered by revision, tombstones kept for 14 days");
    assert_eq!(home.run("status d --json").ok().json()["ordering"], "revision");
    let register = home.run("inspect d/collection --json").ok().json();
    assert_eq!(register["content"]["keep_tombstones_seconds"], 129_600.0);
}

#[test]
fn ops_may_come_in_any_order_and_again() {
    let home = Home::new();
    home.run("create c -d 2 --ordering revision").ok();
    let lines: Vec<&str> = OPS.lines().rev().collect();
    home.run_with("append c", &format!("{}\n", lines.join("\n"))).ok();
    home.run("compact c").ok();
    home.run_with("append c", OPS).ok();
    let expected = json!({"id": "a", "embedding": [1.0, 0.5], "metadata": {"n": 2}, "document": null});
    assert_eq!(home.run("scan c").json_lines(), std::slice::from_ref(&expected));
    assert_eq!(home.records(), 1);
    home.run("compact c --merge-all").ok();
    assert_eq!(home.run("scan c --order insertion").json_lines(), [expected]);
    home.run("verify c --deep").ok().says("c is sound (deep)");
    assert_eq!(home.run("status c --json").ok().json()["shards"][0]["runs"][0]["rows_without_record"], 1);
    // The number of segments depends on the arrival of the lines.
    let last = home.run("status c --json").ok().json()["shards"][0]["tail"].as_u64().unwrap();
    let segments = (1..=last).map(|slot| home.run(&format!("inspect c/0000/log/{slot:020} --json")).ok().json());
    let revisions = |segment: Value| {
        let of = |name: &str| segment["content"][name].as_str().unwrap().parse::<u128>().unwrap();
        (of("lowest_revision"), of("highest_revision"))
    };
    let (lowest, highest): (Vec<u128>, Vec<u128>) = segments.map(revisions).unzip();
    assert_eq!((lowest.iter().min(), highest.iter().max()), (Some(&7), Some(&(3 * 10_u128.pow(38)))));

    // The output can be appended again, also to another collection ordered by revision.
    let log = home.run("follow c --until-end").ok().stdout;
    assert!(log.contains(r#""revision":"20000000000000000000002""#) && log.contains(r#""revision":7"#), "{log}");
    let puts = home.run("scan c --as-ops").ok().stdout;
    assert!(puts.contains(r#""revision":"20000000000000000000002""#), "{puts}");
    home.run_with("append c", &puts).ok();
    home.run("create copy -d 2 --ordering revision").ok();
    home.run_with("append copy", &puts).ok();
    assert_eq!(home.run("scan copy").json_lines(), home.run("scan c").json_lines());
}

#[test]
fn a_missing_or_needless_revision_is_named_with_its_line() {
    let home = Home::with_collection();
    home.run("create by-revision -d 2 --ordering revision").ok();
    let without = "{\"op\":\"delete\",\"id\":\"a\",\"revision\":1}\n{\"op\":\"delete\",\"id\":\"a\"}\n";
    let refused = home.run_with("append by-revision", without).ends_with(3);
    refused.complains("-:2:1: field `revision`: is missing").complains("ordered by revision");
    let with = "{\"op\":\"delete\",\"id\":\"a\",\"revision\":1}\n";
    home.run_with("append c", with).ends_with(3).complains("-:1:").complains("field `revision`: must not be there");
    let add = "{\"op\":\"add\",\"id\":\"a\",\"revision\":1}\n";
    home.run_with("append by-revision", add).ends_with(3).complains("field `op`").complains("use `put` or `upsert`");
    let bad = "{\"op\":\"delete\",\"id\":\"a\",\"revision\":1.5}\n";
    home.run_with("append by-revision", bad).ends_with(3).complains("not a whole number of up to 39 digits");
}
