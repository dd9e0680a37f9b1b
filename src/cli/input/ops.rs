//! Ops from lines, on a thread of their own, so that parsing and appending overlap.

use deltafold::format::{Op, OpRules};
use deltafold::jsonl::parse_op_for;
use tokio::sync::{mpsc, watch};

use super::lines::{Input, Lines};
use crate::cli::exit::{Exit, Failure, Outcome};

/// Lines and bytes of lines that are handed over at once.
const BATCH_LINES: usize = 512;
const BATCH_BYTES: usize = 4 << 20;

/// Lines that are ops: number, length in bytes, op.
pub(crate) struct Batch {
    pub(crate) lines: Vec<(u64, usize, Op)>,
    /// Bytes read of the input so far, before decompression.
    pub(crate) read: u64,
}

/// What the reading thread has to say. After anything but lines it ends.
pub(crate) enum Event {
    Lines(Batch),
    /// The end of the input.
    End,
    /// The user wants no more lines to be taken.
    Interrupted,
    Failed(Failure),
}

/// Reads an input from a line on, and checks its ops for a collection. Blank lines count, and are left out.
pub(crate) fn read(
    input: &Input,
    from_line: u64,
    rules: OpRules,
    stop: watch::Receiver<bool>,
) -> Outcome<mpsc::Receiver<Event>> {
    let name = input.name();
    let lines = input.open()?;
    let (events, receiver) = mpsc::channel(2);
    let work = move || {
        let last = Reading { name, from_line, rules, stop, events: events.clone() }.run(lines);
        // Nobody listens any more where the command has failed meanwhile.
        let _ = events.blocking_send(last.unwrap_or_else(Event::Failed));
    };
    std::thread::Builder::new()
        .name("input".into())
        .spawn(work)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start a thread: {error}")))?;
    Ok(receiver)
}

struct Reading {
    name: String,
    from_line: u64,
    rules: OpRules,
    stop: watch::Receiver<bool>,
    events: mpsc::Sender<Event>,
}

impl Reading {
    fn run(&self, mut lines: Lines) -> Outcome<Event> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        loop {
            let next = if *self.stop.borrow() { Err(Event::Interrupted) } else { self.next(&mut lines) };
            let done = match next {
                Ok(None) => None,
                Ok(Some((number, length, op))) => {
                    batch.push((number, length, op));
                    bytes += length;
                    None
                }
                Err(event) => Some(event),
            };
            // Nothing waits for a line that somebody has yet to type.
            let full = batch.len() >= BATCH_LINES || bytes >= BATCH_BYTES || done.is_some() || !lines.is_next_here();
            if full && !batch.is_empty() {
                let lines = Batch { lines: std::mem::take(&mut batch), read: lines.bytes_read() };
                bytes = 0;
                if self.events.blocking_send(Event::Lines(lines)).is_err() {
                    return Ok(Event::End);
                }
            }
            if let Some(event) = done {
                return Ok(event);
            }
        }
    }

    /// The next op; `None` for a line that holds none.
    fn next(&self, lines: &mut Lines) -> Result<Option<(u64, usize, Op)>, Event> {
        let Some((number, line)) = lines.next().map_err(Event::Failed)? else { return Err(Event::End) };
        if number < self.from_line || line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        match parse_op_for(line, number, self.rules) {
            Ok(op) => Ok(Some((number, line.len(), op))),
            Err(error) => Err(Event::Failed(
                Failure::new(Exit::BadInput, self.located(&error))
                    .detail("file", self.name.as_str())
                    .detail("line", error.line())
                    .detail("column", error.column())
                    .detail("field", error.field())
                    .detail("reason", error.reason()),
            )),
        }
    }

    /// `file:line:column: field `x`: reason`, as editors jump to it.
    fn located(&self, error: &deltafold::jsonl::LineError) -> String {
        let field = if error.field().is_empty() { String::new() } else { format!("field `{}`: ", error.field()) };
        format!("{}:{}:{}: {field}{}", self.name, error.line(), error.column(), error.reason())
    }
}
