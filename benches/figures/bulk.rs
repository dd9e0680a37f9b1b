//! Bulk append, the fold of a small delta, and the cold open of the result.

use deltafold::format::{EditKind, Op};
use deltafold::{CompactorOptions, SweepOptions, WriterOptions};
use futures::StreamExt;

use crate::append::create;
use crate::data::{Random, put};
use crate::large::run_child;
use crate::measure::{cpu_time, files, mib, millis, raw_copy, runtime, timed};
use crate::{Figure, Goal, Setting};

/// The number of appends of 2,000 records in flight.
pub(crate) const AT_ONCE: usize = 8;

/// Calls of 2,000 puts each.
pub(crate) fn calls(records: usize, seed: u64) -> impl Iterator<Item = Vec<Op>> {
    let mut random = Random(seed);
    // A prime stride, so that ids do not arrive in order.
    let numbers = (0..records).step_by(2_000).map(move |first| first..(first + 2_000).min(records));
    numbers.map(move |numbers| numbers.map(|n| put((n * 7_919) % records, &mut random)).collect())
}

/// Appends, with this many calls in flight.
pub(crate) async fn load(writer: &deltafold::Writer, calls: impl Iterator<Item = Vec<Op>>, at_once: usize) {
    let appends = futures::stream::iter(calls.map(|ops| writer.append(ops)));
    appends.buffered(at_once).for_each(|ack| async { drop(ack.expect("an ack")) }).await;
}

pub(crate) fn bulk_fold_open(setting: &Setting) -> Vec<Figure> {
    let folder = setting.fresh();
    let mut figures = Vec::new();
    let collection = runtime().block_on(create(&folder, "bench"));
    let log = folder.join("bench/0000/log");

    // The caller makes the records. Its cost is measured alone and subtracted.
    let (_, making) = timed(|| {
        let mut random = Random(3);
        (0..setting.records).for_each(|n| drop(std::hint::black_box(put(n, &mut random))));
    });
    let (_, time) = timed(|| {
        runtime().block_on(async {
            let writer = collection.writer(WriterOptions::default()).expect("a writer");
            load(&writer, calls(setting.records, 3), AT_ONCE).await;
            writer.close().await.expect("a close");
        });
    });
    let (bytes, raw) = raw_copy(&files(&log), &folder.join("raw"));
    figures.push(Figure {
        name: "bulk append",
        measured: format!(
            "{:.0} MiB/s ({:.1} s, of which {:.1} s making records)",
            mib(bytes) / time.as_secs_f64(),
            time.as_secs_f64(),
            making.as_secs_f64()
        ),
        against: format!("{:.0} MiB/s copying the segments with fsync", mib(bytes) / raw.as_secs_f64()),
        value: raw.as_secs_f64() / time.as_secs_f64(),
        goal: Goal::AtLeast(0.6),
    });

    runtime().block_on(async {
        collection.compactor(CompactorOptions::default()).merge_all().await.expect("a merge");
        let all = SweepOptions::KEEP_NOTHING;
        collection.sweep(&all).await.expect("a sweep");
    });

    let open = run_child("open", &folder, setting);
    figures.push(Figure {
        name: "cold open, page cache warm",
        measured: format!("{} s with every column loaded ({} s to the first answer)", open[0], open[2]),
        against: "the clock".to_owned(),
        value: open[0],
        goal: Goal::AtMost(0.6),
    });
    figures.push(Figure {
        name: "private memory a record, every column loaded",
        measured: format!("{:.0} bytes", open[1]),
        against: "resident anonymous memory".to_owned(),
        value: open[1],
        goal: Goal::AtMost(300.0),
    });

    let (delta, event, cpu, wall) = runtime().block_on(async {
        let writer = collection.writer(WriterOptions::default()).expect("a writer");
        let before: u64 = files(&log).iter().map(|(_, bytes)| bytes).sum();
        let mut random = Random(11);
        for _ in 0..10 {
            let ops = (0..1_000)
                .map(|_| {
                    let n = random.below(setting.records);
                    put(n, &mut random)
                })
                .collect();
            writer.append(ops).await.expect("an ack");
        }
        let delta = files(&log).iter().map(|(_, bytes)| bytes).sum::<u64>() - before;
        let mut compactor = collection.compactor(CompactorOptions::default());
        let cpu = cpu_time();
        let start = std::time::Instant::now();
        let report = compactor.run_once().await.expect("a fold");
        let (cpu, wall) = (cpu_time() - cpu, start.elapsed());
        (delta, report.events.into_iter().find(|event| event.kind == EditKind::Fold).expect("a fold"), cpu, wall)
    });
    let moved = event.bytes_in + event.bytes_out;
    figures.push(Figure {
        name: "fold of 10,000 puts: bytes read and written",
        measured: format!("{:.1} MiB", mib(moved)),
        against: format!("{:.1} MiB of delta", mib(delta)),
        value: moved as f64 / delta as f64,
        goal: Goal::AtMost(3.0),
    });
    figures.push(Figure {
        name: "fold of 10,000 puts: CPU",
        measured: format!("{:.0} ms CPU, {:.0} ms in all", millis(cpu), millis(wall)),
        against: "the CPU clock, user and system, by 10 ms".to_owned(),
        value: millis(cpu),
        goal: Goal::AtMost(80.0),
    });
    drop(collection);
    figures
}
