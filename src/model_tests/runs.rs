//! The explorations: the usual one, a longer one with `DELTAFOLD_MODEL=full`, and one without each
//! guard.

use std::collections::BTreeMap;
use std::fmt::Write;

use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, Model};
use tokio::time::Instant;

use super::bounds::{Bounds, Guards, Sources};
use super::model::Protocol;
use super::properties::HAPPENS;
use super::store::{ACKED, LIVE, NEXT, ONCE, PINNED, READABLE, TOLD, VIEW};

/// Explores everything within the bounds, breadth first. Returns the number of states, and the
/// properties that do not hold with the steps that show it.
fn explore(bounds: Bounds) -> (usize, Vec<(&'static str, String)>) {
    told(&Protocol::new(bounds, Guards::ALL).checker().threads(2).spawn_bfs().join(), bounds)
}

/// The same, depth first. The queue of states stays small, and the counterexamples are long.
fn explore_far(bounds: Bounds) -> (usize, Vec<(&'static str, String)>) {
    let checker = Protocol::new(bounds, Guards::ALL).checker().threads(2).spawn_dfs();
    told(&checker.report(&mut EveryMinute::default()), bounds)
}

fn told(checker: &impl Checker<Protocol>, bounds: Bounds) -> (usize, Vec<(&'static str, String)>) {
    let mut broken = Vec::new();
    for (name, path) in checker.discoveries() {
        if name != HAPPENS {
            let mut story = String::new();
            for step in path.into_actions() {
                write!(story, "{step:?} ").unwrap();
            }
            broken.push((name, story));
        }
    }
    if broken.is_empty() {
        assert!(checker.discovery(HAPPENS).is_some(), "nothing happens within {bounds:?}");
    }
    (checker.unique_state_count(), broken)
}

/// Reports progress.
#[derive(Default)]
struct EveryMinute(u64);

impl Reporter<Protocol> for EveryMinute {
    fn report_checking(&mut self, so_far: ReportData) {
        let minutes = so_far.duration.as_secs() / 60;
        if minutes > self.0 {
            self.0 = minutes;
            println!("model: {} states in {minutes} min ...", so_far.unique_states);
        }
    }

    fn report_discoveries(&mut self, _: &Protocol, _: BTreeMap<&'static str, ReportDiscovery<Protocol>>) {}
}

fn holds(name: &str, bounds: Bounds) {
    let start = Instant::now();
    hold(name, start, explore(bounds));
}

fn holds_far(name: &str, bounds: Bounds) {
    let start = Instant::now();
    hold(name, start, explore_far(bounds));
}

fn hold(name: &str, start: Instant, (states, broken): (usize, Vec<(&'static str, String)>)) {
    println!("model: {name}: {states} states in {:.1?}", start.elapsed());
    assert!(broken.is_empty(), "{name}: {broken:#?}");
}

/// Without the guard, the checker finds a way to break `promise`. It stops at the first.
fn breaks(name: &str, promise: &'static str, bounds: Bounds, leave_out: impl FnOnce(&mut Guards)) {
    let start = Instant::now();
    let mut guards = Guards::ALL;
    leave_out(&mut guards);
    // With one property, the checker stops at its first counterexample.
    let model = Protocol::new(bounds, guards).only(promise);
    let checker = model.checker().threads(2).spawn_bfs().join();
    let states = checker.unique_state_count();
    let path = checker.discovery(promise);
    let path = path.unwrap_or_else(|| panic!("without {name} nothing breaks \"{promise}\" in {bounds:?}"));
    let steps = path.into_actions().len();
    println!("model: without {name}, in {steps} steps: not \"{promise}\" ({states} states in {:.1?})", start.elapsed());
}

/// Two writers, one compactor, one sweeper.
const FOUR: Bounds = Bounds { writers: 2, compactors: 1, sweepers: 1, ..Bounds::NONE };

/// One more writer, so that a sweep can pass the slot that a writer knows, though it keeps the last
/// segment.
const FIVE: Bounds = Bounds { writers: 3, ..FOUR };

/// One op of one writer, folded.
const THREE: Bounds = Bounds { writers: 1, ..FOUR };

#[test]
fn writers_and_lost_answers() {
    holds("2 writers, 1 lost answer", Bounds { lost: 1, ..FOUR });
    holds("2 writers of 2 ops", Bounds { ops: 2, ..FOUR });
    holds("1 writer of 2 ops, 2 lost answers", Bounds { ops: 2, lost: 2, ..THREE });
    holds("1 writer of 2 ops, 1 lost answer, 1 crash", Bounds { ops: 2, lost: 1, crashes: 1, rounds: 1, ..THREE });
}

#[test]
fn writers_and_echoes() {
    holds("2 writers, 1 echo", Bounds { echoes: 1, ..FOUR });
    holds("3 writers, 1 echo", Bounds { echoes: 1, ..FIVE });
    holds("1 writer of 2 ops, 2 echoes", Bounds { ops: 2, echoes: 2, ..THREE });
}

/// The fairness policy decides when a writer tries, and any of its answers is safe.
#[test]
fn writers_that_wait_for_their_turn() {
    holds("2 writers, 2 turns", Bounds { turns: 2, ..FOUR });
    holds("2 writers, 1 turn, 1 lost answer", Bounds { turns: 1, lost: 1, ..FOUR });
    holds("2 writers, 1 turn, 1 echo", Bounds { turns: 1, echoes: 1, ..FOUR });
    holds("2 writers with sources, 1 turn", Bounds { turns: 1, sources: Sources::Own, ..FOUR });
}

/// A conditional writer reads the log's end, and appends only directly behind it.
#[test]
fn conditional_writers() {
    holds("1 conditional writer and 1 other, 1 lost answer", Bounds { conditional: 1, lost: 1, ..FOUR });
    holds("1 conditional writer and 1 other, 1 echo", Bounds { conditional: 1, echoes: 1, ..FOUR });
    holds("2 conditional writers of 2 ops", Bounds { conditional: 2, ops: 2, ..FOUR });
    holds("1 conditional writer and 2 others", Bounds { conditional: 1, ..FIVE });
}

#[test]
fn sources_come_again() {
    holds("2 writers of one source and 1 other", Bounds { sources: Sources::Shared, writers: 3, ..FOUR });
    holds("2 writers with sources, 1 crash", Bounds { sources: Sources::Own, crashes: 1, ..FOUR });
}

#[test]
fn compactors_and_a_sweeper() {
    holds("2 compactors", Bounds { compactors: 2, ..FOUR });
    holds(
        "2 compactors, 2 sweeps that keep a version",
        Bounds { compactors: 2, sweeps: 2, keep_versions: 1, writers: 1, ops: 2, ..FOUR },
    );
    holds("merges, 2 sweeps, 1 lost answer", Bounds { ops: 2, rounds: 2, sweeps: 2, lost: 1, ..THREE });
}

#[test]
fn readers_and_followers() {
    holds("a reader", Bounds { readers: 1, ..FOUR });
    holds("a follower", Bounds { followers: 1, ..FOUR });
    holds("a reader and merges", Bounds { readers: 1, ops: 2, rounds: 2, ..THREE });
    holds("a reader that lists upward first", Bounds { listers_up: 1, ..FOUR });
    holds("a reader that lists downward first", Bounds { listers_down: 1, ..FOUR });
    holds("a reader that lists downward first, and merges", Bounds { listers_down: 1, ops: 2, rounds: 2, ..THREE });
}

/// Two ops folded. A version is pinned for a short time, unpinned, and pinned for good beside a
/// sweep.
const PINS: Bounds = Bounds { pinners: 1, ops: 2, ..THREE };

#[test]
fn pins_and_a_sweeper() {
    holds("a pinner", PINS);
    holds("a pinner and 2 sweeps", Bounds { sweeps: 2, ..PINS });
    holds("a pinner and an unpinner", Bounds { unpinners: 1, ..PINS });
}

/// Whether the full exploration is wanted: it takes long.
fn further() -> bool {
    let further = std::env::var("DELTAFOLD_MODEL").is_ok_and(|value| value == "full");
    if !further {
        println!("model: DELTAFOLD_MODEL=full explores further");
    }
    further
}

/// Two writers, two compactors, a sweeper and a reader.
const SIX: Bounds = Bounds { compactors: 2, readers: 1, ..FOUR };

#[test]
fn further_on_request() {
    if further() {
        holds("2 writers of 2 ops, 1 lost answer", Bounds { ops: 2, lost: 1, ..FOUR });
        holds(
            "2 writers with sources, 1 lost answer, 1 crash",
            Bounds { sources: Sources::Own, lost: 1, crashes: 1, ..FOUR },
        );
        holds(
            "2 writers of one source and 1 other, 1 lost answer",
            Bounds { sources: Sources::Shared, writers: 3, lost: 1, ..FOUR },
        );
        holds("2 writers, 2 lost answers", Bounds { lost: 2, ..FOUR });
        holds("2 writers, 1 lost answer, 1 echo", Bounds { lost: 1, echoes: 1, ..FOUR });
        holds(
            "2 writers with sources, 1 echo, 1 crash",
            Bounds { sources: Sources::Own, echoes: 1, crashes: 1, ..FOUR },
        );
        let shared = Bounds { sources: Sources::Shared, writers: 4, ..FOUR };
        for (when, bounds) in [("in doubt", Bounds { lost: 1, ..FIVE }), ("with sources", shared)] {
            let name = format!("looking whether a slot counts, {when}");
            breaks(&name, ONCE, bounds, |guards| guards.slot_counts = false);
        }
        holds_far(
            "merges, 2 sweeps, 1 lost answer, 1 crash",
            Bounds { ops: 2, rounds: 2, sweeps: 2, lost: 1, crashes: 1, ..THREE },
        );
        holds_far("2 writers, 2 compactors, a sweeper, a reader", SIX);
        holds_far("2 writers, 2 compactors of 2 rounds, a sweeper", Bounds { readers: 0, rounds: 2, ..SIX });
    }
}

/// The two largest bounds have a test of their own each, so that one can be run alone.
#[test]
fn further_on_request_with_a_crash() {
    if further() {
        holds_far("2 writers, 2 compactors, a sweeper, a reader, 1 crash", Bounds { crashes: 1, ..SIX });
    }
}

#[test]
fn further_on_request_with_a_lost_answer() {
    if further() {
        holds_far("2 writers, 2 compactors, a sweeper, a reader, 1 lost answer", Bounds { lost: 1, ..SIX });
    }
}

/// A test that cannot fail proves nothing: without each guard the model breaks a promise. One way
/// to break it is enough here. [`further_on_request`] has two more for a guard, which take minutes.
#[test]
fn every_guard_is_needed() {
    let lost = Bounds { lost: 1, ..FOUR };
    breaks("the head check before the ack", ACKED, FIVE, |guards| guards.head_check = false);
    breaks("the batch id", ONCE, lost, |guards| guards.batch_id = false);
    breaks("trying the same slot after an unknown outcome", ONCE, lost, |guards| guards.same_slot = false);
    breaks("the mark of the writer itself", ONCE, FIVE, |guards| guards.own_mark = false);
    let echo = Bounds { echoes: 1, ..FIVE };
    breaks("looking whether a slot counts, after an echo", ONCE, echo, |guards| guards.slot_counts = false);
    let conditional = Bounds { conditional: 1, ..FOUR };
    breaks("the condition of an append", NEXT, conditional, |guards| guards.condition = false);
    breaks("the history of publishing", TOLD, Bounds { lost: 1, ops: 2, ..THREE }, |guards| guards.history = false);
    breaks("keeping the last segment", ONCE, Bounds { echoes: 1, ..FOUR }, |guards| guards.last_kept = false);
    breaks("the ids of pins, in a sweep", PINNED, PINS, |guards| guards.pins_by_id = false);
    let unpinner = Bounds { unpinners: 1, sweepers: 0, ..PINS };
    breaks("the ids of pins, in an unpin", PINNED, unpinner, |guards| guards.pins_by_id = false);
    breaks("keeping what pins need", PINNED, Bounds { rounds: 2, ..PINS }, |guards| guards.pins_kept = false);
    let merges = Bounds { ops: 2, rounds: 2, sweeps: 2, ..THREE };
    breaks("the fence of the sweep floor", LIVE, merges, |guards| guards.fence = false);
    let two = Bounds { compactors: 2, ..FOUR };
    breaks("the conflict of two folds", READABLE, two, |guards| guards.conflict = false);
    breaks("publishing before deleting", ACKED, FIVE, |guards| guards.publish_first = false);
    breaks("the reader's second look", VIEW, Bounds { readers: 1, ..FOUR }, |guards| guards.look_again = false);
    breaks("the head behind the names", VIEW, Bounds { listers_down: 1, ..FIVE }, |guards| guards.log_first = false);
    breaks("the follower's second look", VIEW, Bounds { followers: 1, ..FIVE }, |guards| guards.look_again = false);
}
