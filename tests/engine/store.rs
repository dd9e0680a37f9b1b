//! Every store against the one suite, and the failures that only a local folder can have.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use deltafold::format::Timestamp;
use deltafold::store::{Dir, Memory, Outcome, Store, StoreErrorKind};
use deltafold_testing::objects::{self, chunks, create, increment, key};
use deltafold_testing::watched::Watched;

#[cfg(feature = "conformance")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_contract() {
    deltafold::conformance::suite(|| async { Arc::new(Memory::new()) as Arc<dyn Store> }).await;
}

/// A sweep calls a shared handle of the store. If that does not pass the call on, unfinished
/// uploads stay in the bucket and cost money.
#[tokio::test]
async fn a_shared_store_passes_on_that_uploads_are_given_up() {
    let store = Watched::<Memory>::default();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let before = Timestamp::from_millis(1_000);
    for dry_run in [true, false] {
        Store::abort_uploads(&shared, "c/0000/", before, dry_run).await.unwrap();
        assert_eq!(store.aborts(), [("c/0000/".to_owned(), before, dry_run)]);
    }
}

/// The Linux way, and the portable way.
const WAYS: [fn(&Path) -> Dir; 2] = [|folder| Dir::open(folder).unwrap(), |folder| Dir::open_portable(folder).unwrap()];

#[cfg(feature = "conformance")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_folder_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    for open in WAYS {
        deltafold::conformance::suite(|| async {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let folder = root.path().join(format!("made/below/{number}"));
            Arc::new(open(&folder)) as Arc<dyn Store>
        })
        .await;
    }
}

/// The orders for a child process, in its environment: `FOLDER` and `DEED`.
const FOLDER: &str = "DELTAFOLD_TEST_FOLDER";
const DEED: &str = "DELTAFOLD_TEST_DEED";

fn child(folder: &Path, deed: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::deeds_of_child_processes", "--nocapture"]).env(FOLDER, folder).env(DEED, deed);
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Not a test of its own: other tests run it in child processes.
#[tokio::test]
async fn deeds_of_child_processes() {
    let (Some(folder), Ok(deed)) = (std::env::var_os(FOLDER), std::env::var(DEED)) else { return };
    let store = WAYS[std::process::id() as usize % 2](Path::new(&folder));
    match deed.as_str() {
        "increment" => increment(&store, "counter", 50).await,
        "append" => {
            let mut wins = 0;
            let mut next = 0;
            while wins < 50 {
                if let Outcome::Done(_) = store.create(&key(&format!("log/{next:04}")), chunks("x")).await.unwrap() {
                    wins += 1;
                }
                next += 1;
            }
        }
        "create for ever" => {
            for number in 0.. {
                let name = key(&format!("log/{}-{number:06}", std::process::id()));
                let size = 1 + number * 7_919 % 300_000;
                let bytes = bytes::Bytes::from(vec![size as u8; size]);
                let middle = size / 2;
                store.create(&name, vec![bytes.slice(..middle), bytes.slice(middle..)]).await.unwrap();
            }
        }
        other => panic!("no deed `{other}`"),
    }
}

#[tokio::test]
async fn processes_share_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let store = Dir::open(root.path()).unwrap();
    create(&store, "counter", "0").await;
    let children: Vec<Child> =
        (0..8).map(|n| child(root.path(), if n % 2 == 0 { "increment" } else { "append" })).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(store.get(&key("counter")).await.unwrap().unwrap().bytes, "200");
    assert_eq!(
        store.list_after("log/", None, 1_000).await.unwrap().len(),
        200,
        "each name had one winner, and no name was skipped"
    );
}

/// R15. Story: a process was killed, or the power failed, while it wrote. A truncated or
/// zero-filled object was taken for the real one.
///
/// Here processes are killed in the middle of writing, again and again. Every object with a name is
/// whole, and files without one are swept.
#[tokio::test]
async fn r15_a_killed_writer_leaves_whole_objects_and_no_litter() {
    let root = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..15 {
        let mut writers = [child(root.path(), "create for ever"), child(root.path(), "create for ever")];
        let store = Dir::open(root.path()).unwrap();
        // Waits until more objects are there, however long that takes.
        loop {
            let listed = store.list_after("log/", None, 100_000).await.unwrap().len();
            if listed >= last + 7 {
                last = listed;
                break;
            }
            tokio::task::yield_now().await;
        }
        for writer in &mut writers {
            writer.kill().unwrap();
            writer.wait().unwrap();
        }
    }
    let store = Dir::open(root.path()).unwrap();
    let listed = store.list_after("log/", None, 100_000).await.unwrap();
    assert!(listed.len() >= 100);
    for listed in listed {
        let number: usize = listed.key.as_str().rsplit_once('-').unwrap().1.parse().unwrap();
        let size = 1 + number * 7_919 % 300_000;
        let bytes = store.get(&listed.key).await.unwrap().unwrap().bytes;
        assert!(bytes.len() == size && bytes.iter().all(|byte| *byte == size as u8), "{}", listed.key);
    }
    let left = std::fs::read_dir(root.path().join(".tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "opening the folder sweeps what killed writers left");
}

#[tokio::test]
async fn a_writer_at_work_keeps_its_temporary_file() {
    let root = tempfile::tempdir().unwrap();
    let store = Dir::open_portable(root.path()).unwrap();
    create(&store, "x", "x").await;
    let path = root.path().join(".tmp/held");
    let held = std::fs::File::create(&path).unwrap();
    held.lock().unwrap();
    Dir::open(root.path()).unwrap();
    assert!(path.exists(), "a writer may be at it");
    drop(held);
    Dir::open(root.path()).unwrap();
    assert!(!path.exists(), "no writer is");
}

#[tokio::test]
async fn opening_a_folder_that_is_not_there_makes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = Dir::open(root.path().join("none")).unwrap();
    assert!(store.get(&key("x")).await.unwrap().is_none());
    assert!(store.list_after("", None, 10).await.unwrap().is_empty());
    assert!(!root.path().join("none").exists());
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Dir::open(&file).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Permanent);
    assert!(error.to_string().contains("a file stands where a folder is needed"), "{error}");
    let store = Dir::open(root.path()).unwrap();
    let error = store.create(&key("file/below"), chunks("x")).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (StoreErrorKind::Permanent, "file/below"));
    assert!(error.to_string().starts_with("cannot create `file/below`: "), "{error}");
    assert!(std::fs::read_dir(root.path().join(".tmp")).map_or(0, Iterator::count) == 0);
}

#[tokio::test]
async fn a_folder_removed_under_the_store_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    for open in WAYS {
        let store = open(&root.path().join("data"));
        let tag = create(&store, "c/0/log/1", "x").await;
        store.replace(&key("c/0/log/1"), &tag, chunks("xx")).await.unwrap();
        std::fs::remove_dir_all(root.path().join("data")).unwrap();
        let tag = create(&store, "c/0/log/2", "y").await;
        let tag = objects::done(store.replace(&key("c/0/log/2"), &tag, chunks("yy")).await.unwrap());
        std::fs::remove_dir_all(root.path().join("data/.lock")).unwrap();
        store.replace(&key("c/0/log/2"), &tag, chunks("z")).await.unwrap();
        assert_eq!(store.get(&key("c/0/log/2")).await.unwrap().unwrap().bytes, "z");
    }
}

/// Story: FAT has no hard links and answers EPERM, and the advice was to give the user rights.
#[cfg(feature = "simulation")]
#[tokio::test]
async fn a_file_system_without_hard_links_is_named() {
    use deltafold::simulation::WithoutLinks;
    use rustix::io::Errno;

    let said = async |errno: Errno| {
        let root = tempfile::tempdir().unwrap();
        let mut said = Vec::new();
        for open in WAYS {
            let store = open(root.path());
            let _without = WithoutLinks::begin(root.path(), errno.raw_os_error());
            let error = store.create(&key("c/0/log/1"), chunks("x")).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Permanent, "{error}");
            said.push(error.to_string());
        }
        assert_eq!(std::fs::read_dir(root.path().join(".tmp")).map_or(0, Iterator::count), 0, "no litter");
        said.join("\n")
    };
    for errno in [Errno::PERM, Errno::NOSYS, Errno::OPNOTSUPP, Errno::MLINK, Errno::XDEV] {
        let said = said(errno).await;
        assert!(said.contains("choose a folder on a file system with hard links and locks"), "{errno}: {said}");
        assert!(!said.contains("give this user the right"), "{errno}: {said}");
    }
    let rights = said(Errno::ACCESS).await;
    assert!(rights.contains("give this user the right") && !rights.contains("hard links"), "{rights}");
}
