//! Reads of a collection: of its latest state, or of a snapshot.

use std::future::Future;
use std::ops::Bound as Limit;
use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{CollectionConfig, Version};
use deltafold::{
    Entry, Error, ErrorKind, Exactness, Filter, Find, GetOptions, Include, Latest, Order, Query, Reader, ScanOptions,
    Warm,
};
use futures::TryStreamExt as _;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::RwLock;

use crate::call::{Call, invalid};
use crate::input::{self, vectors};
use crate::output::rows::{Fields, Rows};
use crate::report;
use crate::scan::Scan;

/// Reads of one call that a sweep may overtake.
const ATTEMPTS: u32 = 3;

/// The state that is read.
#[derive(Clone)]
pub(crate) enum Origin {
    /// Everything acknowledged before each call.
    Latest(Arc<Latest>),
    /// A snapshot, which moves on by `refresh` alone.
    Snapshot(Arc<RwLock<Reader>>),
}

impl Origin {
    pub(crate) async fn reader(&self) -> Result<Reader, Error> {
        match self {
            Self::Latest(latest) => latest.reader().await,
            Self::Snapshot(reader) => Ok(reader.read().await.clone()),
        }
    }

    /// Reads. Where a sweep removes objects of the latest state meanwhile, reads it anew.
    async fn read<T, F: Future<Output = Result<T, Error>>>(&self, read: impl Fn(Reader) -> F) -> Result<T, Error> {
        for _ in 1..ATTEMPTS {
            match (read(self.reader().await?).await, self) {
                (Err(error), Self::Latest(latest)) if error.kind() == ErrorKind::Superseded => latest.give_up().await,
                (done, _) => return done,
            }
        }
        read(self.reader().await?).await
    }
}

/// The reads of a collection.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct View {
    pub(crate) origin: Origin,
    pub(crate) config: Arc<CollectionConfig>,
}

impl View {
    fn fields(&self, include: Include) -> Fields {
        Fields { include, dimension: self.config.dimension, revisions: self.config.ordering.is_revision() }
    }
}

/// The fields that a caller names.
fn include(py: Python<'_>, names: Vec<String>) -> PyResult<Include> {
    let mut include = Include::NOTHING;
    for name in names {
        match name.as_str() {
            "embeddings" => include.embedding = true,
            "metadatas" => include.metadata = true,
            "documents" => include.document = true,
            // Ids and distances are there in any case.
            "ids" | "distances" => {}
            other => {
                let fields = "embeddings, metadatas or documents";
                return Err(invalid(py, format!("include: `{other}` is no field; choose {fields}")));
            }
        }
    }
    Ok(include)
}

pub(crate) fn order(py: Python<'_>, name: &str) -> PyResult<Order> {
    match name {
        "id" => Ok(Order::Id),
        "insertion" => Ok(Order::Insertion),
        other => Err(invalid(py, format!("order: `{other}` is no order; choose `id` or `insertion`"))),
    }
}

/// The fields of a record that the caller wants.
fn cut(mut entry: Entry, include: Include) -> Entry {
    if !include.embedding {
        entry.record.embedding = None;
    }
    if !include.metadata {
        entry.record.metadata.clear();
    }
    if !include.document {
        entry.record.document = None;
    }
    entry
}

#[pymethods]
impl View {
    #[pyo3(signature = (vectors, k, filter, documents, fields, candidates))]
    fn query(
        &self,
        py: Python<'_>,
        vectors: &Bound<'_, PyAny>,
        k: usize,
        filter: Option<&str>,
        documents: Option<&str>,
        fields: Vec<String>,
        candidates: Option<usize>,
    ) -> PyResult<Call> {
        let include = include(py, fields)?;
        let filter = input::filter(py, filter, documents)?;
        let exactness = match candidates {
            None => Exactness::Exact,
            Some(candidates) => Exactness::Approximate { candidates },
        };
        let query = |vector| Query::new(vector, k).filter(filter.clone()).exactness(exactness).include(include);
        let queries: Vec<Query> = vectors::queries(vectors)?.into_iter().map(query).collect();
        let (origin, fields) = (self.origin.clone(), self.fields(include));
        Ok(Call::new(async move {
            let queries = &queries;
            let answers = origin.read(|reader| async move { reader.search(queries).await }).await?;
            Ok(Rows::of_answers(answers, fields))
        }))
    }

    fn get(&self, py: Python<'_>, ids: Vec<String>, fields: Vec<String>) -> PyResult<Call> {
        let include = include(py, fields)?;
        let (origin, fields) = (self.origin.clone(), self.fields(include));
        Ok(Call::new(async move {
            let (ids, options) = (&ids, GetOptions::default().embedding(include.embedding));
            let options = &options;
            let found = origin.read(|reader| async move { reader.get_many_with(ids, options).await }).await?;
            Ok(Rows::of(found.into_iter().flatten().map(|entry| cut(entry, include)).collect(), fields))
        }))
    }

    #[pyo3(signature = (filter, documents, by, offset, limit, fields))]
    fn find(
        &self,
        py: Python<'_>,
        filter: Option<&str>,
        documents: Option<&str>,
        by: &str,
        offset: usize,
        limit: Option<usize>,
        fields: Vec<String>,
    ) -> PyResult<Call> {
        let include = include(py, fields)?;
        let filter: Option<Filter> = input::filter(py, filter, documents)?;
        let find = Find::all().filter(filter).order(order(py, by)?).offset(offset).limit(limit).include(include);
        let (origin, fields) = (self.origin.clone(), self.fields(include));
        Ok(Call::new(async move {
            let find = &find;
            let found = origin.read(|reader| async move { reader.find(find).await?.try_collect().await }).await?;
            Ok(Rows::of(found, fields))
        }))
    }

    #[pyo3(signature = (filter, documents))]
    fn count(&self, py: Python<'_>, filter: Option<&str>, documents: Option<&str>) -> PyResult<Call> {
        let filter = input::filter(py, filter, documents)?;
        let origin = self.origin.clone();
        Ok(Call::new(async move {
            let filter = &filter;
            let count = origin.read(|reader| async move {
                match filter {
                    None => reader.count().await,
                    Some(filter) => reader.count_matching(filter).await,
                }
            });
            Ok(count.await?)
        }))
    }

    fn contains(&self, id: String) -> Call {
        let origin = self.origin.clone();
        Call::new(async move {
            let id = &id;
            Ok(origin.read(|reader| async move { reader.contains(id).await }).await?)
        })
    }

    /// A scan, which begins at its first batch.
    #[pyo3(signature = (by, prefix, start, end, limit, fields, rows))]
    fn scan(
        &self,
        py: Python<'_>,
        by: &str,
        prefix: Option<String>,
        start: Option<String>,
        end: Option<String>,
        limit: Option<usize>,
        fields: Vec<String>,
        rows: usize,
    ) -> PyResult<Scan> {
        let include = include(py, fields)?;
        if rows == 0 {
            return Err(invalid(py, "batch_rows is 0; give at least 1".to_owned()));
        }
        let options = ScanOptions::default()
            .order(order(py, by)?)
            .prefix(prefix)
            .start(start.map_or(Limit::Unbounded, Limit::Included))
            .end(end.map_or(Limit::Unbounded, Limit::Excluded))
            .limit(limit)
            .embeddings(include.embedding);
        Ok(Scan::new(self.origin.clone(), options, self.fields(include), rows))
    }

    /// Moves the snapshot on to the latest state.
    fn refresh(&self) -> Call {
        let origin = self.origin.clone();
        Call::with(
            async move {
                match origin {
                    // The latest state is refreshed by each read.
                    Origin::Latest(latest) => {
                        latest.reader().await?;
                        Ok(None)
                    }
                    Origin::Snapshot(reader) => {
                        let mut moved = reader.read().await.clone();
                        let refreshed = moved.refresh().await?;
                        *reader.write().await = moved;
                        Ok(Some(refreshed))
                    }
                }
            },
            |refreshed, py| match refreshed {
                Some(refreshed) => report::refreshed(py, &refreshed),
                None => Ok(py.None().into_bound(py)),
            },
        )
    }

    /// The version of each shard's snapshot.
    fn versions(&self) -> Call {
        let origin = self.origin.clone();
        Call::new(async move {
            let versions = origin.reader().await?.versions();
            Ok(versions.into_iter().map(Version::get).collect::<Vec<u64>>())
        })
    }

    /// Brings levels into memory, within a limit for all of them.
    #[pyo3(signature = (levels, max_bytes))]
    fn warm(&self, py: Python<'_>, levels: Vec<String>, max_bytes: Option<u64>) -> PyResult<Call> {
        let mut warm = Warm::default();
        for level in levels {
            warm = match level.as_str() {
                "columns" => warm.columns(),
                "documents" => warm.documents(),
                "signs" => warm.signs(),
                "bytes" => warm.bytes(),
                "rows" => warm.rows(),
                other => {
                    let levels = "columns, documents, signs, bytes or rows";
                    return Err(invalid(py, format!("levels: `{other}` is no level; choose {levels}")));
                }
            };
        }
        warm.max_bytes = max_bytes;
        let origin = self.origin.clone();
        Ok(Call::with(
            async move {
                let warm = &warm;
                Ok(origin.read(|reader| async move { reader.warm(warm).await }).await?)
            },
            |warmth, py| {
                let fields = PyDict::new(py);
                fields.set_item("parts", warmth.parts)?;
                fields.set_item("kept", warmth.kept)?;
                fields.set_item("objects", warmth.objects)?;
                fields.set_item("memory_bytes", warmth.memory_bytes)?;
                fields.set_item("is_complete", warmth.is_complete())?;
                py.import("deltafold.reports")?.getattr("Warmth")?.call((), Some(&fields))
            },
        ))
    }
}

/// A time span of an argument, in seconds.
pub(crate) fn span(py: Python<'_>, name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| invalid(py, format!("{name} is {seconds}; give a number of seconds from 0 on")))
}
