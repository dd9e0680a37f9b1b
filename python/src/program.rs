//! The program `deltafold` in an interpreter: `python -m deltafold`.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Runs the program with these arguments, of which the first is its name. Returns its exit code.
///
/// The process belongs to the program from then on: it catches signals, and a panic ends the
/// process with its report.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
    static RAN: AtomicBool = AtomicBool::new(false);
    if RAN.swap(true, Ordering::Relaxed) {
        return Err(PyRuntimeError::new_err("the program runs once a process; start `python -m deltafold` anew"));
    }
    Ok(py.detach(|| deltafold_cli::main(arguments)))
}
