//! What a part must be beyond a valid archive: rkyv proves memory safety, not integrity.
//!
//! Everything here takes time in proportion to the archive's bytes, whatever these are.

use super::check_columns::{ascending, presence, texts, values};
use super::columns::{ArchivedColumns, CLEAR, FIRST_OBJECT, RENEWED, u32_at, u64_at};
use super::mask::Mask;
use super::meta::object_name;
use super::presence::ALL;
use super::revisions::ArchivedRevisions;
use super::values::{ArchivedValues, REMOVED};
use super::{Absent, Form, check_revisions};
use crate::error::FormatError;
use crate::limits::{MAX_DOCUMENT_BYTES, MAX_ID_BYTES, MAX_KEY_BYTES, MAX_PART_ROWS};
use crate::name::ObjectName;

/// How errors call what is checked.
pub(super) const WHAT: &str = "columns";

/// `Ok` where `holds`, else an error with the rule that does not.
pub(super) fn require(holds: bool, rule: &'static str) -> Result<(), FormatError> {
    if holds { Ok(()) } else { Err(FormatError::invalid(WHAT, rule)) }
}

/// What was learned about columns on the way.
#[derive(Debug)]
pub(super) struct Checked {
    /// How many references there are to each embedding object, by name. The two payloads of a row that name one place count as one.
    pub(super) references: Vec<(ObjectName, u32)>,
    /// Every row is a whole record.
    pub(super) resolved: bool,
    /// The rows with revisions that hold no record.
    pub(super) absent: Absent,
}

/// Checks every rule of the format that columns, and the revisions beside them, can break.
pub(super) fn check(columns: &ArchivedColumns, revisions: Option<&ArchivedRevisions>) -> Result<Checked, FormatError> {
    let rows = columns.forms.len();
    require(rows > 0, "there are no rows")?;
    if rows > MAX_PART_ROWS {
        return Err(FormatError::too_large("part rows", rows as u64, MAX_PART_ROWS as u64));
    }
    ids(columns, rows)?;
    let payloads = Payloads::of(columns, rows, revisions.is_some())?;
    match revisions {
        None => positions(columns, &payloads)?,
        Some(_) => {
            let none = columns.inserted.is_empty() && columns.changed.is_empty();
            require(none, "rows with revisions have positions in the log")?;
        }
    }
    documents(columns, &payloads)?;
    let references = embeddings(columns, &payloads)?;
    metadata(columns, &payloads)?;
    let resolved = columns.forms.iter().all(|form| form & !RENEWED == Form::Put as u8);
    let absent = revisions.map(|revisions| check_revisions::check(columns, revisions)).transpose()?;
    Ok(Checked { references, resolved, absent: absent.unwrap_or_default() })
}

/// Of what sort each payload is, by the form of its row. Those of tombstones are of neither sort, and hold nothing.
struct Payloads {
    count: usize,
    /// Patches: what can remove.
    patches: Mask,
    /// Patches and records: what can set.
    contents: Mask,
}

impl Payloads {
    /// Forms are known, and the splits are the rows that say so. Rows have revisions all together, or none has.
    fn of(columns: &ArchivedColumns, rows: usize, revised: bool) -> Result<Self, FormatError> {
        let count = rows + columns.splits.len();
        // At most one split a row, before anything is allocated by their number.
        require(count <= 2 * rows, "there are more splits than rows")?;
        let mut payloads = Self { count, patches: Mask::new(count), contents: Mask::new(count) };
        let mut splits = columns.splits.iter();
        for (row, byte) in columns.forms.iter().enumerate() {
            let form = Form::from_byte(*byte)
                .ok_or_else(|| FormatError::invalid(WHAT, format!("row {row} has the unknown form {byte}")))?;
            require(form == Form::Put || byte & RENEWED == 0, "a row that is not put is renewed")?;
            require(
                (form == Form::Revised) == revised,
                "a row lacks its revisions, or has some that its form does not need",
            )?;
            if form == Form::Split {
                let listed = splits.next().is_some_and(|split| split.to_native() as usize == row);
                require(listed, "the list of splits lacks one")?;
            }
            if form != Form::Delete {
                payloads.contents.set(row);
            }
            if matches!(form, Form::Patch | Form::Upsert | Form::Revised) {
                payloads.patches.set(row);
            }
        }
        require(splits.next().is_none(), "the list of splits has one too many")?;
        for patch in rows..count {
            payloads.patches.set(patch);
            payloads.contents.set(patch);
        }
        Ok(payloads)
    }
}

fn ids(columns: &ArchivedColumns, rows: usize) -> Result<(), FormatError> {
    texts(&columns.ids, 1, MAX_ID_BYTES)?;
    require(columns.ids.len() == rows, "there is not one id for each row")?;
    let mut before: &[u8] = &[];
    for row in 0..rows {
        let id = columns.ids.bytes_of(row);
        require(before < id, "ids do not ascend")?;
        before = id;
    }
    Ok(())
}

fn positions(columns: &ArchivedColumns, payloads: &Payloads) -> Result<(), FormatError> {
    let one_each = columns.inserted.len() == payloads.count && columns.changed.len() == payloads.count;
    require(one_each, "there are not two positions for each payload")?;
    for payload in 0..payloads.count {
        let inserted = u64_at(&columns.inserted, payload) != 0;
        let changed = u64_at(&columns.changed, payload) != 0;
        let upserts = columns.forms.get(payload).is_some_and(|form| *form == Form::Upsert as u8);
        let fits = match (payloads.contents.has(payload), payloads.patches.has(payload)) {
            (false, _) => !inserted && !changed,
            (true, false) => inserted && changed,
            (true, true) => inserted == upserts && (changed || !upserts),
        };
        require(fits, "a position is missing, or is there and should not be")?;
    }
    Ok(())
}

fn documents(columns: &ArchivedColumns, payloads: &Payloads) -> Result<(), FormatError> {
    let count = presence(&columns.documents, payloads.count)?;
    texts(&columns.texts, 0, MAX_DOCUMENT_BYTES)?;
    require(columns.texts.len() == count, "there is not one document for each payload that sets one")?;
    require(payloads.contents.covers(&columns.documents), "a tombstone has a document")?;
    ascending(&columns.documents_cleared, payloads.count)?;
    for payload in columns.documents_cleared.iter() {
        let payload = payload.to_native() as usize;
        require(payloads.patches.has(payload), "what is no patch clears a document")?;
        require(columns.documents.rank(payload).is_none(), "a payload sets a document and clears it")?;
    }
    Ok(())
}

fn embeddings(columns: &ArchivedColumns, payloads: &Payloads) -> Result<Vec<(ObjectName, u32)>, FormatError> {
    let objects = columns.object_versions.len();
    require(columns.object_nonces.len() == objects, "an embedding object has half a name")?;
    let one_each = columns.embedding_objects.len() == payloads.count && columns.embedding_rows.len() == payloads.count;
    require(one_each, "there is not one embedding's place for each payload")?;
    let mut references: Vec<(ObjectName, u32)> = (0..objects).map(|i| (object_name(columns, i), 0)).collect();
    require(references.is_sorted_by(|a, b| a.0 < b.0), "embedding objects do not ascend")?;
    for payload in 0..payloads.count {
        let (object, row) = (u32_at(&columns.embedding_objects, payload), u32_at(&columns.embedding_rows, payload));
        if let Some(object) = object.checked_sub(FIRST_OBJECT) {
            require(payloads.contents.has(payload), "a tombstone has an embedding")?;
            require((row as usize) < MAX_PART_ROWS, "an embedding lies in a row that no object has")?;
            let unknown = || FormatError::invalid(WHAT, "an embedding lies in an object that is not listed");
            let entry = references.get_mut(object as usize).ok_or_else(unknown)?;
            let place = |n: usize| (u32_at(&columns.embedding_objects, n), u32_at(&columns.embedding_rows, n));
            let row = payload.checked_sub(columns.forms.len()).and_then(|split| columns.splits.get(split));
            let twice = row.is_some_and(|row| place(row.to_native() as usize) == place(payload));
            entry.1 += u32::from(!twice);
        } else {
            require(object != CLEAR || payloads.patches.has(payload), "what is no patch clears an embedding")?;
            require(row == 0, "a payload without an embedding has a row of one")?;
        }
    }
    require(references.iter().all(|(_, count)| *count > 0), "an embedding object is listed and not referred to")?;
    Ok(references)
}

fn metadata(columns: &ArchivedColumns, payloads: &Payloads) -> Result<(), FormatError> {
    texts(&columns.keys, 1, MAX_KEY_BYTES)?;
    require(columns.keys.len() == columns.values.len(), "there is not one key for each metadata column")?;
    let order = |(i, column): (usize, &ArchivedValues)| (columns.keys.bytes_of(i), column.kind.to_native());
    let sorted = columns.values.iter().enumerate().map(order).is_sorted_by(|a, b| a < b);
    require(sorted, "metadata columns do not ascend by key and type")?;
    for column in columns.values.iter() {
        let count = presence(&column.presence, payloads.count)?;
        require(count > 0, "a metadata column is empty")?;
        values(column, count)?;
        let removes = column.kind.to_native() == REMOVED;
        let lawful = if removes { &payloads.patches } else { &payloads.contents };
        require(lawful.covers(&column.presence), "a payload has metadata that its form does not allow")?;
    }
    // Two types of one key: no payload may have both.
    let mut first = 0;
    while let Some(columns_left) = columns.values.get(first..).filter(|left| !left.is_empty()) {
        let key = columns.keys.bytes_of(first);
        let types = (1..columns_left.len()).find(|i| columns.keys.bytes_of(first + i) != key);
        let types = types.unwrap_or(columns_left.len());
        if types > 1 {
            let mut taken = Mask::new(payloads.count);
            for column in columns_left.iter().take(types) {
                let disjoint = column.presence.kind.to_native() != ALL && taken.add(&column.presence);
                require(disjoint, "a payload has two values of one key")?;
            }
        }
        first += types;
    }
    Ok(())
}
