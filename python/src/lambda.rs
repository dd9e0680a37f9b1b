//! The functions for AWS Lambda, called by a handler in Python.

use std::collections::HashMap;
use std::sync::Arc;

use deltafold::lambda::Handler;
use pyo3::prelude::*;

use crate::call::Call;
use crate::error::engine;

/// A function. It keeps its collection and its connections between calls.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct LambdaHandler {
    inner: Arc<Handler>,
}

#[pymethods]
impl LambdaHandler {
    /// Reads settings under the names of the variables of the functions.
    #[new]
    fn new(py: Python<'_>, settings: HashMap<String, String>) -> PyResult<Self> {
        let handler = Handler::new(|name| settings.get(name).cloned()).map_err(engine(py))?;
        Ok(Self { inner: Arc::new(handler) })
    }

    /// Handles an event in JSON. The result is the answer in JSON, or None with the kind and the
    /// reason of the failure.
    fn handle(&self, event: String, request: String, deadline: u64) -> Call {
        let inner = self.inner.clone();
        Call::new(async move {
            Ok(match inner.handle(&event, &request, deadline).await {
                Ok(answer) => (Some(answer.to_string()), String::new(), String::new()),
                Err(failure) => (None, failure.kind().to_owned(), failure.to_string()),
            })
        })
    }
}
