//! Reads a file of columns as ops, batch by batch.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, RecordBatchReader};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use deltafold_format::{Action, InputErrorKind, Metadata, Op, OpRules, Record, Revision};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::value::RawValue;

use super::arrow_file::{self, damaged, unread};
use super::columns::{Places, holds_keys};
use super::{Columns, TableError, TableFormat, cell};
use crate::jsonl;
use crate::memory::MemoryLimit;

/// Rows, and bytes of their embeddings, that are made at once.
const BATCH_ROWS: usize = 1_024;
const BATCH_BYTES: usize = 2 << 20;

/// The rules for reading a file of columns.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// The columns of the fields.
    pub columns: Columns,
    /// The rules of the collection.
    pub rules: OpRules,
    /// The memory that a batch of the file may take is a quarter of this.
    pub memory: MemoryLimit,
    /// The first row to read, from 1.
    pub from_row: u64,
    /// Whether reading goes on behind a row that cannot be an op.
    pub goes_on: bool,
}

impl TableOptions {
    /// All rows, with the usual names of columns.
    pub fn new(rules: OpRules) -> Self {
        Self { columns: Columns::default(), rules, memory: MemoryLimit::default(), from_row: 1, goes_on: false }
    }
}

/// The ops of adjacent rows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TableOps {
    /// Each with the number of its row, as [`Writer::append_run`](crate::Writer::append_run) takes
    /// them.
    pub ops: Vec<(u128, Op)>,
    /// The rows between them that cannot be ops, in order, if [`goes_on`](TableOptions::goes_on).
    pub rejected: Vec<TableError>,
    /// The row behind them, if it cannot be an op. Nothing behind it should be read.
    pub refused: Option<TableError>,
}

/// A file of columns that is read as ops: each row puts a record.
///
/// Row groups and batches are streamed. The number of a row, from 1, serves as its position.
pub struct TableReader {
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
    places: Places,
    names: Vec<String>,
    rules: OpRules,
    from_row: u64,
    goes_on: bool,
    rows: u64,
    /// The batch at hand, and its first row that was not read.
    batch: Option<(RecordBatch, usize)>,
    /// Rows in front of the batch.
    passed: u64,
    at_once: usize,
}

impl std::fmt::Debug for TableReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableReader").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl TableReader {
    /// Opens a file, and checks its columns.
    ///
    /// # Errors
    ///
    /// A file that is damaged or cut short, a column that is missing or of a wrong type.
    pub fn open(mut file: File, format: TableFormat, options: &TableOptions) -> Result<Self, TableError> {
        let at_once = at_once(options);
        let most = options.memory.bytes() / 4;
        let (batches, schema, rows): (Box<dyn Iterator<Item = _> + Send>, SchemaRef, u64) = match format {
            TableFormat::Parquet => {
                check_footer(&mut file, most)?;
                let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
                let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).map_err(damaged)?;
                let reader = builder.with_batch_size(at_once).build().map_err(damaged)?;
                let schema = reader.schema();
                (Box::new(reader), schema, rows)
            }
            TableFormat::Arrow => {
                let checked = arrow_file::check(file, most)?;
                let reader = StreamReader::try_new(checked.file, None).map_err(damaged)?;
                let schema = reader.schema();
                (Box::new(reader), schema, checked.rows)
            }
        };
        Self::new(batches, &schema, rows, options)
    }

    /// Reads batches in memory, and checks their columns.
    ///
    /// # Errors
    ///
    /// A column that is missing or of a wrong type.
    pub fn of_batches(
        batches: impl RecordBatchReader + Send + 'static,
        options: &TableOptions,
    ) -> Result<Self, TableError> {
        let schema = batches.schema();
        Self::new(Box::new(batches), &schema, 0, options)
    }

    fn new(
        batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
        schema: &SchemaRef,
        rows: u64,
        options: &TableOptions,
    ) -> Result<Self, TableError> {
        let places = options.columns.places(schema, options.rules.revisions)?;
        for place in &places.metadata {
            let field = schema.field(*place);
            let kinds: Vec<(&str, &DataType)> = match field.data_type() {
                DataType::Struct(fields) if holds_keys(field.name(), field.data_type()) => {
                    fields.iter().map(|field| (field.name().as_str(), field.data_type())).collect()
                }
                kind => vec![(field.name().as_str(), kind)],
            };
            for (name, kind) in kinds {
                cell::check(kind).map_err(|reason| TableError::column_of(name, reason))?;
            }
        }
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        let (rules, from_row, at_once) = (options.rules, options.from_row, at_once(options));
        let goes_on = options.goes_on;
        Ok(Self { batches, places, names, rules, from_row, goes_on, rows, batch: None, passed: 0, at_once })
    }

    /// Number of rows, as the file states it; 0 for batches in memory.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next ops; `None` at the end.
    ///
    /// # Errors
    ///
    /// A batch that cannot be read.
    pub fn next_ops(&mut self) -> Result<Option<TableOps>, TableError> {
        loop {
            let (batch, start) = match self.batch.take() {
                Some(at_hand) => at_hand,
                None => match self.batches.next().transpose().map_err(damaged)? {
                    Some(batch) => (batch, 0),
                    None if self.passed < self.rows => return Err(damaged("it holds fewer rows than it states")),
                    None => return Ok(None),
                },
            };
            let end = batch.num_rows().min(start + self.at_once);
            let mut ops = Vec::with_capacity(end - start);
            let (mut rejected, mut refused) = (Vec::new(), None);
            for at in start..end {
                let row = self.passed + at as u64 + 1;
                if row < self.from_row {
                    continue;
                }
                match self.op(&batch, at, row) {
                    Ok(op) => ops.push((u128::from(row), op)),
                    Err(error) if self.goes_on => rejected.push(error),
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            if end < batch.num_rows() {
                self.batch = Some((batch, end));
            } else {
                self.passed += batch.num_rows() as u64;
            }
            if !ops.is_empty() || !rejected.is_empty() || refused.is_some() {
                return Ok(Some(TableOps { ops, rejected, refused }));
            }
        }
    }

    fn op(&self, batch: &RecordBatch, at: usize, row: u64) -> Result<Op, TableError> {
        let name = |place: usize| self.names.get(place).map_or("", String::as_str);
        let fails = |place: usize| move |reason: String| TableError::at(row, name(place), reason);
        let id = match self.places.id {
            None => row.to_string(),
            Some(place) => cell::id(batch.column(place), at)
                .map_err(fails(place))?
                .ok_or_else(|| fails(place)("it is null, and each row needs an id".to_owned()))?,
        };
        let mut record = Record::default();
        if let Some(place) = self.places.embedding {
            record.embedding = cell::embedding(batch.column(place), at).map_err(fails(place))?;
        }
        if let Some(place) = self.places.document {
            record.document = cell::text(batch.column(place), at).map_err(fails(place))?.map(str::to_owned);
        }
        for place in &self.places.metadata {
            metadata(&mut record.metadata, name(*place), batch.column(*place).as_ref(), at)
                .map_err(|(key, reason)| TableError::at(row, &key, reason))?;
        }
        let mut op = Op::new(id, Action::Put(record));
        if let Some(place) = self.places.revision {
            let revision = cell::id(batch.column(place), at).map_err(fails(place))?;
            let parsed = revision.and_then(|text| text.parse::<Revision>().ok());
            let reason = || fails(place)("it is not a whole number of up to 39 digits below 2^128".to_owned());
            op = op.at(parsed.ok_or_else(reason)?);
        }
        op.validate(self.rules).map_err(|error| {
            let mut column = match error.field() {
                "embedding" => self.places.embedding.map_or("embedding", name),
                "id" => self.places.id.map_or("id", name),
                "document" => self.places.document.map_or("document", name),
                // A key of the metadata follows its field.
                other => other.split(' ').next().unwrap_or_default(),
            }
            .to_owned();
            if let ("embedding", InputErrorKind::NotFinite { index }) = (error.field(), error.kind()) {
                column.push_str(&format!("[{index}]"));
            }
            TableError::at(row, &column, error)
        })?;
        Ok(op)
    }
}

/// Rows that are made at once.
fn at_once(options: &TableOptions) -> usize {
    (BATCH_BYTES / (options.rules.dimension as usize * 4 + 256)).clamp(1, BATCH_ROWS)
}

/// Adds the metadata that a column holds for a row. An error names the key.
fn metadata(metadata: &mut Metadata, name: &str, array: &dyn Array, at: usize) -> Result<(), (String, String)> {
    if array.is_null(at) {
        return Ok(());
    }
    if !holds_keys(name, array.data_type()) {
        let value = cell::value(array, at).map_err(|reason| (name.to_owned(), reason))?;
        metadata.extend(value.map(|value| (name.to_owned(), value)));
        return Ok(());
    }
    if let Some(keys) = array.as_struct_opt() {
        for (field, column) in keys.fields().iter().zip(keys.columns()) {
            let key = field.name();
            let value = cell::value(column, at).map_err(|reason| (key.clone(), reason))?;
            metadata.extend(value.map(|value| (key.clone(), value)));
        }
        return Ok(());
    }
    let text = cell::text(array, at).map_err(|reason| (name.to_owned(), reason))?.unwrap_or("{}");
    for (key, value) in json_object(text).map_err(|reason| (name.to_owned(), reason))? {
        metadata.insert(key, value);
    }
    Ok(())
}

/// Metadata from its JSON.
fn json_object(text: &str) -> Result<Metadata, String> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| format!("it is not valid JSON: {error}"))?;
    let line = format!("{{\"op\":\"put\",\"id\":\"x\",\"metadata\":{}}}", raw.get().replace(['\n', '\r'], " "));
    match jsonl::parse_op_for(line.as_bytes(), 1, OpRules::log(1)) {
        Ok(Op { action: Action::Put(record), .. }) => Ok(record.metadata),
        Ok(_) => Ok(Metadata::new()),
        Err(error) => Err(format!("{}: {}", error.field(), error.reason())),
    }
}

/// Checks the end of a Parquet file, which says where its metadata is.
fn check_footer(file: &mut File, most: u64) -> Result<(), TableError> {
    let length = file.metadata().map_err(unread)?.len();
    let mut start = [0; 4];
    file.read_exact(&mut start).map_err(unread)?;
    if start != *b"PAR1" {
        return Err(TableError::new("this is not a Parquet file: it does not begin with `PAR1`"));
    }
    let mut end = [0; 8];
    file.seek(SeekFrom::Start(length.saturating_sub(8))).map_err(unread)?;
    file.read_exact(&mut end).map_err(unread)?;
    let [a, b, c, d, mark @ ..] = end;
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    if mark != *b"PAR1" || footer + 12 > length {
        return Err(TableError::new("the file is cut short: its end is missing; get it whole"));
    }
    if footer > most {
        return Err(TableError::new(format!("its description takes {footer} bytes, and {most} are allowed")));
    }
    file.seek(SeekFrom::Start(0)).map_err(unread)?;
    Ok(())
}
