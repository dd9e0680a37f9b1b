//! The rest of the contract: durability, counters, the answers about the store itself, and a
//! collection over all of it.

use std::sync::Arc;

use deltafold_format::{EditKind, Op, Record};
use futures::TryStreamExt as _;

use super::{HEAD, chunks, content, create, done, key, names};
use crate::collection::{Collection, CreateOptions, Depth};
use crate::compact::{CompactorOptions, SweepOptions};
use crate::log::WriterOptions;
use crate::query::Query;
use crate::reader::ScanOptions;
use crate::store::{RequestCount, Store, probe};

pub(super) async fn settling_fails_for_no_key(store: Arc<dyn Store>) {
    create(&*store, HEAD, "1").await;
    create(&*store, "c/0000/log/1", "x").await;
    store.settle(&key(HEAD)).await.unwrap();
    store.settle(&key("c/0000/log/1")).await.unwrap();
    store.settle(&key("c/0000/log/2")).await.unwrap();
    store.settle(&key("never/made/folder/1")).await.unwrap();
    store.delete(&[key("c/0000/log/1")]).await.unwrap();
    store.settle(&key("c/0000/log/1")).await.unwrap();
    assert_eq!(content(&*store, HEAD).await.unwrap(), "1", "settling changes no object");
    assert!(content(&*store, "c/0000/log/1").await.is_none(), "settling brings back no deleted object");
}

/// The requests that one call made.
async fn counted<T>(store: &dyn Store, verb: &str, call: impl Future<Output = T>) -> (T, RequestCount) {
    let before = store.requests();
    let result = call.await;
    let made = store.requests().since(&before).total();
    assert!(made.calls > 0, "`{verb}` counts its requests in `Store::requests`");
    (result, made)
}

pub(super) async fn every_verb_counts_its_requests(store: Arc<dyn Store>) {
    let head = key(HEAD);
    let text = "a register of some length";
    let length = text.len() as u64;
    let (created, made) = counted(&*store, "create", store.create(&head, chunks(text))).await;
    let tag = done(created.unwrap());
    assert!(made.bytes_out >= length, "`create` counts the bytes sent");
    let (_, made) = counted(&*store, "create", store.create(&head, chunks(text))).await;
    assert!(made.refused > 0, "a refused `create` counts as refused");
    let (_, made) = counted(&*store, "get", store.get(&head)).await;
    assert!(made.bytes_in >= length, "`get` counts the bytes received");
    let (_, made) = counted(&*store, "get", store.get(&key("d/0000/head"))).await;
    assert!(made.absent > 0, "a `get` of an absent object counts as absent");
    let (_, made) = counted(&*store, "get_range", store.get_range(&head, 2, 8)).await;
    assert!(made.bytes_in >= 6, "`get_range` counts the bytes received");
    let (_, made) = counted(&*store, "get_unless", store.get_unless(&head, &tag)).await;
    assert!(made.calls > 0, "`get_unless` counts");
    let (_, made) = counted(&*store, "replace", store.replace(&head, &tag, chunks("2"))).await;
    assert!(made.bytes_out > 0, "`replace` counts the bytes sent");
    let (_, made) = counted(&*store, "replace", store.replace(&head, &tag, chunks("3"))).await;
    assert!(made.refused > 0, "a refused `replace` counts as refused");
    counted(&*store, "list_after", store.list_after("c/", None, 10)).await.0.unwrap();
    counted(&*store, "delete", store.delete(&[head])).await.0.unwrap();
}

pub(super) async fn a_store_without_its_cache_shows_the_same(store: Arc<dyn Store>) {
    create(&*store, "c/0000/part/1.meta", "columns").await;
    create(&*store, HEAD, "1").await;
    let Some(direct) = store.uncached() else { return };
    for name in ["c/0000/part/1.meta", HEAD] {
        assert_eq!(content(&*direct, name).await, content(&*store, name).await, "`{name}` without the cache");
    }
    done(direct.create(&key("c/0000/log/1"), chunks("x")).await.unwrap());
    assert_eq!(content(&*store, "c/0000/log/1").await.unwrap(), "x", "both write to one store");
    assert_eq!(direct.heads(), store.heads(), "the heads are in one place, with the cache and without");
    assert_eq!(direct.is_to_be_probed(), store.is_to_be_probed());
}

pub(super) async fn the_probe_finds_every_promise_kept(store: Arc<dyn Store>) {
    assert!(!store.location().is_empty(), "a store tells its location, for error messages");
    assert_eq!(store.is_to_be_probed(), store.is_to_be_probed(), "`is_to_be_probed` never changes");
    assert_eq!(store.heads(), store.heads(), "`heads` never changes");
    let found = probe(&*store).await.unwrap();
    for check in &found.checks {
        assert!(check.verdict.is_sound(), "{}: {:?}", check.promise, check.verdict);
    }
    Collection::fits(&*store, &found).unwrap();
    assert!(names(&*store, "", None, 1_000).await.is_empty(), "the probe removes its objects");
}

pub(super) async fn a_collection_lives_in_the_store(store: Arc<dyn Store>) {
    let name = "c".parse().unwrap();
    Collection::create(store.clone(), &name, &CreateOptions::new(2)).await.unwrap();
    let collection = Collection::open(store.clone(), &name).await.unwrap();
    assert_eq!(collection.config().heads, store.heads(), "the collection register tells the place of the heads");
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let record = |number: u8| Record { embedding: Some(vec![f32::from(number), 1.0]), ..Record::default() };
    let mut reader = collection.reader().await.unwrap();
    let mut compactor = collection.compactor(CompactorOptions::default());
    for number in 0..20 {
        writer.append(vec![Op::put(format!("r{number:02}"), record(number))]).await.unwrap();
        writer.append(vec![Op::delete(format!("r{:02}", number / 2))]).await.unwrap();
        if number % 5 == 0 {
            let report = compactor.run_once().await.unwrap();
            assert!(report.published(EditKind::Fold) > 0, "the compactor folds the log: {report:?}");
        }
        reader.refresh().await.unwrap();
        assert!(reader.contains(&format!("r{number:02}")).await.unwrap() == (number > 0), "an acknowledged op is read");
    }
    compactor.merge_all().await.unwrap();
    collection.sweep(&SweepOptions::KEEP_NOTHING).await.unwrap();
    let reader = collection.reader().await.unwrap();
    let entries: Vec<_> = reader.scan(ScanOptions::default()).try_collect().await.unwrap();
    let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["r10", "r11", "r12", "r13", "r14", "r15", "r16", "r17", "r18", "r19"]);
    let answers = reader.search(&[Query::new(vec![14.2, 1.0], 1)]).await.unwrap();
    assert_eq!(answers[0].hits[0].entry.id, "r14", "the nearest neighbour");
    let report = collection.verify(Depth::Deep, |_| ()).await.unwrap();
    assert!(report.is_sound(), "verification finds no damage: {report:?}");
    Collection::drop_collection(&*store, &name, |_| ()).await.unwrap();
    assert!(names(&*store, "c/", None, 1_000).await.is_empty(), "a dropped collection leaves no object");
}
