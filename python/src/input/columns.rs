//! Ops from columns: ids, embeddings, metadatas and documents.

use std::collections::BTreeMap;

use deltafold::format::{Action, Change, Op, OpRules, Patch, Record, Revision, Value};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::source::{CHUNK_BYTES, CHUNK_OPS};
use super::value;
use super::value::kind;
use super::vectors::{Reader, Vectors};
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
    ///
    /// The first bad row is named, whichever column is at fault. Texts and metadata are objects of
    /// Python. Embeddings are not: while they are copied and the ops are checked, other threads of
    /// Python run.
    pub(crate) fn next(&mut self, py: Python<'_>) -> PyResult<Vec<Op>> {
        let first = self.next;
        let (drafts, failed) = self.drafts(py);
        let vectors = self.embeddings.as_ref().map(|vectors| vectors.reader(py, "embeddings")).transpose()?;
        let numbers = vectors.as_ref().map(Reader::numbers);
        let (verb, rules) = (self.verb, self.rules);
        let made = py.detach(|| {
            let row = |at: usize| numbers.as_ref().and_then(|numbers| numbers.row(at));
            let ops = drafts.into_iter().enumerate().map(|(place, draft)| {
                let op = draft.op(verb, row(first + place));
                op.validate(rules).map_err(|error| (first + place, argument(error.field()), error.to_string()))?;
                Ok(op)
            });
            ops.collect::<Result<Vec<Op>, (usize, &'static str, String)>>()
        });
        match (made, failed) {
            (Err((row, name, reason)), _) => Err(wrong(py, name, row, &reason)),
            (Ok(_), Some(failed)) => Err(failed),
            (Ok(ops), None) => Ok(ops),
        }
    }

    /// The parts of the next rows that are objects of Python, up to the first bad row.
    fn drafts(&mut self, py: Python<'_>) -> (Vec<Draft>, Option<PyErr>) {
        let width = self.embeddings.as_ref().map_or(0, |vectors| vectors.width(py) * size_of::<f32>());
        let (mut drafts, mut bytes) = (Vec::new(), 0);
        while self.next < self.rows && drafts.len() < CHUNK_OPS && bytes < CHUNK_BYTES {
            match self.draft(py, self.next) {
                Ok((draft, size)) => {
                    bytes += size + width;
                    drafts.push(draft);
                }
                Err(failed) => return (drafts, Some(failed)),
            }
            self.next += 1;
        }
        (drafts, None)
    }

    /// A row without its embedding, and about its bytes.
    fn draft(&self, py: Python<'_>, row: usize) -> PyResult<(Draft, usize)> {
        let named = |name: &'static str| move |reason: String| wrong(py, name, row, &reason);
        let id = text(&self.ids.bind(py).get_item(row)?).map_err(named("ids"))?;
        let id = id.ok_or_else(|| named("ids")("it is None; give a text".to_owned()))?;
        let document = match &self.documents {
            Some(documents) => text(&documents.bind(py).get_item(row)?).map_err(named("documents"))?,
            None => None,
        };
        let metadata = match &self.metadatas {
            Some(metadatas) => Some(metadatas.bind(py).get_item(row)?).filter(|held| !held.is_none()),
            None => None,
        };
        let metadata = metadata.as_ref().map(value::changes).transpose().map_err(named("metadatas"))?;
        let metadata = metadata.unwrap_or_default();
        let revision = match &self.revisions {
            Some(revisions) => Some(revision(&revisions.bind(py).get_item(row)?).map_err(named("revisions"))?),
            None => None,
        };
        let bytes = 64 + id.len() + document.as_ref().map_or(0, String::len) + metadata.len() * 32;
        Ok((Draft { id, document, metadata, revision }, bytes))
    }
}

/// A row without its embedding.
struct Draft {
    id: String,
    document: Option<String>,
    metadata: BTreeMap<String, Option<Value>>,
    revision: Option<Revision>,
}

impl Draft {
    fn op(self, verb: Verb, embedding: Option<Vec<f32>>) -> Op {
        let Self { id, document, metadata, revision } = self;
        let action = match verb {
            Verb::Put | Verb::Add => {
                let metadata = metadata.into_iter().filter_map(|(key, held)| Some((key, held?))).collect();
                verb.of_record(Record { embedding, metadata, document })
            }
            Verb::Upsert | Verb::Update => {
                let patch = Patch { metadata, ..patch(Record { embedding, document, ..Record::default() }) };
                if verb == Verb::Upsert { Action::Upsert(patch) } else { Action::Patch(patch) }
            }
        };
        Op { revision, ..Op::new(id, action) }
    }
}

/// The error of a row.
fn wrong(py: Python<'_>, name: &str, row: usize, reason: &str) -> PyErr {
    invalid(py, format!("{name}, row {row}: {reason}"))
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
