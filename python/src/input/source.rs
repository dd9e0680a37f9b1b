//! Ops on their way from Python, in chunks. A chunk is made while the one before it is appended.

use deltafold::format::Op;
use pyo3::prelude::*;

use super::arrow::Table;
use super::columns::Columns;
use crate::error::Failure;

/// Most ops of a chunk, and about its bytes. The writer takes them as one segment.
pub(crate) const CHUNK_OPS: usize = 16_384;
pub(crate) const CHUNK_BYTES: usize = 12 << 20;

/// The ops of one call.
pub(crate) enum Source {
    /// Columns of Python objects.
    Columns(Columns),
    /// Batches of Arrow.
    Table(Box<Table>),
    /// Ops that were made before.
    Ops(Vec<Op>),
}

impl Source {
    /// The next chunk; empty at the end.
    pub(crate) async fn next(&mut self) -> Result<Vec<Op>, Failure> {
        match self {
            // The rows are objects of Python, so the interpreter must be attached.
            Self::Columns(columns) => {
                tokio::task::block_in_place(|| Python::attach(|py| columns.next(py))).map_err(Failure::Python)
            }
            Self::Table(table) => tokio::task::block_in_place(|| table.next()),
            Self::Ops(ops) => Ok(std::mem::take(ops)),
        }
    }
}
