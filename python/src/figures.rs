//! The work of the benchmark in Rust alone, for the same run as in Python.

use deltafold::format::{Op, Patch};
use deltafold::{Include, Query, WriterOptions};
use numpy::{PyReadonlyArray2, PyUntypedArrayMethods as _};
use pyo3::prelude::*;

use crate::appends::{Appends, Identity};
use crate::call::Call;
use crate::collection::Collection;
use crate::error::Failure;
use crate::view::View;
use futures::stream::{FuturesOrdered, StreamExt as _};

/// Ops of one append, as a program in Rust would choose them.
const CHUNK: usize = 8_192;
/// Bytes that may wait.
const WAITING: usize = 64 << 20;

/// Rows as Rust holds them.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct RustRows {
    numbers: std::sync::Arc<Vec<f32>>,
    dimension: usize,
}

#[pymethods]
impl RustRows {
    #[new]
    fn new(array: PyReadonlyArray2<'_, f32>) -> Self {
        let dimension = array.shape().get(1).copied().unwrap_or(1).max(1);
        Self { numbers: std::sync::Arc::new(array.as_array().iter().copied().collect()), dimension }
    }

    /// Upserts all rows, with their numbers as ids.
    fn upsert(&self, collection: &Bound<'_, Collection>) -> Call {
        let (numbers, dimension) = (self.numbers.clone(), self.dimension);
        let engine = collection.get().engine().clone();
        Call::new(async move {
            let appends = Appends::new(engine.writer(WriterOptions::default())?, WAITING);
            let mut on_the_way = FuturesOrdered::new();
            for (chunk, rows) in numbers.chunks(CHUNK * dimension).enumerate() {
                let op = |(row, numbers): (usize, &[f32])| {
                    let embedding = deltafold::format::Change::Set(numbers.to_vec());
                    Op::upsert(format!("{:08}", chunk * CHUNK + row), Patch { embedding, ..Patch::default() })
                };
                let ops = rows.chunks(dimension).enumerate().map(op).collect();
                if on_the_way.len() >= 3
                    && let Some((_, ack)) = on_the_way.next().await
                {
                    ack?;
                }
                on_the_way.push_back(appends.hand_over(ops, Identity::None).await?);
            }
            while let Some((_, ack)) = on_the_way.next().await {
                ack?;
            }
            Ok::<_, Failure>(())
        })
    }
}

/// Searches with one vector after the other, for ids or for metadata and documents, too.
#[pyfunction]
pub(crate) fn rust_queries(view: &Bound<'_, View>, vectors: Vec<Vec<f32>>, k: usize, records: bool) -> Call {
    let origin = view.get().origin.clone();
    let mut include = Include::NOTHING;
    (include.metadata, include.document) = (records, records);
    Call::new(async move {
        let reader = origin.reader().await?;
        for vector in vectors {
            reader.search(&[Query::new(vector, k).include(include)]).await?;
        }
        Ok(())
    })
}
