//! The one Tokio runtime of the process.

use std::sync::OnceLock;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::error::raise;

/// The runtime, and the process that made it.
struct Owned {
    process: u32,
    runtime: Runtime,
}

static RUNTIME: OnceLock<std::io::Result<Owned>> = OnceLock::new();

/// The runtime. The first call starts it.
///
/// A fork copies no threads, so a call in a forked child would wait for ever. It fails instead.
pub(crate) fn runtime(py: Python<'_>) -> PyResult<&'static Runtime> {
    let owned = RUNTIME.get_or_init(|| {
        let runtime = Builder::new_multi_thread().enable_all().thread_name("deltafold").build()?;
        Ok(Owned { process: std::process::id(), runtime })
    });
    match owned {
        Ok(owned) if owned.process == std::process::id() => {
            // Only the first call sets it.
            let _ = pyo3_async_runtimes::tokio::init_with_runtime(&owned.runtime);
            Ok(&owned.runtime)
        }
        Ok(_) => Err(raise(
            py,
            "Forked",
            "this process was forked from one that had used deltafold, whose threads do not exist here. Start \
             processes with the method `spawn` or `forkserver`, or use deltafold only after the fork"
                .to_owned(),
        )),
        Err(error) => Err(raise(
            py,
            "DeltafoldError",
            format!("the threads of deltafold cannot start: {error}. Raise the limit on threads of this process"),
        )),
    }
}
