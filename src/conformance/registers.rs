//! Registers: objects that are replaced by compare-and-set.

use std::sync::Arc;

use bytes::Bytes;

use super::{HEAD, at_once, chunks, content, create, done, key};
use crate::store::{Outcome, Store, Tag, Unless};

pub(super) async fn a_conditional_read_has_three_answers(store: Arc<dyn Store>) {
    let first = create(&*store, HEAD, "1").await;
    let same = store.get_unless(&key(HEAD), &first).await.unwrap();
    assert!(matches!(same, Unless::Unchanged), "an unchanged register is not sent: {same:?}");
    let second = done(store.replace(&key(HEAD), &first, chunks("2")).await.unwrap());
    match store.get_unless(&key(HEAD), &first).await.unwrap() {
        Unless::Changed(object) => assert_eq!((object.bytes, object.tag), (Bytes::from_static(b"2"), second)),
        other => panic!("a changed register is sent: {other:?}"),
    }
    store.delete(&[key(HEAD)]).await.unwrap();
    let gone = store.get_unless(&key(HEAD), &first).await.unwrap();
    assert!(matches!(gone, Unless::Absent), "a deleted register is absent: {gone:?}");
}

pub(super) async fn only_the_state_named_is_replaced(store: Arc<dyn Store>) {
    let first = create(&*store, HEAD, "1").await;
    let second = done(store.replace(&key(HEAD), &first, chunks("2")).await.unwrap());
    let stale = store.replace(&key(HEAD), &first, chunks("3")).await;
    assert!(matches!(stale, Ok(Outcome::Refused)), "a replace with an old tag is refused: {stale:?}");
    assert_eq!(content(&*store, HEAD).await.unwrap(), "2", "a refused replace changes nothing");
    let absent = store.replace(&key("none/0000/head"), &second, chunks("3")).await;
    assert!(matches!(absent, Ok(Outcome::Refused)), "a replace of an absent object is refused: {absent:?}");
    assert!(content(&*store, "none/0000/head").await.is_none(), "a refused replace creates nothing");
}

pub(super) async fn one_of_many_replacers_wins(store: Arc<dyn Store>) {
    let mut tag = create(&*store, HEAD, "start").await;
    for round in 0..20 {
        let replacers = (0..16).map(|replacer| {
            let (store, tag) = (store.clone(), tag.clone());
            let content = format!("{round} {replacer}");
            async move { store.replace(&key(HEAD), &tag, chunks(&content)).await.unwrap() }
        });
        let outcomes = at_once(replacers).await.into_iter();
        let mut winners: Vec<Tag> =
            outcomes.filter_map(|outcome| if let Outcome::Done(tag) = outcome { Some(tag) } else { None }).collect();
        assert_eq!(winners.len(), 1, "one replacer of one state wins");
        tag = winners.remove(0);
        assert_eq!(store.get(&key(HEAD)).await.unwrap().unwrap().tag, tag, "the winner's tag");
    }
}

/// Adds 1 to a counter, `times` times.
async fn increment(store: &dyn Store, times: usize) {
    for _ in 0..times {
        loop {
            let object = store.get(&key(HEAD)).await.unwrap().unwrap();
            let count: u64 = std::str::from_utf8(&object.bytes).unwrap().parse().unwrap();
            match store.replace(&key(HEAD), &object.tag, chunks(&(count + 1).to_string())).await.unwrap() {
                Outcome::Done(_) => break,
                Outcome::Refused => {}
                Outcome::Unknown(error) => panic!("a store that works answers every replace: {error}"),
            }
        }
    }
}

pub(super) async fn no_increment_is_lost(store: Arc<dyn Store>) {
    create(&*store, HEAD, "0").await;
    at_once((0..8).map(|_| {
        let store = store.clone();
        async move { increment(&*store, 25).await }
    }))
    .await;
    assert_eq!(content(&*store, HEAD).await.unwrap(), "200", "8 callers counted to 25 each");
}

pub(super) async fn no_replace_brings_back_a_deleted_object(store: Arc<dyn Store>) {
    for round in 0..20 {
        let name = key(&format!("c{round}/0000/head"));
        let tag = create(&*store, name.as_str(), "1").await;
        at_once([Some(tag), None].map(|replaced| {
            let (store, name) = (store.clone(), name.clone());
            async move {
                match replaced {
                    Some(tag) => drop(store.replace(&name, &tag, chunks("2")).await.unwrap()),
                    None => store.delete(&[name]).await.unwrap(),
                }
            }
        }))
        .await;
        assert!(content(&*store, name.as_str()).await.is_none(), "a replace brought back a deleted object");
    }
}
