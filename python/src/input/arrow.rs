//! Ops from tables of Arrow.

use deltafold::columnar::{Columns, TableOptions, TableReader};
use deltafold::format::{Action, Op, OpRules};
use pyo3::prelude::*;

use super::capsule;
use super::columns::Verb;
use super::source::{CHUNK_BYTES, CHUNK_OPS};
use crate::call::invalid;
use crate::error::Failure;

/// The rows of a table as ops.
pub(crate) struct Table {
    reader: TableReader,
    verb: Verb,
    refused: Option<Failure>,
    bytes_a_row: usize,
}

impl Table {
    /// Finds the columns of a table by their usual names, or by the text form of `Columns`.
    pub(crate) fn new(verb: Verb, rules: OpRules, table: &Bound<'_, PyAny>, columns: &str) -> PyResult<Self> {
        let py = table.py();
        let columns: Columns = columns.parse().map_err(|error| invalid(py, format!("columns: {error}")))?;
        let batches = capsule::batches(table)?;
        let options = TableOptions { columns, ..TableOptions::new(rules) };
        let reader = TableReader::of_batches(batches, &options);
        let reader = reader.map_err(|error| invalid(py, format!("the table: {error}")))?;
        Ok(Self { reader, verb, refused: None, bytes_a_row: rules.dimension as usize * 4 + 256 })
    }

    /// The ops of the next rows; empty at the end.
    pub(crate) fn next(&mut self) -> Result<Vec<Op>, Failure> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        let mut ops = Vec::new();
        let wrong = |error| Failure::Input(format!("the table: {error}"));
        while ops.len() < CHUNK_OPS && ops.len() * self.bytes_a_row < CHUNK_BYTES {
            let Some(read) = self.reader.next_ops().map_err(wrong)? else { break };
            ops.extend(read.ops.into_iter().map(|(_, op)| Op {
                action: match op.action {
                    Action::Put(record) => self.verb.of_record(record),
                    other => other,
                },
                ..op
            }));
            if let Some(error) = read.refused {
                let failure = Failure::Input(format!("the table: {error}"));
                if ops.is_empty() {
                    return Err(failure);
                }
                self.refused = Some(failure);
                break;
            }
        }
        Ok(ops)
    }
}
