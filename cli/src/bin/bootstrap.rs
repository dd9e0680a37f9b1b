//! The program that AWS Lambda starts, under the name that Lambda looks for.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: deltafold_cli::Allocator = deltafold_cli::Allocator;

fn main() -> ExitCode {
    deltafold_cli::bootstrap()
}
