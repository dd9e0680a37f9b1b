//! Tests of the package `deltafold`: an interpreter loads the extension and runs the tests beside
//! this file.

mod checks;
mod site;
