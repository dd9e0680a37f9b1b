//! Ops from lines. One thread reads the lines, and others parse them, so that reading, parsing and
//! appending overlap. The ops come in the order of their lines.

use std::sync::Arc;

use deltafold::MemoryLimit;
use deltafold::jsonl::Layout;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::lines::{Covered, Input, Lines};
use super::parsers::{Batch, Chunk, Parsed, Parsers};
use super::reject::Rules;
use crate::exit::{Exit, Failure, Outcome};
use crate::signals::Stop;

/// Lines and bytes of lines that are parsed and handed over at once.
const BATCH_LINES: usize = 512;
const BATCH_BYTES: usize = 256 << 10;
/// Batches that are read ahead of the command, and their bytes. A larger batch, which is a single
/// line, goes alone.
pub(super) const AHEAD: usize = 16;
pub(super) const AHEAD_BYTES: usize = 8 << 20;
/// A compressed file of this length takes seconds to check.
const LONG: u64 = 256 << 20;

/// A piece of an input, for the command that reads it. Nothing follows behind anything but lines
/// and notes.
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

/// A message of the reading thread. The thread ends after anything but lines and notes.
pub(super) enum Message {
    Lines(Parsing),
    Note(String),
    End,
    Stopped,
    Failed(Failure, Trust),
}

/// A batch that is being parsed, and its share of the bytes ahead.
pub(super) struct Parsing {
    parsed: oneshot::Receiver<Parsed>,
    _ahead: OwnedSemaphorePermit,
}

impl Parsing {
    #[cfg(feature = "columnar")]
    pub(super) fn new(parsed: oneshot::Receiver<Parsed>, ahead: OwnedSemaphorePermit) -> Self {
        Self { parsed, _ahead: ahead }
    }
}

/// An input while it is read.
pub(crate) struct Reading {
    messages: mpsc::Receiver<Message>,
    /// The next batch.
    parsing: Option<Parsing>,
    /// A line was refused. Lines behind it are not handed over.
    refused: Option<Failure>,
    /// The next note.
    note: Option<String>,
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
pub(crate) fn read(input: &Input, from_line: u64, rules: Rules, memory: MemoryLimit, stop: Stop) -> Outcome<Reading> {
    let name = input.name();
    let lines = input.open(memory)?;
    let in_doubt = lines.covered() == Covered::AtTheEnd && !lines.can_check();
    let trust = if in_doubt { Trust::Unknown } else { Trust::Sound };
    let lacks_checksum = lines.lacks_checksum();
    let (messages, receiver) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    let work = move || {
        let ahead = Arc::new(Semaphore::new(AHEAD_BYTES));
        let goes_on = rules.goes_on;
        let parsers = Parsers::new(name.clone(), rules);
        let own = messages.clone();
        let last = Reader { name, from_line, goes_on, parsers, runtime, ahead, stop, messages: own }.run(lines);
        // The receiver is gone if the command has failed meanwhile.
        let _ = messages.blocking_send(last);
    };
    std::thread::Builder::new()
        .name("input".into())
        .spawn(work)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start a thread: {error}")))?;
    Ok(Reading::new(receiver, trust, lacks_checksum))
}

impl Reading {
    pub(super) fn new(messages: mpsc::Receiver<Message>, trust: Trust, lacks_checksum: bool) -> Self {
        Self { messages, parsing: None, refused: None, note: None, trust, lacks_checksum }
    }

    /// The next event. A caller that drops the future loses none.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(parsing) = &mut self.parsing {
                let parsed = (&mut parsing.parsed).await;
                self.parsing = None;
                let Ok(parsed) = parsed else { return self.broke_off() };
                if let Some(batch) = self.take(parsed) {
                    return Event::Lines(batch);
                }
            }
            if let Some(note) = self.note.take() {
                return Event::Note(note);
            }
            if self.trust == Trust::Sound
                && let Some(failure) = self.refused.take()
            {
                return Event::Failed(failure, Trust::Sound);
            }
            match (self.messages.recv().await, &mut self.refused) {
                (Some(Message::Lines(parsing)), _) => self.parsing = Some(parsing),
                (Some(Message::Note(text)), _) => return Event::Note(text),
                (Some(Message::Failed(failure, trust)), _) => return Event::Failed(failure, trust),
                (Some(Message::End), None) => return Event::End,
                (Some(Message::Stopped), None) => return Event::Stopped,
                // The end of the input tells whether the lines before the refused one are right.
                (Some(last @ (Message::End | Message::Stopped)), refused) => {
                    let trust = if matches!(last, Message::End) { Trust::Sound } else { Trust::Unknown };
                    return refused.take().map_or(Event::End, |failure| Event::Failed(failure, trust));
                }
                (None, _) => return self.broke_off(),
            }
        }
    }

    /// The batch to hand over, if there is one.
    fn take(&mut self, parsed: Parsed) -> Option<Batch> {
        if self.refused.is_some() {
            return None;
        }
        if let Some(failure) = &parsed.refused
            && self.trust != Trust::Sound
        {
            let what = "reading the rest of the input, whose checksum covers the lines before";
            self.note = Some(format!("{failure}; {what}"));
        }
        self.refused = parsed.refused;
        Some(parsed.batch).filter(|batch| batch.last > 0)
    }

    fn broke_off(&self) -> Event {
        Event::Failed(Failure::new(Exit::Failed, "a thread that reads the input broke off"), self.trust)
    }
}

struct Reader {
    name: String,
    from_line: u64,
    /// Whether the load goes on behind a line that is too long.
    goes_on: bool,
    parsers: Parsers,
    runtime: Handle,
    /// Bytes of lines that may be read ahead of the command.
    ahead: Arc<Semaphore>,
    stop: Stop,
    messages: mpsc::Sender<Message>,
}

impl Reader {
    fn wanted(&self) -> bool {
        self.stop.borrow().is_none() && !self.messages.is_closed()
    }

    fn run(mut self, mut lines: Lines) -> Message {
        if lines.can_check() && lines.length() >= LONG {
            let text = format!("checking all of `{}` before its first line is appended", self.name);
            // The receiver is gone if the command has failed meanwhile.
            let _ = self.messages.blocking_send(Message::Note(text));
        }
        match lines.check(|| self.wanted()) {
            Ok(true) => {}
            Ok(false) => return Message::Stopped,
            Err(failure) => return Message::Failed(failure, Trust::Sound),
        }
        let mut room = BATCH_BYTES;
        let mut is_first = true;
        loop {
            if self.parsers.has_refused() {
                return self.rest(&mut lines);
            }
            let (chunk, last) = self.chunk(&mut lines, room);
            // The next line is likely to be as long.
            room = chunk.text.len().max(BATCH_BYTES);
            let is_alone = last.is_some() || chunk.text.len() >= AHEAD_BYTES || (is_first && lines.may_wait());
            is_first = false;
            if !chunk.ends.is_empty() && !self.hand_over(chunk, is_alone) {
                return Message::End;
            }
            if let Some(last) = last {
                return last;
            }
        }
    }

    /// The next lines, and the last message if there are no more. `room` is their likely length.
    fn chunk(&self, lines: &mut Lines, room: usize) -> (Chunk, Option<Message>) {
        let mut chunk = Chunk {
            layout: Layout::Lines,
            text: Vec::with_capacity(room),
            ends: Vec::new(),
            too_long: Vec::new(),
            longest: lines.longest(),
            read: 0,
        };
        while chunk.ends.len() < BATCH_LINES && chunk.text.len() < BATCH_BYTES {
            if self.stop.borrow().is_some() {
                return (chunk, Some(Message::Stopped));
            }
            let next = match self.goes_on {
                true => lines.read_or_cut(&mut chunk.text),
                false => lines.read_into(&mut chunk.text).map(|at| at.map(|at| (at, false))),
            };
            match next {
                Ok(Some((at, _))) if at.number < self.from_line => {
                    chunk.text.clear();
                    continue;
                }
                Ok(Some((at, is_too_long))) => {
                    chunk.layout = lines.layout();
                    chunk.too_long.extend(is_too_long.then_some(at.number));
                    chunk.ends.push((chunk.text.len(), at));
                }
                Ok(None) => return (chunk, Some(Message::End)),
                Err(failure) => {
                    let trust = if lines.covered() == Covered::AtTheEnd { Trust::Broken } else { Trust::Sound };
                    return (chunk, Some(Message::Failed(failure, trust)));
                }
            }
            chunk.read = lines.bytes_read();
            // A line that is here must not wait for one that the user has yet to type.
            if lines.may_wait() {
                break;
            }
        }
        (chunk, None)
    }

    /// Has a chunk parsed. Returns false if the command wants no more.
    fn hand_over(&mut self, chunk: Chunk, is_alone: bool) -> bool {
        let share = u32::try_from(chunk.text.len().clamp(1, AHEAD_BYTES)).unwrap_or(u32::MAX);
        let Ok(ahead) = self.runtime.block_on(self.ahead.clone().acquire_many_owned(share)) else { return false };
        let (done, parsed) = oneshot::channel();
        self.parsers.parse(chunk, is_alone, done);
        self.messages.blocking_send(Message::Lines(Parsing { parsed, _ahead: ahead })).is_ok()
    }

    /// A line was refused. Where the checksum stands at the end of the input, it tells whether the
    /// lines before are right.
    fn rest(&self, lines: &mut Lines) -> Message {
        if lines.covered() != Covered::AtTheEnd {
            return Message::End;
        }
        match lines.drain(|| self.wanted()) {
            Ok(true) => Message::End,
            Ok(false) => Message::Stopped,
            Err(broken) => Message::Failed(broken, Trust::Broken),
        }
    }
}
