//! Errors of lines that are not ops.

use std::fmt;

/// The reason why a line is not an op, with its place and field. Fix the line and resume from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    line: u64,
    column: usize,
    field: String,
    reason: String,
    lacks_op: bool,
}

impl LineError {
    pub(super) fn new(column: usize, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { line: 0, column, field: field.into(), reason: reason.into(), lacks_op: false }
    }

    /// The error of a line without an op.
    pub(super) fn no_op() -> Self {
        let reason = "it is missing; expected \"put\", \"upsert\", \"add\", \"patch\" or \"delete\"";
        Self { lacks_op: true, ..Self::new(1, "op", reason) }
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

    /// The field, such as `metadata.tags` or `embedding[3]`. Empty if no field is to blame.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Whether the line lacks its op, and nothing before that was wrong.
    /// [`parse_op_or`](super::parse_op_or) takes such lines.
    pub fn lacks_op(&self) -> bool {
        self.lacks_op
    }

    /// The reason and the remedy.
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
