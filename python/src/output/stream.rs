//! Batches of Arrow for other libraries, by the Arrow PyCapsule interface.

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

/// A stream of one batch.
pub(crate) fn of_batch(py: Python<'_>, batch: RecordBatch) -> PyResult<Bound<'_, PyCapsule>> {
    let schema = batch.schema();
    of_reader(py, Box::new(RecordBatchIterator::new([Ok(batch)], schema)))
}

/// A stream of the batches of a reader. Dropping the capsule releases it, unless a consumer moved
/// it out.
pub(crate) fn of_reader(py: Python<'_>, reader: Box<dyn RecordBatchReader + Send>) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(reader), c"arrow_array_stream")
}
