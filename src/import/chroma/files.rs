//! The files of a directory of Chroma. Nothing here writes into it.
//!
//! Its database may have a journal: of a running Chroma, or of one that crashed. Then this reader
//! copies the database and its journal aside, and SQLite recovers the copy. Without a journal it
//! reads the database in place, as a file that never changes. A directory that changes meanwhile is
//! an error.

use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::memory::MemoryLimit;

/// The database of a directory.
pub(super) const DATABASE: &str = "chroma.sqlite3";
/// The ends of the names of its journals. The index of a write-ahead log, `-shm`, is made anew.
const JOURNALS: [&str; 2] = ["-wal", "-journal"];

/// Page caches of SQLite take this part of the memory: one of the database, and two of the ids, of
/// which one sorts.
const CACHE_SHARE: u64 = 16;

/// A file that cannot be used, and the remedy.
pub(super) fn unusable(path: &Path, why: impl Display) -> Error {
    Error::invalid(format!("`{}` cannot be used: {why}. Restore it from a copy", path.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::invalid(format!("`{}` cannot be read: {error}. Check the path and its permissions", path.display()))
}

/// A directory of Chroma.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Its files when it was opened.
    files: Vec<FileState>,
    /// The copy of the database, if it has a journal.
    aside: Option<TempDir>,
    cache_kib: u64,
}

/// A file as it was seen: a write changes one of these.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileState {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Folder {
    /// Opens a directory that a `PersistentClient` made.
    pub(super) fn open(path: &Path, memory: MemoryLimit) -> Result<Self> {
        let database = path.join(DATABASE);
        if !database.is_file() {
            return Err(Error::invalid(format!(
                "`{}` is not a directory of Chroma: it holds no file `{DATABASE}`. Name the directory of the \
                 `PersistentClient`, or the `persist_path` of the server",
                path.display()
            )));
        }
        let mut folder = Self {
            path: path.to_owned(),
            files: states(path)?,
            aside: None,
            cache_kib: memory.bytes() / CACHE_SHARE / 1_024,
        };
        let journals: Vec<PathBuf> =
            JOURNALS.iter().map(|end| path.join(format!("{DATABASE}{end}"))).filter(|file| has_content(file)).collect();
        if !journals.is_empty() {
            let aside = tempfile::tempdir().map_err(|error| unreadable(&std::env::temp_dir(), &error))?;
            for file in journals.iter().chain([&database]) {
                let to = aside.path().join(file.file_name().unwrap_or_default());
                fs::copy(file, &to).map_err(|error| {
                    Error::invalid(format!(
                        "`{}` cannot be copied to `{}`: {error}. Make room there, or set TMPDIR",
                        file.display(),
                        to.display()
                    ))
                })?;
            }
            folder.aside = Some(aside);
            folder.check_unchanged()?;
        }
        Ok(folder)
    }

    /// The memory of a page cache of SQLite, in KiB.
    pub(super) fn cache_kib(&self) -> u64 {
        self.cache_kib
    }

    /// The path of the directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A connection to the database that writes nothing into the directory.
    pub(super) fn connect(&self) -> Result<Connection> {
        let connection = match &self.aside {
            // SQLite writes here, to recover the copy.
            Some(aside) => Connection::open_with_flags(
                aside.path().join(DATABASE),
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            ),
            None => Connection::open_with_flags(
                format!("file:{}?mode=ro&immutable=1", escaped(&self.path.join(DATABASE))),
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            ),
        };
        let connection = connection.map_err(|error| self.failed(&error))?;
        connection
            .execute_batch(&format!(
                "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA query_only = ON; \
                 PRAGMA cache_size = -{};",
                self.cache_kib
            ))
            .map_err(|error| self.failed(&error))?;
        Ok(connection)
    }

    /// A failure of a query.
    pub(super) fn failed(&self, error: &rusqlite::Error) -> Error {
        unusable(&self.path.join(DATABASE), error)
    }

    /// A file of an index, which must be a plain file.
    pub(super) fn index_file(&self, segment: &str, name: &str) -> Result<File> {
        let path = self.index_path(segment, name);
        if !path.is_file() {
            return Err(unusable(&path, "it is missing, though the database names its index"));
        }
        File::open(&path).map_err(|error| unreadable(&path, &error))
    }

    /// A file of an index, which must be a plain file; `None` where there is none.
    pub(super) fn index_file_if_any(&self, segment: &str, name: &str) -> Result<Option<File>> {
        let path = self.index_path(segment, name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
            Ok(found) if !found.is_file() => Err(unusable(&path, "it is no file")),
            Ok(_) => Ok(Some(File::open(&path).map_err(|error| unreadable(&path, &error))?)),
        }
    }

    /// The content of a small file of an index; `None` where there is none.
    pub(super) fn index_bytes(&self, segment: &str, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let path = self.index_path(segment, name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
            Ok(found) if !found.is_file() => Err(unusable(&path, "it is not a file")),
            Ok(found) if found.len() > most => {
                Err(unusable(&path, format!("it has {} bytes, the limit is {most}", found.len())))
            }
            Ok(_) => Ok(Some(fs::read(&path).map_err(|error| unreadable(&path, &error))?)),
        }
    }

    /// The path of a file of an index.
    pub(super) fn index_path(&self, segment: &str, name: &str) -> PathBuf {
        self.path.join(segment).join(name)
    }

    /// Fails if a file of the directory has changed since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        if states(&self.path)? == self.files {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "`{}` has changed while it was read. Stop the program that writes to it, or import a copy of the directory",
            self.path.display()
        )))
    }
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// The files of a directory and of its folders, in order. Indexes lie one level below.
fn states(path: &Path) -> Result<Vec<FileState>> {
    let mut states = Vec::new();
    for path in listed(path)? {
        if path.is_dir() {
            states.extend(listed(&path)?.into_iter().filter_map(state));
        } else {
            states.extend(state(path));
        }
    }
    states.sort();
    Ok(states)
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    paths.map_err(|error| unreadable(folder, &error))
}

/// The state of a file. The index of a write-ahead log does not count, as reading changes it.
fn state(path: PathBuf) -> Option<FileState> {
    let found = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let is_shared_memory = path.extension().is_some_and(|end| end == "sqlite3-shm");
    (!is_shared_memory).then(|| FileState { path, bytes: found.len(), modified: found.modified().ok() })
}

/// A path in a URI of SQLite.
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'~');
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.map(|byte| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(folder: &Path, journal: &str) -> Connection {
        let connection = Connection::open(folder.join(DATABASE)).unwrap();
        connection
            .execute_batch(&format!("PRAGMA journal_mode = {journal}; CREATE TABLE t (n INTEGER, filler BLOB);"))
            .unwrap();
        connection
    }

    fn rows(folder: &Folder) -> i64 {
        let connection = folder.connect().unwrap();
        connection.query_row("SELECT count(*) FROM t WHERE n = 1", [], |row| row.get(0)).unwrap()
    }

    fn names(folder: &Path) -> Vec<PathBuf> {
        let mut names = listed(folder).unwrap();
        names.sort();
        names
    }

    /// A running program keeps its last writes in a write-ahead log. Read in place and read-only,
    /// the database lacked them.
    #[test]
    fn writes_in_a_write_ahead_log_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let writer = database(folder.path(), "WAL");
        writer.execute_batch("INSERT INTO t VALUES (1, NULL)").unwrap();
        let before = (names(folder.path()), states(folder.path()).unwrap());
        let opened = Folder::open(folder.path(), MemoryLimit::default()).unwrap();
        assert!(opened.aside.is_some());
        assert_eq!(rows(&opened), 1);
        assert_eq!((names(folder.path()), states(folder.path()).unwrap()), before);
    }

    /// A program died in the midst of a transaction. Half of it is in the file, and the journal
    /// holds the old pages.
    #[test]
    fn a_transaction_cut_off_is_rolled_back_in_the_copy() {
        let live = tempfile::tempdir().unwrap();
        let writer = database(live.path(), "DELETE");
        let many = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 3000) \
                    INSERT INTO t SELECT 1, zeroblob(100) FROM s";
        writer.execute_batch(many).unwrap();
        writer.execute_batch("PRAGMA cache_size = 2; BEGIN; UPDATE t SET n = 2;").unwrap();
        let dead = tempfile::tempdir().unwrap();
        for path in listed(live.path()).unwrap() {
            fs::copy(&path, dead.path().join(path.file_name().unwrap())).unwrap();
        }
        assert_eq!(names(dead.path()).len(), 2, "the database and its journal");
        let before = states(dead.path()).unwrap();
        let opened = Folder::open(dead.path(), MemoryLimit::default()).unwrap();
        assert_eq!(rows(&opened), 3_000);
        assert_eq!(states(dead.path()).unwrap(), before);
    }

    #[test]
    fn a_database_without_a_journal_is_read_in_place() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a b%3f?#é");
        fs::create_dir(&folder).unwrap();
        database(&folder, "DELETE").execute_batch("INSERT INTO t VALUES (1, NULL)").unwrap();
        let opened = Folder::open(&folder, MemoryLimit::default()).unwrap();
        assert!(opened.aside.is_none());
        assert_eq!(rows(&opened), 1);
        let error = opened.connect().unwrap().execute_batch("DELETE FROM t").unwrap_err();
        assert!(error.to_string().contains("readonly"), "{error}");
    }

    #[test]
    fn a_directory_that_changes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let writer = database(folder.path(), "DELETE");
        let opened = Folder::open(folder.path(), MemoryLimit::default()).unwrap();
        opened.check_unchanged().unwrap();
        writer.execute_batch("INSERT INTO t VALUES (1, zeroblob(20000))").unwrap();
        let error = opened.check_unchanged().unwrap_err().to_string();
        assert!(error.contains("has changed while it was read. Stop the program"), "{error}");
    }

    #[test]
    fn another_directory_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let error = Folder::open(folder.path(), MemoryLimit::default()).unwrap_err().to_string();
        assert!(
            error.contains("holds no file `chroma.sqlite3`. Name the directory of the `PersistentClient`"),
            "{error}"
        );
    }
}
