//! A copy of a collection, and the function of Python that says how long it follows the log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deltafold::{Copier, CopyReport};
use pyo3::prelude::*;
use tokio::sync::oneshot;

use crate::call::invalid;
use crate::error::Failure;
use crate::input::value::kind;
use crate::report;

/// The end of a copy that follows the log.
pub(crate) enum Following {
    No,
    /// Until the call is ended from outside.
    Always,
    /// As long as a function of the progress returns true.
    While(Py<PyAny>),
}

impl Following {
    /// A truth value or a function of an argument.
    pub(crate) fn of(argument: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(follow) = argument.extract::<bool>() {
            return Ok(if follow { Self::Always } else { Self::No });
        }
        if argument.is_callable() {
            return Ok(Self::While(argument.clone().unbind()));
        }
        let text = format!("follow is {}; give True, or a function of the progress", kind(argument));
        Err(invalid(argument.py(), text))
    }
}

/// Pause between two questions at least, so that they leave time for the copy.
const SHORTEST: Duration = Duration::from_millis(1);

/// Runs a copy. Asks the function every `interval`, in the thread that runs the copy.
#[expect(clippy::disallowed_methods, reason = "the pause is the caller's, and no simulation runs this package")]
pub(crate) async fn run(copier: Copier, following: Following, interval: Duration) -> Result<CopyReport, Failure> {
    let progress = Mutex::new(CopyReport::default());
    // The copy ends once the sender is dropped.
    let (go_on, stopped) = oneshot::channel::<()>();
    let stop = async { drop(stopped.await) };
    let each = |report: &CopyReport| *progress.lock().unwrap_or_else(PoisonError::into_inner) = report.clone();
    let asking = async {
        if let Following::While(wanted) = &following {
            loop {
                tokio::time::sleep(interval.max(SHORTEST)).await;
                let report = progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if !ask(wanted, &report)? {
                    break;
                }
            }
            drop(go_on);
            return Ok::<(), PyErr>(());
        }
        // Keeps the sender until the copy has ended.
        let _go_on = go_on;
        std::future::pending().await
    };
    let (copying, asking) = (std::pin::pin!(copier.run(stop, each)), std::pin::pin!(asking));
    match futures::future::select(copying, asking).await {
        futures::future::Either::Left((done, _)) => Ok(done?),
        futures::future::Either::Right((Ok(()), copying)) => Ok(copying.await?),
        futures::future::Either::Right((Err(error), _)) => Err(Failure::Python(error)),
    }
}

/// Whether the copy goes on. The function may make calls of its own.
fn ask(wanted: &Py<PyAny>, report: &CopyReport) -> PyResult<bool> {
    tokio::task::block_in_place(|| {
        Python::attach(|py| wanted.bind(py).call1((report::copied(py, report)?,))?.is_truthy())
    })
}
