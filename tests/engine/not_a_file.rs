//! Story: a local folder had a symbolic link, a pipe or a folder in place of an object. The program
//! said "try again" for ever, or waited for a writer of the pipe. Now that is damage, and the error
//! names the object.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deltafold::format::{Op, Patch};
use deltafold::store::{Dir, Store as _};
use deltafold::{Collection, CompactorOptions, CreateOptions, Depth, Error, ErrorKind, RepairOptions, WriterOptions};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Link,
    Dangling,
    Pipe,
    Folder,
}
const KINDS: [Kind; 4] = [Kind::Link, Kind::Dangling, Kind::Pipe, Kind::Folder];

fn put(kind: Kind, path: &Path) {
    let aside = path.with_extension("aside");
    match kind {
        Kind::Link => {
            if path.exists() {
                fs::rename(path, &aside).unwrap();
            } else {
                fs::write(&aside, "").unwrap();
            }
            symlink(&aside, path).unwrap();
        }
        _ => {
            let _ = fs::remove_file(path);
            match kind {
                Kind::Dangling => symlink("/nowhere", path).unwrap(),
                Kind::Pipe => assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success()),
                _ => fs::create_dir(path).unwrap(),
            }
        }
    }
}

/// Three records, two of them folded, and the folder.
async fn made() -> (Collection, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Dir::open(folder.path()).unwrap());
    let collection = Collection::create(store, &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    append(&collection).await.unwrap();
    append(&collection).await.unwrap();
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    append(&collection).await.unwrap();
    (collection, folder)
}

async fn append(collection: &Collection) -> Result<(), Error> {
    let writer = collection.writer(WriterOptions::default()).unwrap();
    writer.append(vec![Op::upsert("r", Patch::default())]).await.map(drop)
}

async fn count(collection: &Collection) -> Result<(), Error> {
    collection.reader().await?.count().await.map(drop)
}

/// The first file with this ending in this folder of a shard.
fn file(root: &TempDir, folder: &str, ending: &str) -> PathBuf {
    let shard = root.path().join("c").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let shard = shard.into_iter().find(|path| path.is_dir()).unwrap();
    let mut files: Vec<PathBuf> = shard.join(folder).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().find(|path| path.to_string_lossy().ends_with(ending)).unwrap()
}

fn is_damage(failed: Result<(), Error>, path: &Path, story: &str) {
    let error = failed.expect_err(story);
    let name = path.file_name().unwrap().to_string_lossy();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{story}: {error}");
    assert!(error.to_string().contains(&*name), "{story}: {error}");
}

async fn found(collection: &Collection, path: &Path, depth: Depth, story: &str) {
    let report = collection.verify(depth, |_| ()).await.unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    assert!(report.findings.iter().any(|finding| finding.key.ends_with(&*name)), "{story}: {:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_object_in_a_slot_of_the_log() {
    for kind in KINDS {
        let (collection, root) = made().await;
        let path = file(&root, "log", "3");
        put(kind, &path);
        let story = format!("{kind:?} in slot 3");
        // An empty folder is not listed. Nothing tells it from a free slot until a write.
        if kind != Kind::Folder {
            is_damage(count(&collection).await, &path, &story);
            found(&collection, &path, Depth::Deep, &story).await;
        }
        is_damage(append(&collection).await, &path, &story);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_object_in_the_free_slot() {
    for kind in KINDS {
        let (collection, root) = made().await;
        let path = file(&root, "log", "3").with_file_name(format!("{:020}", 4));
        put(kind, &path);
        is_damage(append(&collection).await, &path, &format!("{kind:?} in slot 4"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_object_in_a_folded_slot() {
    for kind in KINDS {
        let (collection, root) = made().await;
        let path = file(&root, "log", "1");
        put(kind, &path);
        found(&collection, &path, Depth::Deep, &format!("{kind:?} in slot 1")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_object_where_a_head_manifest_or_part_belongs() {
    // A folder in place of a head is a lost head.
    for kind in [Kind::Link, Kind::Dangling, Kind::Pipe] {
        for folder in ["", "manifest", "part"] {
            let (collection, root) = made().await;
            let path = file(&root, folder, if folder.is_empty() { "head" } else { "" });
            put(kind, &path);
            let story = format!("{kind:?} in place of `{}`", path.display());
            is_damage(count(&collection).await, &path, &story);
            found(&collection, &path, Depth::Deep, &story).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_removes_links_and_pipes() {
    for kind in [Kind::Link, Kind::Dangling, Kind::Pipe] {
        let (collection, root) = made().await;
        put(kind, &file(&root, "log", "1"));
        let store = collection.store().clone();
        Collection::drop_collection(&*store, collection.name(), |_| ()).await.unwrap();
        let anew = Collection::create(store, collection.name(), &CreateOptions::new(2)).await.unwrap();
        append(&anew).await.unwrap();
        count(&anew).await.unwrap();
    }
}

/// An unreadable folder is not an empty one. Taken for empty, the log would have lost its
/// acknowledged ops.
#[tokio::test]
async fn a_file_where_a_folder_belongs_is_an_error() {
    let (collection, folder) = made().await;
    for name in ["log", "part", "manifest"] {
        let (path, aside) = (folder.path().join("c/0000").join(name), folder.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        fs::write(&path, "").unwrap();
        let prefix = format!("c/0000/{name}/");
        let listed = Dir::open(folder.path()).unwrap().list_after(&prefix, None, 10).await;
        assert!(listed.is_err(), "{listed:?}");
        assert!(collection.verify(Depth::Deep, |_| ()).await.map_or(true, |report| !report.is_sound()), "{name}");
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    assert!(collection.verify(Depth::Deep, |_| ()).await.unwrap().is_sound());
}

/// A register that is a link is damaged. Repair reports it as it reports other damage, and follows
/// no link.
#[tokio::test]
async fn repair_tells_of_a_link_in_place_of_a_register() {
    for name in ["collection", "0000/head"] {
        let (collection, root) = made().await;
        put(Kind::Link, &root.path().join("c").join(name));
        let options = RepairOptions::default();
        let plan = Collection::repair(collection.store().clone(), collection.name(), &options).await.unwrap();
        let step = plan.steps.iter().find(|step| step.key == format!("c/{name}")).unwrap();
        assert!(step.problem.contains("link"), "{step:?}");
    }
}
