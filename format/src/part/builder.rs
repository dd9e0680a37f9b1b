//! Writing a part.

use super::draft::{Draft, EncodedPart};
use super::meta::PartMeta;
use super::metadata::MetadataBuilder;
use super::numbers::number;
use super::presence::Presence;
use super::revisions::Revisions;
use super::rows::{CLEAR, FIRST_OBJECT, KEEP, RENEWED, Rows, Texts};
use super::{EmbeddingRef, Form, VALUES, values};
use crate::effect::Effect;
use crate::error::FormatError;
use crate::limits::{MAX_PART_META_BYTES, MAX_PART_ROWS};
use crate::name::{ObjectName, Position};
use crate::record::{Change, Patch};
use crate::revised::{Revised, Write};
use crate::transition::{Stored, Transition};

/// The name of the object under construction in errors.
const WHAT: &str = "part";

/// A builder with this many bytes of columns is full. No single row can take it from there beyond
/// the limit.
const FULL_BYTES: usize = MAX_PART_META_BYTES / 2;

/// Bytes of a payload besides id, document and metadata: two positions, the embedding's place and
/// the form.
const PAYLOAD_BYTES: usize = 8 + 8 + 4 + 4 + 1;

/// Builds a part from rows in ascending order of their ids.
#[derive(Debug)]
pub struct PartBuilder {
    rows: Rows,
    /// Payloads that set a document, and the documents.
    documents: Vec<u32>,
    texts: Texts,
    /// Embedding objects in the order of their first use; sorted when the part is finished.
    objects: ObjectNumbers,
    metadata: MetadataBuilder,
    /// The patches of the `Split` rows, whose payloads follow all others.
    split_patches: Vec<(Patch<EmbeddingRef>, Option<Position>)>,
    /// Present if rows have revisions; then all rows have them.
    revisions: Option<Revisions>,
    bytes: usize,
}

impl Default for PartBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl PartBuilder {
    /// An empty part.
    pub fn new() -> Self {
        Self {
            rows: Rows { ids: Texts::new(), ..Rows::default() },
            documents: Vec::new(),
            texts: Texts::new(),
            objects: ObjectNumbers::default(),
            metadata: MetadataBuilder::default(),
            split_patches: Vec::new(),
            revisions: None,
            bytes: 0,
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows.forms.len()
    }

    /// Whether it accepts no further row: it holds 65,536, or about 256 MiB of columns.
    pub fn is_full(&self) -> bool {
        self.rows() >= MAX_PART_ROWS || self.estimated_bytes() >= FULL_BYTES
    }

    /// Estimated bytes of the columns before compression, with a bias upwards.
    pub fn estimated_bytes(&self) -> usize {
        self.bytes + self.metadata.estimated_bytes() + self.revisions.as_ref().map_or(0, Revisions::estimated_bytes)
    }

    /// Appends a row: [`push`](Self::push) or [`push_revised`](Self::push_revised).
    ///
    /// # Errors
    ///
    /// Those of the two.
    pub fn push_effect(&mut self, id: &str, effect: &Effect<EmbeddingRef>) -> Result<(), FormatError> {
        match effect {
            Effect::Log(transition) => self.push(id, transition),
            Effect::Revision(revised) => self.push_revised(id, revised),
        }
    }

    /// Appends a row with revisions.
    ///
    /// # Errors
    ///
    /// `Invalid` if the id does not follow the one before, no field has a revision, or earlier rows
    /// have none; `TooLarge` if the part is full. On an error the part stays unchanged.
    pub fn push_revised(&mut self, id: &str, revised: &Revised<EmbeddingRef>) -> Result<(), FormatError> {
        if revised.stamps().next().is_none() {
            return Err(FormatError::invalid(WHAT, format!("id `{}` has no revision", id.escape_debug())));
        }
        self.begin(id.as_bytes(), true)?;
        let payload = self.payload();
        for (key, write) in &revised.metadata {
            self.metadata.push(payload, key, write.value.as_ref());
        }
        match &revised.document {
            None => {}
            Some(Write { value: None, .. }) => self.clear_document(),
            Some(Write { value: Some(text), .. }) => self.document(text),
        }
        let embedding = match &revised.embedding {
            None => Change::Keep,
            Some(Write { value: None, .. }) => Change::Clear,
            Some(Write { value: Some(at), .. }) => Change::Set(*at),
        };
        self.end_payload(None, &embedding);
        self.rows.forms.push(Form::Revised as u8);
        if let Some(revisions) = &mut self.revisions {
            revisions.push(revised);
        }
        Ok(())
    }

    /// Appends a row.
    ///
    /// # Errors
    ///
    /// `Invalid` if the id does not follow the one before, or a position is [`Position::ZERO`];
    /// `TooLarge` if the part is full. On an error the part stays unchanged.
    pub fn push(&mut self, id: &str, transition: &Transition<EmbeddingRef>) -> Result<(), FormatError> {
        if has_no_position(transition) {
            return Err(FormatError::invalid(WHAT, format!("id `{}` has no position in the log", id.escape_debug())));
        }
        self.begin(id.as_bytes(), false)?;
        let (form, renewed) = match transition {
            Transition::Replace { record: Some(stored), renewed } => {
                self.stored(stored);
                (Form::Put, *renewed)
            }
            Transition::Replace { record: None, .. } => {
                self.end_payload(Some((0, 0)), &Change::Keep);
                (Form::Delete, false)
            }
            Transition::Modify { absent: None, patch, changed } => {
                self.patch(patch, None, *changed);
                (Form::Patch, false)
            }
            Transition::Modify { absent: Some(stored), patch, changed: None } if patch.is_empty() => {
                self.stored(stored);
                (Form::Add, false)
            }
            Transition::Modify { absent: Some(stored), patch, changed } if is_upsert(stored, patch, *changed) => {
                self.patch(patch, Some(stored.inserted), *changed);
                (Form::Upsert, false)
            }
            Transition::Modify { absent: Some(stored), patch, changed } => {
                self.rows.splits.push(number(self.rows()));
                self.stored(stored);
                self.split_patches.push((patch.clone(), *changed));
                self.bytes += size_of::<u32>() + patch_bytes(patch);
                (Form::Split, false)
            }
        };
        self.rows.forms.push(form as u8 | if renewed { RENEWED } else { 0 });
        Ok(())
    }

    /// Appends a row of another part column by column. `embedding` replaces the reference of the
    /// row.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push). `Invalid`, too, if the other part has no such row. The same if
    /// `embedding` is given for a row without an embedding, or for a `Split` row, which may have
    /// two.
    pub fn copy_row(
        &mut self,
        part: &PartMeta,
        row: usize,
        embedding: Option<EmbeddingRef>,
    ) -> Result<(), FormatError> {
        if row >= part.rows() {
            return Err(FormatError::invalid(
                WHAT,
                format!("row {row} cannot be copied: the part has {}", part.rows()),
            ));
        }
        let split = part.form(row) == Form::Split;
        let embedding = match (part.embedding(row), embedding) {
            (as_it_stands, None) => as_it_stands,
            (Change::Set(_), Some(other)) if !split => Change::Set(other),
            _ => return Err(FormatError::invalid(WHAT, "a row without one embedding cannot be copied with another")),
        };
        if split {
            return self.push(part.id(row), &part.transition(row)?);
        }
        // Everything fallible comes before the first change.
        let document = part.document(row)?;
        let all = part.all.as_ref().ok_or_else(|| FormatError::not_loaded(VALUES.name))?;
        self.begin(part.archive().ids.bytes_of(row), part.has_revisions())?;
        self.metadata.copy(part, all.get(), row, number(self.rows()));
        match document {
            Change::Keep => {}
            Change::Clear => self.clear_document(),
            Change::Set(text) => self.document(text),
        }
        let positions = (part.inserted(row).to_bits(), part.changed(row).to_bits());
        self.end_payload(Some(positions).filter(|_| !part.has_revisions()), &embedding);
        if let Some((revisions, from)) = self.revisions.as_mut().zip(part.revisions()) {
            revisions.copy(from, row);
        }
        self.rows.forms.push(part.form_byte(row));
        Ok(())
    }

    /// The finished part. A reader's validation has passed on it, so no unreadable part is written.
    ///
    /// # Errors
    ///
    /// `Invalid` if it has no rows, or a row breaks a rule of the format; `TooLarge` if the columns
    /// exceed their limit.
    pub fn finish(self) -> Result<EncodedPart, FormatError> {
        let estimate = self.estimated_bytes();
        // rkyv panics past 2 GiB, so this check comes first.
        if estimate > MAX_PART_META_BYTES {
            return Err(FormatError::too_large("columns", estimate as u64, MAX_PART_META_BYTES as u64));
        }
        self.into_draft().finish()
    }

    pub(super) fn into_draft(mut self) -> Draft {
        for (patch, changed) in std::mem::take(&mut self.split_patches) {
            self.patch(&patch, None, changed);
        }
        let mut rows = self.rows;
        let payloads = rows.embedding_objects.len();
        rows.documents = Presence::of(self.documents, payloads);
        self.objects.finish(&mut rows);
        Draft {
            rows,
            revisions: self.revisions.map(Revisions::finish),
            columns: self.metadata.finish(payloads),
            documents: self.texts,
        }
    }

    fn begin(&mut self, id: &[u8], revised: bool) -> Result<(), FormatError> {
        if self.is_full() {
            return Err(FormatError::too_large("part rows", self.rows() as u64 + 1, self.rows() as u64));
        }
        let last = self.rows().checked_sub(1).map(|last| self.rows.ids.get(last));
        if last.is_some_and(|last| last >= id) {
            let id = String::from_utf8_lossy(id);
            return Err(FormatError::invalid(
                WHAT,
                format!("id `{}` does not follow the one before", id.escape_debug()),
            ));
        }
        if self.rows() == 0 {
            self.revisions = revised.then(Revisions::default);
        } else if self.revisions.is_some() != revised {
            return Err(FormatError::invalid(WHAT, "a part cannot mix rows with and without revisions"));
        }
        self.rows.ids.push(id);
        self.bytes += id.len() + size_of::<u32>() + PAYLOAD_BYTES;
        Ok(())
    }

    fn stored(&mut self, stored: &Stored<EmbeddingRef>) {
        let payload = self.payload();
        for (key, value) in &stored.record.metadata {
            self.metadata.push(payload, key, Some(value));
        }
        if let Some(text) = &stored.record.document {
            self.document(text);
        }
        let embedding = stored.record.embedding.map_or(Change::Keep, Change::Set);
        self.end_payload(Some((stored.inserted.to_bits(), stored.changed.to_bits())), &embedding);
    }

    fn patch(&mut self, patch: &Patch<EmbeddingRef>, inserted: Option<Position>, changed: Option<Position>) {
        let payload = self.payload();
        for (key, value) in &patch.metadata {
            self.metadata.push(payload, key, value.as_ref());
        }
        match &patch.document {
            Change::Keep => {}
            Change::Clear => self.clear_document(),
            Change::Set(text) => self.document(text),
        }
        let bits = |position: Option<Position>| position.map_or(0, Position::to_bits);
        self.end_payload(Some((bits(inserted), bits(changed))), &patch.embedding);
    }

    /// The number of the payload under construction.
    fn payload(&self) -> u32 {
        number(self.rows.embedding_objects.len())
    }

    fn document(&mut self, text: &str) {
        self.documents.push(self.payload());
        self.texts.push(text.as_bytes());
        self.bytes += text.len() + 2 * size_of::<u32>();
    }

    fn clear_document(&mut self) {
        self.rows.documents_cleared.push(self.payload());
        self.bytes += size_of::<u32>();
    }

    /// `positions`: inserted and changed; `None` for a row with revisions.
    fn end_payload(&mut self, positions: Option<(u64, u64)>, embedding: &Change<EmbeddingRef>) {
        let (object, row) = match embedding {
            Change::Keep => (KEEP, 0),
            Change::Clear => (CLEAR, 0),
            Change::Set(EmbeddingRef { object, row }) => (self.objects.of(*object, &mut self.bytes), *row),
        };
        self.rows.embedding_objects.push(object);
        self.rows.embedding_rows.push(row);
        if let Some((inserted, changed)) = positions {
            self.rows.inserted.push(inserted);
            self.rows.changed.push(changed);
        }
    }
}

/// Numbers for embedding objects.
#[derive(Debug, Default)]
struct ObjectNumbers {
    names: Vec<ObjectName>,
    numbers: std::collections::HashMap<ObjectName, u32>,
    /// The object asked for last. Neighbours mostly lie in one object.
    last: Option<(ObjectName, u32)>,
}

impl ObjectNumbers {
    fn of(&mut self, object: ObjectName, bytes: &mut usize) -> u32 {
        if let Some((last, number)) = self.last
            && last == object
        {
            return number;
        }
        let number = *self.numbers.entry(object).or_insert_with(|| {
            self.names.push(object);
            *bytes += 2 * size_of::<u64>();
            FIRST_OBJECT + number(self.names.len() - 1)
        });
        self.last = Some((object, number));
        number
    }

    /// Numbers the objects by name, not by order of use: the same rows give the same bytes.
    fn finish(self, rows: &mut Rows) {
        let mut sorted = self.names.clone();
        sorted.sort_unstable();
        let renumbered = self.names.iter().map(|name| sorted.binary_search(name).unwrap_or_default());
        let renumbered: Vec<u32> = renumbered.map(|place| FIRST_OBJECT + number(place)).collect();
        for object in &mut rows.embedding_objects {
            let place = object.checked_sub(FIRST_OBJECT).and_then(|old| renumbered.get(old as usize));
            *object = place.copied().unwrap_or(*object);
        }
        rows.object_versions = sorted.iter().map(|name| name.version.get()).collect();
        rows.object_nonces = sorted.iter().map(|name| name.nonce.get()).collect();
    }
}

/// Estimated bytes of a patch in columns that exist.
fn patch_bytes(patch: &Patch<EmbeddingRef>) -> usize {
    let metadata = patch.metadata.iter().map(|(key, value)| key.len() + values::bytes_of(value.as_ref()));
    let document = patch.document.value().map_or(0, String::len) + 2 * size_of::<u32>();
    metadata.sum::<usize>() + document + PAYLOAD_BYTES
}

/// Whether a position is zero, which means "none".
fn has_no_position(transition: &Transition<EmbeddingRef>) -> bool {
    let (stored, changed) = match transition {
        Transition::Replace { record, .. } => (record.as_ref(), None),
        Transition::Modify { absent, changed, .. } => (absent.as_ref(), *changed),
    };
    let positions = stored.into_iter().flat_map(|stored| [stored.inserted, stored.changed]).chain(changed);
    positions.into_iter().any(|position| position == Position::ZERO)
}

/// Whether the absent case equals the patch applied to an empty record, so that the patch alone is
/// enough.
fn is_upsert(stored: &Stored<EmbeddingRef>, patch: &Patch<EmbeddingRef>, changed: Option<Position>) -> bool {
    let set = patch.metadata.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
    changed == Some(stored.changed)
        && stored.record.embedding.as_ref() == patch.embedding.value()
        && stored.record.document.as_ref() == patch.document.value()
        && stored.record.metadata.iter().eq(set)
}
