//! The processor time of a fold, on S3 and in a local folder.

use std::time::Duration;

use deltafold::{Collection, CompactorOptions, WriterOptions};

use super::Far;
use crate::append::create;
use crate::data::{Random, put};
use crate::measure::{cpu_time, millis, runtime};
use crate::{Figure, Goal, Setting};

/// Folds of 10,000 puts each; the clock of the processor goes by 10 ms.
const FOLDS: u64 = 8;

pub(crate) fn fold(setting: &Setting) -> Vec<Figure> {
    let folder = setting.fresh();
    let runtime = runtime();
    let dir = runtime.block_on(async { folds(&create(&folder, "bench").await).await });
    let far = Far::start(Duration::ZERO);
    let s3 = runtime.block_on(async { folds(&far.create().await).await });
    vec![Figure {
        name: "S3: CPU of a fold of 10,000 puts",
        measured: format!("{:.0} ms", millis(s3) / FOLDS as f64),
        against: format!("{:.0} ms in a local folder", millis(dir) / FOLDS as f64),
        value: s3.as_secs_f64() / dir.as_secs_f64(),
        goal: Goal::AtMost(1.0),
    }]
}

async fn folds(collection: &Collection) -> Duration {
    let mut spent = Duration::ZERO;
    let mut random = Random(11);
    let writer = collection.writer(WriterOptions::default()).expect("a writer");
    // Levels are left alone, so that only folds are measured: fewer runs than a merge needs.
    for round in 0..FOLDS {
        for batch in 0..10 {
            let first = (round * 10 + batch) as usize * 1_000;
            writer.append((first..first + 1_000).map(|n| put(n, &mut random)).collect()).await.expect("an ack");
        }
        let mut compactor = collection.compactor(CompactorOptions::default());
        let before = cpu_time();
        compactor.run_once().await.expect("a fold");
        spent += cpu_time() - before;
    }
    spent
}
