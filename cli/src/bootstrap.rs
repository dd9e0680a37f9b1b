//! The program that AWS Lambda starts, under the name that Lambda looks for.
#![deny(unsafe_code)]

#[cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the C library's heap has no other way to be set")
)]
mod heap;
#[expect(unsafe_code, reason = "blocks of memory are kept below the allocator")]
mod kept_blocks;
#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
mod out_of_memory;

mod crash;

fn main() -> std::process::ExitCode {
    out_of_memory::tell_as_json(true);
    heap::give_back_early();
    // The smallest function has 128 MB.
    out_of_memory::keep_blocks(8 << 20);
    crash::install(true);
    #[cfg(feature = "simulation")]
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() {
        runtime.block_on(crash::planted());
    }
    deltafold::lambda::main()
}
