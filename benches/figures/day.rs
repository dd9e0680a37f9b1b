//! A day of 864,000 ops on a collection of 1,000,000 records, folded every 64 segments of 10 ops.
//! Gives the bytes that compaction writes for each byte ingested. It runs in memory, since bytes do
//! not depend on the disk.

use std::sync::Arc;

use deltafold::format::{CollectionName, Op};
use deltafold::store::{Memory, Store};
use deltafold::{Collection, CompactorOptions, CreateOptions, SweepOptions, WriterOptions};

use crate::bulk::{AT_ONCE, calls, load};
use crate::data::{DIMENSION, Random, patch, put};
use crate::measure::{mib, runtime};
use crate::{Figure, Goal, Setting};

pub(crate) fn puts(setting: &Setting) -> Vec<Figure> {
    day(setting, "a day of uniform puts: write amplification", Goal::AtMost(4.5), put)
}

pub(crate) fn patches(setting: &Setting) -> Vec<Figure> {
    day(setting, "a day, nine in ten metadata patches: write amplification", Goal::AtMost(6.5), |number, random| {
        if random.below(10) == 0 { put(number, random) } else { patch(number, random) }
    })
}

fn day(setting: &Setting, name: &'static str, goal: Goal, op: fn(usize, &mut Random) -> Op) -> Vec<Figure> {
    runtime().block_on(async {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let collection_name: CollectionName = "bench".parse().expect("a name");
        let collection =
            Collection::create(store.clone(), &collection_name, &CreateOptions::new(DIMENSION)).await.expect("fresh");
        let writer = collection.writer(WriterOptions::default()).expect("a writer");
        load(&writer, calls(setting.records, 9), AT_ONCE).await;
        let mut compactor = collection.compactor(CompactorOptions::default());
        compactor.merge_all().await.expect("a merge");
        let sweep = SweepOptions::KEEP_NOTHING;
        collection.sweep(&sweep).await.expect("a sweep");

        let mut random = Random(13);
        let (mut ingested, mut written, mut edits) = (0_u64, 0_u64, 0_usize);
        let ops = setting.records as u64 * 864 / 1_000;
        for round in 0..ops / 640 {
            for _ in 0..64 {
                let ops = (0..10)
                    .map(|_| {
                        let n = random.below(setting.records);
                        op(n, &mut random)
                    })
                    .collect();
                writer.append(ops).await.expect("an ack");
            }
            let status = collection.status().await.expect("a status");
            ingested += status.shards[0].unfolded_bytes;
            let report = compactor.tick().await.expect("a tick");
            written += report.bytes_out();
            edits += report.events.len();
            if round % 16 == 15 {
                // Compaction writes manifests too.
                for listed in store.list_after("bench/0000/manifest/", None, 1_000).await.expect("a list") {
                    written += listed.bytes;
                }
                collection.sweep(&sweep).await.expect("a sweep");
            }
        }
        vec![Figure {
            name,
            measured: format!("{:.0} MiB written in {edits} edits", mib(written)),
            against: format!("{:.0} MiB ingested in {} segments", mib(ingested), ops / 10),
            value: written as f64 / ingested as f64,
            goal,
        }]
    })
}
