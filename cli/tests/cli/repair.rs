//! `repair` on the command line: exit code 6 and a message name the lost object, and `--yes`
//! rebuilds it.

use crate::home::Home;

fn folded() -> Home {
    let home = Home::with_records(5);
    home.run("compact c").ok();
    home
}

/// Story: the head of a collection was lost. Every command called the collection "dropped", with
/// exit code 4.
#[test]
fn a_lost_head_ends_with_6_and_is_repaired() {
    let home = folded();
    std::fs::remove_file(home.files("head").remove(0)).expect("removed");
    for command in ["count c", "status c", "compact c", "verify c", "get c r001"] {
        let ran = home.run(command).ends_with(6);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(told.contains("c/0000/head") && told.contains("repair"), "{command}: {told}");
    }
    home.run_with("append c", &crate::home::puts(1)).ends_with(6).complains("`c/0000/head` is missing");
    home.run("repair c").ends_with(6).says("would write the head of version 1").complains("repair c --yes");
    home.run("count c").ends_with(6);
    home.run("repair c --yes").ok().says("wrote the head of version 1");
    assert_eq!(home.records(), 5);
    home.run("repair c").ok().says("nothing to repair");
    home.run("verify c --deep").ok();
}

/// Story: `create` advised to drop a collection that had lost only its register.
#[test]
fn a_lost_collection_register_is_repaired() {
    let home = folded();
    std::fs::remove_file(home.files("c/collection").remove(0)).expect("removed");
    home.run("count c").ends_with(6).complains("`c/collection` is missing").complains("`repair c`");
    home.run("create c --dimension 2").ends_with(6).complains("Run `repair c` to have it back");
    home.run("repair c --yes").ok();
    assert_eq!(home.records(), 5);
}

#[test]
fn a_damaged_head_is_replaced_only_with_consent() {
    let home = folded();
    std::fs::write(home.files("head").remove(0), "no head").expect("written");
    home.run("count c").ends_with(6).complains("c/0000/head");
    home.run("repair c --yes").ends_with(6).complains("--yes --replace");
    let report = home.run("repair c --yes --replace --json").ok().json();
    assert_eq!((&report["is_intact"], &report["steps"][0]["replaces"]), (&true.into(), &true.into()), "{report:#}");
    assert_eq!(home.records(), 5);
}

#[test]
fn repair_asks_for_lost_settings() {
    let home = Home::with_records(3);
    std::fs::remove_file(home.files("c/collection").remove(0)).expect("removed");
    home.run("repair c").ends_with(3).complains("metric").complains("--metric");
    home.run("repair c --metric l2 --shards 1 --ordering log --yes").ok();
    assert_eq!(home.records(), 3);
    home.run("repair nothing").ends_with(4);
}
