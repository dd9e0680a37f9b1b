//! Drops that are broken off, and drops that sleep while others work.

use std::sync::Arc;

use deltafold::format::{Op, Record};
use deltafold::store::Store;
use deltafold::{Collection, CompactorOptions, CreateOptions, Error, ErrorKind, Policy, Writer, WriterOptions};
use deltafold_testing::on_stores;
use deltafold_testing::watched::{Fault, Watched};

on_stores!(
    every: [
        a_drop_that_is_broken_off_is_finished_by_the_next,
        a_drop_that_slept_spares_a_collection_made_anew,
    ],
    local: [a_drop_that_slept_knows_its_note_from_a_third_drop_s],
);

async fn made<S: Store + Clone>(store: &Watched<S>) -> (Collection, Writer) {
    let options = CreateOptions::new(2);
    let collection = Collection::create(Arc::new(store.clone()), &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

async fn append(writer: &Writer, segments: std::ops::Range<usize>) {
    for number in segments {
        let record = Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() };
        writer.append(vec![Op::put(number.to_string(), record)]).await.unwrap();
    }
}

async fn fold(collection: &Collection) {
    let policy = Policy::default().fold_segments(1);
    collection.compactor(CompactorOptions::default().policy(policy)).run_once().await.unwrap();
}

async fn a_drop_that_is_broken_off_is_finished_by_the_next<S: Store + Clone>(store: Watched<S>) {
    let (collection, writer) = made(&store).await;
    append(&writer, 0..3).await;
    fold(&collection).await;
    let (name, objects) = ("c".parse().unwrap(), store.keys("c/").await.len() as u64);
    store.fail("delete", "/claim", Fault::Permanent);
    assert_eq!(Collection::drop_collection(&store, &name, |_| ()).await.unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(Collection::open(Arc::new(store.clone()), &name).await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = Collection::create(Arc::new(store.clone()), &name, &CreateOptions::new(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("Run `drop c` again"), "{error}");
    let left = store.keys("c/").await.len() as u64;
    assert!(left > 0 && left < objects);
    Collection::drop_collection(&store, &name, |_| ()).await.unwrap();
    assert_eq!(store.keys("").await.len(), 0);
    assert_eq!(Collection::drop_collection(&store, &name, |_| ()).await.unwrap_err().kind(), ErrorKind::NotFound);
    let (_, writer) = made(&store).await;
    append(&writer, 0..1).await;
    assert_eq!(Collection::drop_collection(&store, &name, |_| ()).await.unwrap().objects, 3, "register, head, segment");
}

/// Story: a drop slept between listing and deleting. Another drop finished the work, and the
/// collection was made anew. The first drop woke and deleted the new collection's register, heads
/// and log. Now each delete first looks for the drop's own note, and no collection is created while
/// that note exists.
async fn a_drop_that_slept_spares_a_collection_made_anew<S: Store + Clone>(store: Watched<S>) {
    let name = "c".parse().unwrap();
    // The sleeper's next request when it wakes, in the order of a drop.
    let moments = [
        ("create", "DROP/c"),
        ("get", "DROP/c"),
        ("list", "c/collection"),
        ("list", "c/0000/head"),
        ("list", "c/0001/head"),
        // The first page of the remaining keys, which follow the heads.
        ("list", "c/"),
    ];
    for (verb, key) in moments {
        for again in [false, true] {
            let (collection, writer) = made(&store).await;
            append(&writer, 0..3).await;
            fold(&collection).await;
            let other = store.clone();
            let elsewhere = async move || {
                Collection::drop_collection(&other.inner, &"c".parse().unwrap(), |_| ()).await.unwrap();
                if again {
                    let (collection, writer) = made(&Watched::over(other.inner.clone())).await;
                    append(&writer, 0..3).await;
                    fold(&collection).await;
                    append(&writer, 3..6).await;
                }
            };
            if key == "c/" {
                let store = store.clone();
                store.clone().before("list", "c/0001/head", async move || store.before(verb, key, elsewhere));
            } else {
                store.before(verb, key, elsewhere);
            }
            let dropped = Collection::drop_collection(&store, &name, |_| ()).await;
            let moment = format!("asleep before {verb} {key}, made anew: {again}");
            assert!(store.all_reached(), "{moment}");
            if again {
                let kind = dropped.as_ref().map_err(Error::kind);
                assert_eq!(kind, Err(ErrorKind::Conflict), "{moment}");
                let collection = Collection::open(Arc::new(store.clone()), &name).await.unwrap();
                assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 6, "{moment}");
                Collection::drop_collection(&store, &name, |_| ()).await.unwrap();
            } else {
                assert!(dropped.is_ok(), "{moment}: {dropped:?}");
            }
            assert_eq!(store.keys("").await.len(), 0, "{moment}");
        }
    }
}

/// Story: as above, but when the first drop wakes, a third drop has written a note for the new
/// collection. The note is not the sleeper's, so the sleeper leaves that collection alone.
async fn a_drop_that_slept_knows_its_note_from_a_third_drop_s<S: Store + Clone>(store: Watched<S>) {
    let name = "c".parse().unwrap();
    for key in ["c/collection", "c/0000/head", "c/0001/head"] {
        let (collection, writer) = made(&store).await;
        append(&writer, 0..3).await;
        fold(&collection).await;
        let other = store.clone();
        store.before("list", key, async move || {
            Collection::drop_collection(&other.inner, &"c".parse().unwrap(), |_| ()).await.unwrap();
            let third = Watched::over(other.inner.clone());
            let (_, writer) = made(&third).await;
            append(&writer, 0..6).await;
            third.fail("delete", "c/collection", Fault::Permanent);
            Collection::drop_collection(&third, &"c".parse().unwrap(), |_| ()).await.unwrap_err();
        });
        let dropped = Collection::drop_collection(&store, &name, |_| ()).await;
        assert!(store.all_reached(), "{key}");
        assert_eq!(dropped.as_ref().map_err(Error::kind), Err(ErrorKind::Conflict), "{key}");
        let left = Collection::drop_collection(&store, &name, |_| ()).await.unwrap().objects;
        assert_eq!(left, 8, "{key}: register, head and six segments were left alone");
    }
}
