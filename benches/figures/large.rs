//! What is measured in a process of its own: memory, cold opens.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deltafold::store::{Dir, Store};
use deltafold::{Collection, CompactorOptions, Policy, WriterOptions};

use crate::append::create;
use crate::bulk::load;
use crate::measure::{files, memory, mib, raw_copy, runtime, timed};
use crate::{Figure, Goal, Setting};

/// Runs this program again to do `task` on the collection in `folder`; returns the numbers that it prints.
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
                    reader.warm().await.expect("every column");
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

/// All records lie in small runs, their embeddings in small objects: the base absorbs them all and writes every byte anew.
pub(crate) fn absorb(setting: &Setting) -> Vec<Figure> {
    let folder = setting.fresh();
    let collection = runtime().block_on(create(&folder, "bench"));
    runtime().block_on(async {
        let writer = collection.writer(WriterOptions::default()).expect("a writer");
        load(&writer, setting.records, 5).await;
        writer.close().await.expect("a close");
        // Runs of about one in fifty of all records, never merged.
        let policy = Policy { fold_bytes: 30 << 20, fan_in: usize::MAX, absorb_one_in: 0, ..Policy::default() };
        let mut compactor = collection.compactor(CompactorOptions { policy });
        compactor.run_once().await.expect("folds");
    });
    let part = folder.join("bench/0000/part");
    let before: Vec<_> = files(&part);
    let numbers = run_child("absorb", &folder, setting);
    let (time, bytes, peak, resident) = (numbers[0], numbers[1], numbers[2], numbers[3]);
    let written: Vec<_> = files(&part).into_iter().filter(|file| !before.contains(file)).collect();
    let (copied, raw) = raw_copy(&written, &folder.join("raw"));
    vec![
        Figure {
            name: "base absorbs all records: peak private memory",
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
            name: "base absorbs all records: speed",
            measured: format!("{:.0} MiB/s, {:.1} s for {} runs", mib(bytes as u64) / time, time, before.len() / 2),
            against: format!("{:.0} MiB/s copying what it wrote with fsync", mib(copied) / raw.as_secs_f64()),
            value: raw.as_secs_f64() / time,
            goal: Goal::AtLeast(0.4),
        },
    ]
}
