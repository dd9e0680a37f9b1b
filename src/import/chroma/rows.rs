//! The records of a collection without their vectors: the rows of its metadata segment, then the
//! changes that wait in the queue.
//!
//! Chroma applies changes to these rows at once, so hardly ever one waits. The reader remembers the
//! ids that waiting changes concern, and applies the changes when it reads such a record.

use std::collections::HashMap;

use super::database::{CollectionRow, Database, Fields, Kind};
use crate::error::Result;

/// The changes of one record that wait in the queue.
#[derive(Debug, Default)]
struct Waiting {
    /// The record has a row.
    has_row: bool,
    changes: Vec<(i64, Kind)>,
}

/// The place of a record in the order of insertion, after all changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere: it is deleted, or never was.
    Gone,
    /// That of its row.
    Row,
    /// Behind all rows, at this place of the queue.
    Queue(i64),
}

impl Waiting {
    fn place(&self) -> Place {
        let start = if self.has_row { Place::Row } else { Place::Gone };
        self.changes.iter().fold(start, |place, (at, kind)| match (kind, place) {
            (Kind::Delete, _) => Place::Gone,
            (Kind::Add | Kind::Upsert, Place::Gone) => Place::Queue(*at),
            _ => place,
        })
    }

    /// The fields of the record, from those of its row.
    fn fields(&self, database: &Database, row: Option<Fields>) -> Result<Option<Fields>> {
        let mut fields = row;
        for (at, kind) in &self.changes {
            match (kind, &mut fields) {
                (Kind::Delete, _) => fields = None,
                (Kind::Add | Kind::Upsert, absent @ None) => database.apply(*at, absent.insert(Fields::default()))?,
                (Kind::Update | Kind::Upsert, Some(fields)) => database.apply(*at, fields)?,
                (Kind::Add, Some(_)) | (Kind::Update, None) => {}
            }
        }
        Ok(fields)
    }
}

/// The records of a collection, in the order of their insertion.
#[derive(Debug)]
pub(super) struct Rows {
    segment: Option<String>,
    waiting: HashMap<String, Waiting>,
    /// Ids that only the queue has, in order.
    new: Vec<String>,
}

/// A record's place, for [`Rows::fields`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowId {
    pub(super) id: String,
    /// The row; `None` of a record that only the queue has.
    row: Option<i64>,
}

impl Rows {
    /// Finds the records of a collection.
    pub(super) fn open(database: &Database, row: &CollectionRow) -> Result<Self> {
        let segment = row.metadata_segment.clone();
        let applied = match &segment {
            Some(segment) => database.applied(segment)?,
            None => None,
        };
        let mut waiting: HashMap<String, Waiting> = HashMap::new();
        if let Some(topic) = &row.topic {
            database.queue(topic, applied.unwrap_or(i64::MIN), |change| {
                waiting.entry(change.id).or_default().changes.push((change.place, change.kind));
                Ok(())
            })?;
        }
        let mut rows = Self { segment, waiting, new: Vec::new() };
        if !rows.waiting.is_empty() {
            let mut after = i64::MIN;
            loop {
                let page = rows.stored(database, after)?;
                let Some((last, _)) = page.last() else { break };
                after = *last;
                for (_, id) in page {
                    if let Some(waiting) = rows.waiting.get_mut(&id) {
                        waiting.has_row = true;
                    }
                }
            }
        }
        let mut new: Vec<(i64, String)> = Vec::new();
        for (id, waiting) in &rows.waiting {
            if let Place::Queue(at) = waiting.place() {
                new.push((at, id.clone()));
            }
        }
        new.sort_unstable();
        rows.new = new.into_iter().map(|(_, id)| id).collect();
        Ok(rows)
    }

    fn stored(&self, database: &Database, after: i64) -> Result<Vec<(i64, String)>> {
        self.segment.as_ref().map_or_else(|| Ok(Vec::new()), |segment| database.ids(segment, after))
    }

    /// The next records behind `at`, which moves on. None are left where the answer is empty.
    pub(super) fn page(&self, database: &Database, at: &mut Cursor) -> Result<Vec<RowId>> {
        while let Cursor::Row(after) = at {
            let stored = self.stored(database, *after)?;
            match stored.last() {
                Some((last, _)) => *after = *last,
                None => *at = Cursor::Queue,
            }
            let in_place = |id: &str| self.waiting.get(id).is_none_or(|waiting| waiting.place() == Place::Row);
            let page: Vec<RowId> = stored
                .into_iter()
                .filter(|(_, id)| in_place(id))
                .map(|(row, id)| RowId { id, row: Some(row) })
                .collect();
            if !page.is_empty() {
                return Ok(page);
            }
        }
        if *at == Cursor::Queue {
            *at = Cursor::End;
            return Ok(self.new.iter().map(|id| RowId { id: id.clone(), row: None }).collect());
        }
        Ok(Vec::new())
    }

    /// The fields of a record.
    pub(super) fn fields(&self, database: &Database, row: &RowId) -> Result<Fields> {
        let stored = row.row.map(|row| database.fields(row)).transpose()?;
        match self.waiting.get(&row.id) {
            Some(waiting) => Ok(waiting.fields(database, stored)?.unwrap_or_default()),
            None => Ok(stored.unwrap_or_default()),
        }
    }
}

/// A place on the way through the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// Behind this row.
    Row(i64),
    /// Behind all rows.
    Queue,
    /// Behind everything.
    End,
}

impl Cursor {
    /// In front of all records.
    pub(super) const START: Self = Self::Row(i64::MIN);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_moves_to_the_end_only_when_deleted() {
        use Kind::{Add, Delete, Update, Upsert};
        for (has_row, changes, expected) in [
            (true, &[(1, Update)][..], Place::Row),
            (true, &[(1, Add), (2, Upsert)], Place::Row),
            (true, &[(1, Delete)], Place::Gone),
            (true, &[(1, Delete), (2, Add)], Place::Queue(2)),
            (false, &[(1, Update)], Place::Gone),
            (false, &[(1, Upsert), (2, Update)], Place::Queue(1)),
            (false, &[(1, Add), (2, Delete), (3, Update)], Place::Gone),
        ] {
            let waiting = Waiting { has_row, changes: changes.to_vec() };
            assert_eq!(waiting.place(), expected, "{waiting:?}");
        }
    }
}
