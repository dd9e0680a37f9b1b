//! Arguments of Python as ops, filters and vectors.

pub(crate) mod arrow;
#[expect(unsafe_code, reason = "the Arrow C interface passes pointers")]
pub(crate) mod capsule;
pub(crate) mod columns;
pub(crate) mod ops;
pub(crate) mod source;
pub(crate) mod value;
pub(crate) mod vectors;

use deltafold::Filter;
use pyo3::prelude::*;

use crate::call::invalid;

/// A filter from the JSON form of `where` and `where_document`.
pub(crate) fn filter(py: Python<'_>, records: Option<&str>, documents: Option<&str>) -> PyResult<Option<Filter>> {
    let named = |argument: &'static str| move |error| invalid(py, format!("{argument}: {error}"));
    let records = records.map(str::parse::<Filter>).transpose().map_err(named("where"))?;
    let documents = documents.map(Filter::parse_document).transpose().map_err(named("where_document"))?;
    Ok(match (records, documents) {
        (Some(records), Some(documents)) => Some(records.and(documents)),
        (records, documents) => records.or(documents),
    })
}
