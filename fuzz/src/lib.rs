//! What the fuzzers share: inputs as choices, objects put together behind right checksums, a store
//! that fails, and seeds.
//!
//! Each program in `targets/` is a fuzzer; `fuzz/run --help` tells how they are run.
#![deny(unsafe_code)]

mod choices;
pub mod memory;
pub mod mutation;
pub mod object;
pub mod seeds;
pub mod store;

pub use choices::Choices;
