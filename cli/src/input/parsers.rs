//! Threads that parse lines, so that parsing uses every core.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use deltafold::format::{Op, OpRules};
use deltafold::jsonl::{LineError, parse_op_for};
use tokio::sync::oneshot;

use crate::exit::{Exit, Failure};

/// Threads at most. More of them would only wait for the one that reads.
const MOST: usize = 8;

/// Adjacent lines of an input.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The number of the first line.
    pub(super) first: u64,
    pub(super) text: Vec<u8>,
    /// The end of each line in `text`.
    pub(super) ends: Vec<usize>,
    /// Bytes read of the input up to its end, before decompression.
    pub(super) read: u64,
}

/// Ops of adjacent lines.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Each with the number of its line.
    pub(crate) ops: Vec<(u128, Op)>,
    /// The number of the last of these lines.
    pub(crate) last: u64,
    /// The bytes of the lines.
    pub(crate) bytes: usize,
    /// Bytes read of the input so far, before decompression.
    pub(crate) read: u64,
}

/// A parsed chunk.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The ops of the lines before the refused one.
    pub(super) batch: Batch,
    /// The first line that is not an op.
    pub(super) refused: Option<Failure>,
}

/// The threads, and the rules by which they parse.
pub(super) struct Parsers {
    parser: Parser,
    /// The queue of the threads, which start when there is work for more than one.
    queue: Option<mpsc::Sender<Job>>,
}

struct Job {
    chunk: Chunk,
    parsed: oneshot::Sender<Parsed>,
}

impl Parsers {
    /// `name` is the input's name in messages.
    pub(super) fn new(name: String, rules: OpRules) -> Self {
        Self { parser: Parser { name: name.into(), rules, has_refused: Arc::default() }, queue: None }
    }

    /// Whether a line was refused. No line behind it is appended.
    pub(super) fn has_refused(&self) -> bool {
        self.parser.has_refused.load(Relaxed)
    }

    /// Parses a chunk on one of the threads; on this one if no other chunk is at hand.
    pub(super) fn parse(&mut self, chunk: Chunk, is_alone: bool, parsed: oneshot::Sender<Parsed>) {
        let mut job = Job { chunk, parsed };
        if self.queue.is_none() && !is_alone {
            self.queue = self.start();
        }
        if let Some(queue) = &self.queue {
            match queue.send(job) {
                Ok(()) => return,
                // All threads are gone.
                Err(mpsc::SendError(unsent)) => job = unsent,
            }
        }
        self.parser.run(job);
    }

    /// Starts a thread for each core. `None` if the system gives none.
    fn start(&self) -> Option<mpsc::Sender<Job>> {
        let (queue, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut any = false;
        for _ in 0..cores.min(MOST) {
            let (parser, jobs) = (self.parser.clone(), jobs.clone());
            let work = move || {
                loop {
                    // The queue is closed once the input has been read.
                    let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = next else { break };
                    parser.run(job);
                }
            };
            any |= std::thread::Builder::new().name("parser".into()).spawn(work).is_ok();
        }
        any.then_some(queue)
    }
}

#[derive(Debug, Clone)]
struct Parser {
    name: Arc<str>,
    rules: OpRules,
    has_refused: Arc<AtomicBool>,
}

impl Parser {
    fn run(&self, job: Job) {
        let parsed = self.parse(&job.chunk);
        // The command may have failed meanwhile, and wants no more ops.
        let _ = job.parsed.send(parsed);
    }

    /// The ops of a chunk, up to the first line that is none. Skips blank lines.
    fn parse(&self, chunk: &Chunk) -> Parsed {
        let mut batch = Batch { ops: Vec::with_capacity(chunk.ends.len()), last: 0, bytes: 0, read: chunk.read };
        let mut start = 0;
        for (end, number) in chunk.ends.iter().zip(chunk.first..) {
            let line = chunk.text.get(start..*end).unwrap_or_default();
            start = *end;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match parse_op_for(line, number, self.rules) {
                Ok(op) => {
                    batch.last = number;
                    batch.bytes += line.len();
                    batch.ops.push((number.into(), op));
                }
                Err(error) => {
                    self.has_refused.store(true, Relaxed);
                    return Parsed { batch, refused: Some(self.refused(&error)) };
                }
            }
        }
        Parsed { batch, refused: None }
    }

    fn refused(&self, error: &LineError) -> Failure {
        Failure::new(Exit::BadInput, self.located(error))
            .detail("file", &*self.name)
            .detail("line", error.line())
            .detail("column", error.column())
            .detail("field", error.field())
            .detail("reason", error.reason())
    }

    /// `file:line:column: field `x`: reason`, a form that editors can jump to.
    fn located(&self, error: &LineError) -> String {
        let field = if error.field().is_empty() { String::new() } else { format!("field `{}`: ", error.field()) };
        format!("{}:{}:{}: {field}{}", self.name, error.line(), error.column(), error.reason())
    }
}
