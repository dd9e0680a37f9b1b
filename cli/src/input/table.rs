//! Ops from files of columns, as the same events as ops from lines. A row counts as a line.

use std::fs::File;
use std::sync::Arc;

use deltafold::MemoryLimit;
use deltafold::columnar::{Columns, TableError, TableFormat, TableOps, TableOptions, TableReader};
use deltafold::format::{Action, Op};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::Input;
use super::ops::{AHEAD, AHEAD_BYTES, Message, Parsing, Reading, Trust};
use super::parsers::{Batch, Parsed};
use super::reject::{Reject, Rules};
use crate::exit::{Exit, Failure, Outcome};
use crate::signals::Stop;

/// Reads a file of columns from a row on.
pub(crate) fn read_table(
    input: &Input,
    format: TableFormat,
    columns: &Columns,
    from_row: u64,
    rules: Rules,
    memory: MemoryLimit,
    stop: Stop,
) -> Outcome<Reading> {
    let Input::File(path) = input else {
        return Err(Failure::new(Exit::Usage, "a file of columns cannot come from standard input"));
    };
    let name = input.name();
    let file = File::open(path).map_err(|error| Failure::file("open", &name, &error))?;
    let length = input.len().unwrap_or(0);
    let mut options = TableOptions::new(rules.rules);
    options.goes_on = rules.goes_on;
    (options.columns, options.memory, options.from_row) = (columns.clone(), memory, from_row);
    let table = TableReader::open(file, format, &options).map_err(|error| refused(&name, &error))?;
    let (messages, receiver) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    let work = move || {
        let ahead = Arc::new(Semaphore::new(AHEAD_BYTES));
        let rows = Rows { name, table, rules, length, runtime, ahead, stop, messages: messages.clone() };
        let last = rows.run();
        // The receiver is gone if the command has failed meanwhile.
        let _ = messages.blocking_send(last);
    };
    std::thread::Builder::new()
        .name("input".into())
        .spawn(work)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start a thread: {error}")))?;
    Ok(Reading::new(receiver, Trust::Sound, false))
}

struct Rows {
    name: String,
    table: TableReader,
    rules: Rules,
    length: u64,
    runtime: Handle,
    /// Bytes of ops that may be read ahead of the command.
    ahead: Arc<Semaphore>,
    stop: Stop,
    messages: mpsc::Sender<Message>,
}

impl Rows {
    fn run(mut self) -> Message {
        loop {
            if self.stop.borrow().is_some() {
                return Message::Stopped;
            }
            let TableOps { mut ops, rejected, refused: refused_row, .. } = match self.table.next_ops() {
                Ok(Some(next)) => next,
                Ok(None) => return Message::End,
                Err(error) => return Message::Failed(refused(&self.name, &error), Trust::Sound),
            };
            let is_last = refused_row.is_some();
            let number = |row: u128| u64::try_from(row).unwrap_or(u64::MAX);
            let last = ops.last().map_or(0, |(row, _)| number(*row));
            let last = rejected.last().and_then(TableError::row).unwrap_or(0).max(last);
            let before = ops.len() + rejected.len();
            ops.retain(|(row, _)| !self.rules.passes_over(number(*row)));
            let rejects = rejected.iter().map(Reject::row);
            let rejects: Vec<Reject> = rejects.filter(|row| !self.rules.passes_over(row.number)).collect();
            let passed_over = (before - ops.len() - rejects.len()) as u64;
            let bytes: usize = ops.iter().map(|(_, op)| bytes_of(op)).sum();
            // Files of columns do not tell where a row is. Rows are about equally long.
            let read = u128::from(self.length) * u128::from(last) / u128::from(self.table.rows().max(1));
            let read = u64::try_from(read).unwrap_or(self.length);
            let parsed = Parsed {
                batch: Batch { unit: "row", ops, rejects, passed_over, last, bytes, read },
                refused: refused_row.map(|error| refused(&self.name, &error)),
            };
            let share = u32::try_from(bytes.clamp(1, AHEAD_BYTES)).unwrap_or(u32::MAX);
            let Ok(ahead) = self.runtime.block_on(self.ahead.clone().acquire_many_owned(share)) else {
                return Message::End;
            };
            let (done, receiver) = oneshot::channel();
            // The receiver is at hand, so this cannot fail.
            let _ = done.send(parsed);
            if self.messages.blocking_send(Message::Lines(Parsing::new(receiver, ahead))).is_err() || is_last {
                return Message::End;
            }
        }
    }
}

/// Bytes of an op, for progress and rates.
fn bytes_of(op: &Op) -> usize {
    let embedding = op.action.embedding().map_or(0, |numbers| numbers.len() * 4);
    let document = match &op.action {
        Action::Put(record) => record.document.as_ref().map_or(0, String::len),
        _ => 0,
    };
    op.id.len() + embedding + document + 64
}

fn refused(name: &str, error: &TableError) -> Failure {
    let mut failure = Failure::new(Exit::BadInput, format!("{name}: {error}")).detail("file", name);
    if let Some(row) = error.row() {
        failure = failure.detail("row", row);
    }
    failure.detail("column", error.column()).detail("field", error.column()).detail("reason", error.reason())
}
