//! The `deltafold` program: a thin floor on top of the library. `deltafold --help` tells what it does.

mod cli;
mod crash;

fn main() -> std::process::ExitCode {
    crash::install(false);
    cli::main()
}
