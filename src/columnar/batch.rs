//! Records to a batch of columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, FixedSizeListBuilder, Float32Builder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, SchemaRef};
use deltafold_format::{Metadata, Record, Value};

use super::TableError;
use super::shape::{Kind, Layout, Shape};
use crate::jsonl::{self, Fields};
use crate::reader::Entry;

/// The columns of a batch of records under construction: an id, an embedding, a document, a column
/// for each typed metadata key, and JSON for the other keys.
pub struct BatchBuilder {
    layout: Layout,
    places: HashMap<String, usize>,
    ids: StringBuilder,
    revisions: StringBuilder,
    embeddings: FixedSizeListBuilder<Float32Builder>,
    documents: StringBuilder,
    metadata: Vec<Column>,
    json: StringBuilder,
    rows: usize,
    bytes: usize,
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl BatchBuilder {
    /// Columns for records of this shape and dimension. With `revisions` there is a column of them.
    ///
    /// # Errors
    ///
    /// A dimension that Arrow cannot hold.
    pub fn of(shape: &Shape, dimension: u32, revisions: bool) -> Result<Self, TableError> {
        let dimension = i32::try_from(dimension).map_err(TableError::new)?;
        Ok(Self::new(Layout::new(shape, dimension, revisions, HashMap::new())))
    }

    /// The schema of every batch.
    pub fn schema(&self) -> SchemaRef {
        self.layout.schema.clone()
    }

    pub(super) fn new(layout: Layout) -> Self {
        let number = Field::new("item", DataType::Float32, false);
        let embeddings = FixedSizeListBuilder::new(Float32Builder::new(), layout.dimension).with_field(number);
        let places = layout.typed.iter().enumerate().map(|(place, (key, _))| (key.clone(), place)).collect();
        let metadata = layout.typed.iter().map(|(_, kind)| Column::new(*kind)).collect();
        Self {
            layout,
            places,
            ids: StringBuilder::new(),
            revisions: StringBuilder::new(),
            embeddings,
            documents: StringBuilder::new(),
            metadata,
            json: StringBuilder::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Estimated bytes so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record.
    pub fn add(&mut self, entry: Entry) {
        self.rows += 1;
        self.bytes += entry.memory_bytes();
        let Entry { id, record, changed, .. } = entry;
        self.ids.append_value(id);
        if self.layout.revisions {
            self.revisions.append_value(changed.revision().unwrap_or_default().to_string());
        }
        match &record.embedding {
            Some(numbers) => self.embeddings.values().append_slice(numbers),
            // The list is null; its place takes numbers all the same.
            None => (0..self.layout.dimension).for_each(|_| self.embeddings.values().append_value(0.0)),
        }
        self.embeddings.append(record.embedding.is_some());
        self.documents.append_option(record.document);
        self.add_metadata(record.metadata);
    }

    fn add_metadata(&mut self, metadata: Metadata) {
        let mut rest = Metadata::new();
        let mut values: Vec<Option<Value>> = vec![None; self.metadata.len()];
        for (key, value) in metadata {
            match self.places.get(&key).and_then(|place| values.get_mut(*place)) {
                Some(place) => *place = Some(value),
                None => drop(rest.insert(key, value)),
            }
        }
        for (column, value) in self.metadata.iter_mut().zip(values) {
            column.add(value);
        }
        if self.layout.rest {
            self.json.append_option((!rest.is_empty()).then(|| json(rest)));
        }
    }

    /// The batch, and a new one begins.
    ///
    /// # Errors
    ///
    /// More bytes of texts than one batch of Arrow can hold: 2 GiB.
    pub fn take(&mut self) -> Result<RecordBatch, TableError> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.ids.finish())];
        if self.layout.revisions {
            columns.push(Arc::new(self.revisions.finish()));
        }
        columns.push(Arc::new(self.embeddings.finish()));
        columns.push(Arc::new(self.documents.finish()));
        if !self.metadata.is_empty() {
            let values = self.metadata.iter_mut().map(Column::finish).collect();
            columns.push(Arc::new(
                StructArray::try_new(Layout::keys(&self.layout.typed), values, None).map_err(TableError::new)?,
            ));
        }
        if self.layout.rest {
            columns.push(Arc::new(self.json.finish()));
        }
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new(self.layout.schema.clone(), columns).map_err(TableError::new)
    }
}

/// Metadata as JSON. Floats keep a point or an exponent, so that they come back as floats.
fn json(metadata: Metadata) -> String {
    let mut text = Vec::new();
    let fields = Fields::default().embedding(false).document(false);
    jsonl::write_record(&mut text, "", &Record { metadata, ..Record::default() }, fields);
    let text = String::from_utf8(text).unwrap_or_default();
    let object = text.strip_prefix("{\"id\":\"\",\"metadata\":").and_then(|text| text.strip_suffix('}'));
    object.unwrap_or("{}").to_owned()
}

/// The column of a key.
enum Column {
    String(StringBuilder),
    I64(Int64Builder),
    F64(Float64Builder),
    Bool(BooleanBuilder),
    Strings(ListBuilder<StringBuilder>),
    I64s(ListBuilder<Int64Builder>),
    F64s(ListBuilder<Float64Builder>),
    Bools(ListBuilder<BooleanBuilder>),
}

impl Column {
    fn new(kind: Kind) -> Self {
        let item = |of| Field::new("item", of, false);
        match kind {
            Kind::String => Self::String(StringBuilder::new()),
            Kind::I64 => Self::I64(Int64Builder::new()),
            Kind::F64 => Self::F64(Float64Builder::new()),
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Strings => Self::Strings(ListBuilder::new(StringBuilder::new()).with_field(item(DataType::Utf8))),
            Kind::I64s => Self::I64s(ListBuilder::new(Int64Builder::new()).with_field(item(DataType::Int64))),
            Kind::F64s => Self::F64s(ListBuilder::new(Float64Builder::new()).with_field(item(DataType::Float64))),
            Kind::Bools => Self::Bools(ListBuilder::new(BooleanBuilder::new()).with_field(item(DataType::Boolean))),
        }
    }

    /// Adds the value of a row. The shape saw every value, so each fits its column; another one
    /// would be null.
    fn add(&mut self, value: Option<Value>) {
        match (self, value) {
            (Self::String(column), Some(Value::String(value))) => column.append_value(value),
            (Self::I64(column), Some(Value::I64(value))) => column.append_value(value),
            (Self::F64(column), Some(Value::F64(value))) => column.append_value(value),
            (Self::Bool(column), Some(Value::Bool(value))) => column.append_value(value),
            (Self::Strings(column), Some(Value::Strings(values))) => {
                values.iter().for_each(|value| column.values().append_value(value));
                column.append(true);
            }
            (Self::I64s(column), Some(Value::I64s(values))) => {
                column.values().append_slice(&values);
                column.append(true);
            }
            (Self::F64s(column), Some(Value::F64s(values))) => {
                column.values().append_slice(&values);
                column.append(true);
            }
            (Self::Bools(column), Some(Value::Bools(values))) => {
                column.values().append_slice(&values);
                column.append(true);
            }
            (Self::String(column), _) => column.append_null(),
            (Self::I64(column), _) => column.append_null(),
            (Self::F64(column), _) => column.append_null(),
            (Self::Bool(column), _) => column.append_null(),
            (Self::Strings(column), _) => column.append(false),
            (Self::I64s(column), _) => column.append(false),
            (Self::F64s(column), _) => column.append(false),
            (Self::Bools(column), _) => column.append(false),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::String(column) => Arc::new(column.finish()),
            Self::I64(column) => Arc::new(column.finish()),
            Self::F64(column) => Arc::new(column.finish()),
            Self::Bool(column) => Arc::new(column.finish()),
            Self::Strings(column) => Arc::new(column.finish()),
            Self::I64s(column) => Arc::new(column.finish()),
            Self::F64s(column) => Arc::new(column.finish()),
            Self::Bools(column) => Arc::new(column.finish()),
        }
    }
}
