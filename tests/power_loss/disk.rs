//! The state of a disk after the recorded calls. Flushed data is certain. Of everything else a
//! power failure may leave any part.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use deltafold::simulation::DiskCall;

/// A folder or a file, by the order in which files were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Debug, Clone, Default)]
struct File {
    bytes: Vec<u8>,
    flushed: usize,
}

/// A name that was given or removed, and is not flushed.
#[derive(Debug, Clone)]
struct Pending {
    path: PathBuf,
    node: Option<Node>,
}

/// The disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// The file that has each number now.
    numbers: HashMap<u64, usize>,
    names: BTreeMap<PathBuf, Node>,
    pending: Vec<Pending>,
}

/// The fate of written bytes that were not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unflushed {
    Dropped,
    Torn,
    Zeroed,
    Whole,
}

/// The number of unflushed names that are tried one by one, the latest first. The others are there
/// together or not at all.
const LATEST: usize = 6;

/// The content of the disk: the bytes of files, `None` for folders.
pub(crate) type Content = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Disk {
    /// Applies the changes of a call.
    pub(crate) fn apply(&mut self, call: &DiskCall) {
        match call {
            DiskCall::MakeFolder(path) => self.pend(path, Some(Node::Folder)),
            DiskCall::Create { file, path } => {
                self.files.push(File::default());
                let index = self.files.len() - 1;
                self.numbers.insert(*file, index);
                if let Some(path) = path {
                    self.pend(path, Some(Node::File(index)));
                }
            }
            DiskCall::Write { file, bytes } => self.file(*file).bytes.extend(bytes),
            DiskCall::SyncFile(file) => {
                let file = self.file(*file);
                file.flushed = file.bytes.len();
            }
            DiskCall::Link { file, path } => {
                let node = Node::File(self.numbers[file]);
                self.pend(path, Some(node));
            }
            DiskCall::Rename { from, to } => {
                let node = self.seen(from);
                self.pend(to, node);
                self.pend(from, None);
            }
            DiskCall::Remove(path) => self.pend(path, None),
            DiskCall::SyncFolder(folder) => {
                let (flushed, pending) =
                    std::mem::take(&mut self.pending).into_iter().partition(|p| p.path.parent() == Some(folder));
                self.pending = pending;
                for pending in flushed {
                    set(&mut self.names, &pending);
                }
            }
            DiskCall::WillLock(_) | DiskCall::Locked(_) | DiskCall::Unlocked(_) => {}
        }
    }

    fn pend(&mut self, path: &Path, node: Option<Node>) {
        self.pending.push(Pending { path: path.to_owned(), node });
    }

    fn file(&mut self, number: u64) -> &mut File {
        &mut self.files[self.numbers[&number]]
    }

    /// The node under a name while the power is on.
    fn seen(&self, path: &Path) -> Option<Node> {
        let last = self.pending.iter().rev().find(|pending| pending.path == path);
        last.map_or_else(|| self.names.get(path).copied(), |pending| pending.node)
    }

    /// All possible states after a power failure: one for each choice of unflushed names and bytes.
    pub(crate) fn after_power_loss(&self) -> Vec<(String, Content)> {
        use Unflushed::{Dropped, Torn, Whole, Zeroed};
        let mut all: Vec<(String, Content)> = Vec::new();
        let mut with = |what: String, names: &dyn Fn(usize) -> bool, bytes| {
            let content = self.content(names, bytes);
            if all.iter().all(|(_, other)| *other != content) {
                all.push((what, content));
            }
        };
        with("nothing that was not flushed".to_owned(), &|_| false, Dropped);
        for bytes in [Dropped, Torn, Zeroed, Whole] {
            with(format!("all names, unflushed bytes {bytes:?}"), &|_| true, bytes);
        }
        // Names of temporary files are never flushed, and pile up.
        for (number, pending) in self.pending.iter().enumerate().rev().take(LATEST) {
            with(format!("of unflushed names only {}", pending.path.display()), &|n| n == number, Torn);
            with(format!("of unflushed names all but {}", pending.path.display()), &|n| n != number, Torn);
        }
        all
    }

    fn content(&self, chosen: &dyn Fn(usize) -> bool, bytes: Unflushed) -> Content {
        let mut names = self.names.clone();
        for (_, pending) in self.pending.iter().enumerate().filter(|(number, _)| chosen(*number)) {
            set(&mut names, pending);
        }
        // The content of a folder without a name is lost with it.
        let reachable = |path: &Path| {
            let mut above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
            above.all(|above| names.get(above) == Some(&Node::Folder))
        };
        let content = names.iter().filter(|(path, _)| reachable(path));
        content
            .map(|(path, node)| {
                let bytes = match node {
                    Node::Folder => None,
                    Node::File(index) => Some(self.files[*index].left(bytes)),
                };
                (path.clone(), bytes)
            })
            .collect()
    }
}

fn set(names: &mut BTreeMap<PathBuf, Node>, pending: &Pending) {
    match pending.node {
        Some(node) => drop(names.insert(pending.path.clone(), node)),
        None => drop(names.remove(&pending.path)),
    }
}

impl File {
    fn left(&self, unflushed: Unflushed) -> Vec<u8> {
        let (flushed, rest) = self.bytes.split_at(self.flushed);
        let mut left = flushed.to_vec();
        match unflushed {
            Unflushed::Dropped => {}
            Unflushed::Torn => left.extend(&rest[..rest.len() / 2]),
            Unflushed::Zeroed => left.resize(self.bytes.len(), 0),
            Unflushed::Whole => left.extend(rest),
        }
        left
    }
}

/// The call with paths that begin at `root`.
pub(crate) fn within(root: &Path, call: DiskCall) -> DiskCall {
    let cut = |path: PathBuf| path.strip_prefix(root).map(Path::to_owned).unwrap_or(path);
    match call {
        DiskCall::MakeFolder(path) => DiskCall::MakeFolder(cut(path)),
        DiskCall::Create { file, path } => DiskCall::Create { file, path: path.map(cut) },
        DiskCall::Link { file, path } => DiskCall::Link { file, path: cut(path) },
        DiskCall::Rename { from, to } => DiskCall::Rename { from: cut(from), to: cut(to) },
        DiskCall::Remove(path) => DiskCall::Remove(cut(path)),
        DiskCall::SyncFolder(path) => DiskCall::SyncFolder(cut(path)),
        DiskCall::WillLock(path) => DiskCall::WillLock(cut(path)),
        DiskCall::Locked(path) => DiskCall::Locked(cut(path)),
        DiskCall::Unlocked(path) => DiskCall::Unlocked(cut(path)),
        other @ (DiskCall::Write { .. } | DiskCall::SyncFile(_)) => other,
    }
}

/// Puts a disk's content into a folder.
pub(crate) fn lay(content: &Content, folder: &Path) {
    for (path, bytes) in content {
        let path = folder.join(path);
        match bytes {
            None => std::fs::create_dir(path).unwrap(),
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
        }
    }
}
