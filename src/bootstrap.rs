//! The program that AWS Lambda starts, under the name that it looks for.

mod crash;

fn main() -> std::process::ExitCode {
    crash::install(true);
    #[cfg(feature = "simulation")]
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() {
        runtime.block_on(crash::planted());
    }
    deltafold::lambda::main()
}
