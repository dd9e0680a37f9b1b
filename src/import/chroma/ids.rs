//! The ids of a collection, in a temporary database: memory does not grow with the collection.
//!
//! | table | a row |
//! |---|---|
//! | `label` | an entry of a dictionary of the pickle, while that is read |
//! | `element` | a label of the index with its id, while the index is read |
//! | `vector` | a vector, the place of it, and whether a record was found for it |
//! | `alone` | a vector without a record, in order |
//! | `waiting` | a record that changes in the queue concern, and its place after them |
//! | `change` | a change that waits in the queue |

use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension as _, Params};

use super::database::Kind;
use crate::error::{Error, Repr, Result};
use crate::store::{StoreError, StoreErrorKind};

/// Ids that one query returns.
const PAGE: i64 = 512;
/// Statements that are kept: all of this module.
const STATEMENTS: usize = 32;

const TABLES: &str = "
    CREATE TABLE label (dict INTEGER NOT NULL, label INTEGER NOT NULL, id TEXT NOT NULL);
    CREATE TABLE element (label INTEGER PRIMARY KEY, id TEXT NOT NULL, element INTEGER);
    CREATE TABLE vector (id TEXT PRIMARY KEY, queued INTEGER NOT NULL, place INTEGER NOT NULL,
        noted INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE alone (at INTEGER PRIMARY KEY, id TEXT NOT NULL);
    CREATE TABLE waiting (id TEXT PRIMARY KEY, state INTEGER NOT NULL, place INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE change (id TEXT NOT NULL, place INTEGER NOT NULL, kind INTEGER NOT NULL,
        PRIMARY KEY (id, place)) WITHOUT ROWID;
    CREATE INDEX waiting_new ON waiting (place) WHERE state = 2;";

/// The ids of a collection.
#[derive(Debug)]
pub(super) struct Ids {
    database: Connection,
}

/// The place of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// An element of the index.
    Element(u64),
    /// A change in the queue.
    Queue(i64),
}

/// The rank of a record in the order of insertion, after some changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Nowhere: it is deleted, or never was.
    Gone,
    /// That of its row.
    Row,
    /// Behind all rows, at this place of the queue.
    Queue(i64),
}

/// The use of an element of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The first one of its label.
    First,
    /// Another one of a label.
    Again,
    /// The pickle never came to know its label.
    Unknown,
}

impl Ids {
    /// An empty database in a temporary file, which ends with it.
    pub(super) fn new(cache_kib: u64) -> Result<Self> {
        let made = || {
            let database = Connection::open("")?;
            database.set_prepared_statement_cache_capacity(STATEMENTS);
            // One transaction without an end: the file ends with this connection.
            database.execute_batch(&format!(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; \
                 PRAGMA cache_size = -{cache_kib}; BEGIN; {TABLES}"
            ))?;
            Ok(database)
        };
        Ok(Self { database: made().map_err(failed)? })
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>> {
        self.database.prepare_cached(sql).map_err(failed)
    }

    /// Runs a statement. Returns the number of rows that it changed.
    fn run(&self, sql: &str, parameters: impl Params) -> Result<usize> {
        self.statement(sql)?.execute(parameters).map_err(failed)
    }

    /// Runs a statement. False where a row of its key is there already.
    fn run_unique(&self, sql: &str, parameters: impl Params) -> Result<bool> {
        match self.statement(sql)?.execute(parameters) {
            Ok(_) => Ok(true),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    fn count(&self, sql: &str) -> Result<u64> {
        let found: i64 = self.statement(sql)?.query_row([], |row| row.get(0)).map_err(failed)?;
        Ok(found.cast_unsigned())
    }

    fn page(&self, sql: &str, parameters: impl Params) -> Result<Vec<(i64, String)>> {
        let mut statement = self.statement(sql)?;
        let rows = statement.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// Adds an entry of a dictionary of the pickle.
    pub(super) fn add_label(&self, dict: usize, id: &str, label: u64) -> Result<()> {
        self.run("INSERT INTO label VALUES (?1, ?2, ?3)", (dict as u64 as i64, label.cast_signed(), id)).map(drop)
    }

    /// Takes a dictionary for that of the labels. False where it has a label twice.
    pub(super) fn take_labels(&self, dict: usize) -> Result<bool> {
        let sql = "INSERT INTO element SELECT label, id, NULL FROM label WHERE dict = ?1 ORDER BY label";
        let is_unique = self.run_unique(sql, [dict as u64 as i64])?;
        self.run("DROP TABLE label", [])?;
        Ok(is_unique)
    }

    /// Notes the element of a label.
    pub(super) fn add_element(&self, element: u64, label: u64) -> Result<Use> {
        let (element, label) = (element.cast_signed(), label.cast_signed());
        let sql = "UPDATE element SET element = ?1 WHERE label = ?2 AND element IS NULL";
        if self.run(sql, (element, label))? > 0 {
            return Ok(Use::First);
        }
        let mut known = self.statement("SELECT 1 FROM element WHERE label = ?1")?;
        Ok(if known.exists([label]).map_err(failed)? { Use::Again } else { Use::Unknown })
    }

    /// The number of labels without an element.
    pub(super) fn missing_elements(&self) -> Result<u64> {
        self.count("SELECT count(*) FROM element WHERE element IS NULL")
    }

    /// Takes the elements for vectors. False where an id has two.
    pub(super) fn take_elements(&self) -> Result<bool> {
        let is_unique = self.run_unique("INSERT INTO vector SELECT id, 0, element, 0 FROM element ORDER BY id", [])?;
        self.run("DROP TABLE element", [])?;
        Ok(is_unique)
    }

    /// Applies a change to the vectors, as Chroma does.
    pub(super) fn change_vector(&self, kind: Kind, id: &str, place: i64, has_vector: bool) -> Result<()> {
        let sql = match kind {
            Kind::Delete => return self.run("DELETE FROM vector WHERE id = ?1", [id]).map(drop),
            _ if !has_vector => return Ok(()),
            Kind::Add => "INSERT OR IGNORE INTO vector VALUES (?1, 1, ?2, 0)",
            Kind::Update => "UPDATE vector SET queued = 1, place = ?2 WHERE id = ?1",
            Kind::Upsert => "INSERT OR REPLACE INTO vector VALUES (?1, 1, ?2, 0)",
        };
        self.run(sql, (id, place)).map(drop)
    }

    /// The number of vectors.
    pub(super) fn vectors(&self) -> Result<u64> {
        self.count("SELECT count(*) FROM vector")
    }

    /// The place of a vector.
    pub(super) fn vector(&self, id: &str) -> Result<Option<Origin>> {
        let mut statement = self.statement("SELECT queued, place FROM vector WHERE id = ?1")?;
        let found = statement.query_row([id], |row| {
            let (is_queued, place): (bool, i64) = (row.get(0)?, row.get(1)?);
            Ok(if is_queued { Origin::Queue(place) } else { Origin::Element(place.cast_unsigned()) })
        });
        found.optional().map_err(failed)
    }

    /// Notes that a record of this id was found. False where it has no vector.
    pub(super) fn note(&self, id: &str) -> Result<bool> {
        Ok(self.run("UPDATE vector SET noted = 1 WHERE id = ?1", [id])? > 0)
    }

    /// Collects the vectors without a record, in the order of the index and the queue. Returns
    /// their number.
    pub(super) fn collect_alone(&self) -> Result<u64> {
        let sql = "INSERT INTO alone (id) SELECT id FROM vector WHERE noted = 0 ORDER BY queued, place";
        Ok(self.run(sql, [])? as u64)
    }

    /// The vector at a place among those without a record, from 1 on.
    pub(super) fn alone(&self, at: u64) -> Result<Option<String>> {
        let mut statement = self.statement("SELECT id FROM alone WHERE at = ?1")?;
        statement.query_row([at.cast_signed()], |row| row.get(0)).optional().map_err(failed)
    }

    /// Adds a change of a record that waits in the queue.
    pub(super) fn add_change(&self, id: &str, place: i64, kind: Kind) -> Result<()> {
        self.run("INSERT OR IGNORE INTO waiting VALUES (?1, 0, 0)", [id])?;
        self.run("INSERT INTO change VALUES (?1, ?2, ?3)", (id, place, kind.number())).map(drop)
    }

    /// Whether a change waits.
    pub(super) fn has_changes(&self) -> Result<bool> {
        self.statement("SELECT 1 FROM waiting LIMIT 1")?.exists([]).map_err(failed)
    }

    /// The rank of a record that changes concern; `None` where none does.
    pub(super) fn rank(&self, id: &str) -> Result<Option<Rank>> {
        let mut statement = self.statement("SELECT state, place FROM waiting WHERE id = ?1")?;
        let found = statement.query_row([id], |row| {
            Ok(match row.get(0)? {
                0 => Rank::Gone,
                1 => Rank::Row,
                _ => Rank::Queue(row.get(1)?),
            })
        });
        found.optional().map_err(failed)
    }

    /// Sets the rank of a record, if changes concern it.
    pub(super) fn set_rank(&self, id: &str, rank: Rank) -> Result<()> {
        let (state, place) = match rank {
            Rank::Gone => (0, 0),
            Rank::Row => (1, 0),
            Rank::Queue(place) => (2, place),
        };
        self.run("UPDATE waiting SET state = ?2, place = ?3 WHERE id = ?1", (id, state, place)).map(drop)
    }

    /// The next records behind a place of the queue that only the queue has.
    pub(super) fn new_ones(&self, after: i64) -> Result<Vec<(i64, String)>> {
        let sql = "SELECT place, id FROM waiting WHERE state = 2 AND place > ?1 ORDER BY place LIMIT ?2";
        self.page(sql, (after, PAGE))
    }

    /// Calls `each` for the changes of a record, in order.
    pub(super) fn changes(&self, id: &str, mut each: impl FnMut(i64, Kind) -> Result<()>) -> Result<()> {
        let mut statement = self.statement("SELECT place, kind FROM change WHERE id = ?1 ORDER BY place")?;
        let mut rows = statement.query([id]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (place, number) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
            if let Some(kind) = Kind::of_number(number) {
                each(place, kind)?;
            }
        }
        Ok(())
    }
}

/// The error of the temporary database.
fn failed(error: rusqlite::Error) -> Error {
    let reason = format!("{error}; free space there, or name another folder in TMPDIR");
    let place = std::env::var("TMPDIR").unwrap_or_else(|_| "the folder for temporary files".to_owned());
    Repr::Store(StoreError::new(StoreErrorKind::Permanent, "use a temporary database in", place, reason)).into()
}
