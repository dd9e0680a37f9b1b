//! The program `deltafold`: the library of this package, with its allocator.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: deltafold_cli::Allocator = deltafold_cli::Allocator;

fn main() -> ExitCode {
    ExitCode::from(deltafold_cli::main(std::env::args_os().collect()))
}
