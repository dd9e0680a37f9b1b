//! The functions for AWS Lambda as a program.

use std::process::ExitCode;

use crate::{crash, heap, out_of_memory};

/// Runs the function that the environment names, until AWS Lambda ends the process.
pub fn bootstrap() -> ExitCode {
    out_of_memory::tell_as_json(true);
    heap::give_back_early();
    // The smallest function has 128 MB.
    out_of_memory::keep_blocks(8 << 20);
    crash::install(crash::Report::Lambda);
    #[cfg(feature = "simulation")]
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() {
        runtime.block_on(crash::planted());
    }
    deltafold::lambda::main()
}
