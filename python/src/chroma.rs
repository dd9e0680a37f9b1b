//! Chroma's API in this process: the server of `deltafold::serve` without connections.

use std::sync::Arc;
use std::time::Duration;

use deltafold::serve::{Embedded, ServeOptions};
use deltafold::store::{Memory, Store};
use deltafold::{Location, MemoryLimit, Policy};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::OnceCell;

use crate::call::Call;
use crate::error::{Failure, engine};

/// Longest time of one call. The caller ends a call earlier by a signal.
const WITHIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Largest body. The caller holds it in memory already.
const BODY: usize = 2 << 30;

/// Chroma's API on one store. The first call opens the store.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct Chroma {
    inner: Arc<Inner>,
}

struct Inner {
    /// Without one, the store is in memory, and ends with this object.
    location: Option<Location>,
    options: ServeOptions,
    server: OnceCell<Embedded>,
}

impl Inner {
    async fn server(&self) -> Result<&Embedded, Failure> {
        let opening = async {
            let store: Arc<dyn Store> = match &self.location {
                Some(location) => location.store().await?,
                None => Arc::new(Memory::new()),
            };
            Ok(Embedded::new(store, self.options.clone())?)
        };
        self.server.get_or_try_init(|| opening).await
    }
}

#[pymethods]
impl Chroma {
    #[new]
    #[pyo3(signature = (location, *, allow_reset=false, compact=true, fold_segments=None, max_staleness=0.0, memory=None))]
    fn new(
        py: Python<'_>,
        location: Option<&str>,
        allow_reset: bool,
        compact: bool,
        fold_segments: Option<u64>,
        max_staleness: f64,
        memory: Option<u64>,
    ) -> PyResult<Self> {
        let location = location.map(str::parse::<Location>).transpose().map_err(engine(py))?;
        let max_staleness = Duration::try_from_secs_f64(max_staleness).map_err(|error| {
            let message = format!("`max_staleness` is {max_staleness}: {error}; give seconds, at least 0");
            Failure::Input(message).raised(py)
        })?;
        let mut options = ServeOptions::default()
            .allow_reset(allow_reset)
            .compact(compact)
            .location(location.clone())
            .max_staleness(max_staleness)
            .max_body(BODY)
            .request_memory(u64::MAX)
            .request_timeout(WITHIN);
        if let Some(segments) = fold_segments {
            options = options.policy(Policy::default().fold_segments(segments));
        }
        if let Some(bytes) = memory {
            options = options.memory(MemoryLimit::new(bytes).map_err(engine(py))?);
        }
        Ok(Self { inner: Arc::new(Inner { location, options, server: OnceCell::new() }) })
    }

    /// A request: its answer is the status and the body.
    fn call(&self, method: String, path: String, body: &[u8]) -> Call {
        let (inner, body) = (self.inner.clone(), body.to_vec());
        let work = async move { Ok(inner.server().await?.call(&method, &path, body).await) };
        Call::with(work, |reply, py| {
            let body = PyBytes::new(py, &reply.body);
            Ok((reply.status, body).into_pyobject(py)?.into_any())
        })
    }

    /// Decides every write, and closes what is open. A later call opens it anew.
    fn close(&self) -> Call {
        let inner = self.inner.clone();
        Call::new(async move {
            if let Some(server) = inner.server.get() {
                server.close().await;
            }
            Ok(())
        })
    }
}
