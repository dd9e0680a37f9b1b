//! Copies of parts and of their ranges in a local folder. A hit makes no request, damage is read
//! anew, the bound holds, and verification reads the store itself.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use deltafold::store::{Cached, Memory, RequestKind, Store};
use deltafold_testing::objects::{self, key};

/// A store in memory with copies in a folder of at most `max_bytes` bytes.
fn cached(memory: &Memory, folder: &Path, max_bytes: u64) -> Cached {
    Cached::open(Arc::new(memory.clone()), folder, max_bytes).unwrap()
}

async fn create(store: &dyn Store, name: &str, bytes: usize) -> Bytes {
    let content: Bytes = (0..bytes).map(|at| (at * 7 + name.len()) as u8).collect::<Vec<u8>>().into();
    objects::done(store.create(&key(name), vec![content.clone()]).await.unwrap());
    content
}

async fn read(store: &dyn Store, name: &str) -> Option<Bytes> {
    store.get(&key(name)).await.unwrap().map(|object| object.bytes)
}

fn gets(memory: &Memory) -> u64 {
    memory.requests().of(RequestKind::Get).calls
}

fn held(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[cfg(feature = "conformance")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_copies_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    deltafold::conformance::suite(|| async {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(cached(&Memory::new(), &folder.path().join(number.to_string()), 1 << 20)) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn parts_are_read_once_and_everything_else_each_time() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let store = cached(&memory, folder.path(), 1 << 20);
    let part = create(&store, "c/0000/part/1.emb", 10_000).await;
    let head = create(&store, "c/0000/head", 100).await;
    for _ in 0..3 {
        assert_eq!(read(&store, "c/0000/part/1.emb").await.unwrap(), part);
        assert_eq!(read(&store, "c/0000/head").await.unwrap(), head);
    }
    assert_eq!(gets(&memory), 1 + 3);
    // Another process, and a collection of the same name in another store.
    let again = cached(&memory, folder.path(), 1 << 20);
    assert_eq!(read(&again, "c/0000/part/1.emb").await.unwrap(), part);
    assert_eq!(gets(&memory), 4);
    assert!(read(&store, "c/0000/part/never.emb").await.is_none());
}

async fn range(store: &dyn Store, name: &str, start: u64, end: u64) -> Option<Bytes> {
    store.get_range(&key(name), start, end).await.unwrap()
}

#[tokio::test]
async fn ranges_come_from_copies_of_the_object_or_of_the_range() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let store = cached(&memory, folder.path(), 1 << 20);
    let part = create(&store, "c/0000/part/1.emb", 100_000).await;
    let head = create(&store, "c/0000/head", 100).await;
    for (start, end, requests) in
        [(10, 20, 1), (10, 20, 0), (10, 21, 1), (99_990, 200_000, 1), (99_990, 200_000, 0), (200_000, 200_001, 1)]
    {
        let before = gets(&memory);
        let expected = part.slice((start as usize).min(part.len())..(end as usize).min(part.len()));
        assert_eq!(range(&store, "c/0000/part/1.emb", start, end).await.unwrap(), expected);
        assert_eq!(gets(&memory), before + requests, "{start} to {end}");
    }
    read(&store, "c/0000/part/1.emb").await.unwrap();
    let before = gets(&memory);
    for (start, end) in [(0, 100_000), (16_383, 16_385), (99_999, 300_000), (100_000, 100_001), (5, 5)] {
        let expected = part.slice(start..end.min(part.len()));
        assert_eq!(range(&store, "c/0000/part/1.emb", start as u64, end as u64).await.unwrap(), expected);
    }
    assert_eq!(gets(&memory), before + 1, "the empty range alone asks the store");
    // Another process. Then another object, a missing one, and one that is not a part.
    let again = cached(&memory, folder.path(), 1 << 20);
    let before = gets(&memory);
    assert_eq!(range(&again, "c/0000/part/1.emb", 7, 9).await.unwrap(), part.slice(7..9));
    assert_eq!(gets(&memory), before);
    assert!(range(&again, "c/0000/part/never.emb", 7, 9).await.is_none());
    for _ in 0..2 {
        assert_eq!(range(&again, "c/0000/head", 7, 9).await.unwrap(), head.slice(7..9));
    }
    assert_eq!(gets(&memory), before + 3);
    // A delete of the object removes all its copies.
    range(&store, "c/0000/part/1.emb", 0, 1).await.unwrap();
    store.delete(&[key("c/0000/part/1.emb")]).await.unwrap();
    assert!(range(&store, "c/0000/part/1.emb", 10, 20).await.is_none());
    assert_eq!(held(folder.path()), 0);
}

#[tokio::test]
async fn damage_of_a_copy_is_found_by_the_range_that_takes_it() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let store = cached(&memory, folder.path(), 1 << 20);
    let part = create(&store, "c/0000/part/1.emb", 100_000).await;
    let only = || std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let damage = |at: usize| {
        let copy = only();
        let mut damaged = std::fs::read(&copy).unwrap();
        damaged[at] ^= 1;
        // Under a new name first: a mapped file must not change.
        std::fs::write(folder.path().join("other"), damaged).unwrap();
        std::fs::rename(folder.path().join("other"), &copy).unwrap();
    };
    read(&store, "c/0000/part/1.emb").await.unwrap();
    damage(40_000);
    let before = gets(&memory);
    assert_eq!(range(&store, "c/0000/part/1.emb", 0, 30_000).await.unwrap(), part.slice(..30_000));
    assert_eq!(gets(&memory), before, "other blocks are sound");
    assert_eq!(range(&store, "c/0000/part/1.emb", 40_001, 40_002).await.unwrap(), part.slice(40_001..40_002));
    assert_eq!(gets(&memory), before + 1);
    // The copy of the whole object is gone, and the range has a copy of its own.
    damage(0);
    assert_eq!(range(&store, "c/0000/part/1.emb", 40_001, 40_002).await.unwrap(), part.slice(40_001..40_002));
    assert_eq!(gets(&memory), before + 2);
    assert_eq!(range(&store, "c/0000/part/1.emb", 40_001, 40_002).await.unwrap(), part.slice(40_001..40_002));
    assert_eq!(gets(&memory), before + 2);
    // The copy of another range under this range's name.
    let first = only();
    range(&store, "c/0000/part/1.emb", 7, 8).await.unwrap();
    let other =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).find(|path| *path != first);
    std::fs::rename(other.unwrap(), &first).unwrap();
    assert_eq!(range(&store, "c/0000/part/1.emb", 40_001, 40_002).await.unwrap(), part.slice(40_001..40_002));
    assert_eq!(gets(&memory), before + 4);
}

#[tokio::test]
async fn ranges_stay_within_the_bound_of_the_folder() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let bound = 100_000;
    let store = cached(&memory, folder.path(), bound);
    let part = create(&store, "c/0000/part/1.emb", 400_000).await;
    for start in (0..390_000).step_by(9_000) {
        let (from, to) = (start as u64, start as u64 + 9_000);
        assert_eq!(range(&store, "c/0000/part/1.emb", from, to).await.unwrap(), part.slice(start..start + 9_000));
        assert!(held(folder.path()) <= bound + bound / 16 + 9_100, "{}", held(folder.path()));
    }
    let before = gets(&memory);
    range(&store, "c/0000/part/1.emb", 387_000, 396_000).await.unwrap();
    assert_eq!(gets(&memory), before, "the last one is there");
    range(&store, "c/0000/part/1.emb", 0, 9_000).await.unwrap();
    assert_eq!(gets(&memory), before + 1);
}

#[tokio::test]
async fn a_damaged_copy_is_read_anew() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let store = cached(&memory, folder.path(), 1 << 20);
    let part = create(&store, "c/0000/part/1.emb", 10_000).await;
    read(&store, "c/0000/part/1.emb").await.unwrap();
    let copy = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&copy).unwrap();
    for at in [0, 5_000, 9_999, 10_000, 10_010, 10_020, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        // Under a new name first: a mapped file must not change.
        let temporary = folder.path().join("other");
        std::fs::write(&temporary, damaged).unwrap();
        std::fs::rename(&temporary, &copy).unwrap();
        let before = gets(&memory);
        assert_eq!(read(&store, "c/0000/part/1.emb").await.unwrap(), part, "byte {at}");
        assert_eq!(gets(&memory), before + 1, "byte {at}");
    }
    for length in [0, 1, 27, 28, 9_999] {
        std::fs::write(folder.path().join("other"), &whole[..length]).unwrap();
        std::fs::rename(folder.path().join("other"), &copy).unwrap();
        assert_eq!(read(&store, "c/0000/part/1.emb").await.unwrap(), part, "{length} bytes");
    }
    // The copy of another object under this object's name.
    create(&store, "c/0000/part/2.emb", 500).await;
    read(&store, "c/0000/part/2.emb").await.unwrap();
    let other = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).find(|path| *path != copy);
    std::fs::rename(other.unwrap(), &copy).unwrap();
    assert_eq!(read(&store, "c/0000/part/1.emb").await.unwrap(), part);
}

#[tokio::test]
async fn a_full_cache_evicts_the_longest_unused_copies() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let bound = 100_000;
    let store = cached(&memory, folder.path(), bound);
    create(&store, "c/0000/part/often.emb", 9_000).await;
    for number in 0..40 {
        let name = format!("c/0000/part/{number}.emb");
        let content = create(&store, &name, 9_000).await;
        assert_eq!(read(&store, &name).await.unwrap(), content);
        read(&store, "c/0000/part/often.emb").await.unwrap();
        assert!(held(folder.path()) <= bound + bound / 16 + 9_100, "{}", held(folder.path()));
    }
    let before = gets(&memory);
    read(&store, "c/0000/part/often.emb").await.unwrap();
    read(&store, "c/0000/part/39.emb").await.unwrap();
    assert_eq!(gets(&memory), before, "objects read often, or read last, are kept");
    read(&store, "c/0000/part/0.emb").await.unwrap();
    assert_eq!(gets(&memory), before + 1);
    // An object larger than the bound is read, and not kept.
    let large = create(&store, "c/0000/part/large.emb", 200_000).await;
    assert_eq!(read(&store, "c/0000/part/large.emb").await.unwrap(), large);
    assert!(held(folder.path()) <= bound + bound / 16 + 9_100);
}

#[tokio::test]
async fn a_deleted_object_leaves_the_cache_and_its_maps_stay() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let store = cached(&memory, folder.path(), 1 << 20);
    let part = create(&store, "c/0000/part/1.emb", 10_000).await;
    read(&store, "c/0000/part/1.emb").await.unwrap();
    let mapped = read(&store, "c/0000/part/1.emb").await.unwrap();
    store.delete(&[key("c/0000/part/1.emb")]).await.unwrap();
    assert!(read(&store, "c/0000/part/1.emb").await.is_none());
    assert_eq!(mapped, part);
    // Another process deleted the object. The copy may live on; a read of the store itself shows
    // the truth.
    create(&store, "c/0000/part/2.emb", 10_000).await;
    read(&store, "c/0000/part/2.emb").await.unwrap();
    memory.delete(&[key("c/0000/part/2.emb")]).await.unwrap();
    assert!(read(&store, "c/0000/part/2.emb").await.is_some());
    assert!(read(&*store.uncached().unwrap(), "c/0000/part/2.emb").await.is_none());
}

#[tokio::test]
async fn a_cache_folder_must_open_and_may_vanish_later() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Cached::open(Arc::new(memory.clone()), &file, 1 << 20).unwrap_err();
    assert!(error.to_string().contains("cache"), "{error}");
    let store = cached(&memory, &folder.path().join("copies"), 1 << 20);
    let part = create(&store, "c/0000/part/1.emb", 10_000).await;
    std::fs::remove_dir_all(folder.path().join("copies")).unwrap();
    assert_eq!(read(&store, "c/0000/part/1.emb").await.unwrap(), part);
}
