//! Writing a part.

use std::collections::{BTreeMap, HashMap};

use super::columns::{CLEAR, Columns, FIRST_OBJECT, KEEP, KeyColumn, Presence, RENEWED, TYPES, Texts, Values};
use super::meta::PartMeta;
use super::{COLUMNS, EmbeddingRef, Form};
use crate::envelope::{Compress, Encoded, EnvelopeWriter, ObjectKind};
use crate::error::FormatError;
use crate::limits::{MAX_PART_META_BYTES, MAX_PART_ROWS};
use crate::name::{ObjectName, Position};
use crate::record::{Change, Patch, Record, Value};
use crate::transition::{Stored, Transition};

/// Builds a part from rows in ascending order of their ids.
#[derive(Debug)]
pub struct PartBuilder {
    columns: Columns,
    document_rows: Vec<u32>,
    /// Embedding objects in the order in which they appeared; sorted when the part is finished.
    objects: Vec<ObjectName>,
    object_numbers: HashMap<ObjectName, u32>,
    /// By key: the column of each type.
    keys: BTreeMap<String, [Option<u32>; TYPES]>,
    key_columns: Vec<GrowingColumn>,
    /// The patches of the `Split` rows, whose payloads follow all others.
    split_patches: Vec<(Patch<EmbeddingRef>, Option<Position>)>,
    bytes: usize,
    /// Which column of this builder each column of a part goes to, for the parts copied from last.
    copies: Vec<(u64, Vec<u32>)>,
}

/// A finished part.
#[derive(Debug)]
pub struct EncodedPart {
    /// Its bytes.
    pub object: Encoded,
    /// Its rows.
    pub rows: u32,
    /// Its first id.
    pub min_id: String,
    /// Its last id.
    pub max_id: String,
    /// How many payloads refer to each embedding object, by name.
    pub references: Vec<(ObjectName, u32)>,
}

#[derive(Debug)]
struct GrowingColumn {
    key: String,
    rows: Vec<u32>,
    values: Values,
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
            columns: Columns { ids: Texts::new(), texts: Texts::new(), ..Columns::default() },
            document_rows: Vec::new(),
            objects: Vec::new(),
            object_numbers: HashMap::new(),
            keys: BTreeMap::new(),
            key_columns: Vec::new(),
            split_patches: Vec::new(),
            bytes: 0,
            copies: Vec::new(),
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.columns.forms.len()
    }

    /// Whether it holds as many rows as a part may.
    pub fn is_full(&self) -> bool {
        self.rows() >= MAX_PART_ROWS
    }

    /// About how many bytes the columns take, before compression.
    pub fn estimated_bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a row.
    ///
    /// # Errors
    ///
    /// `Invalid` where the id does not follow the one before, `TooLarge` where the part is full.
    pub fn push(&mut self, id: &str, transition: &Transition<EmbeddingRef>) -> Result<(), FormatError> {
        self.begin(id)?;
        let (form, renewed) = match transition {
            Transition::Replace { record: Some(stored), renewed } => {
                self.stored(stored);
                (Form::Put, *renewed)
            }
            Transition::Replace { record: None, .. } => {
                self.payload_ends(0, 0, None);
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
                self.stored(stored);
                let row = self.row();
                self.columns.splits.push(row);
                self.split_patches.push((patch.clone(), *changed));
                self.bytes += 200;
                (Form::Split, false)
            }
        };
        self.columns.forms.push(form as u8 | if renewed { RENEWED } else { 0 });
        Ok(())
    }

    /// Appends a row of another part as it stands there; `embedding` puts another reference in the place of the one it has.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push); `Invalid` where `embedding` is given for a row of the form `Split`, which may have two.
    pub fn copy_row(
        &mut self,
        part: &PartMeta,
        row: usize,
        embedding: Option<EmbeddingRef>,
    ) -> Result<(), FormatError> {
        if part.form(row) == Form::Split {
            if embedding.is_some() {
                return Err(FormatError::invalid("part", "a split row has two embeddings and is pushed, not copied"));
            }
            return self.push(part.id(row), &part.transition(row));
        }
        self.begin(part.id(row))?;
        let payload = self.row();
        let targets = self.targets(part);
        for (number, target) in targets.iter().enumerate() {
            let Some(column) = self.key_columns.get_mut(*target as usize) else { continue };
            if let Some(bytes) = part.copy_value(number, row, &mut column.values) {
                column.rows.push(payload);
                self.bytes += bytes;
            }
        }
        self.copies_put_back(part, targets);
        match part.document(row) {
            Change::Keep => {}
            Change::Clear => self.columns.documents_cleared.push(payload),
            Change::Set(text) => self.document(payload, text),
        }
        let (inserted, changed) = (part.inserted(row).to_bits(), part.changed(row).to_bits());
        let embedding = match (part.embedding(row), embedding) {
            (Change::Set(_), Some(other)) => Change::Set(other),
            (as_it_stands, _) => as_it_stands,
        };
        self.embedding(&embedding);
        self.columns.inserted.push(inserted);
        self.columns.changed.push(changed);
        self.columns.forms.push(part.form_byte(row));
        Ok(())
    }

    /// The finished part.
    ///
    /// # Errors
    ///
    /// `Invalid` where it has no rows, `TooLarge` where its columns exceed the limit.
    pub fn finish(mut self) -> Result<EncodedPart, FormatError> {
        let rows = u32::try_from(self.rows()).unwrap_or(u32::MAX);
        let (min_id, max_id) = (self.id(0).to_owned(), self.id(self.rows().saturating_sub(1)).to_owned());
        if rows == 0 {
            return Err(FormatError::invalid("part", "a part without rows is not written"));
        }
        for (patch, changed) in std::mem::take(&mut self.split_patches) {
            self.patch(&patch, None, changed);
        }
        let references = self.sort_objects();
        let payloads = self.columns.inserted.len();
        self.columns.documents = Presence::of(self.document_rows, payloads);
        let mut by_number: Vec<Option<GrowingColumn>> = self.key_columns.into_iter().map(Some).collect();
        for numbers in self.keys.values() {
            for number in numbers.iter().flatten() {
                if let Some(column) = by_number.get_mut(*number as usize).and_then(Option::take) {
                    // A column made for a part copied from, none of whose rows with a value were copied.
                    if column.rows.is_empty() {
                        continue;
                    }
                    let presence = Presence::of(column.rows, payloads);
                    self.columns.keys.push(KeyColumn { key: column.key, presence, values: column.values });
                }
            }
        }
        let archive = rkyv::to_bytes::<rkyv::rancor::Error>(&self.columns)
            .map_err(|error| FormatError::archive("part columns", error))?;
        if archive.len() > MAX_PART_META_BYTES {
            return Err(FormatError::too_large("part columns", archive.len() as u64, MAX_PART_META_BYTES as u64));
        }
        let archive = bytes::Bytes::from_owner(archive);
        let object =
            EnvelopeWriter::new(ObjectKind::PartMeta).section(COLUMNS, archive, Compress::WhenSmaller).finish();
        Ok(EncodedPart { object, rows, min_id, max_id, references })
    }

    fn id(&self, row: usize) -> &str {
        let offset = |i: usize| self.columns.ids.offsets.get(i).copied().unwrap_or(0) as usize;
        let bytes = self.columns.ids.bytes.get(offset(row)..offset(row + 1)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The row that is being appended.
    fn row(&self) -> u32 {
        u32::try_from(self.rows()).unwrap_or(u32::MAX)
    }

    /// The payload that is being appended.
    fn payload(&self) -> u32 {
        u32::try_from(self.columns.inserted.len()).unwrap_or(u32::MAX)
    }

    fn begin(&mut self, id: &str) -> Result<(), FormatError> {
        if self.is_full() {
            return Err(FormatError::too_large("part rows", self.rows() as u64 + 1, MAX_PART_ROWS as u64));
        }
        if self.rows() > 0 && id <= self.id(self.rows() - 1) {
            return Err(FormatError::invalid(
                "part",
                format!("id `{}` does not follow the one before", id.escape_debug()),
            ));
        }
        self.columns.ids.push(id);
        self.bytes += id.len() + 4 + 1 + 8 + 8 + 4 + 4;
        Ok(())
    }

    fn stored(&mut self, stored: &Stored<EmbeddingRef>) {
        let Record { embedding, metadata, document } = &stored.record;
        for (key, value) in metadata {
            self.value(key, Some(value));
        }
        if let Some(text) = document {
            let payload = self.payload();
            self.document(payload, text);
        }
        let embedding = embedding.map_or(Change::Keep, Change::Set);
        self.payload_ends(stored.inserted.to_bits(), stored.changed.to_bits(), Some(&embedding));
    }

    fn patch(&mut self, patch: &Patch<EmbeddingRef>, inserted: Option<Position>, changed: Option<Position>) {
        for (key, value) in &patch.metadata {
            self.value(key, value.as_ref());
        }
        let payload = self.payload();
        match &patch.document {
            Change::Keep => {}
            Change::Clear => self.columns.documents_cleared.push(payload),
            Change::Set(text) => self.document(payload, text),
        }
        let bits = |position: Option<Position>| position.map_or(0, Position::to_bits);
        self.payload_ends(bits(inserted), bits(changed), Some(&patch.embedding));
    }

    fn payload_ends(&mut self, inserted: u64, changed: u64, embedding: Option<&Change<EmbeddingRef>>) {
        self.embedding(embedding.unwrap_or(&Change::Keep));
        self.columns.inserted.push(inserted);
        self.columns.changed.push(changed);
    }

    fn document(&mut self, payload: u32, text: &str) {
        self.document_rows.push(payload);
        self.columns.texts.push(text);
        self.bytes += text.len() + 4;
    }

    fn embedding(&mut self, embedding: &Change<EmbeddingRef>) {
        let (object, row) = match embedding {
            Change::Keep => (KEEP, 0),
            Change::Clear => (CLEAR, 0),
            Change::Set(EmbeddingRef { object, row }) => {
                let next = FIRST_OBJECT + u32::try_from(self.objects.len()).unwrap_or(u32::MAX - FIRST_OBJECT);
                let number = *self.object_numbers.entry(*object).or_insert_with(|| {
                    self.objects.push(*object);
                    next
                });
                (number, *row)
            }
        };
        self.columns.embedding_objects.push(object);
        self.columns.embedding_rows.push(row);
    }

    /// Numbers the embedding objects by name, and counts the references to each.
    fn sort_objects(&mut self) -> Vec<(ObjectName, u32)> {
        let mut sorted: Vec<(ObjectName, u32)> = self.objects.iter().map(|name| (*name, 0)).collect();
        sorted.sort_unstable();
        let numbers: Vec<usize> = self
            .objects
            .iter()
            .map(|name| sorted.binary_search_by_key(name, |(name, _)| *name).unwrap_or_default())
            .collect();
        for object in &mut self.columns.embedding_objects {
            if let Some(old) = object.checked_sub(FIRST_OBJECT) {
                let number = numbers.get(old as usize).copied().unwrap_or_default();
                *object = FIRST_OBJECT + u32::try_from(number).unwrap_or_default();
                if let Some((_, count)) = sorted.get_mut(number) {
                    *count += 1;
                }
            }
        }
        self.columns.object_versions = sorted.iter().map(|(name, _)| name.version.get()).collect();
        self.columns.object_nonces = sorted.iter().map(|(name, _)| name.nonce.get()).collect();
        sorted
    }

    fn value(&mut self, key: &str, value: Option<&Value>) {
        let payload = self.payload();
        let number = self.column(key, type_number(value));
        if let Some(column) = self.key_columns.get_mut(number as usize) {
            column.rows.push(payload);
            self.bytes += push_value(&mut column.values, value);
        }
    }

    /// The column of a key and type, made where there is none.
    fn column(&mut self, key: &str, type_number: u8) -> u32 {
        let at = usize::from(type_number);
        if let Some(Some(number)) = self.keys.get(key).and_then(|numbers| numbers.get(at)) {
            return *number;
        }
        let number = u32::try_from(self.key_columns.len()).unwrap_or(u32::MAX);
        self.key_columns.push(GrowingColumn { key: key.to_owned(), rows: Vec::new(), values: empty(type_number) });
        if let Some(slot) = self.keys.entry(key.to_owned()).or_default().get_mut(at) {
            *slot = Some(number);
        }
        number
    }

    /// The columns that those of `part` go to.
    fn targets(&mut self, part: &PartMeta) -> Vec<u32> {
        if let Some(at) = self.copies.iter().position(|(serial, _)| *serial == part.serial()) {
            return self.copies.swap_remove(at).1;
        }
        (0..part.key_columns())
            .map(|number| {
                let (key, type_number) = part.key_column(number);
                self.column(key, type_number)
            })
            .collect()
    }

    fn copies_put_back(&mut self, part: &PartMeta, targets: Vec<u32>) {
        // Merges copy from one part a run at a time.
        if self.copies.len() >= 32 {
            self.copies.remove(0);
        }
        self.copies.push((part.serial(), targets));
    }
}

/// Whether the absent case is just what the patch makes of an empty record, so that the patch tells it.
fn is_upsert(stored: &Stored<EmbeddingRef>, patch: &Patch<EmbeddingRef>, changed: Option<Position>) -> bool {
    let set = || patch.metadata.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
    changed == Some(stored.changed)
        && stored.record.embedding.as_ref() == patch.embedding.value()
        && stored.record.document.as_ref() == patch.document.value()
        && stored.record.metadata.iter().eq(set())
}

fn type_number(value: Option<&Value>) -> u8 {
    match value {
        None => 0,
        Some(Value::String(_)) => 1,
        Some(Value::I64(_)) => 2,
        Some(Value::F64(_)) => 3,
        Some(Value::Bool(_)) => 4,
        Some(Value::Strings(_)) => 5,
        Some(Value::I64s(_)) => 6,
        Some(Value::F64s(_)) => 7,
        Some(Value::Bools(_)) => 8,
    }
}

fn empty(type_number: u8) -> Values {
    match type_number {
        1 => Values::Strings(Texts::new()),
        2 => Values::I64s(Vec::new()),
        3 => Values::F64s(Vec::new()),
        4 => Values::Bools(Vec::new()),
        5 => Values::StringLists { ends: Vec::new(), items: Texts::new() },
        6 => Values::I64Lists { ends: Vec::new(), items: Vec::new() },
        7 => Values::F64Lists { ends: Vec::new(), items: Vec::new() },
        8 => Values::BoolLists { ends: Vec::new(), items: Vec::new() },
        _ => Values::Removed,
    }
}

/// Appends a value to the column of its type; returns about how many bytes it takes.
fn push_value(values: &mut Values, value: Option<&Value>) -> usize {
    let end = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    match (values, value) {
        (Values::Strings(texts), Some(Value::String(text))) => {
            texts.push(text);
            text.len() + 4
        }
        (Values::I64s(column), Some(Value::I64(value))) => {
            column.push(*value);
            8
        }
        (Values::F64s(column), Some(Value::F64(value))) => {
            column.push(*value);
            8
        }
        (Values::Bools(column), Some(Value::Bool(value))) => {
            column.push(u8::from(*value));
            1
        }
        (Values::StringLists { ends, items }, Some(Value::Strings(list))) => {
            list.iter().for_each(|text| items.push(text));
            ends.push(end(items.offsets.len() - 1));
            4 + list.iter().map(|text| text.len() + 4).sum::<usize>()
        }
        (Values::I64Lists { ends, items }, Some(Value::I64s(list))) => {
            items.extend_from_slice(list);
            ends.push(end(items.len()));
            4 + 8 * list.len()
        }
        (Values::F64Lists { ends, items }, Some(Value::F64s(list))) => {
            items.extend_from_slice(list);
            ends.push(end(items.len()));
            4 + 8 * list.len()
        }
        (Values::BoolLists { ends, items }, Some(Value::Bools(list))) => {
            items.extend(list.iter().map(|value| u8::from(*value)));
            ends.push(end(items.len()));
            4 + list.len()
        }
        // Removed: the row tells it all. No other pair meets: columns are found by the value's type.
        _ => 0,
    }
}
