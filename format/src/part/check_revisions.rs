//! The rules of a part's revisions, alone and together with its other sections. Checking takes time
//! in proportion to all.

use super::numbers::{u32_at, u64_at};
use super::revisions::{ArchivedRevisions, BASE, DELETE, PUT, UPSERTED, date};
use super::rows::{ArchivedRows, CLEAR, KEEP};
use super::rules::{ascending, require};
use super::values::{ArchivedValues, REMOVED};
use crate::error::FormatError;
use crate::name::Timestamp;

/// The rows of a part that hold no record: tombstones, and patches that wait for a record.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Absent {
    /// Number of such rows.
    pub rows: u32,
    /// The oldest date among them; 0 without such rows.
    pub oldest: Timestamp,
}

/// Checks every rule of revisions alone, for this number of rows.
pub(super) fn check(revisions: &ArchivedRevisions, rows: usize) -> Result<Absent, FormatError> {
    require(revisions.kinds.len() == rows, "it does not have one kind for each row")?;
    let known = |kind: &u8| *kind <= (BASE | UPSERTED) && kind & BASE != BASE;
    require(revisions.kinds.iter().all(known), "a row has an unknown kind")?;
    stamps(revisions, rows)?;
    absent(revisions, rows)
}

/// Each row has at least one stamp, ascending.
fn stamps(revisions: &ArchivedRevisions, rows: usize) -> Result<(), FormatError> {
    let count = revisions.high.len();
    let one_each = revisions.low.len() == count && revisions.ties.len() == count;
    require(one_each, "a revision lacks half of its number, or its tie")?;
    if revisions.ends.is_empty() {
        require(count == rows, "it does not have one revision for each row")?;
    } else {
        require(revisions.ends.len() == rows, "it does not have one end of revisions for each row")?;
        let grow = revisions.ends.is_sorted_by(|a, b| a.to_native() < b.to_native());
        let first = u32_at(&revisions.ends, 0) > 0;
        let last = u32_at(&revisions.ends, rows.saturating_sub(1)) as usize;
        require(grow && first && last == count, "a row has no revision, or revisions do not end with the rows")?;
        require(count > rows, "ends of revisions are listed, and each row has one revision")?;
    }
    let mut mixed = revisions.mixed.iter();
    for row in 0..rows {
        let stamps = revisions.stamps_of(row);
        let several = stamps.len() > 1;
        if several {
            let listed = mixed.next().is_some_and(|mixed| mixed.to_native() as usize == row);
            require(listed, "the list of rows of several revisions is too short")?;
        }
        let sorted = stamps.clone().skip(1).all(|at| revisions.stamp(at - 1) < revisions.stamp(at));
        require(sorted, "the revisions of a row do not ascend")?;
    }
    require(mixed.next().is_none(), "the list of rows of several revisions is too long")?;
    let ends = &revisions.slot_ends;
    let ordered = ends.is_sorted_by(|a, b| a.to_native() <= b.to_native());
    let last = ends.last().map_or(0, |last| last.to_native()) as usize;
    let fits = ends.len() == revisions.mixed.len() && ordered && last == revisions.slots.len();
    require(fits, "slots do not end with the rows of several revisions")
}

/// The slots of a row during the walk over its fields.
struct Slots<'a> {
    revisions: &'a ArchivedRevisions,
    /// For each row of several revisions, its next slot; for others [`u32::MAX`].
    next: Vec<u32>,
    /// Number of fields of each row, with the upsert.
    found: Vec<u32>,
    /// Revisions that some field has.
    borne: Vec<bool>,
}

impl Slots<'_> {
    /// One more field of `row`. A put cannot have a `removed` field.
    fn field(&mut self, row: usize, removed: bool) -> Result<(), FormatError> {
        let stamps = self.revisions.stamps_of(row);
        let mut slot = 0;
        if let Some(next) = self.next.get_mut(row).filter(|next| **next != u32::MAX) {
            slot = self.revisions.slots.get(*next as usize).map_or(u32::MAX, |slot| slot.to_native());
            *next += 1;
        }
        require((slot as usize) < stamps.len(), "a field has a revision that its row does not have")?;
        if slot == 0 {
            let base = self.revisions.kind(row) & BASE;
            require(base != DELETE, "a field is not newer than the delete of its row")?;
            require(base != PUT || !removed, "a put removes a field, or upserts")?;
        }
        if let Some(borne) = self.borne.get_mut(stamps.start + slot as usize) {
            *borne = true;
        }
        if let Some(found) = self.found.get_mut(row) {
            *found += 1;
        }
        Ok(())
    }
}

/// Checks that every field has a revision of its row, and that some field has each revision. It
/// takes all metadata columns, in order.
pub(super) fn fields<'a>(
    of: &ArchivedRows,
    revisions: &ArchivedRevisions,
    columns: impl Iterator<Item = &'a ArchivedValues>,
) -> Result<(), FormatError> {
    let rows = of.forms.len();
    let mut slots =
        Slots { revisions, next: vec![u32::MAX; rows], found: vec![0; rows], borne: vec![false; revisions.high.len()] };
    let mut start = 0;
    for (mixed, end) in revisions.mixed.iter().zip(revisions.slot_ends.iter()) {
        if let Some(next) = slots.next.get_mut(mixed.to_native() as usize) {
            *next = start;
        }
        start = end.to_native();
    }
    for row in 0..rows {
        let kind = revisions.kind(row);
        if kind & BASE != 0
            && let Some(borne) = slots.borne.get_mut(revisions.stamps_of(row).start)
        {
            *borne = true;
        }
        if kind & UPSERTED != 0 {
            slots.field(row, true)?;
        }
        match u32_at(&of.embedding_objects, row) {
            KEEP => {}
            object => slots.field(row, object == CLEAR)?,
        }
    }
    // A payload sets a document or clears it, never both, so the order of the two lists does not
    // matter.
    of.documents.each(rows, |row| slots.field(row, false))?;
    for row in of.documents_cleared.iter() {
        slots.field(row.to_native() as usize, true)?;
    }
    for column in columns {
        let removed = column.kind.to_native() == REMOVED;
        column.presence.each(rows, |row| slots.field(row, removed))?;
    }
    let mut before = 0;
    for (mixed, end) in revisions.mixed.iter().zip(revisions.slot_ends.iter()) {
        let found = slots.found.get(mixed.to_native() as usize).copied().unwrap_or_default();
        require(found == end.to_native() - before, "it does not have one slot for each field")?;
        before = end.to_native();
    }
    require(slots.borne.iter().all(|borne| *borne), "a row has a revision that no field uses")
}

/// Checks the list of the rows without a record.
fn absent(revisions: &ArchivedRevisions, rows: usize) -> Result<Absent, FormatError> {
    ascending(&revisions.absent, rows)?;
    require(
        revisions.dates.len() == revisions.absent.len(),
        "it does not have one date for each row without a record",
    )?;
    let mut listed = revisions.absent.iter().peekable();
    for row in 0..rows {
        let kind = revisions.kind(row);
        let present = kind & BASE == PUT || kind & UPSERTED != 0;
        let is_listed = listed.next_if(|absent| absent.to_native() as usize == row).is_some();
        require(present != is_listed, "the list of rows without a record differs from the kinds of the rows")?;
    }
    let oldest = (0..revisions.dates.len()).map(|i| date(u64_at(&revisions.dates, i))).min();
    Ok(Absent { rows: super::numbers::number(revisions.absent.len()), oldest: oldest.unwrap_or_default() })
}
