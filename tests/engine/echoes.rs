//! A self-conflict, here called an echo: a conditional write lands, a layer below sends it again,
//! and the answer is "refused".
//!
//! Here that happens to every conditional write of every actor. Each actor must recognise its own
//! success, and act on it once.

use std::sync::Arc;

use deltafold::format::{EditKind, HeadPlace, Op, Record};
use deltafold::store::{Key, Store};
use deltafold::{
    At, Collection, CompactorOptions, CreateOptions, Depth, ErrorKind, Policy, RepairOptions, Reset, SweepOptions,
    WriterOptions,
};
use deltafold_testing::on_stores;
use deltafold_testing::watched::Watched;

on_stores!(
    every: [
        every_actor_bears_an_echo_of_each_write,
        a_repair_bears_an_echo_of_each_write,
        a_drop_withdraws_its_note_after_an_echo,
    ],
);

/// Asserts that keys with each of these parts were written and echoed.
fn assert_echoed(echoed: &[String], parts: &[&str]) {
    for part in parts {
        assert!(echoed.iter().any(|write| write.contains(part)), "{part}: {echoed:#?}");
    }
}

fn put(id: usize) -> Op {
    Op::put(id.to_string(), Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

pub(crate) async fn every_actor_bears_an_echo_of_each_write<S: Store + Clone>(store: Watched<S>) {
    store.echo_all();
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let folds = Policy::default().fold_segments(1).fan_in(usize::MAX).absorb_one_in(0);
    let mut compactor = collection.compactor(CompactorOptions::default().policy(folds));
    for round in 0..3 {
        for id in 0..4 {
            writer.append(vec![put(round * 4 + id)]).await.unwrap();
        }
        compactor.tick().await.unwrap();
        assert_eq!(compactor.run_once().await.unwrap().conflicts(), 0);
    }
    let merged = collection.compactor(CompactorOptions::default()).merge_all().await.unwrap();
    assert_eq!((merged.published(EditKind::Merge), merged.conflicts()), (1, 0));
    writer.append(vec![Op::delete("0")]).await.unwrap();
    // Acknowledged once, in the log once.
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.ops, 13);
    let pinned = collection.pin("kept", None).await.unwrap();
    collection.unpin("kept").await.unwrap();
    collection.pin("kept", None).await.unwrap();
    let options = SweepOptions::KEEP_NOTHING;
    collection.sweep(&options).await.unwrap();
    let reader = collection.reader().await.unwrap();
    assert_eq!(reader.count().await.unwrap(), 11);
    assert_eq!(collection.reader_at(At::Pin("kept".into())).await.unwrap().count().await.unwrap(), 12);
    assert_eq!(pinned.len(), 1);
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let reset = Reset::new(HeadPlace::Store);
    reset.run::<deltafold::Error>(&store, &store, &name, async { Ok(()) }, async { Ok(()) }, |_| ()).await.unwrap();
    let echoed = store.echoed();
    assert_echoed(
        &echoed,
        &["/collection", "replace c/0000/head", "/claim", "/log/", "/manifest/", ".meta", "DROP/c", "RESET/c"],
    );
    assert_eq!(store.keys("").await, []);
}

async fn a_repair_bears_an_echo_of_each_write<S: Store + Clone>(store: Watched<S>) {
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    collection.writer(WriterOptions::default()).unwrap().append(vec![put(1)]).await.unwrap();
    store.inner.delete(&[Key::new("c/0000/head").unwrap()]).await.unwrap();
    store.echo_all();
    let apply = RepairOptions::default().apply(true);
    Collection::repair(Arc::new(store.clone()), &name, &apply).await.unwrap();
    assert_echoed(&store.echoed(), &["head"]);
    let collection = Collection::open(Arc::new(store.clone()), &name).await.unwrap();
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 1);
}

/// Story: the collection was dropped and made anew while a drop was about to write its note. The
/// note was echoed, so the drop took it for another drop's and left it there. No collection of that
/// name could be created until the next drop.
async fn a_drop_withdraws_its_note_after_an_echo<S: Store + Clone>(store: Watched<S>) {
    let name = "c".parse().unwrap();
    Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    let other = store.clone();
    store.before("create", "DROP/c", async move || {
        let name = "c".parse().unwrap();
        Collection::drop_collection(&other.inner, &name, |_| ()).await.unwrap();
        Collection::create(Arc::new(other.inner.clone()), &name, &CreateOptions::new(2)).await.unwrap();
    });
    store.echo_all();
    let error = Collection::drop_collection(&store, &name, |_| ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_echoed(&store.echoed(), &["create DROP/c"]);
    assert_eq!(store.keys("DROP").await, []);
    Collection::open(Arc::new(store.clone()), &name).await.unwrap();
}
