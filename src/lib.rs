//! Deltafold.
#![deny(unsafe_code)]

pub mod store;

pub use deltafold_format as format;
