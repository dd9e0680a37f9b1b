//! The rules of a part's rows beyond a valid archive: rkyv proves memory safety, not integrity.
//!
//! All checks take time in proportion to the archive's bytes.

use super::mask::Mask;
use super::numbers::{u32_at, u64_at};
use super::rows::{ArchivedRows, CLEAR, FIRST_OBJECT, RENEWED, object_name};
use super::rules::{ascending, presence, require, texts};
use super::{Form, ROWS};
use crate::error::FormatError;
use crate::limits::{MAX_ID_BYTES, MAX_PART_ROWS};
use crate::name::ObjectName;

/// The findings of the checks of rows.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) payloads: Payloads,
    /// Number of payloads that set a document.
    pub(super) documents: usize,
    /// The references to each embedding object, sorted by name. Two payloads of a row that name one
    /// place count as one.
    pub(super) references: Vec<(ObjectName, u32)>,
    /// Every row is a whole record.
    pub(super) resolved: bool,
}

/// Checks every rule of rows alone.
pub(super) fn check(archive: &ArchivedRows, revised: bool) -> Result<Checked, FormatError> {
    let rows = archive.forms.len();
    require(rows > 0, "it has no rows")?;
    if rows > MAX_PART_ROWS {
        return Err(FormatError::too_large("part rows", rows as u64, MAX_PART_ROWS as u64));
    }
    ids(archive, rows)?;
    let payloads = Payloads::of(archive, rows, revised)?;
    if revised {
        let none = archive.inserted.is_empty() && archive.changed.is_empty();
        require(none, "rows with revisions have positions in the log")?;
    } else {
        positions(archive, &payloads)?;
    }
    let documents = documents(archive, &payloads)?;
    let references = embeddings(archive, &payloads)?;
    let resolved = archive.forms.iter().all(|form| form & !RENEWED == Form::Put as u8);
    Ok(Checked { payloads, documents, references, resolved })
}

/// The sort of each payload, by the form of its row. Payloads of tombstones have neither sort, and
/// are empty.
#[derive(Debug)]
pub(super) struct Payloads {
    pub(super) count: usize,
    /// Patches, which can remove.
    pub(super) patches: Mask,
    /// Patches and records, which can set.
    pub(super) contents: Mask,
}

impl Payloads {
    /// Checks that forms are known, and that the splits are the rows of that form. Either all rows
    /// have revisions, or none has.
    fn of(archive: &ArchivedRows, rows: usize, revised: bool) -> Result<Self, FormatError> {
        let count = rows + archive.splits.len();
        // At most one split a row. This check precedes allocations by their number.
        require(count <= 2 * rows, "there are more splits than rows")?;
        let mut payloads = Self { count, patches: Mask::new(count), contents: Mask::new(count) };
        let mut splits = archive.splits.iter();
        for (row, byte) in archive.forms.iter().enumerate() {
            let form = Form::from_byte(*byte)
                .ok_or_else(|| FormatError::invalid(ROWS.name, format!("row {row} has the unknown form {byte}")))?;
            require(form == Form::Put || byte & RENEWED == 0, "a row is renewed, and is not a put")?;
            require(
                (form == Form::Revised) == revised,
                "a row lacks its revisions, or has some that its form does not need",
            )?;
            if form == Form::Split {
                let listed = splits.next().is_some_and(|split| split.to_native() as usize == row);
                require(listed, "the list of splits is too short")?;
            }
            if form != Form::Delete {
                payloads.contents.set(row);
            }
            if matches!(form, Form::Patch | Form::Upsert | Form::Revised) {
                payloads.patches.set(row);
            }
        }
        require(splits.next().is_none(), "the list of splits is too long")?;
        for patch in rows..count {
            payloads.patches.set(patch);
            payloads.contents.set(patch);
        }
        Ok(payloads)
    }
}

fn ids(archive: &ArchivedRows, rows: usize) -> Result<(), FormatError> {
    texts(&archive.ids, 1, MAX_ID_BYTES)?;
    require(archive.ids.len() == rows, "it does not have one id for each row")?;
    let mut before: &[u8] = &[];
    for row in 0..rows {
        let id = archive.ids.bytes_of(row);
        require(before < id, "ids do not ascend")?;
        before = id;
    }
    Ok(())
}

fn positions(archive: &ArchivedRows, payloads: &Payloads) -> Result<(), FormatError> {
    let one_each = archive.inserted.len() == payloads.count && archive.changed.len() == payloads.count;
    require(one_each, "it does not have two positions for each payload")?;
    for payload in 0..payloads.count {
        let inserted = u64_at(&archive.inserted, payload) != 0;
        let changed = u64_at(&archive.changed, payload) != 0;
        let upserts = archive.forms.get(payload).is_some_and(|form| *form == Form::Upsert as u8);
        let fits = match (payloads.contents.has(payload), payloads.patches.has(payload)) {
            (false, _) => !inserted && !changed,
            (true, false) => inserted && changed,
            (true, true) => inserted == upserts && (changed || !upserts),
        };
        require(fits, "a position is missing, or stands where none may")?;
    }
    Ok(())
}

fn documents(archive: &ArchivedRows, payloads: &Payloads) -> Result<usize, FormatError> {
    let count = presence(&archive.documents, payloads.count)?;
    require(payloads.contents.covers(&archive.documents), "a tombstone has a document")?;
    ascending(&archive.documents_cleared, payloads.count)?;
    for payload in archive.documents_cleared.iter() {
        let payload = payload.to_native() as usize;
        require(payloads.patches.has(payload), "a row clears a document, and is not a patch")?;
        require(archive.documents.rank(payload).is_none(), "a payload sets a document and clears it")?;
    }
    Ok(count)
}

fn embeddings(archive: &ArchivedRows, payloads: &Payloads) -> Result<Vec<(ObjectName, u32)>, FormatError> {
    let objects = archive.object_versions.len();
    require(archive.object_nonces.len() == objects, "an embedding object has half a name")?;
    let one_each = archive.embedding_objects.len() == payloads.count && archive.embedding_rows.len() == payloads.count;
    require(one_each, "it does not have one place of an embedding for each payload")?;
    let mut references: Vec<(ObjectName, u32)> = (0..objects).map(|i| (object_name(archive, i), 0)).collect();
    require(references.is_sorted_by(|a, b| a.0 < b.0), "embedding objects do not ascend")?;
    for payload in 0..payloads.count {
        let (object, row) = (u32_at(&archive.embedding_objects, payload), u32_at(&archive.embedding_rows, payload));
        if let Some(object) = object.checked_sub(FIRST_OBJECT) {
            require(payloads.contents.has(payload), "a tombstone has an embedding")?;
            require((row as usize) < MAX_PART_ROWS, "an embedding's row number is beyond every object")?;
            let unknown = || FormatError::invalid(ROWS.name, "an embedding lies in an object that is not listed");
            let entry = references.get_mut(object as usize).ok_or_else(unknown)?;
            let place = |n: usize| (u32_at(&archive.embedding_objects, n), u32_at(&archive.embedding_rows, n));
            let row = payload.checked_sub(archive.forms.len()).and_then(|split| archive.splits.get(split));
            let twice = row.is_some_and(|row| place(row.to_native() as usize) == place(payload));
            entry.1 += u32::from(!twice);
        } else {
            require(object != CLEAR || payloads.patches.has(payload), "a row clears an embedding, and is not a patch")?;
            require(row == 0, "a payload without an embedding has a row of one")?;
        }
    }
    require(references.iter().all(|(_, count)| *count > 0), "an embedding object is listed, and no row refers to it")?;
    Ok(references)
}
