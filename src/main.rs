//! The `deltafold` program: a thin floor on top of the library. `deltafold --help` tells what it does.
#![deny(unsafe_code)]

mod cli;
mod crash;
#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
mod out_of_memory;

fn main() -> std::process::ExitCode {
    crash::install(false);
    cli::main()
}
