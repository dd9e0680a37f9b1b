//! Ops from lines. They have a thread of their own, so that parsing and appending overlap.

use deltafold::MemoryLimit;
use deltafold::format::{Op, OpRules};
use deltafold::jsonl::parse_op_for;
use tokio::sync::mpsc;

use super::lines::{Covered, Input, Lines};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::signals::Stop;

/// Lines and bytes of lines that the thread hands over at once.
const BATCH_LINES: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// A compressed file of this length takes seconds to check.
const LONG: u64 = 256 << 20;

/// Lines that are ops: number, length in bytes, op.
pub(crate) struct Batch {
    pub(crate) lines: Vec<(u64, usize, Op)>,
    /// Bytes read of the input so far, before decompression.
    pub(crate) read: u64,
}

/// A message of the reading thread. The thread ends after anything but lines and notes.
pub(crate) enum Event {
    Lines(Batch),
    /// A step that takes a while, for a person who waits.
    Note(String),
    /// The end of the input.
    End,
    /// The user asked to stop.
    Stopped,
    /// The rest of the input cannot be read. With the trust in the lines before.
    Failed(Failure, Trust),
}

/// Whether the lines handed over are intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Checksums confirm them, or the input has none.
    Sound,
    /// Unknown: their checksum is at the end of the input, which the reader has not reached.
    Unknown,
    /// A checksum failed, or the input broke off before it. Any line may be wrong.
    Broken,
}

/// An input while it is read.
pub(crate) struct Reading {
    pub(crate) events: mpsc::Receiver<Event>,
    /// The trust in its lines before its end was read.
    pub(crate) trust: Trust,
    /// Part of it has no checksum, so damage may go unnoticed.
    pub(crate) lacks_checksum: bool,
}

/// Reads an input from a line on, and checks its ops for a collection. Skips blank lines, but
/// counts them.
///
/// It reads a compressed file to its end first, where its checksums are. So it hands over no line
/// before all of them are known to be right. A pipe cannot be read twice.
pub(crate) fn read(input: &Input, from_line: u64, rules: OpRules, memory: MemoryLimit, stop: Stop) -> Outcome<Reading> {
    let name = input.name();
    let lines = input.open(memory)?;
    let in_doubt = lines.covered() == Covered::AtTheEnd && !lines.can_check();
    let trust = if in_doubt { Trust::Unknown } else { Trust::Sound };
    let lacks_checksum = lines.lacks_checksum();
    let (events, receiver) = mpsc::channel(2);
    let work = move || {
        let last = Reader { name, from_line, rules, stop, events: events.clone() }.run(lines);
        // The receiver is gone if the command has failed meanwhile.
        let _ = events.blocking_send(last);
    };
    std::thread::Builder::new()
        .name("input".into())
        .spawn(work)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start a thread: {error}")))?;
    Ok(Reading { events: receiver, trust, lacks_checksum })
}

struct Reader {
    name: String,
    from_line: u64,
    rules: OpRules,
    stop: Stop,
    events: mpsc::Sender<Event>,
}

impl Reader {
    fn note(&self, text: String) {
        // The receiver is gone if the command has failed meanwhile.
        let _ = self.events.blocking_send(Event::Note(text));
    }

    fn wanted(&self) -> bool {
        self.stop.borrow().is_none() && !self.events.is_closed()
    }

    fn run(&self, mut lines: Lines) -> Event {
        if lines.can_check() && lines.length() >= LONG {
            self.note(format!("checking all of `{}` before its first line is appended", self.name));
        }
        match lines.check(|| self.wanted()) {
            Ok(true) => {}
            Ok(false) => return Event::Stopped,
            Err(failure) => return Event::Failed(failure, Trust::Sound),
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        loop {
            let next = if self.stop.borrow().is_some() { Err(Event::Stopped) } else { self.next(&mut lines) };
            let done = match next {
                Ok(None) => None,
                Ok(Some((number, length, op))) => {
                    batch.push((number, length, op));
                    bytes += length;
                    None
                }
                Err(event) => Some(event),
            };
            // A line that is here must not wait for one that the user has yet to type.
            let full = batch.len() >= BATCH_LINES || bytes >= BATCH_BYTES || done.is_some() || !lines.is_next_here();
            if full && !batch.is_empty() {
                let lines = Batch { lines: std::mem::take(&mut batch), read: lines.bytes_read() };
                bytes = 0;
                if self.events.blocking_send(Event::Lines(lines)).is_err() {
                    return Event::End;
                }
            }
            if let Some(event) = done {
                return event;
            }
        }
    }

    /// The next op; `None` for a line that holds none.
    fn next(&self, lines: &mut Lines) -> Result<Option<(u64, usize, Op)>, Event> {
        let (number, line) = match lines.next() {
            Ok(Some(next)) => next,
            Ok(None) => return Err(Event::End),
            Err(failure) => {
                let trust = if lines.covered() == Covered::AtTheEnd { Trust::Broken } else { Trust::Sound };
                return Err(Event::Failed(failure, trust));
            }
        };
        if number < self.from_line || line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        match parse_op_for(line, number, self.rules) {
            Ok(op) => Ok(Some((number, line.len(), op))),
            Err(error) => {
                let failure = self.refused(&error);
                Err(self.after_refusal(failure, lines))
            }
        }
    }

    /// A line was refused. The end of the input tells whether the lines before it are right.
    fn after_refusal(&self, failure: Failure, lines: &mut Lines) -> Event {
        if lines.covered() != Covered::AtTheEnd {
            return Event::Failed(failure, Trust::Sound);
        }
        self.note(format!("{failure}; reading the rest of the input, whose checksum covers the lines before"));
        match lines.drain(|| self.wanted()) {
            Ok(true) => Event::Failed(failure, Trust::Sound),
            Ok(false) => Event::Failed(failure, Trust::Unknown),
            Err(broken) => Event::Failed(broken, Trust::Broken),
        }
    }

    fn refused(&self, error: &deltafold::jsonl::LineError) -> Failure {
        Failure::new(Exit::BadInput, self.located(error))
            .detail("file", self.name.as_str())
            .detail("line", error.line())
            .detail("column", error.column())
            .detail("field", error.field())
            .detail("reason", error.reason())
    }

    /// `file:line:column: field `x`: reason`, a form that editors can jump to.
    fn located(&self, error: &deltafold::jsonl::LineError) -> String {
        let field = if error.field().is_empty() { String::new() } else { format!("field `{}`: ", error.field()) };
        format!("{}:{}:{}: {field}{}", self.name, error.line(), error.column(), error.reason())
    }
}
