//! The common code of the fuzzers: inputs as choices, objects assembled behind right checksums,
//! filters made and filters by the book, a store that fails, and seeds.
//!
//! Each program in `targets/` is a fuzzer; `fuzz/run --help` shows how to run them.
#![deny(unsafe_code)]

pub mod book;
mod choices;
pub mod filters;
pub mod memory;
pub mod mutation;
pub mod object;
pub mod seeds;
pub mod store;

pub use choices::Choices;
