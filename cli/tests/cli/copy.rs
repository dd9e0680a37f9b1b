//! `copy`: to another store, with another number of shards, killed at any moment, beside writers.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use deltafold_testing::random::Random;
use serde_json::json;

use crate::home::{Home, puts};

/// The records of a collection, as text.
fn records(home: &Home, arguments: &str) -> String {
    home.run(&format!("scan {arguments}")).ok().stdout
}

#[test]
fn a_copy_goes_to_another_store_and_again_by_the_log() {
    let home = Home::with_records(30);
    let copied = home.run("copy c backup --to-store other --shards 3").ok();
    assert!(
        copied.stdout.contains("30 records written") && copied.stdout.contains("both hold 30 records"),
        "{copied:?}"
    );
    assert_eq!(records(&home, "c"), records(&home, "backup --store other"));
    home.run_with("append c", "{\"op\":\"delete\",\"id\":\"r001\"}\n").ok();
    let again = home.run("--json copy c backup --to-store other").ok().json();
    assert_eq!((&again["written"], &again["ops"], &again["records"]), (&json!(0), &json!(1), &json!(29)));
    home.run("copy c backup --to-store other --shards 4").ends_with(2).complains("exists with 3 shards");
    home.run("copy c c").ends_with(3).complains("cannot be copied into itself");
    home.run("copy nothing backup").ends_with(4);
    home.run("copy c backup --follow --version 1").ends_with(2).complains("begins with the latest state");
    home.run_with("append backup --store other", &puts(1).replace("r000", "own")).ok();
    let changed = home.run("copy c backup --to-store other").ends_with(5);
    assert!(changed.stderr.contains("1 records differ"), "{changed:?}");
    home.run("copy c backup --to-store other --overwrite").ok().says("1 deleted");
    assert_eq!(records(&home, "c"), records(&home, "backup --store other"));
}

#[test]
fn a_copy_changes_ordering_and_takes_a_pin() {
    let home = Home::with_records(5);
    home.run("compact c").ok();
    home.run("pin c p").ok();
    home.run_with("append c", "{\"op\":\"delete\",\"id\":\"r001\"}\n").ok();
    home.run("copy c by-revision --pin p --ordering revision").ok().says("both hold 5 records");
    home.run("copy c by-revision").ok().says("both hold 4 records");
    home.run("copy c by-revision --follow").ends_with(3).complains("ordered by the log");
    home.run("copy by-revision back --ordering log").ok().says("both hold 4 records");
    assert_eq!(records(&home, "c"), records(&home, "back"));
}

/// A process that is killed at the latest when its test ends.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn started(mut command: Command) -> Process {
    Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
}

/// Story: four writers append to a collection that a standby with other shards follows. The standby
/// is killed at random moments, and started again. Some kills meet the first transfer, and some the
/// log. In the end both are equal, and each op took effect once.
#[test]
fn a_standby_killed_at_random_ends_equal() {
    let mut random = Random::from_environment();
    let home = Home::with_records(400);
    home.run("create d --dimension 2 --shards 2").ok();
    home.run_with("append d", &puts(400)).ok();
    for writer in 0..4 {
        let lines = (0..300).map(|number| {
            let (id, n) = ((number * 7 + writer * 13) % 500, number * 4 + writer);
            match number % 4 {
                0 => format!("{{\"op\":\"delete\",\"id\":\"r{id:03}\"}}\n"),
                1 => format!("{{\"op\":\"upsert\",\"id\":\"r{id:03}\",\"metadata\":{{\"n\":{n}}}}}\n"),
                2 => format!("{{\"op\":\"add\",\"id\":\"r{id:03}\",\"embedding\":[{n},1]}}\n"),
                _ => format!("{{\"op\":\"put\",\"id\":\"r{id:03}\",\"document\":\"d{n}\"}}\n"),
            }
        });
        home.write(&format!("w{writer}.jsonl"), lines.collect::<String>());
    }
    let follow = "--json copy d standby --to-store other --shards 4 --follow --interval 1ms";
    let mut writers = Vec::new();
    let mut followed = 0;
    for round in 0..12 {
        if round % 3 == 1 {
            writers.push(started(home.command(&format!("append d w{}.jsonl --source w{0}", writers.len()))));
        }
        let mut child = home.command(follow).stderr(Stdio::null()).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut standby = Process(child);
        // Half of the rounds wait until the standby follows.
        if random.once_in(2) && output.lines().next().is_some_and(|line| line.is_ok()) {
            followed += 1;
        }
        for _ in 0..random.below(20_000_000) {
            std::hint::spin_loop();
        }
        standby.kill();
        // A standby that never followed may have been killed before it existed.
        if round % 4 == 0 && followed > 0 {
            home.run("compact standby --store other").ok();
        }
    }
    for writer in &mut writers {
        assert!(writer.0.wait().expect("it ends").success());
    }
    println!("{followed} of 12 rounds reached the log");
    let last = home.run("--json copy d standby --to-store other").ok().json();
    assert!(last["records"].as_u64().is_some_and(|records| records > 100), "{last}");
    assert_eq!(records(&home, "d"), records(&home, "standby --store other"));
    home.run("verify standby --deep --store other").ok();
}

/// A follower stops at a signal, when the target equals the original.
#[test]
fn a_follower_ends_equal_at_a_signal() {
    let home = Home::with_records(20);
    let mut child = home.command("--json copy c standby --follow --interval 1ms").spawn().expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let first = output.next().expect("it tells when it follows");
    assert!(first.contains("\"following\":true"), "{first}");
    home.run_with("append c", &puts(40)).ok();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
    let report: serde_json::Value = serde_json::from_str(&output.next().expect("a report")).expect("JSON");
    assert_eq!((&report["records"], &report["ops"]), (&json!(40), &json!(40)));
    assert!(child.wait().expect("it ends").success());
    assert_eq!(records(&home, "c"), records(&home, "standby"));
}
