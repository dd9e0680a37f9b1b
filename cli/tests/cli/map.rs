//! `map`: the ops that a mapping makes of sample records.

use crate::home::Home;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy/mapping");

/// The example of the documentation works as described.
#[test]
fn the_sample_is_mapped_as_its_comments_say() {
    let home = Home::new();
    let said = home.run(&format!("map --check --json {FOLDER}/packages.toml {FOLDER}/packages.jsonl")).json_lines();
    let short: Vec<String> = said
        .iter()
        .map(|line| {
            let (change, text) = (&line["change"], |field: &str| line[field].as_str().unwrap_or_default().to_owned());
            match change["op"].as_str() {
                Some(op) => format!("{} {} {op} {}", line["line"], text("event"), change["id"].as_str().unwrap()),
                None => format!("{} {} {}", line["line"], text("event"), text("skipped")),
            }
        })
        .collect();
    assert_eq!(
        short,
        [
            "1 INSERT put bookworm/libs/libuno-cppu3",
            "2 INSERT put bookworm/python/python3-asyncssh",
            "3 INSERT put bookworm/oldlibs/libncursesw5",
            "4 MODIFY patch bookworm/libs/libuno-cppu3",
            "5 MODIFY patch bookworm/python/python3-asyncssh",
            "6 MODIFY nothing changed that is mapped",
            "7 MODIFY delete bookworm/python/python3-asyncssh",
            "7 MODIFY put bookworm/oldlibs/python3-asyncssh",
            "8 REMOVE delete bookworm/oldlibs/libncursesw5",
            "9 INSERT no rule takes it",
        ]
    );
    assert_eq!(said[0]["collection"], "packages");
    assert_eq!(said[0]["change"]["embedding"].as_array().unwrap().len(), 384);
    assert_eq!(said[3]["change"]["metadata"]["tags"], serde_json::Value::Null);
    assert_eq!(said[3]["revision"], "4421584500000000017450439239");
    let people = home.run(&format!("map --check {FOLDER}/packages.toml {FOLDER}/packages.jsonl")).ok();
    people.says("packages.jsonl:4  MODIFY  packages    patch").complains("9 records: 8 ops, 2 skipped, 0 refused");
}

/// Without `--check` it prints lines that `append` takes.
#[test]
fn ops_can_be_appended_as_they_are_printed() {
    let home = Home::new();
    home.run("create packages --dimension 384").ok();
    let ops = home.run(&format!("map {FOLDER}/packages.toml {FOLDER}/packages.jsonl")).ok().stdout;
    assert_eq!(ops.lines().count(), 8);
    home.run_with("append packages -", &ops).ok();
    let ids: Vec<String> =
        home.run("scan packages").json_lines().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["bookworm/libs/libuno-cppu3", "bookworm/oldlibs/python3-asyncssh"]);
}

const REMOVE: &str = r#"{"eventName":"REMOVE","dynamodb":{"Keys":{"a":{"S":"x"}},"OldImage":{"a":{"S":"x"}}}}"#;

#[test]
fn a_bad_mapping_file_names_file_and_line() {
    let home = Home::new();
    home.run("map --check m.toml").ends_with(4).complains("m.toml");
    home.write("m.toml", "[[rule]]\ncollection = \"c\"\nid = \"x\"\ndocument = \"a\"\n");
    home.run("map --check m.toml").ends_with(3).complains("m.toml:3: rule 1: `id`: it names no attribute");
    let error = home.run("map --check --json m.toml").ends_with(3).json_error();
    assert_eq!((error["kind"].as_str(), error["line"].as_u64()), (Some("bad_input"), Some(3)));

    home.write("m.toml", "[[rule]]\ncollection = \"c\"\nid = \"{b}\"\nembedding = \"a\"\n");
    home.run("map --check m.toml").ok().complains("m.toml is sound");
    let insert = r#"{"eventName":"INSERT","dynamodb":{"Keys":{},"NewImage":{"b":{"S":"x"},"a":{"L":[{"N":"1"}]}}}}"#;
    home.write("r.jsonl", format!("{insert}\n\n{{\"eventName\":\"INSERT\",\"dynamodb\":{{}}}}\nnonsense"));
    let ran = home.run("map --check m.toml r.jsonl").ends_with(3).complains("2 records refused");
    ran.says("r.jsonl:1  INSERT  c           put")
        .says("r.jsonl:3  INSERT  c           refused")
        .says("not valid JSON");
    home.run("map m.toml r.jsonl")
        .ends_with(3)
        .says("\"embedding\":[1.0]")
        .complains("r.jsonl:3: the record of the INSERT");
    home.run("map --check m.toml r.jsonl --dimension 2")
        .ends_with(3)
        .says("dimension is 2")
        .complains("3 records refused");
}

#[test]
fn collections_are_chosen() {
    let home = Home::new();
    let rule = |collection: &str| {
        format!("[[rule]]\ncollection = \"{collection}\"\nid = \"{collection}-{{a}}\"\ndocument = \"a\"\n")
    };
    home.write("m.toml", format!("{}{}", rule("c"), rule("d")));
    home.write("r.json", format!("{{\n  \"Records\": [\n    {REMOVE}\n  ]\n}}"));
    home.run("map --check m.toml r.json").ok().says("c-x").says("d-x").says("r.json:3");
    let ran = home.run("map --check m.toml r.json --collection d").ok();
    assert!(!ran.stdout.contains("c-x"), "{ran:?}");
    home.run("map m.toml r.json").ends_with(2).complains("choose one with --collection: c, d");
    home.run("map m.toml r.json --collection e").ends_with(4).complains("it has rules for c, d");
    let ran = home.run_with("map m.toml - --collection c", REMOVE).ok();
    assert_eq!(ran.stdout, "{\"op\":\"delete\",\"id\":\"c-x\"}\n");
}
