//! Ops from columns: ids, embeddings, metadatas and documents.

use deltafold::format::{Action, Change, Op, OpRules, Patch, Record, Revision};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::source::{CHUNK_BYTES, CHUNK_OPS};
use super::value;
use super::value::kind;
use super::vectors::Vectors;
use crate::call::invalid;

/// The kind of the ops of a call.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Verb {
    Put,
    Upsert,
    Add,
    Update,
}

impl Verb {
    pub(crate) fn named(py: Python<'_>, name: &str) -> PyResult<Self> {
        match name {
            "put" => Ok(Self::Put),
            "upsert" => Ok(Self::Upsert),
            "add" => Ok(Self::Add),
            "update" => Ok(Self::Update),
            other => Err(invalid(py, format!("`{other}` is no kind of op"))),
        }
    }

    /// The action that writes a whole record.
    pub(crate) fn of_record(self, record: Record) -> Action {
        match self {
            Self::Put => Action::Put(record),
            Self::Add => Action::Add(record),
            Self::Upsert => Action::Upsert(patch(record)),
            Self::Update => Action::Patch(patch(record)),
        }
    }
}

/// A patch that sets the fields of a record that are there.
fn patch(record: Record) -> Patch {
    Patch {
        embedding: record.embedding.map_or(Change::Keep, Change::Set),
        metadata: record.metadata.into_iter().map(|(key, value)| (key, Some(value))).collect(),
        document: record.document.map_or(Change::Keep, Change::Set),
    }
}

/// The columns of a call. They stay objects of Python until their rows are appended.
pub(crate) struct Columns {
    verb: Verb,
    rules: OpRules,
    ids: Py<PyAny>,
    embeddings: Option<Vectors>,
    metadatas: Option<Py<PyAny>>,
    documents: Option<Py<PyAny>>,
    revisions: Option<Py<PyAny>>,
    rows: usize,
    next: usize,
}

impl Columns {
    /// Checks that all columns have one length.
    pub(crate) fn new(
        verb: Verb,
        rules: OpRules,
        ids: &Bound<'_, PyAny>,
        embeddings: Option<&Bound<'_, PyAny>>,
        [metadatas, documents, revisions]: [Option<&Bound<'_, PyAny>>; 3],
    ) -> PyResult<Self> {
        let py = ids.py();
        let (ids, rows) = listed("ids", ids)?;
        let same = |name: &str, length: usize| {
            if length == rows {
                return Ok(());
            }
            Err(invalid(py, format!("{name} has {length} rows, and ids has {rows}; give one for each id")))
        };
        let embeddings = embeddings.map(|embeddings| Vectors::of(embeddings, "embeddings")).transpose()?;
        if let Some(embeddings) = &embeddings {
            same("embeddings", embeddings.len(py))?;
        }
        let column = |name: &str, column: Option<&Bound<'_, PyAny>>| {
            let Some((column, length)) = column.map(|column| listed(name, column)).transpose()? else {
                return Ok(None);
            };
            same(name, length).map(|()| Some(column.unbind()))
        };
        Ok(Self {
            verb,
            rules,
            embeddings,
            metadatas: column("metadatas", metadatas)?,
            documents: column("documents", documents)?,
            revisions: column("revisions", revisions)?,
            ids: ids.unbind(),
            rows,
            next: 0,
        })
    }

    /// The ops of the next rows; empty at the end.
    pub(crate) fn next(&mut self, py: Python<'_>) -> PyResult<Vec<Op>> {
        let mut ops = Vec::new();
        let mut bytes = 0;
        let ids = self.ids.bind(py);
        let vectors = self.embeddings.as_ref().map(|vectors| vectors.reader(py, "embeddings")).transpose()?;
        let [metadatas, documents, revisions] = [&self.metadatas, &self.documents, &self.revisions]
            .map(|column| column.as_ref().map(|column| column.bind(py)));
        while self.next < self.rows && ops.len() < CHUNK_OPS && bytes < CHUNK_BYTES {
            let row = self.next;
            let wrong = |name: &str, reason: String| invalid(py, format!("{name}, row {row}: {reason}"));
            let id = text(&ids.get_item(row)?).map_err(|reason| wrong("ids", reason))?;
            let id = id.ok_or_else(|| wrong("ids", "it is None; give a text".to_owned()))?;
            let embedding = vectors.as_ref().and_then(|vectors| vectors.row(row));
            bytes += 64 + id.len() + embedding.as_ref().map_or(0, |embedding| embedding.len() * 4);
            let document = match documents {
                Some(documents) => text(&documents.get_item(row)?).map_err(|reason| wrong("documents", reason))?,
                None => None,
            };
            bytes += document.as_ref().map_or(0, String::len);
            let metadata = match metadatas {
                Some(metadatas) => Some(metadatas.get_item(row)?).filter(|held| !held.is_none()),
                None => None,
            };
            bytes += metadata.as_ref().and_then(|held| held.len().ok()).map_or(0, |keys| keys * 32);
            let named = |reason| wrong("metadatas", reason);
            let action = match self.verb {
                Verb::Put | Verb::Add => {
                    let metadata = metadata.as_ref().map(value::metadata).transpose().map_err(named)?;
                    self.verb.of_record(Record { embedding, metadata: metadata.unwrap_or_default(), document })
                }
                Verb::Upsert | Verb::Update => {
                    let metadata = metadata.as_ref().map(value::changes).transpose().map_err(named)?;
                    let patch = Patch {
                        metadata: metadata.unwrap_or_default(),
                        ..patch(Record { embedding, document, ..Record::default() })
                    };
                    if self.verb == Verb::Upsert { Action::Upsert(patch) } else { Action::Patch(patch) }
                }
            };
            let mut op = Op::new(id, action);
            if let Some(revisions) = revisions {
                op = op.at(revision(&revisions.get_item(row)?).map_err(|reason| wrong("revisions", reason))?);
            }
            op.validate(self.rules).map_err(|error| wrong(argument(error.field()), error.to_string()))?;
            ops.push(op);
            self.next += 1;
        }
        Ok(ops)
    }
}

/// The argument that holds a field of a record.
fn argument(field: &str) -> &'static str {
    match field {
        "id" => "ids",
        "embedding" => "embeddings",
        "document" => "documents",
        "revision" => "revisions",
        _ => "metadatas",
    }
}

/// A revision: a whole number below 2^128.
pub(crate) fn revision(held: &Bound<'_, PyAny>) -> Result<Revision, String> {
    let digits = held.str().map(|text| text.to_string()).unwrap_or_default();
    digits.parse().map_err(|_| format!("{digits} is no revision; give a whole number below 2^128"))
}

/// A text; `None` for `None`.
pub(crate) fn text(held: &Bound<'_, PyAny>) -> Result<Option<String>, String> {
    if held.is_none() {
        return Ok(None);
    }
    let Ok(text) = held.cast::<PyString>() else { return Err(format!("it is {}; give a text", kind(held))) };
    text.extract().map(Some).map_err(|_| "it holds a lone surrogate, which UTF-8 cannot hold".to_owned())
}

/// A column as a list or tuple, and its length. A text or a dict is no column.
fn listed<'py>(name: &str, column: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, usize)> {
    let py = column.py();
    let wrong = || invalid(py, format!("{name} is {}; give a list with one element for each row", kind(column)));
    if column.is_instance_of::<PyString>() || column.is_instance_of::<PyDict>() {
        return Err(wrong());
    }
    let mut listed = column.clone();
    if !column.is_instance_of::<PyList>() && !column.is_instance_of::<PyTuple>() {
        // Arrays of numpy, series of pandas and polars, arrays of Arrow.
        let convert =
            ["tolist", "to_list", "to_pylist"].into_iter().find(|name| column.hasattr(*name).unwrap_or(false));
        listed = match convert {
            Some(convert) => column.call_method0(convert)?,
            None => column
                .try_iter()
                .and_then(|elements| PyList::new(py, elements.collect::<PyResult<Vec<_>>>()?))
                .map_err(|_| wrong())?
                .into_any(),
        };
    }
    let length = listed.len().map_err(|_| wrong())?;
    Ok((listed, length))
}
