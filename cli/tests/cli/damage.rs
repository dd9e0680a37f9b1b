//! A damaged byte is an error, never an answer.

use std::path::Path;

use crate::home::{Home, puts};

/// Flips a bit in the first byte of a section of an object.
fn damage(home: &Home, object: &Path, section: &str) {
    let inspected = home.run(&format!("inspect {} --json", object.display())).ok().json();
    let sections = inspected["sections"].as_array().expect("sections");
    let section = sections.iter().find(|found| found["name"] == section).expect("the section");
    let offset = section["offset"].as_u64().and_then(|offset| usize::try_from(offset).ok()).expect("an offset");
    let mut bytes = std::fs::read(object).expect("an object");
    bytes[offset] ^= 1;
    std::fs::remove_file(object).expect("removed");
    std::fs::write(object, bytes).expect("written");
}

/// Damages a section of the first object with this ending. Expects every command that reads it to
/// name the object.
fn damage_is_told(folded: bool, ending: &str, section: &str) {
    let home = Home::with_records(3);
    if folded {
        home.run("compact c").ok();
    }
    let file = home.files(ending).remove(0);
    damage(&home, &file, section);
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let verified = home.run("verify c --deep").ends_with(6);
    let told = format!("{}{}", verified.stdout, verified.stderr);
    assert!(told.contains(&name), "{ending}: {told}");
    home.run("get c r000").ends_with(6).complains(&name);
    home.run("scan c").ends_with(6).complains(&name);
    home.run(&format!("inspect {}", file.display())).ends_with(6).says("damaged").complains("cannot be used");
}

#[test]
fn a_damaged_segment_is_told_by_name() {
    damage_is_told(false, "log/00000000000000000001", "ops");
}

#[test]
fn a_damaged_part_is_told_by_name() {
    for section in ["rows", "directory", "metadata columns", "documents"] {
        damage_is_told(true, ".meta", section);
    }
}

#[test]
fn a_damaged_embedding_object_is_told_by_name() {
    damage_is_told(true, ".emb", "embedding rows");
}

#[test]
fn a_damaged_head_is_told_by_name() {
    damage_is_told(true, "head", "fields");
}

/// Story: `follow --until-end` took a lost segment for the end of the log. It printed the ops in
/// front of it and ended with 0, so a copy made by following silently lacked the rest.
#[test]
fn follow_until_the_end_fails_at_a_hole_of_the_log() {
    for folded in [true, false] {
        let home = Home::with_records(2);
        for _ in 0..3 {
            home.run_with("append c", &puts(2)).ok();
        }
        if folded {
            home.run("compact c").ok();
        }
        std::fs::remove_file(home.files("log/00000000000000000002").remove(0)).expect("removed");
        for json in ["", " --json"] {
            let ran = home.run(&format!("follow c --until-end --from 1{json}")).ends_with(6);
            let ran = ran.complains("log/00000000000000000002");
            assert_eq!(ran.stdout.lines().count(), 2, "the ops in front of the hole: {ran:?}");
        }
    }
}

#[test]
fn verification_lists_damage_for_scripts() {
    let home = Home::with_records(3);
    home.run("compact c").ok();
    damage(&home, &home.files(".meta").remove(0), "documents");
    let report = home.run("verify c --deep --json").ends_with(6).json();
    assert_eq!(report["sound"], false);
    assert!(report["findings"][0]["key"].as_str().is_some_and(|key| key.ends_with(".meta")), "{report:#}");
}

#[test]
fn a_missing_object_is_found_by_the_quick_look() {
    let home = Home::with_records(3);
    home.run("compact c").ok();
    std::fs::remove_file(home.files(".emb").remove(0)).expect("removed");
    home.run("verify c").ends_with(6).says(".emb").complains("is damaged: 1 problem found");
}
