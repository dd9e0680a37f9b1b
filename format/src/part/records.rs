//! Makes records, patches and revisions of the rows of a part.

use super::numbers::number;
use super::revisions::Fields;
use super::values::ArchivedValues;
use super::{DOCUMENTS, EmbeddingRef, Form, PartMeta, VALUES};
use crate::effect::Effect;
use crate::error::FormatError;
use crate::name::Position;
use crate::record::{Change, Metadata, Patch, Record};
use crate::revised::{Revised, Write};
use crate::stamp::Place;
use crate::transition::{Stored, Transition};

type Result<T> = std::result::Result<T, FormatError>;

/// The form in which an effect holds documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Documents {
    Whole,
    /// As empty texts.
    Emptied,
}

/// The wanted fields of records. Embeddings are references, which are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartFields {
    /// The metadata.
    pub metadata: bool,
    /// The document.
    pub document: bool,
}

impl PartFields {
    /// All of them.
    pub const ALL: Self = Self { metadata: true, document: true };
}

impl PartMeta {
    /// The record of a row that has one on its own, with the wanted fields only. Other fields are
    /// empty, and their pieces need not be loaded. [`effect`](Self::effect) resolves to this record
    /// if nothing lies under it.
    ///
    /// # Errors
    ///
    /// `NotLoaded` if a piece of a wanted field is missing.
    pub fn resolved_record(&self, row: usize, fields: PartFields) -> Result<Option<Stored<EmbeddingRef, Place>>> {
        let form = self.form(row);
        if fields == PartFields::ALL && form == Form::Put && self.revisions().is_none() {
            // The same as below by a shorter way: a scan makes all of its records here.
            return Ok(Some(self.stored(row, Documents::Whole)?.map_places(Place::Log)));
        }
        if fields == PartFields::ALL || !matches!(form, Form::Put | Form::Revised) {
            return Ok(self.effect(row)?.resolve());
        }
        let Some(bare) = self.outline(row).resolve() else { return Ok(None) };
        let mut record = Record { embedding: self.embedding(row).value().copied(), ..Record::default() };
        if fields.metadata {
            let values = self.columns_of(row)?;
            record.metadata =
                values.filter_map(|(key, column, rank)| Some((key.to_owned(), column.get(rank)?))).collect();
        }
        if fields.document {
            record.document = self.document(row)?.value().map(|text| (*text).to_owned());
        }
        // Stamps of a row ascend, and some field has each of them.
        let newest = self.revisions().and_then(|revisions| {
            let last = revisions.stamps_of(row).end.checked_sub(1)?;
            Some(Place::Revision(revisions.stamp(last)))
        });
        Ok(Some(Stored { record, inserted: bare.inserted, changed: newest.unwrap_or(bare.changed) }))
    }

    /// The place where the record of a row was inserted; `None` if the row has no record on its
    /// own. Allocates nothing.
    pub fn resolved_place(&self, row: usize) -> Option<Place> {
        if self.form(row) == Form::Put && self.revisions().is_none() {
            return Some(Place::Log(self.inserted(row)));
        }
        self.outline(row).resolve().map(|stored| stored.inserted)
    }

    /// The effect of a row on its id. Needs all metadata columns, and the documents of the row.
    ///
    /// # Errors
    ///
    /// `NotLoaded` if one of these is missing, here and below.
    pub fn effect(&self, row: usize) -> Result<Effect<EmbeddingRef>> {
        self.effect_of(row, Documents::Whole)
    }

    /// The same with an empty text in place of each document. Needs all metadata columns, and no
    /// document.
    ///
    /// # Errors
    ///
    /// As [`effect`](Self::effect).
    pub fn effect_without_documents(&self, row: usize) -> Result<Effect<EmbeddingRef>> {
        self.effect_of(row, Documents::Emptied)
    }

    fn effect_of(&self, row: usize, documents: Documents) -> Result<Effect<EmbeddingRef>> {
        match self.revised_of(row, documents)? {
            Some(revised) => Ok(Effect::Revision(revised)),
            None => self.transition_of(row, documents).map(Effect::Log),
        }
    }

    /// The result of a row's revisions; `None` in a part without revisions.
    ///
    /// # Errors
    ///
    /// As [`effect`](Self::effect).
    pub fn revised(&self, row: usize) -> Result<Option<Revised<EmbeddingRef>>> {
        self.revised_of(row, Documents::Whole)
    }

    fn revised_of(&self, row: usize, documents: Documents) -> Result<Option<Revised<EmbeddingRef>>> {
        let Some(revisions) = self.revisions() else { return Ok(None) };
        let (mut revised, mut stamps) = revisions.row(row);
        revised.embedding = write(self.embedding(row), &mut stamps);
        revised.document = write(self.text(row, documents)?, &mut stamps);
        let values = self.columns_of(row)?;
        revised.metadata = values
            .map(|(key, column, rank)| (key.to_owned(), Write { at: stamps.next(), value: column.get(rank) }))
            .collect();
        Ok(Some(revised))
    }

    /// The effect of a row on presence and insertion. The record is left empty, so this allocates
    /// nothing.
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

    /// The transition of a row, in a part without revisions.
    ///
    /// # Errors
    ///
    /// As [`effect`](Self::effect).
    pub fn transition(&self, row: usize) -> Result<Transition<EmbeddingRef>> {
        self.transition_of(row, Documents::Whole)
    }

    fn transition_of(&self, row: usize, documents: Documents) -> Result<Transition<EmbeddingRef>> {
        let changed = |payload| Some(self.changed(payload)).filter(|position| *position != Position::ZERO);
        Ok(match self.form(row) {
            Form::Put => Transition::Replace { record: Some(self.stored(row, documents)?), renewed: self.renewed(row) },
            Form::Delete | Form::Revised => Transition::TOMBSTONE,
            Form::Patch => {
                Transition::Modify { absent: None, patch: self.patch(row, documents)?, changed: changed(row) }
            }
            Form::Add => Transition::Modify {
                absent: Some(self.stored(row, documents)?),
                patch: Patch::default(),
                changed: None,
            },
            Form::Upsert => {
                let patch = self.patch(row, documents)?;
                let record = patch.clone().apply(Record::default());
                let absent = Stored { record, inserted: self.inserted(row), changed: self.changed(row) };
                Transition::Modify { absent: Some(absent), patch, changed: changed(row) }
            }
            Form::Split => {
                let payload = self.patch_of_split(row).unwrap_or_default();
                Transition::Modify {
                    absent: Some(self.stored(row, documents)?),
                    patch: self.patch(payload, documents)?,
                    changed: changed(payload),
                }
            }
        })
    }

    /// All metadata columns with their keys, in order.
    pub(super) fn all_columns(&self) -> Result<impl Iterator<Item = (&str, &ArchivedValues)> + Clone> {
        let all = self.all.as_ref().ok_or_else(|| FormatError::not_loaded(VALUES.name))?;
        let columns = self.directory().columns.iter().zip(all.get());
        Ok(columns.map(|(entry, column)| (entry.key.as_str(), *column)))
    }

    /// The metadata columns that have a value for a payload, with the value's place in each.
    fn columns_of(&self, payload: usize) -> Result<impl Iterator<Item = (&str, &ArchivedValues, usize)>> {
        let columns = self.all_columns()?;
        Ok(columns.filter_map(move |(key, column)| Some((key, column, column.presence.rank(payload)?))))
    }

    fn stored(&self, payload: usize, documents: Documents) -> Result<Stored<EmbeddingRef>> {
        // Key by key: collecting a map costs two more allocations and a sort, and most records have
        // few keys.
        let mut metadata = Metadata::new();
        for (key, column, rank) in self.columns_of(payload)? {
            if let Some(value) = column.get(rank) {
                metadata.insert(key.to_owned(), value);
            }
        }
        let record = Record {
            embedding: self.embedding(payload).value().copied(),
            metadata,
            document: match self.text(payload, documents)? {
                Change::Set(text) => Some(text),
                Change::Keep | Change::Clear => None,
            },
        };
        Ok(Stored { record, inserted: self.inserted(payload), changed: self.changed(payload) })
    }

    fn patch(&self, payload: usize, documents: Documents) -> Result<Patch<EmbeddingRef>> {
        let values = self.columns_of(payload)?;
        Ok(Patch {
            embedding: self.embedding(payload),
            metadata: values.map(|(key, column, rank)| (key.to_owned(), column.get(rank))).collect(),
            document: self.text(payload, documents)?,
        })
    }

    /// The change of a document, in the form that the caller wants.
    fn text(&self, payload: usize, documents: Documents) -> Result<Change<String>> {
        if documents == Documents::Emptied && self.archive().documents.rank(payload).is_some() {
            return Ok(Change::Set(String::new()));
        }
        Ok(self.document(payload)?.map(str::to_owned))
    }

    pub(super) fn document(&self, payload: usize) -> Result<Change<&str>> {
        let rows = self.archive();
        if let Some(rank) = rows.documents.rank(payload) {
            // The check proved that presence and blocks have the same documents. Only a payload out
            // of range has none.
            let Some((number, within)) = self.directory().block_of(rank) else { return Ok(Change::Keep) };
            let block = self.blocks.get(number).and_then(Option::as_ref);
            let block = block.ok_or_else(|| FormatError::not_loaded(DOCUMENTS.name))?;
            return Ok(Change::Set(block.get().get(within)));
        }
        let cleared = rows.documents_cleared.binary_search_by_key(&number(payload), |cleared| cleared.to_native());
        Ok(if cleared.is_ok() { Change::Clear } else { Change::Keep })
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
