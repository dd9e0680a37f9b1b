//! A call on its way: Python waits for it, or awaits it.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use pyo3::IntoPyObjectExt as _;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::{Failure, raise};
use crate::runtime::runtime;

/// Pause between two looks at pending signals.
const SIGNALS: Duration = Duration::from_millis(50);

/// Makes the result an object of Python.
type Answer = Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyAny>> + Send>;
type Work = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>;

/// A call that has not begun. `wait` runs it in this thread, without the lock of the interpreter.
/// `future` runs it beside the event loop of `asyncio`.
#[pyclass(module = "deltafold._deltafold", frozen)]
pub(crate) struct Call {
    work: Mutex<Option<Work>>,
}

impl Call {
    /// A call of this future. Its result becomes an object of Python in the caller's thread.
    pub(crate) fn new<T>(work: impl Future<Output = Result<T, Failure>> + Send + 'static) -> Self
    where
        T: for<'py> IntoPyObject<'py> + Send + 'static,
    {
        Self::with(work, |value, py| value.into_bound_py_any(py))
    }

    /// The same with another way to make the object.
    pub(crate) fn with<T: Send + 'static>(
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
        finish: impl for<'py> FnOnce(T, Python<'py>) -> PyResult<Bound<'py, PyAny>> + Send + 'static,
    ) -> Self {
        let work = AssertUnwindSafe(work).catch_unwind().map(|done| match done {
            Ok(Ok(value)) => Ok(answer(value, finish)),
            Ok(Err(failure)) => Err(failure),
            Err(panic) => Err(Failure::Panicked(message(&*panic))),
        });
        Self { work: Mutex::new(Some(Box::pin(work))) }
    }

    fn take(&self) -> PyResult<Work> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.ok_or_else(|| PyRuntimeError::new_err("this call was made already; make another one"))
    }
}

#[pymethods]
impl Call {
    /// Runs the call to its end. A signal such as that of Ctrl-C ends the wait and drops the call.
    pub(crate) fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let runtime = runtime(py)?;
        let mut work = self.take()?;
        loop {
            let step = py.detach(|| runtime.block_on(async { tokio::time::timeout(SIGNALS, &mut work).await }));
            match step {
                Ok(Ok(answer)) => return answer(py),
                Ok(Err(failure)) => return Err(failure.raised(py)),
                Err(_) => {
                    if let Err(signal) = py.check_signals() {
                        // Tasks of the call may end only inside the runtime.
                        py.detach(|| {
                            let _inside = runtime.enter();
                            drop(work);
                        });
                        return Err(signal);
                    }
                }
            }
        }
    }

    /// Begins the call, and returns its future. To cancel the future drops the call.
    fn future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        runtime(py)?;
        let work = self.take()?;
        pyo3_async_runtimes::tokio::future_into_py(py, async move { Ok(Outcome(work.await)) })
    }
}

/// The object of a result, made once the interpreter is attached.
fn answer<T: Send + 'static>(
    value: T,
    finish: impl for<'py> FnOnce(T, Python<'py>) -> PyResult<Bound<'py, PyAny>> + Send + 'static,
) -> Answer {
    Box::new(move |py| finish(value, py))
}

/// The result of an awaited call.
struct Outcome(Result<Answer, Failure>);

impl<'py> IntoPyObject<'py> for Outcome {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.0 {
            Ok(answer) => answer(py),
            Err(failure) => Err(failure.raised(py)),
        }
    }
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Panics inside a call, for a test: the caller gets an exception.
#[pyfunction]
pub(crate) fn _panic() -> Call {
    Call::new(async { panics() })
}

fn panics() -> Result<(), Failure> {
    panic!("planted by a test")
}

/// Never ends, for tests of signals and cancellation. `_begun` and `_ends` count.
#[pyfunction]
pub(crate) fn _forever() -> Call {
    Call::new(async {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        let _end = End;
        futures::future::pending::<()>().await;
        Ok(())
    })
}

struct End;

static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDS: AtomicU64 = AtomicU64::new(0);

impl Drop for End {
    fn drop(&mut self) {
        ENDS.fetch_add(1, Ordering::SeqCst);
    }
}

/// Number of calls of `_forever` that have begun.
#[pyfunction]
pub(crate) fn _begun() -> u64 {
    BEGUN.load(Ordering::SeqCst)
}

/// Number of calls of `_forever` that were dropped.
#[pyfunction]
pub(crate) fn _ends() -> u64 {
    ENDS.load(Ordering::SeqCst)
}

/// An error of the input, raised at once.
pub(crate) fn invalid(py: Python<'_>, message: String) -> PyErr {
    raise(py, "InvalidInput", message)
}
