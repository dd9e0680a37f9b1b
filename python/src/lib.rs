//! The extension module `deltafold._deltafold`.

use pyo3::prelude::*;

/// The module that the package `deltafold` imports.
#[pymodule]
fn _deltafold(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
