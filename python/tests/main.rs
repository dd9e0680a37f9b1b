//! Tests of the package `deltafold`: an interpreter loads the extension and runs the tests beside
//! this file.
#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")]

mod checks;
mod chroma;
mod site;
mod wheel;
