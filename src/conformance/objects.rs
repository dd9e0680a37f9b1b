//! Objects: creating, reading, deleting.

use std::sync::Arc;

use bytes::Bytes;

use super::{at_once, chunks, content, create, done, key, names};
use crate::store::{Outcome, Store, Unless};

pub(super) async fn a_created_object_reads_back(store: Arc<dyn Store>) {
    assert!(content(&*store, "c/0/head").await.is_none(), "a new store is empty");
    let parts = vec![Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cde")];
    let tag = done(store.create(&key("c/0/head"), parts).await.unwrap());
    let read = store.get(&key("c/0/head")).await.unwrap().unwrap();
    assert_eq!((&read.bytes[..], read.tag), (&b"abcde"[..], tag), "the chunks in order, and the tag of the create");
    create(&*store, "a-Z_0.9/x.meta", "").await;
    assert_eq!(content(&*store, "a-Z_0.9/x.meta").await.unwrap(), "", "an object may be empty");
    assert!(content(&*store, "c").await.is_none(), "a folder is not an object");
}

pub(super) async fn one_creator_wins(store: Arc<dyn Store>) {
    create(&*store, "x", "first").await;
    let second = store.create(&key("x"), chunks("second")).await;
    assert!(matches!(second, Ok(Outcome::Refused)), "a create of an existing key is refused: {second:?}");
    assert_eq!(content(&*store, "x").await.unwrap(), "first", "a refused create changes nothing");
    for round in 0..20 {
        let name = key(&format!("log/{round}"));
        let creators = (0..16).map(|creator| {
            let (store, name) = (store.clone(), name.clone());
            async move { (creator, store.create(&name, chunks(&creator.to_string())).await.unwrap()) }
        });
        let outcomes: Vec<(i32, Outcome)> = at_once(creators).await;
        let winners: Vec<i32> =
            outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Done(_))).map(|won| won.0).collect();
        let [winner] = winners[..] else { panic!("one creator of `{name}` wins, and these did: {winners:?}") };
        let in_doubt = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Unknown(_)));
        assert!(!in_doubt, "a store that works answers every create: {outcomes:?}");
        assert_eq!(content(&*store, name.as_str()).await.unwrap(), winner.to_string(), "the winner's bytes");
    }
}

pub(super) async fn a_name_is_free_again_after_a_delete(store: Arc<dyn Store>) {
    create(&*store, "a/b", "1").await;
    store.delete(&[key("a/b")]).await.unwrap();
    assert!(content(&*store, "a/b").await.is_none(), "a deleted object is gone for the next read");
    create(&*store, "a/b", "2").await;
    assert_eq!(content(&*store, "a/b").await.unwrap(), "2");
}

pub(super) async fn ranges_end_where_the_object_does(store: Arc<dyn Store>) {
    create(&*store, "r", "0123456789").await;
    for (start, end, expected) in [
        (0, 10, "0123456789"),
        (3, 5, "34"),
        (8, 99, "89"),
        (10, 11, ""),
        (50, 60, ""),
        (4, 4, ""),
        (0, u64::MAX, "0123456789"),
    ] {
        let range = store.get_range(&key("r"), start, end).await.unwrap().unwrap();
        assert_eq!(range, expected, "range {start}..{end} of 10 bytes");
    }
    assert!(store.get_range(&key("none"), 0, 1).await.unwrap().is_none(), "a range of an absent object is absent");
}

pub(super) async fn objects_of_every_size_round_trip(store: Arc<dyn Store>) {
    for (number, size) in [0, 1, 4_095, (1 << 20) - 1, 1 << 20, (8 << 20) + 3].into_iter().enumerate() {
        let bytes: Bytes = (0..size).map(|at: usize| (at * 31 + at / 251) as u8).collect::<Vec<u8>>().into();
        let parts: Vec<Bytes> =
            (0..size.div_ceil(100_000)).map(|n| bytes.slice(n * 100_000..size.min((n + 1) * 100_000))).collect();
        let name = key(&format!("big/{number}"));
        let tag = done(store.create(&name, parts).await.unwrap());
        let read = store.get(&name).await.unwrap().unwrap();
        assert!(read.bytes == bytes && read.tag == tag, "an object of {size} bytes reads back with its tag");
        let again = store.get_unless(&name, &tag).await.unwrap();
        assert!(matches!(again, Unless::Unchanged), "an object of {size} bytes keeps its tag");
        let middle = store.get_range(&name, size as u64 / 2, size as u64).await.unwrap().unwrap();
        assert!(middle == bytes.slice(size / 2..), "the second half of {size} bytes");
        let listed = store.list_after(name.as_str(), None, 1).await.unwrap();
        assert_eq!(listed[0].bytes, size as u64, "the length in a list");
    }
}

pub(super) async fn bytes_that_were_read_outlive_the_object(store: Arc<dyn Store>) {
    let bytes = Bytes::from(vec![7; 3 << 20]);
    done(store.create(&key("m"), vec![bytes.clone()]).await.unwrap());
    let read = store.get(&key("m")).await.unwrap().unwrap().bytes;
    store.delete(&[key("m")]).await.unwrap();
    assert!(read == bytes, "a delete changes no bytes that a caller holds");
}

pub(super) async fn deleting_twice_is_deleting(store: Arc<dyn Store>) {
    create(&*store, "d/1", "x").await;
    create(&*store, "d/2", "x").await;
    store.delete(&[key("d/1"), key("d/never"), key("d/1")]).await.unwrap();
    store.delete(&[key("d/1")]).await.unwrap();
    store.delete(&[]).await.unwrap();
    assert_eq!(names(&*store, "", None, 1_000).await, ["d/2"], "absent keys count as deleted");
}
