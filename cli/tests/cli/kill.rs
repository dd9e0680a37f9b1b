//! SIGKILL ends the program at random moments, 200 times, while it appends and compacts. Afterwards
//! every acknowledged line is there, in order and once, and every byte verifies. Unacknowledged
//! lines may be there or not, but only as the next ones.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use deltafold::format::Value;
use deltafold::store::Dir;
use deltafold::{Collection, Depth, Entry, ScanOptions};
use deltafold_testing::random::Random;
use futures::TryStreamExt;

const ROUNDS: usize = 200;
/// The number of lines sent for every ack heard.
const LINES_AN_ACK: usize = 7;

fn program(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltafold"));
    command.arg("--store").arg(store).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Line `number` of the input: puts, upserts and deletes of a few ids, so that order matters.
fn line(number: usize) -> String {
    let id = number % 37;
    match number % 5 {
        0..3 => format!(
            r#"{{"op":"put","id":"id-{id}","embedding":[{number},1,2,3],"metadata":{{"n":{number},"a":{number}}}}}"#
        ),
        3 => format!(r#"{{"op":"upsert","id":"id-{id}","metadata":{{"n":{number}}}}}"#),
        _ => format!(r#"{{"op":"delete","id":"id-{}"}}"#, (number * 7) % 37),
    }
}

/// The values of the keys `n` and `a`, by id.
type State = BTreeMap<String, (Option<i64>, Option<i64>)>;

/// The effect of line `number`, computed without Deltafold.
fn apply(state: &mut State, number: usize) {
    let id = format!("id-{}", number % 37);
    let n = Some(number as i64);
    match number % 5 {
        0..3 => drop(state.insert(id, (n, n))),
        3 => state.entry(id).or_insert((None, None)).0 = n,
        _ => drop(state.remove(&format!("id-{}", (number * 7) % 37))),
    }
}

/// A process that is killed at the latest when its test ends.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Writes the known lines, and then some for each word from `go_on`, until the reader or the sender
/// is gone.
fn feed(mut input: impl Write, known: usize, go_on: &Receiver<()>) {
    let mut lines = 1..;
    let mut write =
        |count: usize| lines.by_ref().take(count).try_for_each(|number| writeln!(input, "{}", line(number)));
    if write(known).is_ok() {
        while go_on.recv().is_ok() && write(LINES_AN_ACK).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_two_hundred_times_nothing_acknowledged_is_lost() {
    let mut random = Random::from_environment();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    assert!(program(&store).args(["create", "c", "--dimension", "4"]).status().unwrap().success());
    // Lines 1..=acked were acknowledged by some run of the program.
    let mut acked = 0_usize;
    let mut state = (0, State::new());
    for round in 0..ROUNDS {
        let compact = ["compact", "c", "--watch", "--interval", "1ms", "--fold-segments", "4"];
        let mut compactor = Process(program(&store).args(compact).spawn().unwrap());
        // Some lines come again every time. None may take effect twice.
        let from = acked.saturating_sub(random.below(30) as usize) + 1;
        let mut appender = program(&store);
        appender.args(["append", "c", "-", "--source", "lines", "--acks", "--json", "--from-line", &from.to_string()]);
        let mut appender = appender.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (appender.stdin.take().unwrap(), appender.stdout.take().unwrap());
        let mut appender = Process(appender);
        let (go, go_on) = channel();
        (0..3).for_each(|_| go.send(()).unwrap());
        let feeder = std::thread::spawn(move || feed(input, acked, &go_on));
        let mut acks = BufReader::new(output).lines().map_while(Result::ok).filter_map(|text| {
            let ack: serde_json::Value = serde_json::from_str(&text).ok()?;
            ack["acknowledged_line"].as_u64().map(|line| line as usize)
        });
        // Killed after a random number of new acknowledgements, a random moment after the last of
        // them.
        let wanted = acked + 1 + random.below(60) as usize;
        while acked < wanted {
            acked = acked.max(acks.next().expect("the program goes on until it is killed"));
            go.send(()).unwrap();
        }
        for _ in 0..random.below(1_000_000) {
            std::hint::spin_loop();
        }
        if random.below(2) == 0 {
            compactor.kill();
            appender.kill();
        } else {
            appender.kill();
            compactor.kill();
        }
        // Acks in flight at its death count as well.
        acked = acks.fold(acked, usize::max);
        drop(go);
        feeder.join().unwrap();
        if round % 25 == 0 {
            let sweep = ["sweep", "c", "--keep-versions", "0", "--min-age", "0s"];
            assert!(program(&store).args(sweep).status().unwrap().success());
        }
        check(&store, acked, &mut state, round).await;
    }
    assert!(acked >= ROUNDS);
}

/// The state must be the one after some number of lines, at least the acknowledged ones.
async fn check(store: &Path, acked: usize, known: &mut (usize, State), round: usize) {
    let collection = Collection::open(Arc::new(Dir::open(store).unwrap()), &"c".parse().unwrap()).await.unwrap();
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "round {round}: {:?}", report.findings);
    let reader = collection.reader().await.unwrap();
    let entries: Vec<Entry> = reader.scan(ScanOptions::default()).try_collect().await.unwrap();
    let number = |entry: &Entry, key: &str| match entry.record.metadata.get(key) {
        Some(Value::I64(number)) => Some(*number),
        _ => None,
    };
    let found: State =
        entries.iter().map(|entry| (entry.id.clone(), (number(entry, "n"), number(entry, "a")))).collect();
    while known.0 < acked {
        known.0 += 1;
        apply(&mut known.1, known.0);
    }
    let mut later = known.clone();
    // Lines of an interrupted run can be durable and not yet acknowledged.
    while later.1 != found {
        assert!(later.0 < acked + 10_000, "round {round}: {acked} lines were acknowledged, and the state is {found:?}");
        later.0 += 1;
        apply(&mut later.1, later.0);
    }
}
