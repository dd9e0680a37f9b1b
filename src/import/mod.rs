//! Collections of other programs, read from their files.

pub mod chroma;
mod download;

pub use download::Download;
