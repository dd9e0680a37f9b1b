//! Threads that parse lines, so that parsing uses every core.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use deltafold::format::Op;
use deltafold::jsonl::{Layout, LineError, OpText, parse_op_or};
use tokio::sync::oneshot;

use super::lines::refused;
use super::reject::{Reject, Rules};
use crate::exit::Failure;

/// Threads at most. More of them would only wait for the one that reads.
const MOST: usize = 8;

/// Adjacent lines or elements of an input.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) layout: Layout,
    pub(super) text: Vec<u8>,
    /// The end of each line or element in `text`, with its place in the input.
    pub(super) ends: Vec<(usize, OpText)>,
    /// The numbers of lines that are too long. `text` holds their beginnings.
    pub(super) too_long: Vec<u64>,
    /// The limit of a line, in bytes.
    pub(super) longest: u64,
    /// Bytes read of the input up to its end, before decompression.
    pub(super) read: u64,
}

/// Ops of adjacent lines, elements or rows.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The unit that they are counted in.
    pub(crate) unit: &'static str,
    /// Each with the number of its line.
    pub(crate) ops: Vec<(u128, Op)>,
    /// The lines between them that are not ops, in order, where the load goes on behind them.
    pub(crate) rejects: Vec<Reject>,
    /// Lines that an earlier run turned away.
    pub(crate) passed_over: u64,
    /// The number of the last of all these lines.
    pub(crate) last: u64,
    /// The bytes of the lines that are ops.
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
    pub(super) fn new(name: String, rules: Rules) -> Self {
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
    rules: Rules,
    has_refused: Arc<AtomicBool>,
}

impl Parser {
    fn run(&self, job: Job) {
        let parsed = self.parse(&job.chunk);
        // The command may have failed meanwhile, and wants no more ops.
        let _ = job.parsed.send(parsed);
    }

    /// The ops of a chunk, up to the first line that is none unless the load goes on. Skips blank
    /// lines.
    fn parse(&self, chunk: &Chunk) -> Parsed {
        let ops = Vec::with_capacity(chunk.ends.len());
        let mut batch = Batch { unit: chunk.layout.unit(), ops, read: chunk.read, ..Batch::default() };
        let mut start = 0;
        for (end, at) in &chunk.ends {
            let line = chunk.text.get(start..*end).unwrap_or_default();
            start = *end;
            let is_too_long = chunk.too_long.contains(&at.number);
            if !is_too_long && line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if self.rules.passes_over(at.number) {
                batch.last = at.number;
                batch.passed_over += 1;
                continue;
            }
            if is_too_long {
                batch.last = at.number;
                batch.rejects.push(Reject::too_long(at.number, chunk.longest, line));
                continue;
            }
            match parse_op_or(line, at.number, self.rules.rules, self.rules.default) {
                Ok(op) => {
                    batch.last = at.number;
                    batch.bytes += line.len();
                    batch.ops.push((at.number.into(), op));
                }
                Err(error) if self.rules.goes_on => {
                    batch.last = at.number;
                    let place = at.place(line, error.column());
                    batch.rejects.push(Reject::text(chunk.layout.unit(), &error, place, line));
                }
                Err(error) => {
                    self.has_refused.store(true, Relaxed);
                    let refused = self.refused(chunk.layout, &error, at.place(line, error.column()));
                    return Parsed { batch, refused: Some(refused) };
                }
            }
        }
        Parsed { batch, refused: None }
    }

    fn refused(&self, layout: Layout, error: &LineError, (line, column): (u64, usize)) -> Failure {
        let mut failure = refused(&self.name, line, column, error.field(), error.reason());
        if layout != Layout::Lines {
            failure = failure.detail("element", error.line());
        }
        if error.lacks_op() {
            failure = failure.help(
                "`append --op put` takes lines without an op as puts, such as those of `deltafold scan`; add, patch and \
                 upsert go as well",
            );
        }
        failure
    }
}
