//! Why a line is not an op.

use std::fmt;

/// Why a line is not an op: where it stands, which field, and what is wrong. Fix the line and go on
/// from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    line: u64,
    column: usize,
    field: String,
    reason: String,
}

impl LineError {
    pub(super) fn new(column: usize, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { line: 0, column, field: field.into(), reason: reason.into() }
    }

    pub(super) fn at_line(self, line: u64) -> Self {
        Self { line, ..self }
    }

    /// The line, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The byte of the line, counted from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The field, such as `metadata.tags` or `embedding[3]`; empty where no field is to blame.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong, and what would be right.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "field `{}`: ", self.field)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for LineError {}
