//! `query`: nearest neighbours, for people and for scripts.

use serde_json::json;

use crate::home::Home;

#[test]
fn query_finds_the_nearest_in_base_and_log() {
    let home = Home::with_records(20);
    home.run("compact c").ok();
    home.run_with(
        "append c",
        "{\"op\":\"delete\",\"id\":\"r007\"}\n{\"op\":\"put\",\"id\":\"new\",\"embedding\":[8,0.5]}\n",
    )
    .ok();
    let hits = home.run("query c --vector [7,0.5] -k 4").ok().json_lines();
    let ids: Vec<_> = hits.iter().map(|hit| (hit["id"].as_str().unwrap(), hit["distance"].as_f64().unwrap())).collect();
    // Records at equal distances come in the order of insertion.
    assert_eq!(ids, [("r006", 1.0), ("r008", 1.0), ("new", 1.0), ("r005", 4.0)]);
    assert_eq!(hits[0], json!({"query": 0, "distance": 1.0, "id": "r006", "metadata": {"n": 6}, "document": "text 6"}));
    let bare = home.run("query c --vector-from r003 -k 1 --ids-only").ok().json_lines();
    assert_eq!(bare, [json!({"query": 0, "distance": 0.0, "id": "r003"})]);
    let whole = home.run("query c --vector-from r003 -k 1 --include embedding").ok().json_lines();
    assert_eq!(whole, [json!({"query": 0, "distance": 0.0, "id": "r003", "embedding": [3.0, 0.5]})]);
}

#[test]
fn query_takes_many_vectors_from_a_file() {
    let home = Home::with_records(5);
    home.write("vectors.jsonl", "[0,0.5]\n\n{\"embedding\":[4,0.5]}\n");
    let hits = home.run("query c --vectors vectors.jsonl -k 1 --ids-only --json").ok().json_lines();
    let found: Vec<_> = hits.iter().map(|hit| (hit["query"].as_u64(), hit["id"].as_str())).collect();
    assert_eq!(found, [(Some(0), Some("r000")), (Some(1), Some("r004"))]);
    let found = home.run_with("query c --vectors - -k 1 --ids-only", "[2,0.5]\n").ok().json_lines();
    assert_eq!(found[0]["id"], "r002");
}

#[test]
fn explain_tells_plan_work_and_stages() {
    let home = Home::with_records(5);
    let lines = home.run("query c --vector [0,0] -k 2 --explain").ok().json_lines();
    assert_eq!(lines.last().unwrap()["plan"], json!({"filter": null, "bits": 8}));
    let work = &lines.last().unwrap()["work"];
    assert_eq!((&work["read"], &work["from_log"]), (&json!(5), &json!(5)));
    assert!(work["milliseconds"]["scan"].is_number() && work["requests"].is_number(), "{work}");
    assert!(work["bytes"].is_number(), "{work}");
    let filter = r#"--where {"n":{"$gte":1}} --where-document {"$contains":"text"}"#;
    let lines = home.run(&format!("query c --vector [0,0] -k 2 --approximate 3 {filter} --explain")).ok().json_lines();
    let filter = json!({"keys": ["n"], "documents": true});
    assert_eq!(lines.last().unwrap()["plan"], json!({"filter": filter, "bits": 1, "candidates": 3}));
}

#[test]
fn a_query_that_cannot_be_asked_is_a_clear_error() {
    let home = Home::with_records(5);
    home.run_with("append c", "{\"op\":\"put\",\"id\":\"bare\"}\n").ok();
    home.run("query c").ends_with(2).complains("--vector");
    home.run("query c --vector [1,2] --vector-from r001").ends_with(2).complains("cannot be used with");
    home.run("query c --vector-from absent").ends_with(4).complains("holds no record `absent`");
    home.run("query c --vector-from bare").ends_with(3).complains("record `bare` has no embedding");
    home.run("query c --vector [1]").ends_with(3).complains("its vector has 1 numbers; give 2");
    home.run("query c --vector [1,1e39]").ends_with(3).complains("element 1 is not a number that an f32 can hold");
    home.run("query c --vector [1,").ends_with(3).complains("it is not JSON");
    home.run("query c --vector {}").ends_with(3).complains("it is not a list of numbers");
    home.run("query c --vector [1,2] -k 0").ends_with(3).complains("ask for 1 to 65536");
    home.run("query c --vector [1,2] -k 5 --approximate 4").ends_with(3).complains("at least as many candidates");
    home.write("vectors.jsonl", "[1,2]\n[\"x\",2]\n");
    home.run("query c --vectors vectors.jsonl").ends_with(3).complains("line 2 of `vectors.jsonl`");
    home.run("query nothing --vector [1,2]").ends_with(4).complains("there is no collection `nothing`");
}

#[test]
fn filters_narrow_queries_counts_and_scans() {
    let home = Home::with_records(20);
    home.run("compact c").ok();
    home.run_with("append c", "{\"op\":\"put\",\"id\":\"new\",\"embedding\":[9,0.5],\"metadata\":{\"n\":9}}\n").ok();
    let filter = r#"--where {"n":{"$gte":9}}"#;
    home.run(&format!("count c {filter}")).ok().says("12");
    let ids = |arguments: &str| {
        let lines = home.run(arguments).ok().json_lines();
        lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&format!("query c --vector [0,0.5] -k 3 {filter}")), ["r009", "new", "r010"]);
    assert_eq!(ids(&format!("scan c {filter} --limit 2")), ["new", "r009"]);
    assert_eq!(ids(&format!("scan c {filter} --order insertion --start r018")), ["r018", "r019"]);
    assert_eq!(ids(r#"scan c --where-document {"$regex":"7$"} --no-documents"#), ["r007", "r017"]);
    home.run(r#"count c --where {"n":{"$near":1}}"#).ends_with(3).complains("$near");
    home.run(r#"scan c --where-document {"$regex":"("}"#).ends_with(3).complains("--where-document");
}

#[test]
fn delete_takes_matching_records_and_no_others() {
    let home = Home::with_records(20);
    home.run("compact c").ok();
    let delete = r#"delete c --where {"n":{"$lt":5}}"#;
    home.run(&format!("{delete} --dry-run")).ok().says("5 records of c would be deleted");
    home.run(delete).ends_with(2).complains("there is no terminal to confirm it on");
    assert_eq!(home.records(), 20);
    home.run(&format!("{delete} --yes")).ok().says("deleted 5 records of c");
    assert_eq!(home.records(), 15);
    let again = home.run(&format!("{delete} --yes --json")).ok().json();
    assert_eq!(again, json!({"collection": "c", "matching": 0, "deleted": 0, "dry_run": false}));
    home.run("delete c --yes").ends_with(2).complains("needs a filter");
    home.run(&format!("{delete} --revision 7")).ends_with(2).complains("is not ordered by revision");
}

#[test]
fn a_delete_by_revision_bears_the_one_given() {
    let home = Home::new();
    home.run("create c -d 1 --ordering revision").ok();
    let put =
        |id, revision| format!("{{\"op\":\"put\",\"id\":\"{id}\",\"revision\":{revision},\"metadata\":{{\"n\":1}}}}\n");
    home.run_with("append c", &[put("old", 5), put("new", 9)].concat()).ok();
    home.run(r#"delete c --where {"n":1} --yes"#).ends_with(2).complains("is ordered by revision");
    home.run(r#"delete c --where {"n":1} --yes --revision 7"#).ok();
    assert_eq!(home.run("scan c").ok().json_lines()[0]["id"], "new");
    assert_eq!(home.records(), 1);
}
