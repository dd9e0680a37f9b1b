//! Batches of Arrow from other libraries, by the Arrow PyCapsule interface.

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader, StructArray};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use super::value::kind;
use crate::call::invalid;

/// Whether an object offers batches of Arrow.
pub(crate) fn is_arrow(object: &Bound<'_, PyAny>) -> bool {
    ["__arrow_c_stream__", "__arrow_c_array__"].iter().any(|name| object.hasattr(name).unwrap_or(false))
}

/// The batches of a table, a reader or a data frame (`__arrow_c_stream__`), or of one batch
/// (`__arrow_c_array__`).
pub(crate) fn batches(object: &Bound<'_, PyAny>) -> PyResult<Box<dyn RecordBatchReader + Send>> {
    let py = object.py();
    let unread = |error: arrow_schema::ArrowError| invalid(py, format!("the table cannot be read: {error}"));
    if object.hasattr("__arrow_c_stream__")? {
        let capsule = object.call_method0("__arrow_c_stream__")?;
        let capsule = capsule.cast::<PyCapsule>()?;
        let pointer = capsule.pointer_checked(Some(c"arrow_array_stream"))?.cast::<FFI_ArrowArrayStream>();
        // SAFETY: a capsule of this name holds a valid `ArrowArrayStream`, as the PyCapsule
        // interface of Arrow demands, and `capsule` keeps it alive. `from_raw` moves the stream out
        // and leaves a released one, which the capsule's destructor ignores.
        let reader = unsafe { RecordBatchStreamReader::from_raw(pointer.as_ptr()) };
        return Ok(Box::new(reader.map_err(unread)?));
    }
    if object.hasattr("__arrow_c_array__")? {
        let pair = object.call_method0("__arrow_c_array__")?;
        let pair = pair.cast::<PyTuple>()?;
        let (schema, array) = (pair.get_item(0)?, pair.get_item(1)?);
        let schema = schema.cast::<PyCapsule>()?.pointer_checked(Some(c"arrow_schema"))?.cast::<FFI_ArrowSchema>();
        let array = array.cast::<PyCapsule>()?.pointer_checked(Some(c"arrow_array"))?.cast::<FFI_ArrowArray>();
        // SAFETY: capsules of these names hold a valid `ArrowSchema` and `ArrowArray` of one array,
        // and `pair` keeps both alive. `from_raw` moves the array out and leaves a released one.
        // The schema is only read.
        let data = unsafe { from_ffi(FFI_ArrowArray::from_raw(array.as_ptr()), schema.as_ref()) };
        let data = data.map_err(unread)?;
        if !matches!(data.data_type(), arrow_schema::DataType::Struct(_)) {
            return Err(invalid(py, "the array has no columns; give a record batch or a table".to_owned()));
        }
        let batch = RecordBatch::from(StructArray::from(data));
        let schema = batch.schema();
        return Ok(Box::new(RecordBatchIterator::new([Ok(batch)], schema)));
    }
    Err(invalid(
        py,
        format!(
            "the table is {}, which offers no batches of Arrow; give a table or data frame of pyarrow, polars or \
             pandas 2.2 or later, or `ids=` and other columns",
            kind(object)
        ),
    ))
}
