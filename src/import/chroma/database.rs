//! The tables of a directory's database, as typed rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltafold_format::{Metadata, Value};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value as Json;

use super::files::{DATABASE, Folder, unusable};
use super::values;
use crate::error::{Error, Result};

/// Ids that one query returns.
const PAGE: i64 = 512;
/// The tables that the reader needs, in every version.
const TABLES: [&str; 9] = [
    "tenants",
    "databases",
    "collections",
    "collection_metadata",
    "segments",
    "embeddings",
    "embedding_metadata",
    "max_seq_id",
    "embeddings_queue",
];
/// Elements of metadata lists, in Chroma 1.5 and later.
const LISTS: &str = "embedding_metadata_array";
/// The keys of a record's document and URI among its metadata.
const DOCUMENT: &str = "chroma:document";
const URI: &str = "chroma:uri";

/// The database of a directory.
#[derive(Debug)]
pub(super) struct Database {
    folder: Arc<Folder>,
    connection: Connection,
    has_lists: bool,
}

/// A collection, as its tables describe it.
#[derive(Debug, Clone)]
pub(super) struct CollectionRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) database: String,
    pub(super) dimension: Option<i64>,
    /// `config_json_str`, `{}` where there is none.
    pub(super) configuration: Json,
    /// `schema_str`, in Chroma 1.x.
    pub(super) schema: Option<Json>,
    pub(super) metadata: serde_json::Map<String, Json>,
    /// The segments that hold its vectors and its other fields.
    pub(super) vector_segment: Option<String>,
    pub(super) metadata_segment: Option<String>,
    /// Its topic in the queue, once it has been written to.
    pub(super) topic: Option<String>,
}

/// A change that waits in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) place: i64,
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) has_vector: bool,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Add,
    Update,
    Upsert,
    Delete,
}

impl Kind {
    /// The kind of a number in the queue.
    pub(super) fn of_number(number: i64) -> Option<Self> {
        [Self::Add, Self::Update, Self::Upsert, Self::Delete].into_iter().find(|kind| kind.number() == number)
    }

    /// Its number in the queue.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Add => 0,
            Self::Update => 1,
            Self::Upsert => 2,
            Self::Delete => 3,
        }
    }
}

/// Everything of a record but its vector.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields {
    pub(super) metadata: Metadata,
    pub(super) document: Option<String>,
}

impl Database {
    /// Opens the database, once its tables are known to be there and sound.
    pub(super) fn open(folder: Arc<Folder>) -> Result<Self> {
        let connection = folder.connect()?;
        let mut database = Self { folder, connection, has_lists: false };
        for table in TABLES {
            if !database.has_table(table)? {
                return Err(
                    database.damaged(format!("it has no table `{table}`, so no Chroma of version 0.5 or 1 made it"))
                );
            }
        }
        database.has_lists = database.has_table(LISTS)?;
        for table in TABLES.into_iter().chain(database.has_lists.then_some(LISTS)) {
            database.check(table)?;
        }
        Ok(database)
    }

    /// Opens a database that was opened before, without the checks.
    pub(super) fn open_again(folder: Arc<Folder>) -> Result<Self> {
        let connection = folder.connect()?;
        let mut database = Self { folder, connection, has_lists: false };
        database.has_lists = database.has_table(LISTS)?;
        Ok(database)
    }

    fn has_table(&self, name: &str) -> Result<bool> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        let found: i64 =
            self.connection.query_row(sql, [name], |row| row.get(0)).map_err(|error| self.failed(&error))?;
        Ok(found > 0)
    }

    fn has_column(&self, table: &str, column: &str) -> Result<bool> {
        let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
        let found: rusqlite::Result<i64> = self.connection.query_row(sql, [table, column], |row| row.get(0));
        Ok(found.map_err(|error| self.failed(&error))? > 0)
    }

    /// Lets SQLite check the structure of a table.
    fn check(&self, table: &str) -> Result<()> {
        let sql = format!("PRAGMA quick_check('{table}')");
        let found: String =
            self.connection.query_row(&sql, [], |row| row.get(0)).map_err(|error| self.failed(&error))?;
        if found == "ok" { Ok(()) } else { Err(self.damaged(format!("its table `{table}` is damaged: {found}"))) }
    }

    fn failed(&self, error: &rusqlite::Error) -> Error {
        self.folder.failed(error)
    }

    /// An error about the database.
    pub(super) fn damaged(&self, why: String) -> Error {
        unusable(&self.folder.path().join(DATABASE), why)
    }

    /// Calls `each` for all rows of a query.
    fn each(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        mut each: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(&error))?;
        let mut rows = statement.query(parameters).map_err(|error| self.failed(&error))?;
        while let Some(row) = rows.next().map_err(|error| self.failed(&error))? {
            each(row)?;
        }
        Ok(())
    }

    fn get<T: rusqlite::types::FromSql>(&self, row: &Row<'_>, column: usize) -> Result<T> {
        row.get(column).map_err(|error| self.failed(&error))
    }

    /// All collections, by tenant, database and name.
    pub(super) fn collections(&self) -> Result<Vec<CollectionRow>> {
        let schema = if self.has_column("collections", "schema_str")? { "c.schema_str" } else { "NULL" };
        let configuration =
            if self.has_column("collections", "config_json_str")? { "c.config_json_str" } else { "NULL" };
        let sql = format!(
            "SELECT c.id, c.name, d.tenant_id, d.name, c.dimension, {configuration}, {schema} \
             FROM collections c JOIN databases d ON d.id = c.database_id ORDER BY d.tenant_id, d.name, c.name"
        );
        let mut found = Vec::new();
        self.each(&sql, [], |row| {
            let json = |column: usize, what: &str| -> Result<Option<Json>> {
                let text: Option<String> = self.get(row, column)?;
                let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
                parsed.map_err(|error| self.damaged(format!("the {what} of a collection is not JSON: {error}")))
            };
            found.push(CollectionRow {
                id: self.get(row, 0)?,
                name: self.get(row, 1)?,
                tenant: self.get(row, 2)?,
                database: self.get(row, 3)?,
                dimension: self.get(row, 4)?,
                configuration: json(5, "configuration")?.unwrap_or_else(|| Json::Object(serde_json::Map::new())),
                schema: json(6, "schema")?,
                metadata: serde_json::Map::new(),
                vector_segment: None,
                metadata_segment: None,
                topic: None,
            });
            Ok(())
        })?;
        let topics = self.topics()?;
        for collection in &mut found {
            collection.metadata = self.collection_metadata(&collection.id)?;
            self.each("SELECT id, scope FROM segments WHERE collection = ?1", [&collection.id], |row| {
                let (segment, scope): (String, String) = (self.get(row, 0)?, self.get(row, 1)?);
                let place = match scope.as_str() {
                    "VECTOR" => &mut collection.vector_segment,
                    "METADATA" => &mut collection.metadata_segment,
                    _ => return Ok(()),
                };
                // A segment names a folder.
                if uuid::Uuid::parse_str(&segment).is_err() {
                    return Err(self.damaged(format!("segment `{}` has no UUID", segment.escape_debug())));
                }
                match place.replace(segment) {
                    None => Ok(()),
                    Some(_) => Err(self.damaged(format!("collection `{}` has two {scope} segments", collection.id))),
                }
            })?;
            let mut own = topics.iter().filter(|topic| topic.rsplit('/').next() == Some(&collection.id));
            collection.topic = own.next().cloned();
            if own.next().is_some() {
                return Err(self.damaged(format!("collection `{}` has two topics in the queue", collection.id)));
            }
        }
        Ok(found)
    }

    /// Topics of the queue. Each query finds the next one, past all rows of the last.
    fn topics(&self) -> Result<Vec<String>> {
        let mut topics = Vec::new();
        self.each("SELECT DISTINCT topic FROM embeddings_queue", [], |row| {
            topics.push(self.get(row, 0)?);
            Ok(())
        })?;
        Ok(topics)
    }

    fn collection_metadata(&self, id: &str) -> Result<serde_json::Map<String, Json>> {
        let bool_value = if self.has_column("collection_metadata", "bool_value")? { "bool_value" } else { "NULL" };
        let sql = format!(
            "SELECT key, str_value, int_value, float_value, {bool_value} FROM collection_metadata WHERE collection_id = ?1"
        );
        let mut metadata = serde_json::Map::new();
        self.each(&sql, [id], |row| {
            let key: String = self.get(row, 0)?;
            if let Some(value) = self.value(row, 1, &key)? {
                metadata.insert(key, values::to_json(value));
            }
            Ok(())
        })?;
        Ok(metadata)
    }

    /// The value in four columns of a row: text, integer, float, truth.
    fn value(&self, row: &Row<'_>, first: usize, key: &str) -> Result<Option<Value>> {
        let column = |offset: usize| row.get_ref(first + offset).map_err(|error| self.failed(&error));
        let wrong = |found: Type| self.damaged(format!("the value of `{}` is of type {found}", key.escape_debug()));
        match column(0)? {
            ValueRef::Text(_) => return Ok(Some(Value::String(self.get(row, first)?))),
            ValueRef::Null => {}
            other => return Err(wrong(other.data_type())),
        }
        match column(1)? {
            ValueRef::Integer(number) => return Ok(Some(Value::I64(number))),
            ValueRef::Null => {}
            other => return Err(wrong(other.data_type())),
        }
        match column(2)? {
            ValueRef::Real(number) => return Ok(Some(Value::F64(number))),
            ValueRef::Null => {}
            other => return Err(wrong(other.data_type())),
        }
        match column(3)? {
            ValueRef::Integer(truth) => Ok(Some(Value::Bool(truth != 0))),
            ValueRef::Null => Ok(None),
            other => Err(wrong(other.data_type())),
        }
    }

    /// The last place of the queue that a segment contains; `None` if it contains none.
    pub(super) fn applied(&self, segment: &str) -> Result<Option<i64>> {
        let sql = "SELECT seq_id FROM max_seq_id WHERE segment_id = ?1";
        let found = self.connection.query_row(sql, [segment], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Integer(place) => Some(place),
                // Chroma 0.5 writes 8 bytes, the highest first.
                ValueRef::Blob(bytes) => bytes.try_into().ok().map(i64::from_be_bytes),
                _ => None,
            })
        });
        match found.optional().map_err(|error| self.failed(&error))? {
            Some(None) => Err(self.damaged(format!("the sequence number of segment `{segment}` cannot be read"))),
            Some(place) => Ok(place),
            None => Ok(None),
        }
    }

    /// The next ids of a segment behind the row `after`, in the order of their insertion.
    pub(super) fn ids(&self, segment: &str, after: i64) -> Result<Vec<(i64, String)>> {
        // The sign keeps SQLite from an index that it would have to sort.
        let sql = "SELECT id, embedding_id FROM embeddings WHERE id > ?1 AND +segment_id = ?2 ORDER BY id LIMIT ?3";
        let mut found = Vec::new();
        self.each(sql, (after, segment, PAGE), |row| {
            found.push((self.get(row, 0)?, self.get(row, 1)?));
            Ok(())
        })?;
        Ok(found)
    }

    /// The fields of a row.
    pub(super) fn fields(&self, row_id: i64) -> Result<Fields> {
        let sql = "SELECT key, string_value, int_value, float_value, bool_value FROM embedding_metadata WHERE id = ?1";
        let mut all = BTreeMap::new();
        self.each(sql, [row_id], |row| {
            let key: String = self.get(row, 0)?;
            if let Some(value) = self.value(row, 1, &key)? {
                all.insert(key, value);
            }
            Ok(())
        })?;
        if self.has_lists {
            let sql = "SELECT key, string_value, int_value, float_value, bool_value FROM embedding_metadata_array \
                       WHERE id = ?1 ORDER BY rowid";
            let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            self.each(sql, [row_id], |row| {
                let key: String = self.get(row, 0)?;
                let value = self.value(row, 1, &key)?;
                lists.entry(key).or_default().extend(value);
                Ok(())
            })?;
            for (key, elements) in lists {
                let list = values::list(elements)
                    .ok_or_else(|| self.damaged(format!("the list `{}` mixes types", key.escape_debug())))?;
                all.insert(key, list);
            }
        }
        let mut fields = Fields::default();
        for (key, value) in all {
            fields.set(key, Some(value)).map_err(|why| self.damaged(why))?;
        }
        Ok(fields)
    }

    /// Calls `each` for the changes of a topic behind a place, in order.
    pub(super) fn queue(&self, topic: &str, after: i64, mut each: impl FnMut(Queued) -> Result<()>) -> Result<()> {
        let sql = "SELECT seq_id, operation, id, vector IS NOT NULL FROM embeddings_queue \
                   WHERE topic = ?1 AND seq_id > ?2 ORDER BY seq_id";
        self.each(sql, (topic, after), |row| {
            let place = self.get(row, 0)?;
            let number = self.get(row, 1)?;
            let kind = Kind::of_number(number)
                .ok_or_else(|| self.damaged(format!("change {place} of the queue has the unknown kind {number}")))?;
            each(Queued { place, kind, id: self.get(row, 2)?, has_vector: self.get(row, 3)? })
        })
    }

    /// The vector of a change in the queue.
    pub(super) fn queued_vector(&self, place: i64) -> Result<Vec<f32>> {
        let sql = "SELECT vector, encoding FROM embeddings_queue WHERE seq_id = ?1";
        let mut vector = None;
        self.each(sql, [place], |row| {
            let encoding: Option<String> = self.get(row, 1)?;
            let bytes = row.get_ref(0).map_err(|error| self.failed(&error))?;
            let bytes = bytes.as_blob().ok().filter(|bytes| bytes.len().is_multiple_of(4));
            vector = bytes.and_then(|bytes| values::vector(bytes, encoding.as_deref()));
            Ok(())
        })?;
        vector.ok_or_else(|| self.damaged(format!("the vector of change {place} of the queue cannot be read")))
    }

    /// Applies the metadata of a change in the queue to the fields of a record.
    pub(super) fn apply(&self, place: i64, fields: &mut Fields) -> Result<()> {
        let sql = "SELECT metadata FROM embeddings_queue WHERE seq_id = ?1";
        let mut text: Option<String> = None;
        self.each(sql, [place], |row| {
            text = self.get(row, 0)?;
            Ok(())
        })?;
        let Some(text) = text else { return Ok(()) };
        let damaged = |why: String| self.damaged(format!("the metadata of change {place} of the queue {why}"));
        let object = match serde_json::from_str(&text) {
            Ok(Json::Object(object)) => object,
            Ok(Json::Null) => return Ok(()),
            Ok(_) => return Err(damaged("is not an object".to_owned())),
            Err(error) => return Err(damaged(format!("is not JSON: {error}"))),
        };
        for (key, value) in object {
            let value =
                values::of_json(value).map_err(|why| damaged(format!("has `{}`, {why}", key.escape_debug())))?;
            fields.set(key, value).map_err(damaged)?;
        }
        Ok(())
    }
}

impl Fields {
    /// Sets or removes one field.
    fn set(&mut self, key: String, value: Option<Value>) -> Result<(), String> {
        match (key.as_str(), value) {
            (DOCUMENT, None) => self.document = None,
            (DOCUMENT, Some(Value::String(text))) => self.document = Some(text),
            (DOCUMENT | URI, Some(value)) if !matches!(value, Value::String(_)) => {
                return Err(format!("has `{key}`, which is not text"));
            }
            (URI, Some(value)) => drop(self.metadata.insert(crate::catalogue::URI.to_owned(), value)),
            (URI, None) => drop(self.metadata.remove(crate::catalogue::URI)),
            (_, Some(value)) => drop(self.metadata.insert(key, value)),
            (_, None) => drop(self.metadata.remove(&key)),
        }
        Ok(())
    }
}
