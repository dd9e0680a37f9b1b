//! The records of an answer, as columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use deltafold::columnar::{BatchBuilder, Shape};
use deltafold::format::{OpRules, Place, Position, Record, ShardId};
use deltafold::{Answer, Entry, Include};
use numpy::{PyArray1, PyArray2, PyArrayMethods as _};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList, PyString};

use super::stream;
use crate::call::invalid;
use crate::input::value;
use crate::input::vectors::{Reader, Vectors};

/// The records of one or several answers. Columns are made when they are asked for.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct Rows {
    entries: Vec<Entry>,
    /// The distances of a search.
    distances: Option<Vec<f64>>,
    /// The first row of each query, and the end.
    offsets: Vec<usize>,
    fields: Fields,
}

/// The columns that there are.
#[derive(Clone, Copy)]
pub(crate) struct Fields {
    pub(crate) include: Include,
    pub(crate) dimension: u32,
    /// Whether records have a revision.
    pub(crate) revisions: bool,
}

impl Rows {
    pub(crate) fn of(entries: Vec<Entry>, fields: Fields) -> Self {
        let offsets = vec![0, entries.len()];
        Self { entries, distances: None, offsets, fields }
    }

    pub(crate) fn of_answers(answers: Vec<Answer>, fields: Fields) -> Self {
        let count = answers.iter().map(|answer| answer.hits.len()).sum();
        let (mut entries, mut distances, mut offsets) = (Vec::with_capacity(count), Vec::with_capacity(count), vec![0]);
        for hit in answers
            .into_iter()
            .map(|answer| {
                offsets.push(offsets.last().copied().unwrap_or_default() + answer.hits.len());
                answer.hits
            })
            .collect::<Vec<_>>()
            .into_iter()
            .flatten()
        {
            distances.push(hit.distance);
            entries.push(hit.entry);
        }
        Self { entries, distances: Some(distances), offsets, fields }
    }

    /// The columns as a batch of Arrow.
    fn batch(&self) -> Result<RecordBatch, String> {
        let Fields { include, dimension, revisions } = self.fields;
        let mut shape = Shape::default();
        if include.metadata {
            self.entries.iter().for_each(|entry| shape.note(&entry.record.metadata));
        }
        let mut builder = BatchBuilder::of(&shape, dimension, revisions).map_err(|error| error.to_string())?;
        self.entries.iter().for_each(|entry| builder.add(entry.clone()));
        let batch = builder.take().map_err(|error| error.to_string())?;
        let schema = batch.schema();
        let mut columns: Vec<(Arc<Field>, ArrayRef)> = Vec::new();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let wanted = match field.name().as_str() {
                "embedding" => include.embedding,
                "document" => include.document,
                _ => true,
            };
            if wanted {
                columns.push((field.clone(), column.clone()));
            }
        }
        if let Some(distances) = &self.distances {
            let queries = self.offsets.windows(2).enumerate().flat_map(|(query, pair)| match pair {
                [from, to] => std::iter::repeat_n(query as i64, to - from),
                _ => std::iter::repeat_n(0, 0),
            });
            let queries: Int64Array = queries.collect();
            let distances = Float64Array::from(distances.clone());
            columns.insert(0, (Arc::new(Field::new("query", DataType::Int64, false)), Arc::new(queries)));
            columns.insert(2, (Arc::new(Field::new("distance", DataType::Float64, false)), Arc::new(distances)));
        }
        let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| error.to_string())
    }
}

#[pymethods]
impl Rows {
    fn __len__(&self) -> usize {
        self.entries.len()
    }

    /// The ids.
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.entries.iter().map(|entry| PyString::new(py, &entry.id)))
    }

    /// The distances of a search, as an array of 64-bit floats.
    fn distances<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        self.distances.as_ref().map(|distances| PyArray1::from_slice(py, distances))
    }

    /// The first row of each query, and the end.
    fn offsets(&self) -> Vec<usize> {
        self.offsets.clone()
    }

    /// The embeddings, as an array of shape (rows, dimension). A record without one has NaN.
    fn embeddings<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray2<f32>>>> {
        if !self.fields.include.embedding {
            return Ok(None);
        }
        let dimension = self.fields.dimension as usize;
        let mut flat = Vec::with_capacity(self.entries.len() * dimension);
        for entry in &self.entries {
            match &entry.record.embedding {
                Some(embedding) => flat.extend_from_slice(embedding),
                None => flat.extend(std::iter::repeat_n(f32::NAN, dimension)),
            }
        }
        PyArray1::from_vec(py, flat).reshape([self.entries.len(), dimension]).map(Some)
    }

    /// The metadata of each record.
    fn metadatas<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        if !self.fields.include.metadata {
            return Ok(None);
        }
        let list = PyList::empty(py);
        for entry in &self.entries {
            list.append(value::dict(py, &entry.record.metadata)?)?;
        }
        Ok(Some(list))
    }

    /// The document of each record, or `None`.
    fn documents<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        if !self.fields.include.document {
            return Ok(None);
        }
        PyList::new(py, self.entries.iter().map(|entry| entry.record.document.as_deref())).map(Some)
    }

    /// The revision of each record, in a collection ordered by revision.
    fn revisions<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        if !self.fields.revisions {
            return Ok(None);
        }
        let number = |entry: &Entry| entry.changed.revision().unwrap_or_default().get();
        PyList::new(py, self.entries.iter().map(number)).map(Some)
    }

    fn dimension(&self) -> u32 {
        self.fields.dimension
    }

    /// The columns as a stream of one batch of Arrow.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A consumer casts the columns itself, as the interface allows.
        drop(requested_schema);
        let batch = py.detach(|| self.batch()).map_err(|reason| invalid(py, reason))?;
        stream::of_batch(py, batch)
    }

    /// Rows of columns, as pickle restores them.
    #[staticmethod]
    fn restored(columns: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = columns.py();
        let column = |name: &str| -> PyResult<Bound<'_, PyAny>> {
            columns.get_item(name)?.ok_or_else(|| invalid(py, format!("the column `{name}` is missing")))
        };
        let ids: Vec<String> = column("ids")?.extract()?;
        let dimension: u32 = column("dimension")?.extract()?;
        let [embeddings, metadatas, documents, revisions] =
            [column("embeddings")?, column("metadatas")?, column("documents")?, column("revisions")?];
        let include = Include::NOTHING
            .embedding(!embeddings.is_none())
            .metadata(!metadatas.is_none())
            .document(!documents.is_none());
        let fields = Fields { include, dimension, revisions: !revisions.is_none() };
        let vectors = if include.embedding { Some(Vectors::of(&embeddings, "embeddings")?) } else { None };
        let vectors = vectors.as_ref().map(|vectors| vectors.reader(py, "embeddings")).transpose()?;
        let numbers = vectors.as_ref().map(Reader::numbers);
        let mut entries = Vec::with_capacity(ids.len());
        for (at, id) in ids.into_iter().enumerate() {
            let embedding = numbers.as_ref().and_then(|numbers| numbers.row(at));
            let embedding = embedding.filter(|embedding| !embedding.iter().all(|number| number.is_nan()));
            let metadata = if include.metadata {
                value::metadata(&metadatas.get_item(at)?).map_err(|reason| invalid(py, reason))?
            } else {
                Default::default()
            };
            let document = if include.document { documents.get_item(at)?.extract()? } else { None };
            let mut place = Place::Log(Position::ZERO);
            if fields.revisions {
                let revision = crate::input::columns::revision(&revisions.get_item(at)?);
                let revision = revision.map_err(|reason| invalid(py, reason))?;
                place = Place::Revision(deltafold::format::Stamp { revision, ..Default::default() });
            }
            let record = Record { embedding, metadata, document };
            entries.push(Entry { id, record, inserted: place, changed: place, shard: ShardId::default() });
        }
        let distances: Option<Vec<f64>> = column("distances")?.extract()?;
        Ok(Self { entries, distances, offsets: column("offsets")?.extract()?, fields })
    }
}

/// The rules of a collection's ops.
pub(crate) fn rules(config: &deltafold::format::CollectionConfig) -> OpRules {
    if config.ordering.is_revision() { OpRules::revision(config.dimension) } else { OpRules::log(config.dimension) }
}
