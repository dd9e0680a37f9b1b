//! The processor time of a fold, on S3 and in a local folder.

use std::time::Duration;

use deltafold::{Collection, CompactorOptions, WriterOptions};

use super::{Far, raw_get, raw_put};
use crate::append::create;
use crate::data::{Random, put};
use crate::measure::{cpu_time, millis, runtime};
use crate::{Figure, Goal, Setting};

/// Folds of 10,000 puts each. CPU time has a resolution of 10 ms.
const FOLDS: u64 = 8;

pub(crate) fn fold(setting: &Setting) -> Vec<Figure> {
    let folder = setting.fresh();
    let runtime = runtime();
    let dir = runtime.block_on(async { folds(&create(&folder, "bench").await).await });
    let far = Far::start(Duration::ZERO);
    let (s3, raw) = runtime.block_on(async {
        let collection = far.create().await;
        (folds(&collection).await, moved(&far, &collection).await)
    });
    let each = |time: Duration| millis(time) / FOLDS as f64;
    vec![Figure {
        name: "S3: CPU of a fold of 10,000 puts",
        measured: format!("{:.0} ms; the SDK takes {:.0} ms to move the same bytes", each(s3), each(raw)),
        against: format!("{:.0} ms in a local folder", each(dir)),
        value: s3.as_secs_f64() / dir.as_secs_f64(),
        goal: Goal::AtMost(1.0),
    }]
}

async fn folds(collection: &Collection) -> Duration {
    let mut spent = Duration::ZERO;
    let mut random = Random(11);
    let writer = collection.writer(WriterOptions::default()).expect("a writer");
    // Fewer runs than a merge needs, so that only folds are measured.
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

/// The CPU time of the SDK alone to get the segments and put the parts.
async fn moved(far: &Far, collection: &Collection) -> Duration {
    let (client, store) = (far.client(), collection.store());
    let list = async |prefix: &str| store.list_after(prefix, None, 100_000).await.expect("a list");
    let mut parts = Vec::new();
    for part in list("bench/0000/part/").await {
        parts.push((format!("raw/{}", part.key), raw_get(&client, part.key.as_str()).await));
    }
    let segments = list("bench/0000/log/").await;
    let before = cpu_time();
    for segment in segments {
        drop(raw_get(&client, segment.key.as_str()).await);
    }
    for (key, bytes) in parts {
        raw_put(&client, &key, bytes).await;
    }
    cpu_time() - before
}
