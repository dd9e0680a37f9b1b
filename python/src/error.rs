//! Errors as exceptions of the module `deltafold.errors`.

use deltafold::{Error, ErrorKind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The failure of a call.
pub(crate) enum Failure {
    /// The engine's own.
    Engine(Error),
    /// An argument that cannot be used.
    Input(String),
    /// An exception of Python.
    Python(PyErr),
    /// A writer that was closed.
    Closed,
    /// A panic, with its message.
    Panicked(String),
    /// A failure after so many ops of the call were acknowledged.
    After(usize, Box<Self>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl Failure {
    /// The failure of a call of which so many ops were acknowledged before.
    pub(crate) fn after(self, acknowledged: usize) -> Self {
        if acknowledged == 0 { self } else { Self::After(acknowledged, Box::new(self)) }
    }

    /// The exception.
    pub(crate) fn raised(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Engine(error) => raise(py, class(error.kind()), error.to_string()),
            Self::Input(message) => raise(py, "InvalidInput", message),
            Self::Closed => raise(py, "Closed", "the writer is closed. Open a new one".to_owned()),
            Self::Python(error) => error,
            Self::After(acknowledged, failure) => {
                let error = failure.raised(py);
                // The classes of this package have the attribute; others may refuse it.
                drop(error.value(py).setattr("acknowledged", acknowledged));
                error
            }
            Self::Panicked(message) => {
                let report = "This is a defect of deltafold; please report it";
                raise(py, "Panicked", format!("a call failed from inside: {message}. {report}"))
            }
        }
    }
}

/// An exception of `deltafold.errors`.
pub(crate) fn raise(py: Python<'_>, class: &str, message: String) -> PyErr {
    let made = py
        .import("deltafold.errors")
        .and_then(|errors| errors.getattr(class))
        .and_then(|class| class.call1((&message,)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        // A package that is broken or half installed.
        Err(_) => PyRuntimeError::new_err(message),
    }
}

/// The engine's error as an exception, for calls that fail at once.
pub(crate) fn engine(py: Python<'_>) -> impl Fn(Error) -> PyErr {
    move |error| Failure::Engine(error).raised(py)
}

/// The class of a kind of error.
fn class(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidInput => "InvalidInput",
        ErrorKind::NotFound => "NotFound",
        ErrorKind::AlreadyExists => "AlreadyExists",
        ErrorKind::Busy => "Busy",
        ErrorKind::Conflict => "Conflict",
        ErrorKind::Superseded => "Superseded",
        ErrorKind::Corrupt => "Corrupt",
        ErrorKind::NewerFormat => "NewerFormat",
        ErrorKind::Unknown => "Unknown",
        ErrorKind::Unavailable => "Unavailable",
        ErrorKind::Storage => "Storage",
        ErrorKind::OutOfMemory => "OutOfMemory",
        ErrorKind::Unfit => "Unfit",
        ErrorKind::Closed => "Closed",
        ErrorKind::Invariant => "Invariant",
        _ => "DeltafoldError",
    }
}
