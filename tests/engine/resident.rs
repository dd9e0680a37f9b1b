//! Pages of mapped files that stay resident.

use std::sync::Arc;

use deltafold::format::{Op, Record};
use deltafold::store::{Dir, Store};
use deltafold::{Collection, CompactorOptions, CreateOptions, Policy, WriterOptions};
use deltafold_testing::resident::resident;

/// Numbers of an embedding: 2 KiB.
const DIMENSION: u32 = 512;
/// Records of the run that is merged: somewhat more than those after which a merge gives back.
const RECORDS: usize = 4_200;

fn put(n: usize) -> Op {
    let embedding = vec![n as f32; DIMENSION as usize];
    Op::put(format!("{n:05}"), Record { embedding: Some(embedding), ..Record::default() })
}

/// Story: merges read each embedding once, and the kernel counted the pages of all their inputs as
/// memory of the process.
#[tokio::test]
async fn a_merge_gives_back_the_pages_of_its_inputs() {
    let folder = tempfile::tempdir().unwrap();
    // All that read an object share its mapping, the merge and this test among them.
    let store = Dir::open(folder.path()).unwrap().sparing_memory();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(DIMENSION)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    // No merge of its own accord.
    let policy = Policy::default().fan_in(usize::MAX).absorb_one_in(0);
    let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
    writer.append(vec![put(0)]).await.unwrap();
    compactor.run_once().await.unwrap();
    let rows = RECORDS * DIMENSION as usize * size_of::<f32>();
    writer.append((1..=RECORDS).map(put).collect()).await.unwrap();
    compactor.run_once().await.unwrap();
    let mut inputs = Vec::new();
    for listed in store.list_after("", None, 1_000).await.unwrap() {
        if listed.key.as_str().contains("/part/") && listed.bytes > rows as u64 {
            inputs.push(store.get(&listed.key).await.unwrap().unwrap().bytes);
        }
    }
    assert_eq!(inputs.len(), 1, "the embeddings of the second run");
    assert!(resident(&inputs[0]) < rows / 2, "nothing has read them yet");
    let report = compactor.merge_all().await.unwrap();
    assert!(report.events.iter().any(|event| event.version.is_some()), "{report:?}");
    let after = resident(&inputs[0]);
    assert!(after > 0, "the merge did not read the mapping that is looked at");
    assert!(after < rows / 2, "{after} bytes of {rows} are resident");
}
