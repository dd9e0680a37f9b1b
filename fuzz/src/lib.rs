//! The common code of the fuzzers: inputs as choices, objects assembled behind right checksums, a
//! store that fails, and seeds.
//!
//! Each program in `targets/` is a fuzzer; `fuzz/run --help` shows how to run them.
#![deny(unsafe_code)]

mod choices;
pub mod memory;
pub mod mutation;
pub mod object;
pub mod seeds;
pub mod store;

pub use choices::Choices;
