//! Objects that are sent ahead, and uploads that were begun and abandoned.
//!
//! A store may stage nothing. Then each check ends where [`Store::stage`] returns `None`.

use std::sync::Arc;

use bytes::Bytes;
use deltafold_format::Timestamp;

use super::{chunks, content, create, done, key, names};
use crate::store::{Outcome, Staged, Store};

/// A folder of staged objects.
const LOG: &str = "c/0000/log/";
/// Later than any upload.
const ALWAYS: Timestamp = Timestamp::from_millis(i64::MAX);

/// Stages an object that is large enough to be worth it.
async fn stage(store: &dyn Store, name: &str) -> Option<(Box<dyn Staged>, Bytes)> {
    let bytes: Bytes = (0..2_500_000_u32).map(|at| (at * 7 + at / 13) as u8).collect::<Vec<u8>>().into();
    let (front, back) = (bytes.slice(..1_000_000), bytes.slice(1_000_000..));
    let staged = store.stage(&key(name), &[front, back]).await.unwrap();
    assert!(content(store, name).await.is_none(), "staging alone makes no object visible");
    assert!(names(store, name, None, 1).await.is_empty(), "a list shows no staged object");
    staged.map(|staged| (staged, bytes))
}

async fn unfinished(store: &dyn Store, prefix: &str) -> u64 {
    store.abort_uploads(prefix, ALWAYS, true).await.unwrap()
}

pub(super) async fn a_staged_object_appears_when_it_is_created(store: Arc<dyn Store>) {
    let Some((staged, bytes)) = stage(&*store, "c/0000/log/1").await else { return };
    let tag = done(staged.create().await.unwrap());
    let read = store.get(&key("c/0000/log/1")).await.unwrap().unwrap();
    assert!(read.bytes == bytes, "a staged object has the staged bytes");
    assert_eq!(read.tag, tag, "the tag of the create");
    assert_eq!(unfinished(&*store, LOG).await, 0, "a created object leaves no upload");
}

pub(super) async fn a_staged_object_loses_to_one_that_exists(store: Arc<dyn Store>) {
    let Some((staged, _)) = stage(&*store, "c/0000/log/1").await else { return };
    create(&*store, "c/0000/log/1", "another").await;
    let late = staged.create().await;
    assert!(matches!(late, Ok(Outcome::Refused)), "a staged create of an existing key is refused: {late:?}");
    assert_eq!(content(&*store, "c/0000/log/1").await.unwrap(), "another", "a refused create changes nothing");
    let Some((first, _)) = stage(&*store, "c/0000/log/2").await else { return };
    let Some((second, _)) = stage(&*store, "c/0000/log/2").await else { return };
    done(second.create().await.unwrap());
    let late = first.create().await;
    assert!(matches!(late, Ok(Outcome::Refused)), "one of two staged objects of a key wins: {late:?}");
}

pub(super) async fn a_staged_object_that_is_given_up_never_appears(store: Arc<dyn Store>) {
    let Some((staged, _)) = stage(&*store, "c/0000/log/1").await else { return };
    staged.give_up().await;
    assert!(content(&*store, "c/0000/log/1").await.is_none(), "an object that was given up never appears");
    assert_eq!(unfinished(&*store, LOG).await, 0, "giving up leaves no upload");
    done(store.create(&key("c/0000/log/1"), chunks("x")).await.unwrap());
}

pub(super) async fn abandoned_uploads_are_found_and_given_up(store: Arc<dyn Store>) {
    create(&*store, "c/0000/log/1", "finished").await;
    assert_eq!(unfinished(&*store, "c/").await, 0, "an object is not an upload");
    assert_eq!(store.abort_uploads("c/", ALWAYS, false).await.unwrap(), 0, "there is nothing to give up");
    if let Some((staged, _)) = stage(&*store, "c/0000/log/2").await {
        let found = unfinished(&*store, LOG).await;
        assert_eq!(unfinished(&*store, LOG).await, found, "a dry run gives up nothing");
        assert_eq!(unfinished(&*store, "d/").await, 0, "uploads under another prefix do not count");
        let young = store.abort_uploads(LOG, Timestamp::default(), false).await.unwrap();
        assert_eq!(young, 0, "an upload that began later is not given up");
        assert_eq!(store.abort_uploads(LOG, ALWAYS, false).await.unwrap(), found, "the dry run told the number");
        assert_eq!(unfinished(&*store, LOG).await, 0, "no upload is left");
        if found > 0 {
            let late = staged.create().await;
            assert!(!matches!(late, Ok(Outcome::Done(_))), "an upload that was given up makes no object: {late:?}");
            assert!(content(&*store, "c/0000/log/2").await.is_none(), "an object that was given up never appears");
        }
    }
    if let Some((staged, _)) = stage(&*store, "c/0000/log/3").await {
        drop(staged);
        store.abort_uploads(LOG, ALWAYS, false).await.unwrap();
        assert_eq!(unfinished(&*store, LOG).await, 0, "no upload is left of an object that was dropped");
        assert!(content(&*store, "c/0000/log/3").await.is_none(), "a dropped object never appears");
    }
    assert_eq!(content(&*store, "c/0000/log/1").await.unwrap(), "finished", "giving up uploads touches no object");
}
