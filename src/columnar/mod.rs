//! Files of columns: Parquet and Arrow IPC, as ops on the way in and as records on the way out.
//!
//! [`TableReader`] streams a file or batches in memory as ops. [`Columns`] says which column is
//! what. [`TableWriter`] writes records to a file, and [`BatchBuilder`] to batches in memory.
//! [`Shape`] says which columns they need.
//!
//! | file | part |
//! |---|---|
//! | `columns` | the column of each field, by name or by the caller's word |
//! | `reader` | the file, batch by batch, as ops |
//! | `arrow_file` | checks the messages of an Arrow file before they are decoded |
//! | `cell` | one value of a column |
//! | `shape` | the columns of an export |
//! | `batch` | records to a batch of columns |
//! | `writer` | batches to a file |

mod arrow_file;
mod batch;
mod cell;
mod columns;
mod error;
mod reader;
mod shape;
mod writer;

pub use batch::BatchBuilder;
pub use columns::{Columns, ColumnsError};
pub use error::TableError;
pub use reader::{TableOps, TableOptions, TableReader};
pub use shape::Shape;
pub use writer::TableWriter;

/// The format of a file of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableFormat {
    /// Parquet.
    Parquet,
    /// Arrow IPC: a file, also called Feather 2, or a stream.
    Arrow,
}

impl TableFormat {
    /// The format of a file of this name: `.parquet`, `.pq`, `.arrow`, `.feather` or `.ipc`.
    pub fn of_name(name: &str) -> Option<Self> {
        let ending = name.rsplit_once('.')?.1.to_ascii_lowercase();
        match ending.as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "arrow" | "feather" | "ipc" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// The ending of names of such files, without the dot.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }
}
