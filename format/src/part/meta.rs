//! Reading a part.

use std::cmp::Ordering;
use std::fmt;
use std::sync::atomic::{self, AtomicU64};

use bytes::Bytes;
use self_cell::self_cell;

use super::check::{Checked, WHAT, check};
use super::columns::{ArchivedColumns, CLEAR, FIRST_OBJECT, KEEP, RENEWED, number, u32_at, u64_at};
use super::revisions::{ArchivedRevisions, Fields};
use super::values::ArchivedValues;
use super::{Absent, COLUMNS, EmbeddingRef, Form, REVISIONS};
use crate::effect::Effect;
use crate::envelope::{EnvelopeReader, ObjectKind};
use crate::error::FormatError;
use crate::limits::MAX_PART_META_BYTES;
use crate::name::{Nonce, ObjectName, Position, Version};
use crate::record::{Change, Metadata, Patch, Record};
use crate::revised::{Revised, Write};
use crate::transition::{Stored, Transition};

/// A checked part, read in place. Rows are numbered from 0 in the order of their ids.
///
/// Everything was validated when it was decoded, so no accessor fails; for a row that there is not they answer as for a tombstone without
/// an id. It takes the memory of its columns as they are archived, and no more.
pub struct PartMeta {
    archive: Archive,
    revisions: Option<RevisionArchive>,
    checked: Checked,
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

self_cell! {
    struct RevisionArchive {
        owner: Bytes,
        #[covariant]
        dependent: RevisionRoot,
    }
}

type RevisionRoot<'a> = &'a ArchivedRevisions;

impl fmt::Debug for PartMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartMeta").field("rows", &self.rows()).field("bytes", &self.memory_bytes()).finish()
    }
}

/// How errors call the revisions.
const REVISIONS_WHAT: &str = "revisions";

/// Validates archives and checks every rule of the format.
pub(super) fn validate(columns: &[u8], revisions: Option<&[u8]>) -> Result<Checked, FormatError> {
    check(access_columns(columns)?, revisions.map(access_revisions).transpose()?)
}

fn access_columns(archive: &[u8]) -> Result<&ArchivedColumns, FormatError> {
    rkyv::access::<ArchivedColumns, rkyv::rancor::Error>(archive).map_err(|error| FormatError::archive(WHAT, error))
}

fn access_revisions(archive: &[u8]) -> Result<&ArchivedRevisions, FormatError> {
    rkyv::access::<ArchivedRevisions, rkyv::rancor::Error>(archive)
        .map_err(|error| FormatError::archive(REVISIONS_WHAT, error))
}

impl PartMeta {
    /// Validates a whole object and takes it over. Takes about 0.2 µs a row.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with any byte of it; nothing of such an object can be used.
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let reader = EnvelopeReader::open(object, ObjectKind::PartMeta)?;
        let section = reader.section(COLUMNS, WHAT, MAX_PART_META_BYTES)?;
        let archive = Archive::try_new(section, |section| access_columns(section))?;
        let revisions = match reader.envelope().section(REVISIONS) {
            None => None,
            Some(_) => {
                let section = reader.section(REVISIONS, REVISIONS_WHAT, MAX_PART_META_BYTES)?;
                Some(RevisionArchive::try_new(section, |section| access_revisions(section))?)
            }
        };
        let checked = check(archive.borrow_dependent(), revisions.as_ref().map(|archive| *archive.borrow_dependent()))?;
        let serial = SERIAL.fetch_add(1, atomic::Ordering::Relaxed);
        Ok(Self { archive, revisions, checked, crc32: reader.envelope().crc32(), serial })
    }

    pub(super) fn columns(&self) -> &ArchivedColumns {
        self.archive.borrow_dependent()
    }

    pub(super) fn revisions(&self) -> Option<&ArchivedRevisions> {
        self.revisions.as_ref().map(|archive| *archive.borrow_dependent())
    }

    /// Whether its rows hold what ops with revisions came to.
    pub fn has_revisions(&self) -> bool {
        self.revisions.is_some()
    }

    /// Its rows that hold no record, as far as they have revisions; without these none counts.
    pub fn absent(&self) -> Absent {
        self.checked.absent
    }

    /// Tells it apart from every other part decoded in this process.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// How many rows it has, at least one.
    pub fn rows(&self) -> usize {
        self.columns().forms.len()
    }

    /// The crc32 of the object's envelope, to be compared with the one in the manifest.
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.archive.borrow_owner().len() + self.revisions.as_ref().map_or(0, |archive| archive.borrow_owner().len())
    }

    /// Whether every row is a whole record, as in the base.
    pub fn resolved(&self) -> bool {
        self.checked.resolved
    }

    /// How many references there are to each embedding object, by name. A row of the form `Split` whose two cases name the same place refers to it once.
    pub fn references(&self) -> impl ExactSizeIterator<Item = (ObjectName, u32)> {
        self.checked.references.iter().copied()
    }

    /// The places of all embeddings that the part refers to, in the order of its payloads.
    pub fn embedding_refs(&self) -> impl Iterator<Item = EmbeddingRef> {
        let payloads = self.columns().embedding_objects.len();
        (0..payloads).filter_map(|payload| self.embedding(payload).value().copied())
    }

    /// The id of a row.
    pub fn id(&self, row: usize) -> &str {
        self.columns().ids.get(row)
    }

    /// The row of an id.
    ///
    /// # Errors
    ///
    /// The first row whose id is greater, [`rows`](Self::rows) if none is.
    pub fn find(&self, id: &str) -> Result<usize, usize> {
        let ids = &self.columns().ids;
        let (mut low, mut high) = (0, self.rows());
        while low < high {
            let middle = low.midpoint(high);
            match ids.bytes_of(middle).cmp(id.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// How a row stores its transition.
    pub fn form(&self, row: usize) -> Form {
        Form::from_byte(self.form_byte(row)).unwrap_or(Form::Delete)
    }

    /// Whether the row says that the id is gone.
    pub fn is_tombstone(&self, row: usize) -> bool {
        self.form(row) == Form::Delete
    }

    /// Whether the record of a `Put` row was inserted after a delete.
    pub fn renewed(&self, row: usize) -> bool {
        self.form_byte(row) & RENEWED != 0
    }

    pub(super) fn form_byte(&self, row: usize) -> u8 {
        self.columns().forms.get(row).copied().unwrap_or(Form::Delete as u8)
    }

    /// Where the record of a row was inserted; [`Position::ZERO`] for a row without a record, of the forms `Delete` and `Patch`, and for one with revisions.
    pub fn inserted(&self, row: usize) -> Position {
        Position::from_bits(u64_at(&self.columns().inserted, row))
    }

    /// The last change of a row's record or patch (of a `Split` row: of its record); [`Position::ZERO`] for a tombstone, and for a row with revisions.
    pub fn changed(&self, row: usize) -> Position {
        Position::from_bits(u64_at(&self.columns().changed, row))
    }

    /// Where the embedding of a row's record or patch lies (of a `Split` row: of its record).
    pub fn embedding_ref(&self, row: usize) -> Option<EmbeddingRef> {
        self.embedding(row).value().copied()
    }

    /// What a row does to its id.
    pub fn effect(&self, row: usize) -> Effect<EmbeddingRef> {
        match self.revised(row) {
            Some(revised) => Effect::Revision(revised),
            None => Effect::Log(self.transition(row)),
        }
    }

    /// What the revisions of a row come to, of a part that has them.
    pub fn revised(&self, row: usize) -> Option<Revised<EmbeddingRef>> {
        let (mut revised, mut stamps) = self.revisions()?.row(row);
        revised.embedding = write(self.embedding(row), &mut stamps);
        revised.document = write(self.document(row).map(str::to_owned), &mut stamps);
        let values = self.columns_of(row);
        revised.metadata = values
            .map(|(key, column, rank)| (key.to_owned(), Write { at: stamps.next(), value: column.get(rank) }))
            .collect();
        Some(revised)
    }

    /// What a row does to presence and insertion; the record is left empty, so that this costs no allocation.
    pub fn outline(&self, row: usize) -> Effect<()> {
        if let Some(revisions) = self.revisions() {
            return Effect::Revision(revisions.row(row).0.outline());
        }
        let record = Record::default();
        let stored = || Some(Stored { record, inserted: self.inserted(row), changed: self.changed(row) });
        let modify = |absent| Transition::Modify { absent, patch: Patch::default(), changed: None };
        Effect::Log(match self.form(row) {
            Form::Put => Transition::Replace { record: stored(), renewed: self.renewed(row) },
            Form::Delete | Form::Revised => Transition::TOMBSTONE,
            Form::Patch => modify(None),
            Form::Upsert | Form::Add | Form::Split => modify(stored()),
        })
    }

    /// What a row does to its id, in a part without revisions.
    pub fn transition(&self, row: usize) -> Transition<EmbeddingRef> {
        let changed = |payload| Some(self.changed(payload)).filter(|position| *position != Position::ZERO);
        match self.form(row) {
            Form::Put => Transition::Replace { record: Some(self.stored(row)), renewed: self.renewed(row) },
            Form::Delete | Form::Revised => Transition::TOMBSTONE,
            Form::Patch => Transition::Modify { absent: None, patch: self.patch(row), changed: changed(row) },
            Form::Add => Transition::Modify { absent: Some(self.stored(row)), patch: Patch::default(), changed: None },
            Form::Upsert => {
                let patch = self.patch(row);
                let record = patch.clone().apply(Record::default());
                let absent = Stored { record, inserted: self.inserted(row), changed: self.changed(row) };
                Transition::Modify { absent: Some(absent), patch, changed: changed(row) }
            }
            Form::Split => {
                let split = self.columns().splits.binary_search_by_key(&number(row), |split| split.to_native());
                let payload = self.rows() + split.unwrap_or_default();
                Transition::Modify {
                    absent: Some(self.stored(row)),
                    patch: self.patch(payload),
                    changed: changed(payload),
                }
            }
        }
    }

    /// The metadata columns that have a value for a payload, with the value's place in each.
    fn columns_of(&self, payload: usize) -> impl Iterator<Item = (&str, &ArchivedValues, usize)> {
        let columns = self.columns();
        columns.values.iter().enumerate().filter_map(move |(i, column)| {
            let rank = column.presence.rank(payload)?;
            Some((columns.keys.get(i), column, rank))
        })
    }

    fn stored(&self, payload: usize) -> Stored<EmbeddingRef> {
        let values = self.columns_of(payload);
        let metadata: Metadata =
            values.filter_map(|(key, column, rank)| Some((key.to_owned(), column.get(rank)?))).collect();
        let record = Record {
            embedding: self.embedding(payload).value().copied(),
            metadata,
            document: self.document(payload).value().map(|text| (*text).to_owned()),
        };
        Stored { record, inserted: self.inserted(payload), changed: self.changed(payload) }
    }

    fn patch(&self, payload: usize) -> Patch<EmbeddingRef> {
        let values = self.columns_of(payload);
        Patch {
            embedding: self.embedding(payload),
            metadata: values.map(|(key, column, rank)| (key.to_owned(), column.get(rank))).collect(),
            document: self.document(payload).map(str::to_owned),
        }
    }

    pub(super) fn document(&self, payload: usize) -> Change<&str> {
        let columns = self.columns();
        if let Some(rank) = columns.documents.rank(payload) {
            return Change::Set(columns.texts.get(rank));
        }
        let cleared = columns.documents_cleared.binary_search_by_key(&number(payload), |cleared| cleared.to_native());
        if cleared.is_ok() { Change::Clear } else { Change::Keep }
    }

    pub(super) fn embedding(&self, payload: usize) -> Change<EmbeddingRef> {
        let columns = self.columns();
        match u32_at(&columns.embedding_objects, payload) {
            KEEP => Change::Keep,
            CLEAR => Change::Clear,
            object => {
                let object = object_name(columns, (object - FIRST_OBJECT) as usize);
                Change::Set(EmbeddingRef { object, row: u32_at(&columns.embedding_rows, payload) })
            }
        }
    }
}

/// The field of a row, with its stamp if the row has one.
fn write<T>(change: Change<T>, stamps: &mut Fields<'_>) -> Option<Write<T>> {
    match change {
        Change::Keep => None,
        Change::Clear => Some(Write { at: stamps.next(), value: None }),
        Change::Set(value) => Some(Write { at: stamps.next(), value: Some(value) }),
    }
}

/// The name of embedding object `i` of a part.
pub(super) fn object_name(columns: &ArchivedColumns, i: usize) -> ObjectName {
    ObjectName {
        version: Version::new(u64_at(&columns.object_versions, i)),
        nonce: Nonce::new(u64_at(&columns.object_nonces, i)),
    }
}
