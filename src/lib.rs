//! Deltafold.
#![deny(unsafe_code)]

pub mod jsonl;
pub mod store;

pub use deltafold_format as format;
