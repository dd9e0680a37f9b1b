//! Many histories; and one failed history, shrunk and printed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::history::{Run, run};
use crate::plan::Plan;
use deltafold_testing::random::Random;

/// The number of histories of a usual test run.
const HISTORIES: u64 = 300;
/// The number of smaller plans to try when a failure is shrunk.
const SHRINKS: u32 = 400;
/// The number of schedules of a smaller plan to try: leaving an actor out changes all schedules.
const SCHEDULES: u64 = 12;

fn environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The smallest plan found where the same check fails.
pub(crate) fn shrink(plan: &Plan, check: &str) -> Plan {
    let fails = |plan: &Plan| run(plan, false).failure.is_some_and(|failure| failure.check == check);
    let mut smallest = plan.clone();
    let mut left = SHRINKS;
    'again: loop {
        for smaller in smallest.smaller() {
            for schedule in 0..SCHEDULES {
                if left == 0 {
                    return smallest;
                }
                left -= 1;
                let smaller = Plan {
                    seed: if schedule == 0 { plan.seed } else { plan.seed ^ (schedule << 56) },
                    ..smaller.clone()
                };
                if fails(&smaller) {
                    smallest = smaller;
                    continue 'again;
                }
            }
        }
        return smallest;
    }
}

/// The printed text of a failure.
pub(crate) fn tell(plan: &Plan) -> String {
    let Some(failure) = run(plan, false).failure else {
        return format!("history {} does not fail", plan.seed);
    };
    let smaller = shrink(plan, failure.check);
    let told = run(&smaller, true);
    let mut text = String::new();
    for line in &told.story {
        text.push_str(line);
        text.push('\n');
    }
    format!(
        "{text}\nthe smallest history found: {}\n{}\nnot so: {}\n    {}\nrepeat with DELTAFOLD_SEED={} cargo test --all-features --test simulation histories\n",
        smaller.describe(),
        format_args!("{} events, {} calls, {} faults", told.events, told.calls, told.faults),
        failure.check,
        told.failure.map_or(failure.detail, |failure| failure.detail),
        plan.seed
    )
}

/// Sums over histories.
#[derive(Default)]
struct Sums {
    histories: AtomicU64,
    calls: AtomicU64,
    faults: AtomicU64,
    without: AtomicU64,
    appends: AtomicU64,
    versions: AtomicU64,
    virtual_seconds: AtomicU64,
}

impl Sums {
    fn add(&self, run: &Run) {
        self.histories.fetch_add(1, Relaxed);
        self.calls.fetch_add(run.calls, Relaxed);
        self.faults.fetch_add(run.faults, Relaxed);
        self.without.fetch_add(u64::from(run.faults == 0), Relaxed);
        self.appends.fetch_add(run.appends as u64, Relaxed);
        self.versions.fetch_add(run.versions as u64, Relaxed);
        self.virtual_seconds.fetch_add(run.virtual_time.as_secs(), Relaxed);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long to go on, and how fast it went")]
fn histories() {
    if let Some(seed) = environment::<u64>("DELTAFOLD_SEED") {
        let plan = Plan::draw(seed);
        println!("history {seed}: {}", plan.describe());
        if let Some(failure) = run(&plan, false).failure {
            panic!("{}\n{}", failure.check, tell(&plan));
        }
        if std::env::var_os("DELTAFOLD_STORY").is_some() {
            println!("{}", run(&plan, true).story.join("\n"));
        }
        println!("it does not fail");
        return;
    }
    let minutes: Option<u64> = environment("DELTAFOLD_MINUTES");
    let most = environment("DELTAFOLD_HISTORIES").unwrap_or(if minutes.is_some() { u64::MAX } else { HISTORIES });
    let first = environment("DELTAFOLD_FIRST_SEED").unwrap_or_else(|| Random::anew().next() >> 16);
    println!("histories from DELTAFOLD_FIRST_SEED={first} on");
    let started = std::time::Instant::now();
    let over = || minutes.is_some_and(|minutes| started.elapsed() > Duration::from_secs(minutes * 60));
    let (next, stop, sums) = (AtomicU64::new(0), AtomicBool::new(false), Sums::default());
    let failed: Mutex<BTreeMap<u64, String>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= most || stop.load(Relaxed) || over() {
                        return;
                    }
                    let seed = first + number;
                    let run = run(&Plan::draw(seed), false);
                    sums.add(&run);
                    if let Some(failure) = run.failure {
                        let mut failed = failed.lock().unwrap();
                        failed.insert(seed, failure.check.to_owned());
                        stop.store(failed.len() >= 5, Relaxed);
                    }
                }
            });
        }
    });
    let took = started.elapsed();
    let count = |sum: &AtomicU64| sum.load(Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = count(&sums.histories) as f64 / took.as_secs_f64() * 3600.0;
    println!(
        "{} histories in {:.1} s on {threads} threads, {rate:.0} an hour: {} appends, {} versions, {} calls of the store, {} faults ({} histories without), {} h of virtual time",
        count(&sums.histories),
        took.as_secs_f64(),
        count(&sums.appends),
        count(&sums.versions),
        count(&sums.calls),
        count(&sums.faults),
        count(&sums.without),
        count(&sums.virtual_seconds) / 3600,
    );
    let failed = failed.into_inner().unwrap();
    if let Some(seed) = failed.keys().next() {
        let plan = Plan::draw(*seed);
        panic!("failed: {failed:#?}\n\n{}", tell(&plan));
    }
    assert_eq!(count(&sums.without), 0, "something goes wrong in every history");
}

/// A failing seed is useless unless it can be replayed.
#[test]
fn the_same_seed_gives_the_same_history_twice() {
    let mut random = Random::anew();
    for _ in 0..20 {
        let plan = Plan::draw(random.next() >> 16);
        let (once, twice) = (run(&plan, false), run(&plan, true));
        assert_eq!((once.hash, once.events), (twice.hash, twice.events), "history {}", plan.seed);
        assert!(once.events > 100);
    }
    let hashes: std::collections::BTreeSet<u64> = (0..20).map(|seed| run(&Plan::draw(seed), false).hash).collect();
    assert_eq!(hashes.len(), 20, "other seeds give other histories");
}
