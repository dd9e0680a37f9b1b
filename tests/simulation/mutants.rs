//! A check that cannot fail proves nothing. The test switches each guard off, or breaks the store,
//! and a check must fail.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use deltafold::simulation::Guard;
use deltafold::{Collection, WriterOptions};
use futures::FutureExt;

use crate::actors::Context;
use crate::broken::Broken;
use crate::executor::WORLD;
use crate::history::{run, run_broken, run_with};
use crate::oracle::Times;
use crate::plan::Plan;
use crate::world::{Failure, World};

/// Enough histories to find any of them.
const HISTORIES: u64 = 3_000;
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/correctness.md");
const BEGIN: &str = "<!-- written by tests/simulation/mutants.rs -->\n";
const END: &str = "<!-- to here -->\n";

/// A broken engine, or a broken store.
struct Mutant {
    name: &'static str,
    off: &'static [Guard],
    how: How,
}

/// The place where a check must fail.
enum How {
    Histories,
    /// The store is broken.
    Store(Broken),
    /// A collection is dropped and made again under open handles.
    MadeAnew,
}

const fn of(name: &'static str, off: &'static [Guard]) -> Mutant {
    Mutant { name, off, how: How::Histories }
}

const fn over(name: &'static str, broken: Broken) -> Mutant {
    Mutant { name, off: &[], how: How::Store(broken) }
}

/// Some guards stand behind others. To test these, the guards in front are switched off too.
const MUTANTS: &[Mutant] = &[
    of("look at the head before the acknowledgement", &[Guard::HeadCheck]),
    of("a batch knows its earlier attempt by its id", &[Guard::BatchId]),
    of("unknown is not refused: the same slot again", &[Guard::UnknownIsNotRefused]),
    of("unknown is not done", &[Guard::UnknownIsNotDone]),
    of("409 is not 412", &[Guard::TryAgainIsNotTaken]),
    of("a writer's own mark is looked up before it appends anew", &[Guard::WriterMark]),
    of("positions that the log holds are not appended again", &[Guard::SourceMarks]),
    of("marks survive the fold", &[Guard::MarksSurviveFold]),
    of("positions behind a failed one fail", &[Guard::FailedHoldsBack]),
    of("a change that was passed is refused", &[Guard::PassedIsRefused]),
    over("compare and swap of the head", Broken::Overwrites),
    of("a publish whose answer was lost is looked for by its nonce", &[Guard::ManifestNonces]),
    of("a second fold of the same segments is a conflict", &[Guard::FoldConflict]),
    of("no edit adds a part born below the sweep floor", &[Guard::SweepFloor]),
    of("the invariants, behind the sweep floor", &[Guard::SweepFloor, Guard::Invariants]),
    over("a fold takes in every op of its segments", Broken::ShortensSegments),
    of("floors are published before anything is deleted", &[Guard::PublishBeforeDelete]),
    of("a sweep keeps the last segment folded", &[Guard::LastSegmentKept]),
    of("pins are kept", &[Guard::PinsKept]),
    of("versions from the floor on are kept", &[Guard::VersionsKept]),
    of("the end of the log is looked at again", &[Guard::TailRecheck]),
    of("folded ops leave the overlay", &[Guard::OverlayCut]),
    of("bytes are used only if their checksums are right", &[Guard::Checksums]),
    Mutant { name: "a collection made anew is another one", off: &[Guard::Identity], how: How::MadeAnew },
];

/// Drops the collection and makes it again under an open writer.
async fn made_anew(world: World) {
    let context = Context::new(&world, WORLD, 1);
    let old = context.create(1).await.unwrap();
    let writer = old.writer(WriterOptions::default()).unwrap();
    let (number, ops) = context.issue(Times::Once);
    let answer = writer.append(ops).await;
    context.answered(number, &answer);
    Collection::drop_collection(&*context.store(), &Context::name(), |_| ()).await.unwrap();
    context.create(1).await.unwrap();
    let (number, ops) = context.issue(Times::Once);
    let answer = writer.append(ops).await;
    if answer.is_ok() {
        context.answered(number, &answer);
    }
}

/// The check that fails, and the history where it does.
fn caught(mutant: &Mutant) -> Option<(Failure, u64)> {
    Guard::without(mutant.off, || {
        (0..HISTORIES).find_map(|seed| {
            let run = match mutant.how {
                How::Histories => run(&Plan::draw(seed), false),
                How::Store(broken) => run_broken(&Plan::draw(seed), broken),
                How::MadeAnew if seed == 0 => {
                    run_with(&Plan::draw(seed), false, |_| (), |world| made_anew(world).boxed())
                }
                How::MadeAnew => return None,
            };
            run.failure.map(|failure| (failure, seed + 1))
        })
    })
}

/// The mutants to run: all, or those with the text of `DELTAFOLD_MUTANT` in their names.
fn chosen() -> (Vec<&'static Mutant>, bool) {
    let text = std::env::var("DELTAFOLD_MUTANT").unwrap_or_default();
    let chosen: Vec<&Mutant> = MUTANTS.iter().filter(|mutant| mutant.name.contains(&text)).collect();
    let all = chosen.len() == MUTANTS.len();
    (chosen, all)
}

/// The rows of the table in the documentation: the guards switched off, and the checks known to
/// fail.
fn written(text: &str) -> BTreeMap<String, Vec<String>> {
    let table = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map_or("", |(table, _)| table);
    let cells = table.lines().skip(2).filter_map(|line| line.trim_matches('|').split_once('|'));
    cells
        .map(|(name, checks)| {
            (name.trim().to_owned(), checks.split(';').map(|check| check.trim().to_owned()).collect())
        })
        .collect()
}

#[test]
fn every_guard_that_is_switched_off_is_noticed() {
    let (mutants, all) = chosen();
    let found: Mutex<BTreeMap<usize, Option<(Failure, u64)>>> = Mutex::default();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    let Some(mutant) = mutants.get(number) else { return };
                    let caught = caught(mutant);
                    found.lock().unwrap().insert(number, caught);
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let text = std::fs::read_to_string(TABLE).unwrap();
    let mut known = written(&text);
    let (mut survivors, mut unlisted, mut table) = (Vec::new(), Vec::new(), String::new());
    table.push_str("| switched off | noticed by |\n|---|---|\n");
    for (mutant, caught) in mutants.iter().zip(found.values()) {
        let Some((failure, histories)) = caught else {
            println!("{:<60} SURVIVES", mutant.name);
            survivors.push(mutant.name);
            continue;
        };
        println!("{:<60} after {histories:>4} histories: {}", mutant.name, failure.check);
        let checks = known.remove(mutant.name).unwrap_or_default();
        let mut checks: Vec<String> = checks.into_iter().filter(|check| !check.is_empty()).collect();
        if !checks.iter().any(|check| check == failure.check) {
            unlisted.push(format!("{}: {}", mutant.name, failure.check));
            checks.push(failure.check.to_owned());
        }
        writeln!(table, "| {} | {} |", mutant.name, checks.join("; ")).unwrap();
    }
    assert_eq!(survivors, [""; 0], "no check notices that these are switched off");
    if all && std::env::var_os("DELTAFOLD_WRITE_TABLE").is_some() {
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        std::fs::write(TABLE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(unlisted, [""; 0], "docs/correctness.md does not say so; DELTAFOLD_WRITE_TABLE=1 writes it");
    if all {
        assert_eq!(known.len(), 0, "docs/correctness.md lists mutants that are gone: {known:?}");
    }
}
