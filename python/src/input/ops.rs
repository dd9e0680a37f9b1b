//! Ops from the dataclass `deltafold.Op`.

use std::collections::BTreeMap;

use deltafold::format::{Action, Change, Op, OpRules, Patch, Record};
use pyo3::prelude::*;

use super::columns::{revision, text};
use super::value;
use super::vectors::vector;
use crate::call::invalid;

/// The ops of a list of `deltafold.Op`.
pub(crate) fn ops(list: &Bound<'_, PyAny>, rules: OpRules) -> PyResult<Vec<Op>> {
    let py = list.py();
    let mut ops = Vec::new();
    for (at, op) in list.try_iter()?.enumerate() {
        let op = one(&op?).map_err(|error| named(py, at, &error))?;
        op.validate(rules).map_err(|error| invalid(py, format!("ops, row {at}: {error}")))?;
        ops.push(op);
    }
    Ok(ops)
}

fn named(py: Python<'_>, at: usize, error: &PyErr) -> PyErr {
    invalid(py, format!("ops, row {at}: {}", error.value(py)))
}

fn one(op: &Bound<'_, PyAny>) -> PyResult<Op> {
    let py = op.py();
    let wrong = |reason: String| invalid(py, reason);
    let kind: String = op.getattr("kind").and_then(|kind| kind.extract()).map_err(|_| {
        wrong(format!(
            "it is {}; make it with `Op.put`, `Op.upsert`, `Op.add`, `Op.patch` or `Op.delete`",
            value::kind(op)
        ))
    })?;
    let id = text(&op.getattr("id")?).map_err(|reason| wrong(format!("id: {reason}")))?;
    let id = id.ok_or_else(|| wrong("id: it is None; give a text".to_owned()))?;
    let embedding = change(&op.getattr("embedding")?, |held| vector(held, "embedding"))?;
    let document = change(&op.getattr("document")?, |held| {
        text(held).map(Option::unwrap_or_default).map_err(|reason| wrong(format!("document: {reason}")))
    })?;
    let metadata = op.getattr("metadata")?;
    let metadata = if metadata.is_none() { Ok(BTreeMap::new()) } else { value::changes(&metadata) };
    let metadata = metadata.map_err(|reason| wrong(format!("metadata: {reason}")))?;
    let patch = Patch { embedding, metadata, document };
    let action = match kind.as_str() {
        "put" => Action::Put(patch.apply(Record::default())),
        "add" => Action::Add(patch.apply(Record::default())),
        "upsert" => Action::Upsert(patch),
        "patch" => Action::Patch(patch),
        "delete" => Action::Delete,
        other => return Err(wrong(format!("`{other}` is no kind of op"))),
    };
    let revised = op.getattr("revision")?;
    if revised.is_none() {
        return Ok(Op::new(id, action));
    }
    let revised = revision(&revised).map_err(|reason| wrong(format!("revision: {reason}")))?;
    Ok(Op::new(id, action).at(revised))
}

/// A field of an op: `...` keeps it, and `None` clears it.
fn change<T>(held: &Bound<'_, PyAny>, of: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>) -> PyResult<Change<T>> {
    if held.is(held.py().Ellipsis()) {
        Ok(Change::Keep)
    } else if held.is_none() {
        Ok(Change::Clear)
    } else {
        of(held).map(Change::Set)
    }
}
