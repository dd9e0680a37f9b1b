//! The `deltafold` program, a thin layer on top of the library. `deltafold --help` lists its
//! commands.
#![deny(unsafe_code)]

mod cli;
mod crash;
#[cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the C library's heap has no other way to be set")
)]
mod heap;
#[expect(unsafe_code, reason = "blocks of memory are kept below the allocator")]
mod kept_blocks;
#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
mod out_of_memory;

fn main() -> std::process::ExitCode {
    heap::give_back_early();
    crash::install(false);
    cli::main()
}
