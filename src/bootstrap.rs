//! The program that AWS Lambda starts, under the name that it looks for.

fn main() -> std::process::ExitCode {
    deltafold::lambda::main()
}
