//! Follows the log of a shard.

use std::sync::Arc;

use deltafold::Follow as Engine;
use deltafold::format::{Action, Change, Op, Position};
use futures::StreamExt as _;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::Mutex;

use crate::call::Call;
use crate::input::value;

/// The ops of a shard in log order.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct Follow {
    ops: Arc<Mutex<Engine>>,
}

impl Follow {
    pub(crate) fn new(ops: Engine) -> Self {
        Self { ops: Arc::new(Mutex::new(ops)) }
    }
}

#[pymethods]
impl Follow {
    /// The position and the fields of the next op; `None` at the end.
    fn next(&self) -> Call {
        let ops = self.ops.clone();
        Call::with(async move { Ok(ops.lock().await.next().await.transpose()?) }, |next: Option<(Position, Op)>, py| {
            match next {
                Some((position, op)) => object(py, position, op),
                None => Ok(py.None().into_bound(py)),
            }
        })
    }
}

/// The pair of a position and an op.
fn object(py: Python<'_>, position: Position, op: Op) -> PyResult<Bound<'_, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("kind", op.action.name())?;
    fields.set_item("id", &op.id)?;
    fields.set_item("revision", op.revision.map(|revision| revision.get()))?;
    match op.action {
        Action::Put(record) | Action::Add(record) => {
            fields.set_item("embedding", record.embedding.map(|embedding| PyArray1::from_vec(py, embedding)))?;
            fields.set_item("metadata", value::dict(py, &record.metadata)?)?;
            fields.set_item("document", record.document)?;
        }
        Action::Upsert(patch) | Action::Patch(patch) => {
            match patch.embedding {
                Change::Keep => {}
                Change::Clear => fields.set_item("embedding", py.None())?,
                Change::Set(embedding) => fields.set_item("embedding", PyArray1::from_vec(py, embedding))?,
            }
            match patch.document {
                Change::Keep => {}
                Change::Clear => fields.set_item("document", py.None())?,
                Change::Set(document) => fields.set_item("document", document)?,
            }
            let metadata = PyDict::new(py);
            for (key, held) in &patch.metadata {
                match held {
                    Some(held) => metadata.set_item(key, value::object(py, held)?)?,
                    None => metadata.set_item(key, py.None())?,
                }
            }
            fields.set_item("metadata", metadata)?;
        }
        Action::Delete => {}
    }
    let op = py.import("deltafold.ops")?.getattr("Op")?.call((), Some(&fields))?;
    (position.to_string(), op).into_pyobject(py).map(Bound::into_any)
}
