//! The error of a file of columns.

use std::fmt;

/// A file, a row or a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableError {
    row: Option<u64>,
    column: String,
    reason: String,
}

impl TableError {
    pub(super) fn new(reason: impl fmt::Display) -> Self {
        Self { row: None, column: String::new(), reason: reason.to_string() }
    }

    pub(super) fn at(row: u64, column: &str, reason: impl fmt::Display) -> Self {
        Self { row: Some(row), column: column.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn column_of(column: &str, reason: impl fmt::Display) -> Self {
        Self { row: None, column: column.to_owned(), reason: reason.to_string() }
    }

    /// The row, from 1; `None` if the file or a whole column is at fault.
    pub fn row(&self) -> Option<u64> {
        self.row
    }

    /// The column; empty if the fault is not in one column.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The fault, and the remedy.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row {
            write!(f, "row {row}: ")?;
        }
        if !self.column.is_empty() {
            write!(f, "column `{}`: ", self.column)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for TableError {}
