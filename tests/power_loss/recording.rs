//! The events in order, and a check of every state that a power failure among them may leave.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use deltafold::simulation::{DiskCall, DiskWatch};
use tempfile::TempDir;

use crate::disk::{Content, Disk, lay, within};
use crate::known::{Event, Known, check};

/// An event.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Call(DiskCall),
    Event(Event),
}

/// A folder whose calls are recorded.
pub(crate) struct Recording {
    folder: TempDir,
    entries: Arc<Mutex<Vec<Entry>>>,
    _watch: DiskWatch,
}

/// In memory if possible: nothing here needs to outlast the test.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

impl Recording {
    /// Records, and calls `each` after a call is recorded.
    pub(crate) fn begin(each: impl Fn(&Events, &DiskCall) + Send + Sync + 'static) -> Self {
        let folder = folder();
        let entries: Arc<Mutex<Vec<Entry>>> = Arc::default();
        let events = Events(entries.clone());
        let root = folder.path().to_owned();
        let watcher = move |call| {
            let call = within(&root, call);
            events.0.lock().unwrap().push(Entry::Call(call.clone()));
            each(&events, &call);
        };
        let watch = DiskWatch::begin(folder.path(), Arc::new(watcher));
        Self { folder, entries, _watch: watch }
    }

    /// The folder of the store.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn events(&self) -> Events {
        Events(self.entries.clone())
    }
}

/// The list of events.
#[derive(Clone)]
pub(crate) struct Events(Arc<Mutex<Vec<Entry>>>);

impl Events {
    pub(crate) fn note(&self, event: Event) {
        self.0.lock().unwrap().push(Entry::Event(event));
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.all().clone()
    }

    pub(crate) fn all(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap()
    }
}

/// A state that a power failure may leave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Left {
    known: Known,
    content: Content,
}

/// States to check, each once.
#[derive(Default)]
pub(crate) struct States {
    seen: BTreeSet<Left>,
    stories: Vec<(Left, String)>,
    /// Moments of a power failure.
    pub(crate) points: usize,
}

impl States {
    /// The power fails after the last of `entries`.
    pub(crate) fn add(&mut self, entries: &[Entry], what: &str) {
        let (mut disk, mut known) = (Disk::default(), Known::default());
        for entry in entries {
            match entry {
                Entry::Call(call) => disk.apply(call),
                Entry::Event(event) => known.learn(event),
            }
        }
        self.points += 1;
        for (names, content) in disk.after_power_loss() {
            let left = Left { known: known.clone(), content };
            if self.seen.insert(left.clone()) {
                self.stories.push((left, format!("{what}, {names}")));
            }
        }
    }

    /// The power fails after each of `entries`.
    pub(crate) fn add_each(&mut self, entries: &[Entry]) {
        for (number, entry) in entries.iter().enumerate() {
            self.add(&entries[..=number], &format!("after {}: {}", number + 1, short(entry)));
        }
    }

    /// The first failure; `None` if there is none.
    pub(crate) fn failure(self) -> Option<String> {
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    while failed.lock().unwrap().is_none() {
                        let Some((left, story)) = self.stories.get(next.fetch_add(1, Relaxed)) else { return };
                        let folder = folder();
                        lay(&left.content, folder.path());
                        if let Err(problem) = runtime.block_on(check(&folder.path().join("store"), &left.known)) {
                            *failed.lock().unwrap() = Some(format!("{story}: {problem}"));
                        }
                    }
                });
            }
        });
        failed.into_inner().unwrap()
    }

    pub(crate) fn len(&self) -> usize {
        self.stories.len()
    }
}

fn short(entry: &Entry) -> String {
    match entry {
        Entry::Call(DiskCall::Write { file, bytes }) => format!("Write {} bytes to file {file}", bytes.len()),
        Entry::Call(call) => format!("{call:?}"),
        Entry::Event(event) => format!("{event:?}"),
    }
}
