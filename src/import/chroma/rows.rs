//! The records of a collection without their vectors: the rows of its metadata segment, then the
//! changes that wait in the queue.
//!
//! Chroma applies changes to these rows at once, so hardly ever one waits. [`Ids`] keeps the ids
//! that waiting changes concern, and the reader applies the changes when it reads such a record.

use super::database::{CollectionRow, Database, Fields, Kind};
use super::ids::{Ids, Rank};
use crate::error::Result;

impl Rank {
    /// The rank after a change, which stands at `at` in the queue.
    fn after(self, kind: Kind, at: i64) -> Self {
        match (kind, self) {
            (Kind::Delete, _) => Self::Gone,
            (Kind::Add | Kind::Upsert, Self::Gone) => Self::Queue(at),
            _ => self,
        }
    }
}

/// The records of a collection, in the order of their insertion.
#[derive(Debug)]
pub(super) struct Rows {
    segment: Option<String>,
    has_changes: bool,
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
    pub(super) fn open(database: &Database, ids: &Ids, row: &CollectionRow) -> Result<Self> {
        let segment = row.metadata_segment.clone();
        let applied = match &segment {
            Some(segment) => database.applied(segment)?,
            None => None,
        };
        let after = applied.unwrap_or(i64::MIN);
        let mut rows = Self { segment, has_changes: false };
        let Some(topic) = &row.topic else { return Ok(rows) };
        database.queue(topic, after, |change| ids.add_change(&change.id, change.place, change.kind))?;
        rows.has_changes = ids.has_changes()?;
        if rows.has_changes {
            let mut read = i64::MIN;
            loop {
                let page = rows.stored(database, read)?;
                let Some((last, _)) = page.last() else { break };
                read = *last;
                for (_, id) in page {
                    ids.set_rank(&id, Rank::Row)?;
                }
            }
            database.queue(topic, after, |change| {
                let rank = ids.rank(&change.id)?.unwrap_or(Rank::Gone);
                ids.set_rank(&change.id, rank.after(change.kind, change.place))
            })?;
        }
        Ok(rows)
    }

    fn stored(&self, database: &Database, after: i64) -> Result<Vec<(i64, String)>> {
        self.segment.as_ref().map_or_else(|| Ok(Vec::new()), |segment| database.ids(segment, after))
    }

    /// The next records behind `at`, which moves on. None are left where the answer is empty.
    pub(super) fn page(&self, database: &Database, ids: &Ids, at: &mut Cursor) -> Result<Vec<RowId>> {
        while let Cursor::Row(after) = at {
            let stored = self.stored(database, *after)?;
            match stored.last() {
                Some((last, _)) => *after = *last,
                None => *at = Cursor::Queue(i64::MIN),
            }
            let mut page = Vec::with_capacity(stored.len());
            for (row, id) in stored {
                if !self.has_changes || matches!(ids.rank(&id)?, None | Some(Rank::Row)) {
                    page.push(RowId { id, row: Some(row) });
                }
            }
            if !page.is_empty() {
                return Ok(page);
            }
        }
        let Cursor::Queue(after) = at else { return Ok(Vec::new()) };
        let new = if self.has_changes { ids.new_ones(*after)? } else { Vec::new() };
        *after = new.last().map_or(*after, |(last, _)| *last);
        Ok(new.into_iter().map(|(_, id)| RowId { id, row: None }).collect())
    }

    /// The fields of a record.
    pub(super) fn fields(&self, database: &Database, ids: &Ids, row: &RowId) -> Result<Fields> {
        let mut fields = row.row.map(|row| database.fields(row)).transpose()?;
        if self.has_changes {
            ids.changes(&row.id, |at, kind| {
                match (kind, &mut fields) {
                    (Kind::Delete, _) => fields = None,
                    (Kind::Add | Kind::Upsert, absent @ None) => {
                        database.apply(at, absent.insert(Fields::default()))?;
                    }
                    (Kind::Update | Kind::Upsert, Some(fields)) => database.apply(at, fields)?,
                    (Kind::Add, Some(_)) | (Kind::Update, None) => {}
                }
                Ok(())
            })?;
        }
        Ok(fields.unwrap_or_default())
    }
}

/// A place on the way through the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// Behind this row.
    Row(i64),
    /// Behind all rows, and behind this place of the queue.
    Queue(i64),
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
        for (start, changes, expected) in [
            (Rank::Row, &[(1, Update)][..], Rank::Row),
            (Rank::Row, &[(1, Add), (2, Upsert)], Rank::Row),
            (Rank::Row, &[(1, Delete)], Rank::Gone),
            (Rank::Row, &[(1, Delete), (2, Add)], Rank::Queue(2)),
            (Rank::Gone, &[(1, Update)], Rank::Gone),
            (Rank::Gone, &[(1, Upsert), (2, Update)], Rank::Queue(1)),
            (Rank::Gone, &[(1, Add), (2, Delete), (3, Update)], Rank::Gone),
        ] {
            let place = changes.iter().fold(start, |place, (at, kind)| place.after(*kind, *at));
            assert_eq!(place, expected, "{start:?} {changes:?}");
        }
    }
}
