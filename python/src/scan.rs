//! Scans: records in order, in batches.

use std::pin::Pin;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use deltafold::columnar::{BatchBuilder, Shape};
use deltafold::{Entry, Error, Reader, ScanOptions};
use futures::stream::{Stream, TryStreamExt as _};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

use crate::call::Call;
use crate::error::Failure;
use crate::output::rows::{Fields, Rows};
use crate::output::stream;
use crate::runtime::runtime;
use crate::view::Origin;

/// Batches made ahead of the reader.
const AHEAD: usize = 2;
/// About the bytes of a batch of Arrow.
const BATCH_BYTES: usize = 16 << 20;

type Batches = Pin<Box<dyn Stream<Item = Result<Vec<Entry>, Error>> + Send>>;

/// A scan. It keeps the snapshot of its first batch to the end.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct Scan {
    origin: Origin,
    options: ScanOptions,
    fields: Fields,
    rows: usize,
    state: Arc<Mutex<State>>,
}

/// The records on their way.
#[derive(Default)]
enum State {
    #[default]
    New,
    Open {
        batches: Batches,
        /// Records that did not fit the last batch.
        left: Vec<Entry>,
    },
    Done,
}

impl Scan {
    pub(crate) fn new(origin: Origin, options: ScanOptions, fields: Fields, rows: usize) -> Self {
        Self { origin, options, fields, rows, state: Arc::default() }
    }
}

#[pymethods]
impl Scan {
    /// The next records; `None` at the end.
    fn next(&self) -> Call {
        let (origin, options, fields, rows) = (self.origin.clone(), self.options.clone(), self.fields, self.rows);
        let state = self.state.clone();
        Call::new(async move {
            let mut state = state.lock().await;
            if matches!(*state, State::New) {
                let batches = origin.reader().await?.scan_batches(options);
                *state = State::Open { batches: Box::pin(batches), left: Vec::new() };
            }
            let State::Open { batches, left } = &mut *state else { return Ok(None) };
            let next = gather(batches, left, rows).await;
            let ended = !matches!(&next, Ok(entries) if !entries.is_empty());
            if ended {
                *state = State::Done;
            }
            let entries = next?;
            Ok((!ended).then(|| Rows::of(entries.into_iter().map(|entry| cut(entry, fields)).collect(), fields)))
        })
    }

    /// All records as a stream of batches of Arrow with one schema.
    ///
    /// The types of all metadata decide on the schema, so a scan with metadata reads the columns
    /// twice.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let runtime = runtime(py)?;
        let (origin, options, fields, rows) = (self.origin.clone(), self.options.clone(), self.fields, self.rows);
        let opening = Call::with(
            async move {
                let reader = origin.reader().await?;
                let mut shape = Shape::default();
                if fields.include.metadata {
                    let mut batches = reader.scan_batches(options.clone().embeddings(false));
                    while let Some(batch) = batches.try_next().await? {
                        batch.iter().for_each(|entry| shape.note(&entry.record.metadata));
                    }
                }
                Ok((reader, options, shape))
            },
            move |(reader, options, shape), py| {
                let batches = Ahead::begin(runtime.handle(), reader, options, &shape, fields, rows);
                let batches = batches.map_err(|failure| failure.raised(py))?;
                Ok(stream::of_reader(py, Box::new(batches))?.into_any())
            },
        );
        Ok(opening.wait(py)?.cast_into::<PyCapsule>()?)
    }
}

/// Records for one batch; none at the end.
async fn gather(batches: &mut Batches, left: &mut Vec<Entry>, rows: usize) -> Result<Vec<Entry>, Error> {
    let mut entries = std::mem::take(left);
    while entries.len() < rows {
        let Some(batch) = batches.try_next().await? else { break };
        entries.extend(batch);
    }
    if entries.len() > rows {
        *left = entries.split_off(rows);
    }
    Ok(entries)
}

/// A record without the fields that the caller does not want.
fn cut(mut entry: Entry, fields: Fields) -> Entry {
    if !fields.include.metadata {
        entry.record.metadata.clear();
    }
    if !fields.include.document {
        entry.record.document = None;
    }
    entry
}

/// Batches that a task makes ahead of their reader.
struct Ahead {
    schema: SchemaRef,
    /// `None` at the end. A lock makes the receiver usable from the consumer's threads.
    batches: Lock<Option<mpsc::Receiver<Result<RecordBatch, String>>>>,
}

impl Ahead {
    fn begin(
        runtime: &Handle,
        reader: Reader,
        options: ScanOptions,
        shape: &Shape,
        fields: Fields,
        rows: usize,
    ) -> Result<Self, Failure> {
        let failed = |error| Failure::Input(format!("the scan has no form in Arrow: {error}"));
        let mut builder = BatchBuilder::of(shape, fields.dimension, fields.revisions).map_err(failed)?;
        // Columns that the caller does not want.
        let wanted: Vec<usize> = builder
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| match field.name().as_str() {
                "embedding" => fields.include.embedding,
                "document" => fields.include.document,
                _ => true,
            })
            .map(|(place, _)| place)
            .collect();
        let schema = builder.schema().project(&wanted).map_err(|error| Failure::Input(error.to_string()))?;
        let (sender, batches) = mpsc::channel(AHEAD);
        runtime.spawn(async move {
            let mut records = reader.scan_batches(options);
            let take = |builder: &mut BatchBuilder| {
                let batch = builder.take().map_err(|error| error.to_string())?;
                batch.project(&wanted).map_err(|error| error.to_string())
            };
            loop {
                let next = match records.try_next().await {
                    Ok(Some(next)) => next,
                    Ok(None) => break,
                    Err(error) => {
                        let _ = sender.send(Err(error.to_string())).await;
                        return;
                    }
                };
                for entry in next {
                    builder.add(cut(entry, fields));
                    if builder.rows() >= rows || builder.bytes() >= BATCH_BYTES {
                        // The reader has gone.
                        if sender.send(take(&mut builder)).await.is_err() {
                            return;
                        }
                    }
                }
            }
            if builder.rows() > 0 {
                let _ = sender.send(take(&mut builder)).await;
            }
        });
        Ok(Self { schema: schema.into(), batches: Lock::new(Some(batches)) })
    }
}

impl Iterator for Ahead {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batches = self.batches.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The task that sends needs no lock of the interpreter, so the consumer may hold it.
        let next = batches.as_mut()?.blocking_recv();
        if !matches!(next, Some(Ok(_))) {
            *batches = None;
        }
        next.map(|batch| batch.map_err(ArrowError::ComputeError))
    }
}

impl RecordBatchReader for Ahead {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
