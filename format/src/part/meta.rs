//! Reading a part.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use self_cell::self_cell;

use super::check::check;
use super::columns::{
    ArchivedColumns, ArchivedTexts, ArchivedValues, CLEAR, FIRST_OBJECT, KEEP, RENEWED, Values, u32_at, u64_at,
};
use super::{COLUMNS, EmbeddingRef, Form};
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_PART_META_BYTES;
use crate::name::{Nonce, ObjectName, Position, Version};
use crate::record::{Change, Metadata, Patch, Record, Value};
use crate::transition::{Stored, Transition};

/// A checked part. Rows are numbered from 0 in the order of their ids; accessors take rows below [`rows`](Self::rows).
///
/// Everything was validated when it was decoded, so nothing here fails. Memory: the columns as they are archived, once.
pub struct PartMeta {
    archive: Archive,
    references: Vec<(ObjectName, u32)>,
    crc32: u32,
    serial: u64,
}

self_cell! {
    struct Archive {
        owner: Bytes,
        #[covariant]
        dependent: Root,
    }
}

type Root<'a> = &'a ArchivedColumns;

impl std::fmt::Debug for PartMeta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartMeta").field("rows", &self.rows()).field("bytes", &self.memory_bytes()).finish()
    }
}

/// Tells parts apart that were decoded in one process.
static SERIAL: AtomicU64 = AtomicU64::new(0);

impl PartMeta {
    /// Validates an object and takes it over.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with any byte of it; nothing of such an object can be used.
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        let reader = EnvelopeReader::open(object, ObjectKind::PartMeta)?;
        let crc32 = reader.envelope().crc32();
        let section = reader.section(COLUMNS, "part columns", MAX_PART_META_BYTES)?;
        let archive = Archive::try_new(section, |section| {
            rkyv::access::<ArchivedColumns, rkyv::rancor::Error>(section)
                .map_err(|error| FormatError::archive("part columns", error))
        })?;
        let references = check(archive.borrow_dependent())?;
        Ok(Self { archive, references, crc32, serial: SERIAL.fetch_add(1, Ordering::Relaxed) })
    }

    fn columns(&self) -> &ArchivedColumns {
        self.archive.borrow_dependent()
    }

    /// How many rows it has, at least one.
    pub fn rows(&self) -> usize {
        self.columns().forms.len()
    }

    /// The crc32 of the object's envelope.
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.archive.borrow_owner().len()
    }

    /// The id of a row.
    pub fn id(&self, row: usize) -> &str {
        self.columns().ids.get(row)
    }

    /// The row of an id, or the first row behind where it would be.
    pub fn find(&self, id: &str) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.rows());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id(middle).cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// How a row stores its transition.
    pub fn form(&self, row: usize) -> Form {
        Form::from_byte(self.form_byte(row)).unwrap_or(Form::Delete)
    }

    pub(super) fn form_byte(&self, row: usize) -> u8 {
        self.columns().forms.get(row).copied().unwrap_or(Form::Delete as u8)
    }

    /// Whether the record of a `Put` row was inserted after a delete.
    pub fn renewed(&self, row: usize) -> bool {
        self.form_byte(row) & RENEWED != 0
    }

    /// Whether every row is a whole record, as in the base.
    pub fn is_resolved(&self) -> bool {
        (0..self.rows()).all(|row| self.form(row) == Form::Put)
    }

    /// Where the record of a row was inserted; `Position::ZERO` in forms without a record.
    pub fn inserted(&self, row: usize) -> Position {
        Position::from_bits(u64_at(&self.columns().inserted, row))
    }

    /// The position of the row's last change; `Position::ZERO` for a tombstone.
    pub fn changed(&self, row: usize) -> Position {
        Position::from_bits(u64_at(&self.columns().changed, row))
    }

    /// The embedding of the row's record or patch (of a `Split` row: of its record).
    pub fn embedding_ref(&self, row: usize) -> Option<EmbeddingRef> {
        self.embedding(row).value().copied()
    }

    /// How many payloads refer to each embedding object, by name.
    pub fn references(&self) -> impl Iterator<Item = (ObjectName, u32)> {
        self.references.iter().copied()
    }

    /// What a row does to its id.
    pub fn transition(&self, row: usize) -> Transition<EmbeddingRef> {
        let changed = |payload| Some(self.changed(payload)).filter(|position| *position != Position::ZERO);
        match self.form(row) {
            Form::Put => Transition::Replace { record: Some(self.stored(row)), renewed: self.renewed(row) },
            Form::Delete => Transition::TOMBSTONE,
            Form::Patch => Transition::Modify { absent: None, patch: self.patch(row), changed: changed(row) },
            Form::Add => Transition::Modify { absent: Some(self.stored(row)), patch: Patch::default(), changed: None },
            Form::Upsert => {
                let patch = self.patch(row);
                let record = patch.clone().apply(Record::default());
                let absent = Stored { record, inserted: self.inserted(row), changed: self.changed(row) };
                Transition::Modify { absent: Some(absent), patch, changed: changed(row) }
            }
            Form::Split => {
                let split = u32::try_from(row).unwrap_or(u32::MAX);
                let number = self.columns().splits.binary_search_by_key(&split, |row| row.to_native());
                let payload = self.rows() + number.unwrap_or_default();
                Transition::Modify {
                    absent: Some(self.stored(row)),
                    patch: self.patch(payload),
                    changed: changed(payload),
                }
            }
        }
    }

    fn stored(&self, payload: usize) -> Stored<EmbeddingRef> {
        let mut metadata = Metadata::new();
        for column in self.columns().keys.iter() {
            if let Some(rank) = column.presence.rank(payload)
                && let Some(value) = value(&column.values, rank)
            {
                metadata.insert(column.key.as_str().to_owned(), value);
            }
        }
        let record = Record {
            embedding: self.embedding(payload).value().copied(),
            metadata,
            document: self.document(payload).value().map(|text| (*text).to_owned()),
        };
        Stored { record, inserted: self.inserted(payload), changed: self.changed(payload) }
    }

    fn patch(&self, payload: usize) -> Patch<EmbeddingRef> {
        let mut patch = Patch {
            embedding: self.embedding(payload),
            document: self.document(payload).map(str::to_owned),
            ..Patch::default()
        };
        for column in self.columns().keys.iter() {
            if let Some(rank) = column.presence.rank(payload) {
                patch.metadata.insert(column.key.as_str().to_owned(), value(&column.values, rank));
            }
        }
        patch
    }

    pub(super) fn document(&self, payload: usize) -> Change<&str> {
        let columns = self.columns();
        if let Some(rank) = columns.documents.rank(payload) {
            return Change::Set(columns.texts.get(rank));
        }
        let cleared = !columns.documents_cleared.is_empty()
            && u32::try_from(payload)
                .is_ok_and(|p| columns.documents_cleared.binary_search_by_key(&p, |row| row.to_native()).is_ok());
        if cleared { Change::Clear } else { Change::Keep }
    }

    pub(super) fn embedding(&self, payload: usize) -> Change<EmbeddingRef> {
        let columns = self.columns();
        match u32_at(&columns.embedding_objects, payload) {
            KEEP => Change::Keep,
            CLEAR => Change::Clear,
            object => {
                let number = (object - FIRST_OBJECT) as usize;
                let row = u32_at(&columns.embedding_rows, payload);
                Change::Set(EmbeddingRef { object: object_name(columns, number), row })
            }
        }
    }

    /// Tells it apart from every other part decoded in this process.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn key_columns(&self) -> usize {
        self.columns().keys.len()
    }

    /// Key and type of a column.
    pub(super) fn key_column(&self, number: usize) -> (&str, u8) {
        self.columns().keys.get(number).map_or(("", 0), |column| (column.key.as_str(), column.values.type_number()))
    }

    /// Appends the value that a row has in a column to another of the same type; returns about how many bytes that takes.
    pub(super) fn copy_value(&self, number: usize, row: usize, to: &mut Values) -> Option<usize> {
        let column = self.columns().keys.get(number)?;
        let rank = column.presence.rank(row)?;
        let end = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        Some(match (&column.values, to) {
            (ArchivedValues::Strings(from), Values::Strings(to)) => {
                let text = from.get(rank);
                to.push(text);
                text.len() + 4
            }
            (ArchivedValues::I64s(from), Values::I64s(to)) => {
                to.extend(from.get(rank).map(|value| value.to_native()));
                8
            }
            (ArchivedValues::F64s(from), Values::F64s(to)) => {
                to.extend(from.get(rank).map(|value| value.to_native()));
                8
            }
            (ArchivedValues::Bools(from), Values::Bools(to)) => {
                to.extend(from.get(rank));
                1
            }
            (ArchivedValues::StringLists { ends, items }, Values::StringLists { ends: to_ends, items: to }) => {
                let mut bytes = 4;
                for i in range(ends, rank) {
                    let text = items.get(i);
                    to.push(text);
                    bytes += text.len() + 4;
                }
                to_ends.push(end(to.offsets.len() - 1));
                bytes
            }
            (ArchivedValues::I64Lists { ends, items }, Values::I64Lists { ends: to_ends, items: to }) => {
                let list = items.get(range(ends, rank)).unwrap_or_default();
                to.extend(list.iter().map(|value| value.to_native()));
                to_ends.push(end(to.len()));
                4 + 8 * list.len()
            }
            (ArchivedValues::F64Lists { ends, items }, Values::F64Lists { ends: to_ends, items: to }) => {
                let list = items.get(range(ends, rank)).unwrap_or_default();
                to.extend(list.iter().map(|value| value.to_native()));
                to_ends.push(end(to.len()));
                4 + 8 * list.len()
            }
            (ArchivedValues::BoolLists { ends, items }, Values::BoolLists { ends: to_ends, items: to }) => {
                let list = items.get(range(ends, rank)).unwrap_or_default();
                to.extend_from_slice(list);
                to_ends.push(end(to.len()));
                4 + list.len()
            }
            // Removed: the row tells it all. No other pair meets: columns are found by their type.
            _ => 0,
        })
    }
}

pub(super) fn object_name(columns: &ArchivedColumns, number: usize) -> ObjectName {
    ObjectName {
        version: Version::new(u64_at(&columns.object_versions, number)),
        nonce: Nonce::new(u64_at(&columns.object_nonces, number)),
    }
}

/// The items of list `i`.
fn range(ends: &[rkyv::rend::u32_le], i: usize) -> std::ops::Range<usize> {
    let start = i.checked_sub(1).map_or(0, |before| u32_at(ends, before));
    start as usize..u32_at(ends, i) as usize
}

/// Value number `rank` of a column; `None` where the column says that keys are removed.
fn value(values: &ArchivedValues, rank: usize) -> Option<Value> {
    Some(match values {
        ArchivedValues::Removed => return None,
        ArchivedValues::Strings(texts) => Value::String(texts.get(rank).to_owned()),
        ArchivedValues::I64s(column) => Value::I64(column.get(rank)?.to_native()),
        ArchivedValues::F64s(column) => Value::F64(column.get(rank)?.to_native()),
        ArchivedValues::Bools(column) => Value::Bool(*column.get(rank)? != 0),
        ArchivedValues::StringLists { ends, items } => Value::Strings(texts(items, range(ends, rank))),
        ArchivedValues::I64Lists { ends, items } => {
            Value::I64s(items.get(range(ends, rank))?.iter().map(|value| value.to_native()).collect())
        }
        ArchivedValues::F64Lists { ends, items } => {
            Value::F64s(items.get(range(ends, rank))?.iter().map(|value| value.to_native()).collect())
        }
        ArchivedValues::BoolLists { ends, items } => {
            Value::Bools(items.get(range(ends, rank))?.iter().map(|value| *value != 0).collect())
        }
    })
}

fn texts(items: &ArchivedTexts, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| items.get(i).to_owned()).collect()
}
