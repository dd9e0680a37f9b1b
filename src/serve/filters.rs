//! Filters of requests: `where`, `where_document`, or both.

use serde::Deserialize as _;
use serde_json::Value;

use super::error::{Answer, ApiError};
use crate::query::Filter;

/// The filter of a request; `None` where neither is given.
pub(super) fn filter(on_record: Option<&Value>, on_document: Option<&Value>) -> Answer<Option<Filter>> {
    let given = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
    let record = given(on_record)
        .map(|value| Filter::deserialize(&value).map_err(|error| ApiError::invalid(error.to_string())))
        .transpose()?;
    let document = given(on_document)
        .map(|value| Filter::parse_document(&value.to_string()).map_err(|error| ApiError::invalid(error.to_string())))
        .transpose()?;
    Ok(match (record, document) {
        (Some(record), Some(document)) => Some(record.and(document)),
        (record, document) => record.or(document),
    })
}
