//! Lists, and the dates in them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{create, key, names};
use crate::store::Store;

pub(super) async fn lists_are_in_key_order_and_complete(store: Arc<dyn Store>) {
    // No object has the name of a folder: a file system allows no such pair.
    let all = ["a-b/c", "a.b", "a/b-c", "a/b.c/d", "a/b/c", "a0", "b/log/001", "b/log/002", "b/log/010", "c"];
    for name in all.into_iter().rev() {
        create(&*store, name, "x").await;
    }
    let sorted: Vec<&str> = BTreeSet::from(all).into_iter().collect();
    assert_eq!(names(&*store, "", None, 1_000).await, sorted, "every object, in the byte order of the keys");
    assert_eq!(names(&*store, "a/", None, 1_000).await, ["a/b-c", "a/b.c/d", "a/b/c"]);
    assert_eq!(names(&*store, "a/b", None, 1_000).await, ["a/b-c", "a/b.c/d", "a/b/c"], "a prefix may end in a name");
    assert_eq!(names(&*store, "b/log/0", Some("b/log/001"), 1_000).await, ["b/log/002", "b/log/010"]);
    assert_eq!(names(&*store, "b/log/", Some("b/log/0015"), 1).await, ["b/log/002"], "after an absent key");
    assert_eq!(names(&*store, "b/log/", Some("a"), 1).await, ["b/log/001"], "after a key before the prefix");
    assert!(names(&*store, "b/log/", Some("c"), 1_000).await.is_empty(), "after a key behind the prefix");
    assert!(names(&*store, "nothing/of/this", None, 1_000).await.is_empty());
    let listed = store.list_after("c", None, 1_000).await.unwrap();
    assert_eq!((listed[0].key.as_str(), listed[0].bytes), ("c", 1));
}

pub(super) async fn registers_are_listed_with_their_collection(store: Arc<dyn Store>) {
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
    assert_eq!(names(&*store, "c/", None, 1_000).await, ["c/0000/claim", "c/collection"], "after a delete");
}

pub(super) async fn lists_page_without_gaps(store: Arc<dyn Store>) {
    let mut all: Vec<String> = (0..57).map(|n| format!("l/{}/{n:03}", n % 3)).collect();
    for name in &all {
        create(&*store, name, "x").await;
    }
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = names(&*store, "l/", seen.last().map(String::as_str), 10).await;
        let ends = page.len() < 10;
        seen.extend(page);
        if ends {
            break;
        }
    }
    all.sort();
    assert_eq!(seen, all, "pages of 10 give every object once");
}

pub(super) async fn dates_come_from_one_clock(store: Arc<dyn Store>) {
    let before = store.now().await.unwrap().as_millis();
    create(&*store, "t", "x").await;
    let modified = store.list_after("t", None, 1).await.unwrap()[0].modified.as_millis();
    let after = store.now().await.unwrap().as_millis();
    // A kernel dates files by a clock up to 10 ms late, and a bucket dates to the second.
    assert!(
        before <= modified + 1_000 && modified <= after + 1_000,
        "the clock said {before} before and {after} after a create, and the object's date is {modified}"
    );
}
