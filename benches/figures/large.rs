//! Figures that need a process of their own: memory, cold opens.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deltafold::store::{Dir, Store};
use deltafold::{Collection, CompactorOptions, Policy, WriterOptions};

use crate::append::create;
use crate::bulk::{AT_ONCE, calls, load};
use crate::data::{Random, put};
use crate::measure::{files, memory, mib, raw_copy, runtime, timed};
use crate::{Figure, Goal, Setting};

/// Runs this program again to do `task` on the collection in `folder`. Returns the numbers that it
/// prints.
pub(crate) fn run_child(task: &str, folder: &Path, setting: &Setting) -> Vec<f64> {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(program);
    command.env("DELTAFOLD_BENCH_CHILD", task).arg(folder).arg(setting.records.to_string());
    let output = command.output().expect("the child runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

pub(crate) fn child(task: &str, arguments: &[String]) {
    let folder = Path::new(&arguments[0]);
    let records: f64 = arguments[1].parse().expect("a number");
    let store: Arc<dyn Store> = Arc::new(Dir::open(folder).expect("the folder opens"));
    let runtime = runtime();
    let name = "bench".parse().expect("a name");
    let collection = runtime.block_on(Collection::open(store, &name)).expect("the collection opens");
    match task {
        "open" => {
            let first = timed(|| {
                runtime.block_on(async {
                    let reader = collection.reader().await.expect("a reader");
                    reader.get("document-000000001").await.expect("a read").expect("a record");
                });
            });
            let before = memory("RssAnon");
            let (reader, all) = timed(|| {
                runtime.block_on(async {
                    let reader = collection.reader().await.expect("a reader");
                    reader.warm(&deltafold::Warm::default().columns()).await.expect("every column");
                    reader
                })
            });
            let private = memory("RssAnon").saturating_sub(before) as f64 / records;
            assert_eq!(runtime.block_on(reader.count()).expect("a count"), records as u64);
            println!("{:.3} {private:.1} {:.4}", all.as_secs_f64(), first.1.as_secs_f64());
        }
        "absorb" => {
            let (peak, resident, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
            let (report, time) = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        peak.fetch_max(memory("RssAnon"), Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(2));
                    }
                });
                let merged = timed(|| {
                    let mut compactor = collection.compactor(CompactorOptions::default());
                    runtime.block_on(compactor.merge_all()).expect("a merge")
                });
                done.store(true, Ordering::Relaxed);
                merged
            });
            resident.store(memory("VmHWM"), Ordering::Relaxed);
            let (peak, resident) = (peak.into_inner(), resident.into_inner());
            println!("{:.3} {} {} {}", time.as_secs_f64(), report.bytes_out(), peak, resident);
        }
        other => panic!("no task {other}"),
    }
}

/// Merges everything in the folder into the base, in its own process. Compares that with a copy of
/// the bytes written.
fn merge_all(folder: &Path, setting: &Setting, names: [&'static str; 2]) -> Vec<Figure> {
    let part = folder.join("bench/0000/part");
    let before: Vec<_> = files(&part);
    let numbers = run_child("absorb", folder, setting);
    let (time, bytes, peak, resident) = (numbers[0], numbers[1], numbers[2], numbers[3]);
    let written: Vec<_> = files(&part).into_iter().filter(|file| !before.contains(file)).collect();
    let (_, raw) = raw_copy(&written, &folder.join("raw"));
    vec![
        Figure {
            name: names[0],
            measured: format!(
                "{:.0} MiB ({:.0} MiB resident with mapped files)",
                mib(peak as u64),
                mib(resident as u64)
            ),
            against: "resident anonymous memory".to_owned(),
            value: mib(peak as u64),
            goal: Goal::AtMost(512.0),
        },
        Figure {
            name: names[1],
            measured: format!("{:.0} MiB written in {time:.1} s", mib(bytes as u64)),
            against: format!("{:.1} s copying it with fsync", raw.as_secs_f64()),
            value: raw.as_secs_f64() / time,
            goal: Goal::AtLeast(0.4),
        },
    ]
}

/// Runs that are never merged.
fn only_folds(fold_bytes: u64) -> CompactorOptions {
    CompactorOptions::default().policy(Policy::default().fold_bytes(fold_bytes).fan_in(usize::MAX).absorb_one_in(0))
}

/// Bytes of a fold of few segments. A fold takes one segment at least.
const SMALL_FOLD: u64 = 4 << 20;

/// All records are in runs of one segment, whose embedding objects are full. The base absorbs the
/// runs and writes their columns anew.
pub(crate) fn absorb(setting: &Setting) -> Vec<Figure> {
    let folder = setting.fresh();
    let collection = runtime().block_on(create(&folder, "bench"));
    runtime().block_on(async {
        let writer = collection.writer(WriterOptions::default()).expect("a writer");
        load(&writer, calls(setting.records, 5), AT_ONCE).await;
        writer.close().await.expect("a close");
        collection.compactor(only_folds(SMALL_FOLD)).run_once().await.expect("folds");
    });
    let names =
        ["base absorbs 1M records of small runs: peak private memory", "base absorbs 1M records of small runs: speed"];
    let mut figures = merge_all(&folder, setting, names);
    // An eighth of the records again, as the tiers hold them by then. The absorption writes their
    // columns, those of the base, and the embeddings of the eighth.
    runtime().block_on(async {
        let writer = collection.writer(WriterOptions::default()).expect("a writer");
        let mut random = Random(17);
        for _ in 0..setting.records / 8 / 1_000 {
            let ops = (0..1_000).map(|_| {
                let number = random.below(setting.records);
                put(number, &mut random)
            });
            writer.append(ops.collect()).await.expect("an ack");
        }
        collection.compactor(only_folds(SMALL_FOLD)).run_once().await.expect("folds");
    });
    let names = ["base of 1M absorbs an eighth: peak private memory", "base of 1M absorbs an eighth: speed"];
    figures.extend(merge_all(&folder, setting, names));
    figures
}
