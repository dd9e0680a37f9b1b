//! Deltafold.
#![deny(unsafe_code)]

mod env;
pub mod jsonl;
pub mod store;

pub use deltafold_format as format;
pub use env::{Env, System};
