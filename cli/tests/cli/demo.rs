//! The first command of the README.

use serde_json::json;

use crate::home::Home;

#[test]
fn the_demo_shows_every_step_and_leaves_a_collection_to_try() {
    let home = Home::new();
    let shown = home
        .run("demo")
        .ok()
        .says("1. ")
        .says("6. ")
        .says("7. ")
        .says("0.0000  ")
        .says("fold")
        .says("1,510 records as expected")
        .says("Try next:");
    // The command has its whole path, unless the shell finds it.
    let commands = shown.stdout.lines().skip_while(|line| !line.ends_with("Try next:")).skip(1);
    let commands: Vec<&str> = commands.filter_map(|line| Some(line.split_once("deltafold ")?.1)).collect();
    assert_eq!(commands.len(), 4);
    for command in commands {
        assert!(!home.run(command).ok().stdout.is_empty(), "{command}");
    }
    let again = home.run("demo --json").ok().json();
    assert_eq!((&again["collection"], &again["records"]), (&json!("demo-2"), &json!(1_510)));
    let numbers = ["segments", "folds", "bytes_ingested", "bytes_compacted"];
    assert!(numbers.iter().all(|name| again[*name].as_u64() > Some(0)), "{again:#}");
}
