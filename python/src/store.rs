//! A store: the place of collections.

use std::sync::Arc;

use deltafold::format::{CollectionName, HeadPlace, Metric, Ordering};
use deltafold::store::Store as Objects;
use deltafold::{
    Collection as Engine, CollectionBuilder, CreateOptions, Error, KEEP_TOMBSTONES, Location, MemoryLimit,
};
use pyo3::prelude::*;

use crate::call::{Call, invalid};
use crate::collection::Collection;
use crate::error::{Failure, engine};
use crate::report;
use crate::view::span;

/// A store: a folder, or a prefix of a bucket.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct Store {
    pub(crate) location: Location,
    /// The store with the heads of collections in it.
    objects: Arc<dyn Objects>,
}

/// A collection's name of an argument.
fn name(py: Python<'_>, name: &str) -> PyResult<CollectionName> {
    name.parse().map_err(|error: deltafold::format::NameError| invalid(py, format!("name: {error}")))
}

/// The memory limit of an argument in bytes.
fn memory(py: Python<'_>, bytes: Option<u64>) -> PyResult<MemoryLimit> {
    bytes.map_or(Ok(MemoryLimit::default()), MemoryLimit::new).map_err(engine(py))
}

impl Store {
    /// The way to a collection, with its heads where they are.
    async fn builder(
        location: &Location,
        name: &CollectionName,
        memory: MemoryLimit,
    ) -> Result<CollectionBuilder, Error> {
        Ok(Engine::builder(location.store_of(name).await?, name).memory(memory))
    }
}

/// Opens a store. Touches no collection.
#[pyfunction]
pub(crate) fn open(py: Python<'_>, url: &str) -> PyResult<Call> {
    let location: Location = url.parse().map_err(engine(py))?;
    Ok(Call::new(async move {
        let objects = location.store().await?;
        Ok(Store { location, objects })
    }))
}

#[pymethods]
impl Store {
    #[getter]
    fn url(&self) -> String {
        self.location.to_string()
    }

    #[pyo3(signature = (name, dimension, metric, shards, ordering, keep_tombstones, heads, memory, exists_ok))]
    fn create(
        &self,
        py: Python<'_>,
        name: &str,
        dimension: u32,
        metric: &str,
        shards: u16,
        ordering: &str,
        keep_tombstones: Option<f64>,
        heads: Option<(String, String)>,
        memory: Option<u64>,
        exists_ok: bool,
    ) -> PyResult<Call> {
        let metric = match metric {
            "l2" => Metric::L2,
            "cosine" => Metric::Cosine,
            "inner-product" | "ip" => Metric::InnerProduct,
            other => {
                let metrics = "`l2`, `cosine` or `inner-product`";
                return Err(invalid(py, format!("metric: `{other}` is no metric; choose {metrics}")));
            }
        };
        let options = CreateOptions::new(dimension).metric(metric).shards(shards);
        let options = match (ordering, keep_tombstones) {
            ("log", None) => options.ordering(Ordering::Log),
            ("log", Some(_)) => {
                let text = "keep_tombstones belongs to a collection ordered by revision; leave it out";
                return Err(invalid(py, text.to_owned()));
            }
            ("revision", None) => options.by_revision(KEEP_TOMBSTONES),
            ("revision", Some(seconds)) => options.by_revision(span(py, "keep_tombstones", seconds)?),
            (other, _) => {
                let text = format!("ordering: `{other}` is no ordering; choose `log` or `revision`");
                return Err(invalid(py, text));
            }
        };
        let (name, memory) = (self::name(py, name)?, self::memory(py, memory)?);
        let (location, objects) = (self.location.clone(), self.objects.clone());
        let heads = match heads {
            None => HeadPlace::Store,
            Some((table, region)) => HeadPlace::DynamoDb { table, region },
        };
        Ok(Call::new(async move {
            if exists_ok {
                match Self::builder(&location, &name, memory).await?.open().await {
                    Ok(collection) => return Ok(Collection::new(collection, location)),
                    Err(error) if error.kind() == deltafold::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
            location.create_table(objects.clone(), &heads).await?;
            let objects = location.with_heads(objects, &heads).await?;
            match Engine::builder(objects, &name).memory(memory).create(&options).await {
                Ok(collection) => Ok(Collection::new(collection, location)),
                // Another process made it first.
                Err(error) if exists_ok && error.kind() == deltafold::ErrorKind::AlreadyExists => {
                    let opened = Self::builder(&location, &name, memory).await?.open().await?;
                    Ok(Collection::new(opened, location))
                }
                Err(error) => Err(error.into()),
            }
        }))
    }

    #[pyo3(signature = (name, memory))]
    fn collection(&self, py: Python<'_>, name: &str, memory: Option<u64>) -> PyResult<Call> {
        let (name, memory) = (self::name(py, name)?, self::memory(py, memory)?);
        let location = self.location.clone();
        Ok(Call::new(async move {
            let collection = Self::builder(&location, &name, memory).await?.open().await?;
            Ok(Collection::new(collection, location))
        }))
    }

    /// The names of all collections.
    fn list(&self) -> Call {
        let objects = self.objects.clone();
        Call::new(async move {
            let names = Engine::list(&*objects).await?;
            Ok(names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>())
        })
    }

    fn drop(&self, py: Python<'_>, name: &str) -> PyResult<Call> {
        let (name, location) = (self::name(py, name)?, self.location.clone());
        Ok(Call::with(
            async move {
                let objects = location.store_of(&name).await?;
                Ok::<_, Failure>(Engine::drop_collection(&*objects, &name, |_| ()).await?)
            },
            |dropped, py| report::dropped(py, &dropped),
        ))
    }
}
