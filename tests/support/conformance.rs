//! The contract of `deltafold::store`, for every back end: one check a promise.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use deltafold::store::{Key, Outcome, Store, Tag, Unless};
use futures::future::join_all;

/// A register, which a store may keep elsewhere than other objects.
const HEAD: &str = "c/0000/head";

pub fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub fn chunks(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

pub async fn create(store: &dyn Store, name: &str, content: &str) -> Tag {
    done(store.create(&key(name), chunks(content)).await.unwrap())
}

pub fn done(outcome: Outcome) -> Tag {
    match outcome {
        Outcome::Done(tag) => tag,
        other => panic!("{other:?} where it had to be done"),
    }
}

/// Runs every check, each against a store of its own.
pub async fn suite<F: Future<Output = Arc<dyn Store>>>(fresh: impl Fn() -> F) {
    a_created_object_reads_back(fresh().await).await;
    one_creator_wins(fresh().await).await;
    a_name_is_free_again_after_a_delete(fresh().await).await;
    ranges_end_where_the_object_does(fresh().await).await;
    a_conditional_read_has_three_answers(fresh().await).await;
    only_the_state_named_is_replaced(fresh().await).await;
    one_of_many_replacers_wins(fresh().await).await;
    no_increment_is_lost(fresh().await).await;
    nobody_replaces_what_was_deleted(fresh().await).await;
    lists_are_in_key_order_and_complete(fresh().await).await;
    registers_are_listed_with_their_collection(fresh().await).await;
    lists_page_without_gaps(fresh().await).await;
    deleting_twice_is_deleting(fresh().await).await;
    objects_of_every_size_round_trip(fresh().await).await;
    what_was_read_stays_when_it_is_deleted(fresh().await).await;
    dates_are_by_one_clock(fresh().await).await;
}

async fn content(store: &dyn Store, name: &str) -> Option<Bytes> {
    store.get(&key(name)).await.unwrap().map(|object| object.bytes)
}

async fn names(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let listed = store.list_after(prefix, after.map(key).as_ref(), limit).await.unwrap();
    listed.into_iter().map(|listed| listed.key.as_str().to_owned()).collect()
}

async fn a_created_object_reads_back(store: Arc<dyn Store>) {
    assert!(content(&*store, "c/0/head").await.is_none());
    let parts = vec![Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cde")];
    let tag = done(store.create(&key("c/0/head"), parts).await.unwrap());
    let read = store.get(&key("c/0/head")).await.unwrap().unwrap();
    assert_eq!((&read.bytes[..], read.tag), (&b"abcde"[..], tag));
    create(&*store, "a-Z_0.9/x.meta", "").await;
    assert_eq!(content(&*store, "a-Z_0.9/x.meta").await.unwrap(), "");
    assert!(content(&*store, "c").await.is_none(), "a folder is no object");
}

async fn one_creator_wins(store: Arc<dyn Store>) {
    create(&*store, "x", "first").await;
    assert!(matches!(store.create(&key("x"), chunks("second")).await, Ok(Outcome::Refused)));
    assert_eq!(content(&*store, "x").await.unwrap(), "first");
    for round in 0..20 {
        let name = key(&format!("log/{round}"));
        let creators = (0..16).map(|creator| {
            let (store, name) = (store.clone(), name.clone());
            tokio::spawn(async move { (creator, store.create(&name, chunks(&creator.to_string())).await.unwrap()) })
        });
        let outcomes: Vec<(i32, Outcome)> = join_all(creators).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<i32> =
            outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Done(_))).map(|won| won.0).collect();
        assert_eq!(winners.len(), 1);
        assert!(outcomes.iter().all(|(_, outcome)| !matches!(outcome, Outcome::Unknown(_))));
        assert_eq!(content(&*store, name.as_str()).await.unwrap(), winners[0].to_string());
    }
}

async fn a_name_is_free_again_after_a_delete(store: Arc<dyn Store>) {
    create(&*store, "a/b", "1").await;
    store.delete(&[key("a/b")]).await.unwrap();
    assert!(content(&*store, "a/b").await.is_none());
    create(&*store, "a/b", "2").await;
    assert_eq!(content(&*store, "a/b").await.unwrap(), "2");
}

async fn ranges_end_where_the_object_does(store: Arc<dyn Store>) {
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
        assert_eq!(range, expected, "{start}..{end}");
    }
    assert!(store.get_range(&key("none"), 0, 1).await.unwrap().is_none());
}

async fn a_conditional_read_has_three_answers(store: Arc<dyn Store>) {
    let first = create(&*store, HEAD, "1").await;
    assert!(matches!(store.get_unless(&key(HEAD), &first).await.unwrap(), Unless::Unchanged));
    let second = done(store.replace(&key(HEAD), &first, chunks("2")).await.unwrap());
    match store.get_unless(&key(HEAD), &first).await.unwrap() {
        Unless::Changed(object) => assert_eq!((object.bytes, object.tag), (Bytes::from_static(b"2"), second)),
        other => panic!("{other:?}"),
    }
    store.delete(&[key(HEAD)]).await.unwrap();
    assert!(matches!(store.get_unless(&key(HEAD), &first).await.unwrap(), Unless::Absent));
}

async fn only_the_state_named_is_replaced(store: Arc<dyn Store>) {
    let first = create(&*store, HEAD, "1").await;
    let second = done(store.replace(&key(HEAD), &first, chunks("2")).await.unwrap());
    assert!(matches!(store.replace(&key(HEAD), &first, chunks("3")).await, Ok(Outcome::Refused)));
    assert_eq!(content(&*store, HEAD).await.unwrap(), "2");
    assert!(matches!(store.replace(&key("none/0000/head"), &second, chunks("3")).await, Ok(Outcome::Refused)));
    assert!(content(&*store, "none/0000/head").await.is_none());
}

async fn one_of_many_replacers_wins(store: Arc<dyn Store>) {
    let mut tag = create(&*store, HEAD, "start").await;
    for round in 0..20 {
        let replacers = (0..16).map(|replacer| {
            let (store, tag) = (store.clone(), tag.clone());
            let content = format!("{round} {replacer}");
            tokio::spawn(async move { store.replace(&key(HEAD), &tag, chunks(&content)).await.unwrap() })
        });
        let outcomes = join_all(replacers).await.into_iter().map(Result::unwrap);
        let mut winners: Vec<Tag> =
            outcomes.filter_map(|outcome| if let Outcome::Done(tag) = outcome { Some(tag) } else { None }).collect();
        assert_eq!(winners.len(), 1);
        tag = winners.remove(0);
        assert_eq!(store.get(&key(HEAD)).await.unwrap().unwrap().tag, tag);
    }
}

/// Adds 1 to a counter, `times` times.
pub async fn increment(store: &dyn Store, name: &str, times: usize) {
    for _ in 0..times {
        loop {
            let object = store.get(&key(name)).await.unwrap().unwrap();
            let count: u64 = std::str::from_utf8(&object.bytes).unwrap().parse().unwrap();
            match store.replace(&key(name), &object.tag, chunks(&(count + 1).to_string())).await.unwrap() {
                Outcome::Done(_) => break,
                Outcome::Refused => {}
                Outcome::Unknown(error) => panic!("{error}"),
            }
        }
    }
}

async fn no_increment_is_lost(store: Arc<dyn Store>) {
    create(&*store, HEAD, "0").await;
    let tasks = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { increment(&*store, HEAD, 25).await })
    });
    join_all(tasks).await.into_iter().for_each(Result::unwrap);
    assert_eq!(content(&*store, HEAD).await.unwrap(), "200");
}

async fn nobody_replaces_what_was_deleted(store: Arc<dyn Store>) {
    for round in 0..20 {
        let name = key(&format!("c{round}/0000/head"));
        let tag = create(&*store, name.as_str(), "1").await;
        let replacing = {
            let (store, name) = (store.clone(), name.clone());
            tokio::spawn(async move { store.replace(&name, &tag, chunks("2")).await.unwrap() })
        };
        let deleting = {
            let (store, name) = (store.clone(), name.clone());
            tokio::spawn(async move { store.delete(&[name]).await.unwrap() })
        };
        replacing.await.unwrap();
        deleting.await.unwrap();
        assert!(content(&*store, name.as_str()).await.is_none(), "a replace brought back what had been deleted");
    }
}

async fn lists_are_in_key_order_and_complete(store: Arc<dyn Store>) {
    let all =
        ["a", "a-b/c", "a.b", "a/b", "a/b-c", "a/b.c/d", "a/b/c", "a0", "b/log/001", "b/log/002", "b/log/010", "c"];
    let mut created: BTreeSet<&str> = BTreeSet::new();
    // A file system allows no folder with an object's name, so the test leaves those out.
    for name in all.into_iter().rev().filter(|name| !matches!(*name, "a" | "a/b")) {
        create(&*store, name, "x").await;
        created.insert(name);
    }
    assert_eq!(names(&*store, "", None, 1_000).await, Vec::from_iter(created.iter().copied()));
    assert_eq!(names(&*store, "a/", None, 1_000).await, ["a/b-c", "a/b.c/d", "a/b/c"]);
    assert_eq!(names(&*store, "a/b", None, 1_000).await, ["a/b-c", "a/b.c/d", "a/b/c"]);
    assert_eq!(names(&*store, "b/log/0", Some("b/log/001"), 1_000).await, ["b/log/002", "b/log/010"]);
    assert_eq!(names(&*store, "b/log/", Some("b/log/0015"), 1).await, ["b/log/002"], "after a key that is not there");
    assert_eq!(names(&*store, "b/log/", Some("a"), 1).await, ["b/log/001"]);
    assert!(names(&*store, "b/log/", Some("c"), 1_000).await.is_empty());
    assert!(names(&*store, "nothing/of/this", None, 1_000).await.is_empty());
    let listed = store.list_after("c", None, 1_000).await.unwrap();
    assert_eq!((listed[0].key.as_str(), listed[0].bytes), ("c", 1));
}

async fn registers_are_listed_with_their_collection(store: Arc<dyn Store>) {
    for name in ["c/0000/claim", "c/0000/head", "c/0000/log/1", "c/0001/head", "c/collection", "d/0000/head"] {
        create(&*store, name, name).await;
    }
    assert_eq!(
        names(&*store, "c/", None, 1_000).await,
        ["c/0000/claim", "c/0000/head", "c/0000/log/1", "c/0001/head", "c/collection"]
    );
    assert_eq!(names(&*store, "c/0000/head", None, 1).await, ["c/0000/head"]);
    assert_eq!(names(&*store, "c/", Some("c/0000/head"), 2).await, ["c/0000/log/1", "c/0001/head"]);
    assert_eq!(names(&*store, "c/0000/", Some("c/0000/claim"), 1).await, ["c/0000/head"]);
    store.delete(&[key("c/0000/head"), key("c/0000/log/1"), key("c/0001/head")]).await.unwrap();
    assert_eq!(names(&*store, "c/", None, 1_000).await, ["c/0000/claim", "c/collection"]);
}

async fn lists_page_without_gaps(store: Arc<dyn Store>) {
    let all: Vec<String> = (0..57).map(|n| format!("l/{}/{n:03}", n % 3)).collect();
    for name in &all {
        create(&*store, name, "x").await;
    }
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = names(&*store, "l/", seen.last().map(String::as_str), 10).await;
        let done = page.len() < 10;
        seen.extend(page);
        if done {
            break;
        }
    }
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(seen, sorted);
}

async fn deleting_twice_is_deleting(store: Arc<dyn Store>) {
    create(&*store, "d/1", "x").await;
    create(&*store, "d/2", "x").await;
    store.delete(&[key("d/1"), key("d/never"), key("d/1")]).await.unwrap();
    store.delete(&[key("d/1")]).await.unwrap();
    store.delete(&[]).await.unwrap();
    assert_eq!(names(&*store, "", None, 1_000).await, ["d/2"]);
}

async fn objects_of_every_size_round_trip(store: Arc<dyn Store>) {
    for (number, size) in [0, 1, 4_095, (1 << 20) - 1, 1 << 20, (8 << 20) + 3].into_iter().enumerate() {
        let bytes: Bytes = (0..size).map(|at: usize| (at * 31 + at / 251) as u8).collect::<Vec<u8>>().into();
        let parts: Vec<Bytes> =
            (0..size.div_ceil(100_000)).map(|n| bytes.slice(n * 100_000..size.min((n + 1) * 100_000))).collect();
        let name = key(&format!("big/{number}"));
        let tag = done(store.create(&name, parts).await.unwrap());
        let read = store.get(&name).await.unwrap().unwrap();
        assert!(read.bytes == bytes && read.tag == tag, "{size} bytes");
        assert!(matches!(store.get_unless(&name, &tag).await.unwrap(), Unless::Unchanged));
        let middle = store.get_range(&name, size as u64 / 2, size as u64).await.unwrap().unwrap();
        assert!(middle == bytes.slice(size / 2..));
        assert_eq!(store.list_after(name.as_str(), None, 1).await.unwrap()[0].bytes, size as u64);
    }
}

async fn what_was_read_stays_when_it_is_deleted(store: Arc<dyn Store>) {
    let bytes = Bytes::from(vec![7; 3 << 20]);
    done(store.create(&key("m"), vec![bytes.clone()]).await.unwrap());
    let read = store.get(&key("m")).await.unwrap().unwrap().bytes;
    store.delete(&[key("m")]).await.unwrap();
    assert!(read == bytes);
}

async fn dates_are_by_one_clock(store: Arc<dyn Store>) {
    let before = store.now().await.unwrap().as_millis();
    create(&*store, "t", "x").await;
    let modified = store.list_after("t", None, 1).await.unwrap()[0].modified.as_millis();
    let after = store.now().await.unwrap().as_millis();
    // A kernel dates files by a clock up to 10 ms late, and a bucket dates to the second.
    assert!(before <= modified + 1_000 && modified <= after + 1_000, "{before} {modified} {after}");
}
