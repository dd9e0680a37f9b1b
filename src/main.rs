//! The `deltafold` program: a thin floor on top of the library. `deltafold --help` tells what it does.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
