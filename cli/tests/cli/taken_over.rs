//! A table that changes all the while is taken over: export, backfill, stream, compaction. SIGKILL
//! ends each of the programs while it works. In the end the collection equals the table. In log
//! order each item and each change is in its log once.
//!
//! Table, stream, queue and both buckets are those of an emulator. A server in front of it says at
//! which request a program is killed.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use deltafold::aws::{Outgoing, Queue};
use deltafold_testing::aws_sdk_sqs::types::QueueAttributeName;
use deltafold_testing::changing::{Changing, KEY, Stream};
use deltafold_testing::export::{self, ID};
use deltafold_testing::random::Random;
use deltafold_testing::s3::{self, Server};
use deltafold_testing::{ministack, queues};
use serde_json::{Value, json};

use crate::home::{Home, Ran};

/// The number of items at the time of the export; `DELTAFOLD_BACKFILL_ITEMS` sets another.
const ITEMS: usize = 1_000;
/// The message groups of the queue.
const GROUPS: u64 = 8;
/// The limit of every wait, and of every run of the program.
const PATIENCE: Duration = Duration::from_secs(300);

const MAPPING: &str =
    "[[rule]]\ncollection = \"c\"\nid = \"{pk}\"\ndocument = \"text\"\nembedding = \"v\"\nmetadata = { n = \"i64\" }\n";

fn key(number: usize) -> String {
    format!("item-{number:06}")
}

/// An item as its change number `n` leaves it.
fn item(number: usize, n: usize) -> Value {
    let v: Vec<Value> = [number, n, 1, 2].iter().map(|value| json!({ "N": value.to_string() })).collect();
    json!({ KEY: { "S": key(number) }, "n": { "N": n.to_string() }, "text": { "S": format!("text {n}") }, "v": { "L": v } })
}

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Changes the table until it is told to stop, one change at a time.
struct Writer {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicUsize>,
    /// Held during each change. Its holder sees the table as of one moment.
    still: Arc<Mutex<()>>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(table: Changing, items: usize, mut random: Random) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (changes, still) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(())));
        let (stopped, count, held) = (stop.clone(), changes.clone(), still.clone());
        let thread = std::thread::spawn(move || {
            let mut there = vec![true; items];
            there.resize(items + items / 4, false);
            let mut n = 0;
            while !stopped.load(Ordering::SeqCst) {
                n += 1;
                let number = random.index(there.len());
                let guard = held.lock().unwrap();
                match random.below(10) {
                    _ if !there[number] => {
                        table.put(&item(number, n));
                        there[number] = true;
                    }
                    0..4 => table.set(&key(number), "n", &json!({ "N": n.to_string() })),
                    4..6 => table.set(&key(number), "text", &json!({ "S": format!("changed {n}") })),
                    6..8 => table.put(&item(number, n)),
                    _ => {
                        table.delete(&key(number));
                        there[number] = false;
                    }
                }
                count.store(n, Ordering::SeqCst);
                drop(guard);
                // The emulator and the programs need the machine, too.
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, changes, still, thread }
    }

    fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }

    /// Waits until this many more changes were made.
    fn goes_on(&self, changes: usize) {
        let wanted = self.changes() + changes;
        wait("changes of the table", || self.changes() >= wanted);
    }

    /// The number of changes that were made.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.changes.load(Ordering::SeqCst)
    }
}

/// Carries the records of the stream to the queue, each in the group of its item. Returns how many
/// there were.
fn relay(mut stream: Stream, queue: Queue, stop: Arc<AtomicBool>) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut carried = 0;
        loop {
            // Read before the stream: nothing comes behind the end then.
            let last = stop.load(Ordering::SeqCst);
            let records = stream.read_next();
            if records.is_empty() {
                if last {
                    return carried;
                }
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            carried += records.len();
            for some in records.chunks(100) {
                let mut groups: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
                for record in some {
                    let key = record["dynamodb"]["Keys"][KEY]["S"].as_str().unwrap();
                    let group = key.bytes().fold(0, |sum, byte| sum * 31 + u64::from(byte)) % GROUPS;
                    groups.entry(group).or_default().push(record);
                }
                let messages: Vec<Outgoing> = groups
                    .into_iter()
                    .map(|(group, records)| Outgoing {
                        body: serde_json::to_string(&records).unwrap(),
                        group: Some(format!("g{group}")),
                        deduplication: records[0]["dynamodb"]["SequenceNumber"].as_str().map(str::to_owned),
                        ..Outgoing::default()
                    })
                    .collect();
                assert_eq!(block(queue.send(&messages)).unwrap(), []);
            }
        }
    })
}

#[track_caller]
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The programs, and the server through which they reach the emulator.
struct Programs {
    home: Home,
    front: Server,
    bucket: String,
}

impl Programs {
    fn new(bucket: &str) -> Self {
        let home = Home::new();
        home.write("m.toml", MAPPING);
        Self { home, front: Server::in_front_of(ministack::endpoint()), bucket: bucket.to_owned() }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = self.home.command(arguments);
        let endpoint = self.front.endpoint();
        command.env("DELTAFOLD_STORE", format!("s3://{}/data?endpoint={endpoint}", self.bucket));
        command.env("AWS_REGION", "us-east-1").env("AWS_ENDPOINT_URL_SQS", &endpoint);
        command.env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY);
        command
    }

    fn run(&self, arguments: &str) -> Ran {
        Ran::within(self.command(arguments), PATIENCE, "").ok()
    }

    /// A program that goes on until it is killed.
    fn start(&self, arguments: &str) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs a program that SIGKILL ends just before a request `verb` on a path with `path`, behind
    /// this many others.
    fn killed(&self, arguments: &str, verb: &'static str, path: &str, after: usize) {
        let id = Arc::new(AtomicU32::new(0));
        let victim = id.clone();
        self.front.before(verb, path, after, move |_| {
            while victim.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            Command::new("kill").args(["-9", &victim.load(Ordering::SeqCst).to_string()]).status().unwrap();
        });
        let child = self.command(arguments).spawn().unwrap();
        id.store(child.id(), Ordering::SeqCst);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "`{arguments}` was to be killed before {verb} {path}: {output:?}");
        println!("killed `{arguments}` before {verb} {path}, after {after}");
    }
}

/// Kills a program that runs.
fn kill(mut child: Child) {
    assert!(child.try_wait().unwrap().is_none(), "it ran until now");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The content of a record, by its id: `n`, the document and the embedding.
type State = BTreeMap<String, (i64, String, Vec<f64>)>;

fn of_table(items: &BTreeMap<String, Value>) -> State {
    let number = |value: &Value| value["N"].as_str().unwrap().parse::<f64>().unwrap();
    let content = |item: &Value| {
        let embedding = item["v"]["L"].as_array().unwrap().iter().map(number).collect();
        (number(&item["n"]) as i64, item["text"]["S"].as_str().unwrap().to_owned(), embedding)
    };
    items.iter().map(|(key, item)| (key.clone(), content(item))).collect()
}

fn of_collection(programs: &Programs) -> State {
    let content = |record: &Value| {
        let embedding = record["embedding"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        let n = record["metadata"]["n"].as_i64().unwrap();
        (record["id"].as_str().unwrap().to_owned(), (n, record["document"].as_str().unwrap().to_owned(), embedding))
    };
    let records = programs.run("scan c").json_lines();
    let state: State = records.iter().map(content).collect();
    assert_eq!(state.len(), records.len(), "no record comes twice");
    state
}

/// By revision the consumer of the stream runs while the items are taken over.
#[test]
fn a_changing_table_by_revision() {
    taken_over("revision");
}

/// In log order the consumer starts when the items are there. The queue keeps the records until
/// then.
#[test]
fn a_changing_table_in_log_order() {
    taken_over("log");
}

fn taken_over(ordering: &str) {
    let random = Random::from_environment();
    let items = std::env::var("DELTAFOLD_BACKFILL_ITEMS").map_or(ITEMS, |items| items.parse().unwrap());
    let endpoint = ministack::endpoint();
    let name = format!("taken-over-{ordering}");
    let table = Changing::create(endpoint, &name);
    table.fill(&(0..items).map(|number| item(number, 0)).collect::<Vec<_>>());
    let stream = table.stream();
    let ends = [(QueueAttributeName::VisibilityTimeout, "1")];
    let queue = block(queues::create(endpoint, &format!("{name}.fifo"), &ends));
    let writer = Writer::start(table.clone(), items, random);
    let last = Arc::new(AtomicBool::new(false));
    let relay = relay(stream, queue.clone(), last.clone());
    // The stream shows some changes that the export holds, too.
    writer.goes_on(items / 40);

    let (exported, time) = {
        let _still = writer.still.lock().unwrap();
        (table.scan(), jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
    };
    let lines: Vec<Value> = exported.values().cloned().collect();
    block(async {
        let client = s3::client(endpoint);
        for bucket in [name.clone(), format!("{name}-exports")] {
            client.create_bucket().bucket(bucket).send().await.unwrap();
        }
        for (key, bytes) in export::full(&name, &time, &lines, 9) {
            let put = client.put_object().bucket(format!("{name}-exports")).key(format!("of/table/{key}"));
            put.body(bytes.into()).send().await.unwrap();
        }
    });

    let programs = Programs::new(&name);
    programs.run(&format!("create c --dimension 4 --shards 2 --ordering {ordering}"));
    let address = format!("s3://{name}-exports/of/table/AWSDynamoDB/{ID}?endpoint={}", programs.front.endpoint());
    let backfill = format!("backfill c --mapping m.toml --export {address}");
    let ingest = format!("ingest c --queue {} --mapping m.toml", queue.name());
    let early = (ordering == "revision").then(|| programs.start(&ingest));
    programs.killed(&backfill, "get", "/data/", 3);
    for after in [0, 1] {
        programs.killed(&backfill, "create", "/log/", after);
    }
    early.into_iter().for_each(kill);
    let begun = Instant::now();
    let late = (ordering == "revision").then(|| programs.start(&ingest));
    let done = programs.run(&format!("{backfill} --json")).json();
    println!("{} of {} items in {:?}", done["items"], exported.len(), begun.elapsed());
    assert_eq!(done["items"].as_u64().unwrap() + done["resumed"].as_u64().unwrap(), exported.len() as u64);
    late.into_iter().for_each(kill);

    // The messages in work come again a second after each kill.
    for (verb, path, after) in [("create", "/log/", 1), ("DeleteMessageBatch", "", 0), ("create", "/log/", 0)] {
        programs.killed(&ingest, verb, path, after);
    }
    let consumer = programs.start(&ingest);
    programs.killed("compact c", "create", "/manifest/", 0);
    programs.killed("compact c", "replace", "/head", 0);
    programs.run("compact c");
    writer.goes_on(items / 40);
    kill(consumer);

    let changes = writer.stop();
    last.store(true, Ordering::SeqCst);
    let records = relay.join().unwrap();
    println!("{changes} changes, {records} records of the stream");
    assert_eq!(records, changes, "the stream shows each change");
    let begun = Instant::now();
    wait("an empty queue", || {
        programs.run(&format!("{ingest} --until-empty"));
        block(queue.depth()).unwrap().total() == 0
    });
    println!("the rest of the stream in {:?}", begun.elapsed());
    programs.run("compact c");
    assert_eq!(of_collection(&programs), of_table(&table.scan()));
    let status = programs.run("status c --json").json();
    let ops: u64 = status["shards"].as_array().unwrap().iter().map(|shard| shard["ops"].as_u64().unwrap()).sum();
    let once = (exported.len() + changes) as u64;
    if ordering == "revision" {
        // A message that came again is appended again, and its revision makes it without effect.
        assert!(ops >= once, "{ops} ops of {once}: {status}");
    } else {
        assert_eq!(ops, once, "each item and each change is in the log once: {status}");
    }
    programs.run("verify c --deep").says("sound");
}
