//! The extension module `deltafold._deltafold`. The package `deltafold` wraps it.
//!
//! | module | part |
//! |---|---|
//! | `runtime` | the one Tokio runtime of the process; refuses forked children |
//! | `call` | a call that Python waits for or awaits: signals, cancellation, panics |
//! | `error` | errors as exceptions |
//! | `logs` | events as records of `logging` |
//! | `input` | arguments as ops, vectors and filters |
//! | `output` | records as columns of numpy and Arrow |
//! | `store`, `collection` | the classes of these names |
//! | `view`, `scan`, `follow` | reads |
//! | `appends`, `writer` | appends with back-pressure |
//! | `copying`, `export` | a collection into another one, or into files |
//! | `figures` | work of the benchmark in Rust alone; a feature |
//! | `report` | reports as dataclasses |
//! | `program` | the program `deltafold` |
//! | `chroma`, `lambda` | Chroma's API; the functions for AWS Lambda |
#![deny(unsafe_code)]
#![expect(clippy::too_many_arguments, reason = "functions have the parameters of Python's")]

mod appends;
mod call;
mod chroma;
mod collection;
mod copying;
mod error;
mod export;
#[cfg(feature = "figures")]
mod figures;
mod follow;
mod input;
mod lambda;
mod logs;
mod output;
mod program;
mod report;
mod runtime;
mod scan;
mod store;
mod view;
mod writer;

use pyo3::prelude::*;

/// The module that the package `deltafold` imports.
#[pymodule]
fn _deltafold(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<call::Call>()?;
    module.add_class::<chroma::Chroma>()?;
    module.add_class::<collection::Collection>()?;
    module.add_class::<follow::Follow>()?;
    module.add_class::<lambda::LambdaHandler>()?;
    module.add_class::<output::rows::Rows>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<store::Store>()?;
    module.add_class::<view::View>()?;
    module.add_class::<writer::Writer>()?;
    #[cfg(feature = "figures")]
    module.add_class::<figures::RustRows>()?;
    #[cfg(feature = "figures")]
    module.add_function(wrap_pyfunction!(figures::rust_queries, module)?)?;
    module.add_function(wrap_pyfunction!(store::open, module)?)?;
    module.add_function(wrap_pyfunction!(program::main, module)?)?;
    module.add_function(wrap_pyfunction!(logs::pass_logs_on, module)?)?;
    module.add_function(wrap_pyfunction!(logs::dropped_logs, module)?)?;
    module.add_function(wrap_pyfunction!(call::_panic, module)?)?;
    module.add_function(wrap_pyfunction!(call::_forever, module)?)?;
    module.add_function(wrap_pyfunction!(call::_begun, module)?)?;
    module.add_function(wrap_pyfunction!(call::_ends, module)?)?;
    Ok(())
}
