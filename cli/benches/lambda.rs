//! Figures of the functions for AWS Lambda: cold start, memory, messages a minute, and the time
//! until a message can be read. They run the real program behind the runtime API, over a store in
//! S3 where every request takes 25 ms. The queue is in this process, so the figures cover our side
//! of the work alone.
//!
//! `DELTAFOLD_BOOTSTRAP` names a program to measure instead of the one just built.
#![expect(clippy::unwrap_used, reason = "a figure that cannot be measured is none")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use deltafold::ingest::{BodyReader, Delivery, append_delivery};
use deltafold::{Collection, CreateOptions, WriterOptions};
use deltafold_testing::lambda::{self, Function, messages};
use deltafold_testing::s3::{self, ACCESS_KEY, SECRET_KEY, Server};
use serde_json::{Value, json};

const LATENCY: Duration = Duration::from_millis(25);
const LONG: Duration = Duration::from_secs(60);
/// The duration of each load.
const SPAN: Duration = Duration::from_secs(10);

struct Cloud {
    server: Server,
    program: String,
}

impl Cloud {
    async fn start() -> Self {
        let server = Server::start();
        let store = Arc::new(server.store_under("data").await);
        Collection::create(store, &"c".parse().unwrap(), &CreateOptions::new(384)).await.unwrap();
        let program = std::env::var("DELTAFOLD_BOOTSTRAP");
        Self { server, program: program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_bootstrap").to_owned()) }
    }

    async fn function(&self) -> Function {
        let store = format!("s3://{}/data?endpoint={}", s3::BUCKET, self.server.endpoint());
        let variables = [
            ("DELTAFOLD_FUNCTION", "ingest"),
            ("DELTAFOLD_STORE", &*store),
            ("DELTAFOLD_COLLECTION", "c"),
            ("DELTAFOLD_FOLD_SEGMENTS", "1000000"),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ];
        Function::start(&self.program, &variables).await
    }
}

fn body(number: usize) -> String {
    json!({ "op": "upsert", "id": format!("id-{number}"), "metadata": { "section": "admin", "version": number } })
        .to_string()
}

/// An event of this many messages of a group, from this place on. Without a group it is of a
/// standard queue.
fn event(group: Option<&str>, first: usize, count: usize) -> Value {
    let bodies: Vec<(String, String)> = (first..first + count).map(|n| (format!("m{n}"), body(n))).collect();
    let sent: Vec<lambda::Sent<'_>> = (first..)
        .zip(&bodies)
        .map(|(n, (id, body))| (id.as_str(), body.as_str(), group.map(|group| (group, n as u64 + 1))))
        .collect();
    messages("q.fifo", &sent)
}

async fn done(function: &Function, event: &Value) {
    let (answer, _) = function.invoke(event, LONG).await;
    assert_eq!(answer.failures(), [] as [&str; 0]);
}

fn quantile(samples: &mut [Duration], of: f64) -> f64 {
    samples.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((samples.len() - 1) as f64 * of) as usize;
    samples[index].as_secs_f64() * 1e3
}

/// A line of /proc/PID/status, in MiB.
fn memory(function: &Function, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", function.process_id())).unwrap();
    let value =
        status.lines().find_map(|text| text.strip_prefix(line)?.trim_start_matches(':').trim().strip_suffix(" kB"));
    value.unwrap().trim().parse::<u64>().unwrap() >> 10
}

async fn cold_start() {
    let cloud = Cloud::start().await;
    let (mut ready, mut first) = (Vec::new(), Vec::new());
    for number in 0..40 {
        let begun = Instant::now();
        let function = cloud.function().await;
        ready.push(function.ready().await);
        done(&function, &event(Some(&format!("g{number}")), number, 1)).await;
        first.push(begun.elapsed());
    }
    println!(
        "cold start: first request after {:.1} ms (p50), {:.1} (p99); first message durable after {:.1}, {:.1} ms, at a store without latency",
        quantile(&mut ready, 0.5),
        quantile(&mut ready, 0.99),
        quantile(&mut first, 0.5),
        quantile(&mut first, 0.99)
    );
}

/// The largest event of one invocation: 6 MB, as 10,000 small messages, and as ten of 590 kB.
async fn peak_memory() {
    let cloud = Cloud::start().await;
    let function = cloud.function().await;
    done(&function, &event(None, 0, 1)).await;
    let idle = memory(&function, "VmRSS");
    let small = event(None, 0, 10_000);
    for _ in 0..5 {
        done(&function, &small).await;
    }
    let with_small = memory(&function, "VmHWM");
    let function = cloud.function().await;
    let embedding: Vec<f64> = (0..384).map(|n| f64::from(n) / 1e3 + 0.000_1).collect();
    let ops = |message: usize| -> String {
        (0..220)
            .map(|n| format!("{}\n", json!({ "op": "put", "id": format!("{message}-{n}"), "embedding": embedding })))
            .collect()
    };
    let bodies: Vec<String> = (0..10).map(ops).collect();
    let ids: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let sent: Vec<lambda::Sent<'_>> =
        ids.iter().zip(&bodies).map(|(id, body)| (id.as_str(), body.as_str(), None)).collect();
    let large = messages("q", &sent);
    for _ in 0..5 {
        done(&function, &large).await;
    }
    println!(
        "memory of ingest: {idle} MiB after one message; peak {with_small} MiB with 10,000 messages ({} kB of event), {} MiB with ten messages of 220 records with embeddings ({} kB)",
        small.to_string().len() / 1_000,
        memory(&function, "VmHWM"),
        large.to_string().len() / 1_000
    );
}

/// This many workers, each a group of a FIFO queue or a poller of a standard one, with batches of
/// at most `batch`. `rate` is the messages a minute to all workers together. Without it the workers
/// take as many as they can.
async fn load(what: &str, workers: usize, fifo: bool, batch: usize, rate: Option<u32>) -> (f64, Vec<Duration>) {
    let cloud = Cloud::start().await;
    let functions = futures::future::join_all((0..workers).map(|_| cloud.function())).await;
    let warm = functions.iter().enumerate().map(async |(worker, function)| {
        done(function, &event(fifo.then_some(&*format!("g{worker}")), worker * 10_000_000, 1)).await;
    });
    futures::future::join_all(warm).await;
    cloud.server.calls();
    cloud.server.latency(LATENCY);
    let begun = Instant::now();
    let work = functions.iter().enumerate().map(async |(worker, function)| {
        let group = fifo.then(|| format!("g{worker}"));
        let (mut sent, mut waited) = (0usize, Vec::new());
        let every = rate.map(|rate| Duration::from_secs(60) * u32::try_from(workers).unwrap() / rate);
        while begun.elapsed() < SPAN {
            let arrived = match every {
                None => sent + batch,
                Some(every) => (begun.elapsed().as_nanos() / every.as_nanos()) as usize,
            };
            let count = (arrived - sent).min(batch);
            if count == 0 {
                tokio::time::sleep(every.unwrap_or_default() / 4).await;
                continue;
            }
            done(function, &event(group.as_deref(), worker * 10_000_000 + 1 + sent, count)).await;
            let now = begun.elapsed();
            if let Some(every) = every {
                waited
                    .extend((sent..sent + count).map(|n| now.saturating_sub(every * (u32::try_from(n).unwrap() + 1))));
            }
            sent += count;
        }
        (sent, waited)
    });
    let results = futures::future::join_all(work).await;
    let took = begun.elapsed().as_secs_f64();
    let messages: usize = results.iter().map(|(sent, _)| sent).sum();
    let calls = cloud.server.calls();
    let of = |verb: &str| calls.iter().filter(|call| call.starts_with(verb)).count();
    let bytes: f64 = functions
        .iter()
        .flat_map(Function::lines)
        .filter_map(|line| Some(line["BytesOut"].as_f64()? + line["BytesIn"].as_f64()?))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "figures")]
    let (a_minute, n) = (messages as f64 * 60.0 / took, messages as f64);
    #[expect(clippy::cast_precision_loss, reason = "figures")]
    let requests = calls.len() as f64 / n;
    println!(
        "{what}: {a_minute:.0} messages a minute; {requests:.3} requests and {:.0} bytes a message ({} PUT, {} GET, {} LIST)",
        bytes / n,
        of("create"),
        of("get"),
        of("list")
    );
    (a_minute, results.into_iter().flat_map(|(_, waited)| waited).collect())
}

/// One consumer that is not a function, as `deltafold ingest` is. It appends the messages of
/// all groups together. The queue gives ten messages of each group at a time.
async fn daemon(groups: usize) -> f64 {
    let cloud = Cloud::start().await;
    let store = Arc::new(cloud.server.store_under("data").await);
    let collection = Collection::open(store, &"c".parse().unwrap()).await.unwrap();
    let (bodies, writer) = (BodyReader::new(&collection), collection.writer(WriterOptions::default()).unwrap());
    let names: Vec<String> = (0..groups).map(|group| format!("g{group}")).collect();
    cloud.server.latency(LATENCY);
    let (begun, mut messages) = (Instant::now(), 0);
    while begun.elapsed() < SPAN {
        let all: Vec<String> = (0..groups * 10).map(|n| body(messages + n)).collect();
        let places = (0..groups * 10).map(|n| (names[n / 10].as_str(), (messages + n) as u128 + 1));
        let deliveries: Vec<Delivery<'_>> =
            all.iter().zip(places).map(|(body, place)| Delivery { body, place: Some(place), leaving: false }).collect();
        let outcome = append_delivery(&writer, &bodies, "q.fifo", &deliveries).await;
        assert_eq!(outcome.done.len(), deliveries.len());
        messages += deliveries.len();
    }
    #[expect(clippy::cast_precision_loss, reason = "figures")]
    let a_minute = messages as f64 * 60.0 / begun.elapsed().as_secs_f64();
    println!("FIFO, {groups} groups, one daemon: {a_minute:.0} messages a minute");
    a_minute
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        cold_start().await;
        peak_memory().await;
        for (what, workers, fifo, batch, goal) in [
            ("FIFO, one group", 1, true, 10, 3_000),
            ("FIFO, 16 groups", 16, true, 10, 20_000),
            ("standard, 2 pollers", 2, false, 10_000, 60_000),
        ] {
            let (most, _) = load(&format!("{what}, as many as it takes"), workers, fifo, batch, None).await;
            let met = if most >= f64::from(goal) { "yes" } else { "NO" };
            let (_, mut waited) =
                load(&format!("{what}, {goal} a minute sent"), workers, fifo, batch, Some(goal)).await;
            println!(
                "{what}: goal {goal} a minute: {met}; at that rate sent to readable {:.0} ms (p50), {:.0} ms (p99)",
                quantile(&mut waited, 0.5),
                quantile(&mut waited, 0.99)
            );
        }
        let met = if daemon(16).await >= 20_000.0 { "yes" } else { "NO" };
        println!("FIFO, 16 groups, one daemon: goal 20000 a minute: {met}");
    });
}
